"""What goes wrong on the way to a release leaves nothing behind, and says what to do."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from commands import PATIENCE_SECONDS, environment, python, python_with_small_files, run
from released_runs import WIDE, authors_checkpoint, small_towers, write_run
from tiny_shards import write_tiny_shards

from pretrain.model import TwoTower
from pretrain.releasing import release as release_module
from pretrain.releasing.release import ReleaseOptions, release
from pretrain.releasing.release_files import ReleaseFiles
from pretrain.weights.authors_checkpoint import convert_authors_checkpoint
from shards.command_line.verbs import parse_options
from shards.errors import UserError

RELEASE = """
import sys
from pathlib import Path
from pretrain.releasing.release_files import ReleaseFiles
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
    write = ReleaseFiles.write

    def write_with_a_flaw(files: ReleaseFiles, folder: Path, *others: Any) -> None:
        write(files, folder, *others)
        small_towers(seed=5).save_pretrained(folder)

    monkeypatch.setattr(ReleaseFiles, "write", write_with_a_flaw)
    with pytest.raises(UserError, match="differ from those of the weights in memory"):
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
        ("summary.json", "{", r"summary\.json is not JSON: .*; restore it"),
        ("summary.json", "[1]", r"summary\.json: input should be a valid dictionary, got \[1\]; restore it"),
        ("config.yaml", "epoch: 2", "unknown setting 'epoch'"),
        ("model/config.json", None, "no weights at .*; a run writes its model after the first validation"),
        ("model/config.json", "[]", r"config\.json: input should be a valid dictionary, got \[\]; copy"),
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
        ({"licence": "CC BY 4.0"}, "licence must be a licence name of the hub"),
        ({"watts": 0.0}, "watts must be > 0, got 0"),
        ({"push_to_hub": "a/b/c"}, "push_to_hub must be OWNER/NAME"),
        ({"push_to_hub": "name"}, "push_to_hub must be OWNER/NAME"),
        ({"push_encoders": True}, "push_encoders needs --push-to-hub OWNER/NAME"),
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
        with pytest.raises(UserError, match="already exists and is not an empty folder; choose another --out"):
            release(ReleaseOptions(finished, out))
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("out", ["afile/out", "afile/deep/out", "sealed/out"])
def test_a_place_that_can_not_be_written_is_refused_before_the_work(
    finished: Path, out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "afile").write_text("mine")
    (tmp_path / "sealed").mkdir()
    # Whoever is root may write everywhere: a mount that is read-only answers so.
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path / "sealed")
    monkeypatch.setattr(release_module, "gather_facts", None)
    with pytest.raises(UserError, match=r"out .* can't be written: .*(afile|sealed) is not a folder, or not"):
        release(ReleaseOptions(finished, tmp_path / out))


def test_a_parent_that_vanishes_meanwhile_gets_a_sentence(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "afile").write_text("mine")
    monkeypatch.setattr(ReleaseOptions, "check", lambda _: None)
    with pytest.raises(UserError, match="can't be written: Not a directory; choose another --out"):
        release(ReleaseOptions(finished, tmp_path / "afile" / "out"))


def test_a_folder_that_can_not_be_replaced_is_refused_before_the_work(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release_module, "gather_facts", None)
    monkeypatch.chdir(tmp_path)
    for out in (Path("."), tmp_path, tmp_path / "new" / ".."):
        with pytest.raises(UserError, match="is a mount point or the current folder"):
            release(ReleaseOptions(finished, out))
    (tmp_path / "mounted").mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: path == tmp_path / "mounted")
    with pytest.raises(UserError, match="is a mount point or the current folder"):
        release(ReleaseOptions(finished, tmp_path / "mounted"))
    with pytest.raises(UserError, match="its name has unprintable characters"):
        release(ReleaseOptions(finished, tmp_path / "a\nb"))


def test_a_link_to_an_empty_folder_is_followed(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    release(ReleaseOptions(finished, tmp_path / "link"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "SHA256SUMS").is_file()


def stopped_at(command: list[str], cwd: Path, pattern: str) -> tuple[int, str]:
    """Exit status and errors of a command that is asked to end as soon as something of that name is there."""
    process = subprocess.Popen(command, cwd=cwd, env=environment(), stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not any(cwd.glob(pattern)):
        time.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=PATIENCE_SECONDS)[1]
    return process.returncode, errors


def test_a_release_that_is_asked_to_end_leaves_nothing(finished: Path, tmp_path: Path) -> None:
    words = python("pretrain/run.py", "release", finished, "--out", tmp_path / "out")
    # Once it holds a file: between its making and its lock, a kill leaves it to be swept up by the next command.
    status, errors = stopped_at(words, tmp_path, ".out.*.partial/*")
    assert (status, errors.splitlines()[-1]) == (143, "stopped by SIGTERM; finished work is kept")
    assert list(tmp_path.iterdir()) == []


def test_a_conversion_that_is_asked_to_end_leaves_nothing(tmp_path: Path) -> None:
    file = authors_checkpoint(tmp_path, small_towers(**WIDE))
    words = python("pretrain/run.py", "convert", file, "--out", tmp_path / "out")
    status, errors = stopped_at(words, tmp_path, "out/.model.partial")
    assert (status, errors) == (143, "stopped by SIGTERM; finished work is kept\n")
    assert list(tmp_path.iterdir()) == [file]


def test_a_set_without_validation_pairs_is_a_gap(tmp_path: Path) -> None:
    shards = write_tiny_shards(tmp_path / "shards", {"train": 4})
    told = release(ReleaseOptions(write_run(tmp_path / "run", shards), tmp_path / "out"))
    gap = "whether validation pairs give the same embeddings"
    assert f"missing from the card: {gap} (the shard set has no validation pairs)" in told
    assert f"- {gap}\n" in (tmp_path / "out" / "README.md").read_text()


def test_routes_that_were_not_tried_are_named(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "timm" else find_spec(name))
    told = release(ReleaseOptions(finished, tmp_path / "out"))
    assert "not tested: torch.hub, TorchGeo, timm, which is not installed" in told
    assert "timm" not in told[0]
    assert "not written: image-encoder-timm, because timm is not installed, so it could not be checked" in told
    assert not {"image-encoder-timm", "modules.json"} & {path.name for path in (tmp_path / "out").iterdir()}


def test_the_command_line(finished: Path, tmp_path: Path) -> None:
    options = parse_options(
        ReleaseOptions, ["R", "--out", "O", "--results", "A", "B", "--push-to-hub", "lab/ears"], "release"
    )
    assert (options.run, options.out, options.results) == (Path("R"), Path("O"), (Path("A"), Path("B")))
    assert options.push_to_hub == "lab/ears"
    result = run(python("pretrain/run.py", "release", "nowhere", "--out", "O"), cwd=tmp_path)
    assert (result.returncode, result.stderr) == (
        2,
        "error: no weights at nowhere: no such folder; models by name: demo\n",
    )


def test_a_conversion_that_differs_is_not_put_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = authors_checkpoint(tmp_path, small_towers(**WIDE))
    write, other = TwoTower._save_pretrained, small_towers(seed=2, **WIDE)
    monkeypatch.setattr(TwoTower, "_save_pretrained", lambda self, folder: write(other, folder))
    with pytest.raises(UserError, match="differ from those of the weights in memory"):
        convert_authors_checkpoint(file, tmp_path / "converted")
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
