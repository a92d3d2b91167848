"""The notebooks of `launch/examples/`, executed from the first cell to the last on small generated data."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest
from commands import REPOSITORY, SMALL_INPUTS
from released_runs import write_run

from shards.demo_world.corpus import generate_demo_corpus

EXAMPLES = REPOSITORY / "launch" / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


def executed(name: str, folder: Path, *, up_to: str = "", **parameters: Any) -> nbformat.NotebookNode:
    """Runs a notebook in `folder`, with values after those of its cell of parameters; a cell that fails raises.

    Args:
        name: of the notebook.
        folder: where it runs.
        up_to: id of the last cell to run; "": all.
        parameters: values by the names of its variables.
    """
    notebook = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)
    place = next(i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ()))
    values = "\n".join(f"{key} = {value!r}" for key, value in parameters.items())
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(values))
    if up_to:
        end = next(i for i, cell in enumerate(notebook.cells) if cell.id == up_to)
        del notebook.cells[end + 1 :]
    resources = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    return notebook


def printed(notebook: nbformat.NotebookNode, cell_id: str) -> str:
    cell = next(cell for cell in notebook.cells if cell.id == cell_id)
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def pictures(notebook: nbformat.NotebookNode) -> int:
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return sum("image/png" in output.get("data", {}) for output in outputs)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel is this Python, draws into the notebook and has a thread of its own alone."""
    for name, value in {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "MPLBACKEND": ""}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MPLBACKEND")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]))


@pytest.mark.slow
@pytest.mark.usefixtures("kernel")
def test_own_files_become_a_map(tmp_path: Path) -> None:
    own = tmp_path / "own"
    generate_demo_corpus(own, num_places=40, image_size=64, clip_seconds=2.0, num_workers=0, show_progress=False)
    training = [*SMALL_INPUTS, "--epochs", "2"]
    notebook = executed("own_files_to_map", tmp_path, FOLDER=str(own), TRAINING=training)
    assert (tmp_path / "runs" / "map" / "run" / "summary.json").exists()
    assert (tmp_path / "runs" / "map" / "run" / "retrieval" / "report.html").exists()
    assert "8 test pairs" in printed(notebook, "evaluate")
    assert "the nearest of 40 places" in printed(notebook, "search")
    assert pictures(notebook) == 1
    assert (tmp_path / "runs" / "map" / "map.png").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.usefixtures("kernel")
def test_a_table_and_columns_of_ones_own_are_used(tmp_path: Path) -> None:
    own = tmp_path / "own"
    generate_demo_corpus(own, num_places=12, image_size=64, clip_seconds=2.0, num_workers=0, show_progress=False)
    with (own / "metadata.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    (own / "metadata.csv").unlink()
    named = {kind: {path.stem: path for path in (own / kind).iterdir()} for kind in ("images", "audio")}
    with (tmp_path / "sites.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter=";")
        table.writerow(["Site ID", "East", "North", "Tile", "Take"])
        for row in rows:
            place = [row[name] for name in ("longitude", "latitude")]
            files = [named[kind][row["key"]].relative_to(own) for kind in ("images", "audio")]
            table.writerow([f"Site {row['key']}", *place, *files])
    roles = {"key": "Site ID", "longitude": "East", "latitude": "North", "image": "Tile", "sound": "Take"}
    notebook = executed(
        "own_files_to_map", tmp_path, up_to="build", FOLDER=str(own), TABLE=str(tmp_path / "sites.csv"), COLUMNS=roles
    )
    assert printed(notebook, "world").startswith("Site ID;East;North;Tile;Take\nSite ")
    assert "12 pairs listed, 12 used" in printed(notebook, "build")


@pytest.mark.slow
@pytest.mark.usefixtures("kernel")
def test_weights_are_used(tiny_shards: Path, tmp_path: Path) -> None:
    world = tmp_path / "world"
    generate_demo_corpus(world, num_places=4, image_size=64, clip_seconds=2.0, num_workers=0, show_progress=False)
    run = write_run(tmp_path / "run", tiny_shards)
    folders = {"IMAGES": str(world / "images"), "SOUNDS": str(world / "audio"), "SHARDS": str(tiny_shards)}
    notebook = executed("using_weights", tmp_path, MODEL=str(run), **folders)
    assert "(4, 128) (4, 128) float32" in printed(notebook, "embed")
    assert printed(notebook, "similarity").count(" sounds most like ") == 4
    assert printed(notebook, "search").count("  1. ") == 3
    assert pictures(notebook) == 1
    assert (tmp_path / "embeddings.npz").exists()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_are_committed_without_outputs_and_with_names_for_cells(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert all(cell.id.replace("-", "").isalpha() for cell in notebook.cells)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert sum("parameters" in cell.metadata.get("tags", ()) for cell in code) == 1
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
