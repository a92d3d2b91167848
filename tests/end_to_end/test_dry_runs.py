"""--dry-run of every command that has one, and the batch of a small set: real processes, and the folder afterwards."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from commands import SMALL_INPUTS, python, run
from pair_folders import write_advance, write_image, write_sound
from released_runs import WIDE, authors_checkpoint, small_towers, write_run
from tiny_shards import write_tiny_shards

PLAN = """
name: tiny
shards: shards
settings: {epochs: 2, tracker: none, batch_size: 16, data.image_size: 32, model.sound_pooling: 4}
methods: {triplet: {}, sigmoid: {loss.name: sigmoid}}
benchmarks: {retrieval: {}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shard set of 20 training pairs, a run, recordings, scenes and a plan."""
    folder = tmp_path_factory.mktemp("dry")
    write_tiny_shards(folder / "shards", {"train": 20, "val": 6, "test": 6})
    write_run(folder / "run", folder / "shards")
    generator = np.random.default_rng(0)
    rows = ["key,longitude,latitude"]
    for key in range(8):
        write_image(folder / f"recordings/images/{key}.jpg", (90, 90, 200), generator)
        write_sound(folder / f"recordings/audio/{key}.wav", 440.0, generator)
        rows.append(f"{key},{key},40")
    (folder / "recordings/metadata.csv").write_text("\n".join(rows), encoding="utf-8")
    write_advance(folder / "advance")
    authors_checkpoint(folder, small_towers(**WIDE))
    with tarfile.open(folder / "foreign.tar", "w") as tar:
        tar.add(folder / "recordings" / "images" / "0.jpg", "0.jpg")
    (folder / "sounds.csv").write_text(SOUNDS, encoding="utf-8")
    (folder / "plan.yaml").write_text(PLAN, encoding="utf-8")
    return folder


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of everything in a folder."""
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


TRAIN = ("pretrain/run.py", "soundingearth-resnet18", "--shards", "shards", "--out", "new/run", *SMALL_INPUTS[2:])

COLLECT = ("shards/run.py", "collect")
TILES = (*COLLECT, "tiles", "--out", "recordings", "--terms", "https://t.invalid", "--attribution", "A")
SOUNDS = """key,url,longitude,latitude,bytes
a,https://sounds.invalid/a.mp3,5,50,1000
b,https://sounds.invalid/b.mp3,6,50,2000
c,https://sounds.invalid/c.mp3,-6,50,4000
d,ftp://sounds.invalid/d.mp3,6,50,8000
"""

CASES = {
    "build": (
        ("shards/run.py", "build", "--source", "recordings", "--root", "recordings", "--out", "new"),
        ["5 train in 1 shards, 1 val in 1 shards, 2 test in 1 shards", "8 pairs", "previews/"],
    ),
    "pretrain": (
        TRAIN,
        ["20 train, 6 val, 6 test pairs", "batch      10 = 1 processes x 10", "2 an epoch"],
    ),
    "resume": (("pretrain/run.py", "--resume", "run"), ["no checkpoint yet"]),
    "evaluate": (
        ("retrieval/run.py", "evaluate", "--weights", "run", "--shards", "shards", "--out", "new"),
        ["6 of split test in shards", "metrics.json"],
    ),
    "embed": (
        ("retrieval/run.py", "embed", "--weights", "run", "--images", "recordings/images", "--out", "new/e.npz"),
        ["8 files, ", "writes   new/e.npz"],
    ),
    "downstream": (
        ("downstream/run.py", "--weights", "run", "folder", "--root", "advance/vision", "--out", "new"),
        ["3 classes, 48 items", "batch      48, at most 1 steps", "results.json"],
    ),
    "compare": (
        ("launch/compare.py", "plan.yaml", "--out", "new"),
        [
            "the plan changes settings of preset demo: model.image_encoder resnet18 (preset: narrow-resnet10)",
            "row 2 of 2 (sigmoid, resnet18, seed 0): training (2 epochs x 20 pairs in batches of 16: 2 steps), ",
            "retrieval (6 pairs of split test)",
            "2 to run",
        ],
    ),
    "release": (
        ("pretrain/run.py", "release", "run", "--out", "new/release", "--half"),
        [
            "weights      run/model, ",
            "half         half precision changes embeddings by up to 0.0",
            "data         20 training pairs whose licences were counted",
            "writes       new/release: 21 files, about ",
            "image_trunk.safetensors",
            "missing from the card: ",
        ],
    ),
    "demo-weights": (
        ("pretrain/run.py", "demo-weights", "--shards", "shards", "--run", "new/demo", "--out", "new/weights"),
        [
            "first trains the run in new/demo",
            "20 train, 6 val",
            "then writes  new/weights: the release in half precision",
        ],
    ),
    "demo-weights of a run": (
        ("pretrain/run.py", "demo-weights", "--shards", "shards", "--run", "run", "--out", "new/weights"),
        ["writes       new/weights: 21 files", "stored as float16"],
    ),
    "convert": (
        ("pretrain/run.py", "convert", "latest.pt", "--out", "new"),
        [
            "checkpoint  latest.pt: the authors' image tower (soundingearth-resnet18)",
            "writes      new/model: config.json",
        ],
    ),
    "aporee": (
        (*COLLECT, "aporee", "--out", "new", "--base-url", "https://archive.invalid", "--limit", "200", "--rate", "2"),
        [
            "https://archive.invalid, collection:radio-aporee-maps",
            "at most 200 sounds, 600 requests (5 min at 2 a second)",
            "ledger.sqlite",
        ],
    ),
    "sounds": (
        (*COLLECT, "sounds", "--table", "sounds.csv", "--out", "new", "--bbox", "0", "0", "10", "60"),
        [
            "sounds.csv, 4 entries",
            "outside the box 1, no address 1",
            "2 sounds, at most 3 kB, at least 2 requests (0 min at 1 a second)",
        ],
    ),
    "tiles": (
        (*TILES, "--xyz", "https://tiles.invalid/{z}/{x}/{y}?k={key}", "--key", "s3cret", "--scales", "1", "3"),
        ["8 in recordings/metadata.csv", "xyz: https://tiles.invalid/{z}/{x}/{y}", "8 images, about ", "tiles.sqlite"],
    ),
    "wms": (
        (*TILES, "--wms", "https://maps.invalid/wms", "--layer", "photos", "--overwrite"),
        ["https://maps.invalid/wms, which is not asked", "8 images, at least 8 requests (0 min at 5 a second)"],
    ),
    "advance": (
        (*COLLECT, "advance", "--root", "recordings", "--out", "new", "--overpass", "https://me:pw@o.invalid/api"),
        ["8 rows, 8 of them with both files", "https://o.invalid/api, not asked; at most 8 requests", "pairs.csv"],
    ),
    "adopt": (
        ("shards/run.py", "adopt", "foreign.tar", "https://tars.invalid/a.tar", "--out", "new"),
        ["1 here, ", "1 at addresses, which are not asked", "known once the corpus is unpacked in new.unpacked"],
    ),
    "adopt --check": (
        ("shards/run.py", "adopt", "foreign.tar", "--out", "new", "--check"),
        ["1 here, ", "the corpus is not listed"],
    ),
    "export": (
        ("shards/run.py", "export", "shards", "--out", "new", "--split", "train", "test"),
        ["20 train, 6 test samples", "Parquet files and a card, about "],
    ),
    "info": (
        ("shards/run.py", "info", "shards", "--report", "new"),
        ["20 train, 6 val, 6 test pairs", "new: a page, figures and statistics.json"],
    ),
    "slurm": (
        ("launch/compare.py", "plan.yaml", "--out", "new", "--slurm", "--sbatch", "--partition=gpu"),
        ["#SBATCH --array=1-2%8", "#SBATCH --partition=gpu", "jobs.sbatch", "report.sbatch"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_dry_run_says_what_would_be_done_and_writes_nothing(name: str, folder: Path) -> None:
    (script, *words), says = CASES[name]
    before = tree(folder)
    done = run(python(script, *words, "--dry-run"), cwd=folder)
    assert done.returncode == 0, done.stderr
    for part in says:
        assert part in done.stdout
    assert "nothing was written" in done.stdout
    assert "s3cret" not in done.stdout + done.stderr
    assert tree(folder) == before


def test_a_dry_run_fails_as_the_run_would(folder: Path) -> None:
    before = tree(folder)
    for more, says in (
        (("--batch-size", "21"), "batch_size must be at most the 20 pairs of the training split, got 21"),
        (("--out", "plan.yaml/run"), "out plan.yaml/run can't be written"),
        (("--model.norm", "sync"), "model.norm sync needs CUDA devices"),
    ):
        done = run(python(*TRAIN, *more, "--dry-run"), cwd=folder)
        assert done.returncode == 2, done.stdout
        assert says in done.stderr
    assert tree(folder) == before


def test_dry_runs_of_weights_fail_as_the_commands_would(folder: Path) -> None:
    before = tree(folder)
    for words, says in (
        (("release", "run", "--out", "plan.yaml/out"), "out plan.yaml/out can't be written"),
        (("release", "run", "--out", "new", "--results", "shards"), "results shards holds neither metrics.json nor"),
        (("demo-weights", "--run", "new", "--out", "shards"), "out shards already exists and is not an empty folder"),
        (("demo-weights", "--run", "plan.yaml/run", "--out", "new"), "run plan.yaml/run can't be written"),
        (("convert", "run/model/model.safetensors", "--out", "new"), "is not a checkpoint of SoundingEarth's authors"),
        (("convert", "latest.pt", "--out", "run"), "out run already has a model"),
    ):
        done = run(python("pretrain/run.py", *words, "--dry-run"), cwd=folder)
        assert done.returncode == 2, done.stdout
        assert says in done.stderr
    assert tree(folder) == before


def test_a_dry_run_on_one_process_knows_the_batch_of_those_planned(folder: Path) -> None:
    words = [*TRAIN, "--model.norm", "sync", "--dry-run"]
    done = run(python(*words), cwd=folder, PLANNED_PROCESSES="4")
    assert done.returncode == 0, done.stderr
    assert "8 = 4 processes x 2 pairs x 1 accumulation steps" in done.stdout
    assert "2 an epoch (4 pairs left out of each)" in done.stdout
    assert "1 processes here, 4 planned" in done.stdout
    done = run(python(*words), cwd=folder, PLANNED_PROCESSES="several")
    assert done.returncode == 2
    assert "PLANNED_PROCESSES must be a number of processes >= 1, got several" in done.stderr


def test_a_small_set_trains_without_a_word_about_its_batch(folder: Path, tmp_path: Path) -> None:
    narrow = [f"--model.{name}-encoder=narrow-resnet10" for name in ("image", "sound")]
    words = ["--shards", str(folder / "shards"), "--epochs", "1", *SMALL_INPUTS[2:], *narrow]
    done = run(python("pretrain/run.py", "soundingearth-resnet18", *words, "--out", "run"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "batch size 10, because the preset's 256 is more than the 20 training pairs" in done.stdout
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["batch_size"] == 10

    quiet = run(python("pretrain/run.py", "soundingearth-resnet18", *words, "--out", "quiet", "-q"), cwd=tmp_path)
    assert quiet.returncode == 0
    assert quiet.stdout.startswith("done: 1 epochs")
    assert quiet.stderr == ""
