"""Each package's README.md lists its files: `python tests/architecture/file_tables.py` rewrites the lists."""

from __future__ import annotations

import ast
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("shards", "pretrain", "downstream", "retrieval", "launch")
BEGIN, END = "<!-- files: written by tests/architecture/file_tables.py -->", "<!-- /files -->"


def first_line(path: Path) -> str:
    """The first line of a file's docstring, without its full stop."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.split("\n")[0].rstrip(".").replace("|", "\\|")


def file_table(package: str) -> str:
    """The Markdown table of a package's files: a heading row a room, then its files and the first line of each."""
    folder = REPOSITORY / package
    lines = ["| file | what it is |", "|---|---|"]
    for room in [folder, *sorted(path.parent for path in folder.rglob("__init__.py") if path.parent != folder)]:
        name = "" if room == folder else f"{room.relative_to(folder)}/"
        if name:
            lines.append(f"| **`{name}`** | **{first_line(room / '__init__.py')}** |")
        files = sorted(path for path in room.glob("*.py") if path.name != "__init__.py")
        lines += [f"| `{name}{path.name}` | {first_line(path)} |" for path in files]
    return "\n".join(lines)


def with_table(readme: str, table: str) -> str:
    """A README whose table of files is replaced."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def main() -> None:
    """Writes the tables into the packages' pages."""
    for package in PACKAGES:
        page = REPOSITORY / package / "README.md"
        page.write_text(with_table(page.read_text(encoding="utf-8"), file_table(package)), encoding="utf-8")


if __name__ == "__main__":
    main()
