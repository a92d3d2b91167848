"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from architecture import file_tables

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = [
    name for name in ("shards", "pretrain", "downstream", "retrieval", "launch") if (REPOSITORY / name).is_dir()
]
SOURCES = sorted(path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py"))


def imports_of(path: Path) -> set[str]:
    """Full names of all modules that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def in_repository(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(REPOSITORY)) for path in paths]


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_hides_another_when_a_script_runs(package: str) -> None:
    # `python shards/run.py` puts shards/ on the path: what lies there is importable by its bare name.
    # (A folder without __init__.py hides nothing: a regular package further down the path comes before it.)
    folder = REPOSITORY / package
    here = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    others = (set(sys.stdlib_module_names) | set(packages_distributions())) - set(PACKAGES) - {"tests"}
    assert not (here - {"__init__"}) & others


def test_every_package_is_installed() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    folders = [file.parent for package in PACKAGES for file in (REPOSITORY / package).rglob("__init__.py")]
    names = {".".join(folder.relative_to(REPOSITORY).parts) for folder in folders}
    assert set(project["tool"]["setuptools"]["packages"]) == names


def test_no_junk_drawers() -> None:
    names = {"utils", "util", "helpers", "helper", "common", "misc", "tools"}
    assert in_repository([path for path in SOURCES if path.stem.lower() in names]) == []


def test_every_file_says_what_it_is() -> None:
    assert in_repository([path for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text()))]) == []


@pytest.mark.parametrize(
    ("library", "home"),
    [
        ("torch.distributed", "pretrain/distributed.py"),
        ("deepspeed", "pretrain/engines/zero.py"),
        ("faiss", "retrieval/index.py"),
        ("tyro", None),
    ],
)
def test_a_library_that_has_one_home_is_named_nowhere_else(library: str, home: str | None) -> None:
    users = [path for path in SOURCES if any(f"{name}.".startswith(f"{library}.") for name in imports_of(path))]
    if home is not None:
        assert in_repository(users) == [home]
    else:
        # The command line's library stays in the commands and in the files that say what their words may be.
        allowed = ("run", "command_line", "options", "rules")
        assert all({path.stem, path.parent.name} & set(allowed) for path in users), in_repository(users)


def test_losses_import_nothing_else_of_the_project() -> None:
    folder = REPOSITORY / "pretrain" / "losses"
    for path in folder.glob("*.py"):
        if path.name not in ("__init__.py", "settings.py"):
            others = {name for name in imports_of(path) if name.split(".")[0] in PACKAGES}
            assert all(name.startswith("pretrain.losses.") for name in others), path.name


def test_nothing_is_unpickled() -> None:
    forbidden = {"pickle", "dill", "joblib", "cloudpickle", "shelve"}
    assert in_repository([path for path in SOURCES if forbidden & {n.split(".")[0] for n in imports_of(path)}]) == []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert options.get("weights_only") == "True", f"{path.name}:{node.lineno}"
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("np.load", "numpy.load"):
                options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert options.get("allow_pickle", "False") == "False", f"{path.name}:{node.lineno}"


@pytest.mark.parametrize(
    "command", ["shards/run.py", "pretrain/run.py", "downstream/run.py", "retrieval/run.py", "launch/compare.py"]
)
def test_commands_read_like_a_table_of_contents(command: str) -> None:
    assert len((REPOSITORY / command).read_text().splitlines()) <= 110


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_page_lists_its_files(package: str) -> None:
    page = (REPOSITORY / package / "README.md").read_text(encoding="utf-8")
    table = file_tables.file_table(package)
    assert file_tables.with_table(page, table) == page, "run python tests/architecture/file_tables.py"


def test_one_file_locks() -> None:
    # Whoever calls flock elsewhere fails on file systems without locks.
    assert in_repository([path for path in SOURCES if "fcntl" in imports_of(path)]) == ["shards/locks.py"]
