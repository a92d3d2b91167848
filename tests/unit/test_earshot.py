"""`import earshot`: fast, every name there, and clear where another folder hides one of its packages."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import earshot

FINDER = """
import importlib.util, pathlib, sys
here = pathlib.Path({repository!r})
sys.path[:] = [""] + [place for place in sys.path if place and pathlib.Path(place).resolve() != here]
class Finder:  # as pip installs a checkout for editing: after all folders of the path
    def find_spec(self, name, path=None, target=None):
        for file in (here / name / "__init__.py", here / (name + ".py")):
            if path is None and file.is_file():
                return importlib.util.spec_from_file_location(name, file)
sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in repr(f).lower()] + [Finder()]
"""


def python(code: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, check=False)


def test_the_import_is_light(repository: Path, tmp_path: Path) -> None:
    heavy = "('torch', 'numpy', 'huggingface_hub', 'pydantic', 'PIL', 'retrieval', 'pretrain')"
    code = f"import sys, earshot; print(earshot.__version__, [name for name in {heavy} if name in sys.modules])"
    result = python(code, tmp_path, PYTHONPATH=str(repository))
    assert result.stdout == f"{earshot.__version__} []\n", result.stderr


def test_every_name_is_there(repository: Path) -> None:
    assert set(earshot.__all__) == {"main", *earshot._HOMES}
    assert dir(earshot) == sorted(earshot.__all__)
    for name in earshot.__all__:
        assert getattr(earshot, name) is not None
    # Editors and mypy know the same names, from the same places.
    tree = ast.parse((repository / "earshot.py").read_text(encoding="utf-8"))
    [guarded] = [node for node in tree.body if isinstance(node, ast.If)]
    imports = [node for node in guarded.body if isinstance(node, ast.ImportFrom)]
    named = {alias.asname: f"{node.module}:{alias.name}" for node in imports for alias in node.names}
    assert named == earshot._HOMES
    with pytest.raises(AttributeError, match="module 'earshot' has no attribute 'lode'"):
        _ = earshot.lode  # type: ignore[attr-defined]


def test_it_is_installed(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["setuptools"]["py-modules"] == ["earshot"]


@pytest.mark.parametrize("hidden", ["pretrain/__init__.py", "shards/__init__.py", "retrieval.py"])
def test_a_package_or_file_that_hides_ours_is_named(hidden: str, repository: Path, tmp_path: Path) -> None:
    (tmp_path / hidden).parent.mkdir(exist_ok=True)
    (tmp_path / hidden).write_text("raise SystemExit('imported')")
    found = (tmp_path / hidden).parent if hidden.endswith("__init__.py") else tmp_path / hidden
    package = Path(hidden).parts[0].removesuffix(".py")
    result = python("import earshot", tmp_path, PYTHONPATH=str(repository))
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        f"ImportError: {found} hides Earshot's own package {package} ({repository / package}), because Python looks "
        "there first: rename it, or start Python in another folder"
    )


def test_a_folder_without_init_hides_ours_only_from_an_editable_install(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "pretrain").mkdir()
    (tmp_path / "pretrain" / "notes.txt").write_text("my runs")
    code = "import earshot; print(earshot.UserError.__module__)"
    editable = FINDER.format(repository=str(repository)) + code
    result = python(editable, tmp_path)
    assert result.stderr.splitlines()[-1].startswith(
        f"ImportError: {tmp_path / 'pretrain'} hides Earshot's own package"
    )
    assert python(code, tmp_path, PYTHONPATH=str(repository)).stdout == "shards.errors\n"
    (tmp_path / "elsewhere").mkdir()
    assert python(editable, tmp_path / "elsewhere").stdout == "shards.errors\n"
