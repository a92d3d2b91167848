"""Commands on a full disk, at several sizes: one sentence, what was there stays, and with room they work."""

from __future__ import annotations

import dataclasses
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from listening_shards import write_listening_shards, write_tiny_towers
from shard_commands import files_of

from retrieval.evaluation import evaluate
from retrieval.options import EvaluateOptions
from retrieval.study.folder import Study
from retrieval.study.options import PrepareOptions
from retrieval.study.preparing import prepare
from shards.errors import disk_refusal

SIZES = (2_000, 3_000, 5_000, 7_000, 9_000)
"""At least what pytest captures of the commands, which goes into files too."""


@contextmanager
def small_files(most_bytes: int) -> Iterator[None]:
    """No file can grow beyond a size, as on a disk that is nearly full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_listening_shards(tmp_path_factory.mktemp("full") / "shards", {"train": 4, "val": 16, "test": 16})


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_towers(tmp_path_factory.mktemp("full") / "model")


def _refused(command: Callable[[], object], out: Path, most_bytes: int) -> None:
    before = files_of(out)
    with small_files(most_bytes), pytest.raises(OSError, match="File too large") as refusal:
        command()
    sentence = disk_refusal(refusal.value)
    assert sentence is not None
    assert sentence.startswith(f"{out}/")
    assert ".partial" not in sentence
    assert files_of(out) == before


@pytest.mark.usefixtures("capsys")  # in memory; pytest's own capture is a file, to which the limit applies too
@pytest.mark.parametrize("most_bytes", SIZES)
def test_an_evaluation_stays_until_another_is_whole(
    most_bytes: int, weights: Path, shards: Path, tmp_path: Path
) -> None:
    options = EvaluateOptions(weights, shards, tmp_path, crops=1)
    evaluate(options)
    other = dataclasses.replace(options, split="val")
    _refused(lambda: evaluate(other), tmp_path, most_bytes)
    assert evaluate(other).metrics["split"] == "val"
    assert sorted(files_of(tmp_path)) == ["embeddings.npz", "metrics.json", "report.html"]


@pytest.mark.parametrize("most_bytes", SIZES)
def test_a_study_stays_until_another_is_whole(most_bytes: int, weights: Path, shards: Path, tmp_path: Path) -> None:
    options = PrepareOptions(weights, shards, tmp_path, pairs=6, crops=1, device="cpu")
    study = prepare(options)
    _refused(lambda: prepare(dataclasses.replace(options, seed=1)), tmp_path, most_bytes)
    assert Study.load(tmp_path) == study
    other = prepare(dataclasses.replace(options, seed=1))
    assert Study.load(tmp_path) == other != study
    other.check_media(tmp_path)


@pytest.mark.parametrize("step", ["media", "study"])
def test_a_study_that_was_killed_while_it_was_replaced_can_be_prepared_again(
    step: str, weights: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = PrepareOptions(weights, shards, tmp_path, pairs=6, crops=1, device="cpu")
    prepare(options)
    rename = Path.rename

    def killed(path: Path, target: Path) -> Path:
        if path.name.startswith(step):
            raise KeyboardInterrupt
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare(dataclasses.replace(options, seed=1))
    assert not (tmp_path / "study.json").exists()
    study = prepare(dataclasses.replace(options, seed=1))
    assert Study.load(tmp_path) == study
    study.check_media(tmp_path)
