"""--dry-run of what serves pages, prepares studies, writes splits and runs mteb: real processes, nothing written."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from commands import python, run
from listening_shards import write_listening_shards, write_tiny_towers

from retrieval.embedding import load_model
from retrieval.explore.atlas import folder_beside, open_atlas
from retrieval.explore.layout import open_layout
from retrieval.study.answers import Answers
from retrieval.study.folder import at_work_in
from retrieval.study.options import PrepareOptions
from retrieval.study.preparing import prepare
from shards.streaming.reading import ShardSet

NUM_PAIRS = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards with clips, towers, a prepared study, an opened explorer, and a corpus's table."""
    folder = tmp_path_factory.mktemp("dry")
    shards = write_listening_shards(folder / "shards", {"train": 8, "test": NUM_PAIRS})
    model = write_tiny_towers(folder / "model")
    prepare(PrepareOptions(model, shards, folder / "study", pairs=6, crops=1, device="cpu"))
    rows = ["key,longitude,latitude,long_key,mp3samplerate", *(f"{key},{key},40,long_{key},44100" for key in range(40))]
    (folder / "metadata.csv").write_text("\n".join(rows), encoding="utf-8")
    return folder


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of everything in a folder."""
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


OF_MODEL = ("--weights", "model", "--shards", "shards", "--device", "cpu")
EXPLORE = ("explore", *OF_MODEL, "--port", "0")
PREPARE = ("study", "prepare", *OF_MODEL, "--pairs", "8")
SPLIT = ("split", "--protocol", "khdlr", "--metadata", "metadata.csv")
EMBED = ("embed", "--weights", "model", "--device", "cpu", "--images", "study/media")
MTEB = ("mteb", "--weights", "model", "--device", "cpu", "--out", "new")

CASES = {
    "explore": (
        (*EXPLORE, "--cache", "new"),
        [
            "pairs    16 of split test in shards, sound crops: 10",
            "batches  1 of 16",
            "writes   new/",
            "embeddings (2.2 KB), a UMAP map (0.4 KB)",
            "serves   a free port of 127.0.0.1, to this machine alone",
        ],
    ),
    "explore all, to others": (
        (*EXPLORE, "--split", "all", "--layout", "tsne", "--batch-size", "5", "--host", "0.0.0.0"),
        [
            "24 of split train, test in shards",
            "batches  5 of 5",
            "a t-SNE map",
            "writes   model/explore/",
            "to other machines, with a token",
        ],
    ),
    "prepare": (
        (*PREPARE, "--out", "new"),
        [
            "8 (4 true, 4 retrieved) of 16 with a listening clip; split test of shards has 16",
            "writes   new: study.json, media/ with 8 images of at most 640 pixels and 8 clips (about ",
        ],
    ),
    "prepare again": ((*PREPARE, "--out", "study"), ["replaces  study: study.json"]),
    "split": (
        (*SPLIT, "--out", "new/khdlr.csv"),
        [
            "train         28",
            "val            4",
            "test           8",
            "writes  new/khdlr.csv: 40 keys with their splits",
        ],
    ),
    "mteb": (
        MTEB,
        ["16 dimensions", "SoundingEarthA2IRetrieval", "dukesun99/SoundingEarth-I2A", "writes   new: SoundingEarthA2I"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_dry_run_says_what_would_be_done_and_writes_nothing(name: str, folder: Path) -> None:
    words, says = CASES[name]
    before = tree(folder)
    done = run(python("retrieval/run.py", *words, "--dry-run"), cwd=folder)
    assert done.returncode == 0, done.stderr
    for part in says:
        assert part in done.stdout
    assert done.stdout.endswith("dry run: all checks passed; nothing was written\n")
    assert tree(folder) == before


def test_an_opened_explorer_needs_nothing_more(folder: Path) -> None:
    weights, shard_set = folder / "model", ShardSet.open(folder / "shards")
    atlas = open_atlas(
        load_model(weights, "cpu"), weights, shard_set, splits=("val", "test"), crops=2, folder=folder_beside(weights)
    )
    words = (*EXPLORE, "--split", "all", "--crops", "2", "--dry-run")
    atlas_of_all = open_atlas(
        load_model(weights, "cpu"), weights, shard_set, splits=("train", "test"), crops=2, folder=folder_beside(weights)
    )
    assert atlas.folder != atlas_of_all.folder
    half = run(python("retrieval/run.py", *words), cwd=folder).stdout
    assert f"reuses   model/explore/{atlas_of_all.folder.name}: embeddings\n" in half
    assert f"writes   model/explore/{atlas_of_all.folder.name}: a UMAP map (0.6 KB)" in half
    assert "batches" not in half
    open_layout(atlas_of_all, "umap")
    before = tree(folder)
    whole = run(python("retrieval/run.py", *words), cwd=folder).stdout
    assert "writes" not in whole.removesuffix("nothing was written\n")
    assert tree(folder) == before


def test_dry_runs_fail_as_the_runs_would(folder: Path) -> None:
    (folder / "folder.npz").mkdir()
    before = tree(folder)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for words, says in (
            ((*EXPLORE[:-1], port), f"can't listen on 127.0.0.1:{port}"),
            ((*EXPLORE, "--split", "val"), "val"),
            ((*EXPLORE, "--cache", "metadata.csv/a"), "cache metadata.csv/a"),
            ((*PREPARE, "--out", "metadata.csv"), "out metadata.csv"),
            ((*PREPARE[:-1], "18", "--out", "new"), "pairs must be at most 16"),
            ((*SPLIT, "--out", "metadata.csv/a.csv"), "out metadata.csv/a.csv can't be written"),
            ((*EMBED, "--out", "metadata.csv/a.npz"), "out metadata.csv/a.npz can't be written"),
            ((*EMBED, "--out", "folder.npz"), "out folder.npz can't be written: it is a folder"),
            ((*MTEB, "--tasks", "NoSuchTask"), "tasks: mteb has no such task"),
            ((*MTEB, "--tasks", "NFCorpus"), "task NFCorpus: the model takes images or sounds alone, got text"),
        ):
            done = run(python("retrieval/run.py", *words, "--dry-run"), cwd=folder)
            assert done.returncode == 2, done.stdout
            assert says in done.stderr
    assert tree(folder) == before


def test_a_study_with_raters_or_being_served_is_not_replaced_in_a_dry_run_either(folder: Path) -> None:
    study = prepare(
        PrepareOptions(folder / "model", folder / "shards", folder / "rated", pairs=6, crops=1, device="cpu")
    )
    Answers(folder / "rated" / "answers.sqlite", study.identity).add_rater()
    before, words = tree(folder), (*PREPARE, "--out", "rated", "--dry-run")
    done = run(python("retrieval/run.py", *words), cwd=folder)
    assert done.returncode == 2
    assert "rated holds a study that already has raters (1)" in done.stderr
    with at_work_in(folder / "rated", alone=False):
        done = run(python("retrieval/run.py", *words), cwd=folder)
    assert done.returncode == 2
    assert "rated is in use: the study in it is being served" in done.stderr
    assert tree(folder) == before
