"""What goes wrong on the way to a release leaves nothing behind, and says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from commands import python, python_with_small_files, run
from released_runs import WIDE, authors_checkpoint, small_towers, write_run

from pretrain.authors_checkpoint import convert_authors_checkpoint
from pretrain.command_line import parse_release
from pretrain.model import TwoTower
from pretrain.releasing import release as release_module
from pretrain.releasing.release import ReleaseOptions, release
from shards.errors import UserError

RELEASE = """
import sys
from pathlib import Path
from pretrain.releasing.release import ReleaseOptions, release
from shards.errors import UserError
try:
    release(ReleaseOptions(Path(sys.argv[1]), Path(sys.argv[2])))
except UserError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def finished(tiny_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    return write_run(tmp_path_factory.mktemp("finished") / "run", tiny_shards)


def test_a_release_that_differs_is_not_put_in_place(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = release_module._write

    def write_with_a_flaw(folder: Path, *others: Any) -> None:
        write(folder, *others)
        small_towers(seed=5).save_pretrained(folder)

    monkeypatch.setattr(release_module, "_write", write_with_a_flaw)
    with pytest.raises(UserError, match="differ from those of the weights at hand"):
        release(ReleaseOptions(finished, tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(finished: Path, tmp_path: Path) -> None:
    message = python_with_small_files(RELEASE, finished, tmp_path / "out", most_bytes=1_000_000)
    assert f"out {tmp_path / 'out'} can't be written: File too large" in message
    assert list(tmp_path.iterdir()) == []


def break_run(run: Path, name: str, text: str | None) -> Path:
    """A run folder, one of whose files is missing or holds something else."""
    if text is None:
        (run / name).unlink()
    else:
        (run / name).write_text(text)
    return run


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("summary.json", None, r"has not finished, it has no summary\.json; finish it with --resume"),
        ("summary.json", "{", r"summary\.json can't be read as a run's summary"),
        ("summary.json", "[1]", r"summary\.json can't be read as a run's summary"),
        ("config.yaml", "epoch: 2", "unknown setting 'epoch'"),
        ("model/config.json", None, "no weights at .*; a run writes its model after the first validation"),
        ("model/config.json", "[]", "can't be loaded"),
        ("model/model.safetensors", "cut", "can't be loaded: SafetensorError"),
    ],
)
def test_a_run_that_is_not_whole_gets_a_sentence(
    tiny_shards: Path, name: str, text: str | None, message: str, tmp_path: Path
) -> None:
    folder = break_run(write_run(tmp_path / "run", tiny_shards), name, text)
    with pytest.raises(UserError, match=message):
        release(ReleaseOptions(folder, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"licence": "CC BY 4.0"}, "licence must be a name as the hub has it"),
        ({"watts": 0.0}, "watts must be > 0, got 0"),
        ({"push_to_hub": "a/b/c"}, "push_to_hub must be OWNER/NAME"),
        ({"push_to_hub": "name"}, "push_to_hub must be OWNER/NAME"),
        ({"shards": Path("nowhere")}, "no shards at nowhere"),
        ({"run": Path("nowhere")}, "no weights at nowhere: no such folder"),
    ],
)
def test_options_against_their_rule_get_a_sentence(
    finished: Path, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        release(ReleaseOptions(**({"run": finished, "out": tmp_path / "out"} | changes)))
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_taken_is_left_alone(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for out in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(UserError, match="is there already and not an empty folder; name another --out"):
            release(ReleaseOptions(finished, out))
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_the_command_line(finished: Path, tmp_path: Path) -> None:
    options = parse_release(["R", "--out", "O", "--results", "A", "B", "--push-to-hub", "lab/ears"])
    assert (options.run, options.out, options.results) == (Path("R"), Path("O"), (Path("A"), Path("B")))
    assert options.push_to_hub == "lab/ears"
    result = run(python("pretrain/run.py", "release", "nowhere", "--out", "O"), cwd=tmp_path)
    assert (result.returncode, result.stderr) == (2, "error: no weights at nowhere: no such folder\n")


def test_a_conversion_that_differs_is_not_put_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = authors_checkpoint(tmp_path, small_towers(**WIDE))
    write, other = TwoTower._save_pretrained, small_towers(seed=2, **WIDE)
    monkeypatch.setattr(TwoTower, "_save_pretrained", lambda self, folder: write(other, folder))
    with pytest.raises(UserError, match="differ from those of the weights at hand"):
        convert_authors_checkpoint(file, tmp_path / "converted")
    assert list((tmp_path / "converted").iterdir()) == []
