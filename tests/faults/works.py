"""Commands that write, small enough to be killed or refused a hundred times: what each reads, writes and leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from advance_corpora import Row, write_corpus, write_map
from commands import SMALL, python, with_deepspeed
from faults import collect_works as collecting
from foreign_sets import write_parquet, write_tars
from hub_server import serve_hub
from listening_shards import write_listening_shards, write_tiny_towers
from pair_folders import write_advance, write_events, write_image, write_sound
from released_runs import write_run
from scene_folders import write_scenes
from shard_commands import files_of
from shard_server import Fault, serve
from tiny_shards import write_tiny_shards

from downstream.tau.demo_clips import write_demo
from shards.demo_world.corpus import generate_demo_corpus

Files = dict[str, Any]
"""What a command has written, by name: bytes, or what of a file does not depend on the time it took."""


@dataclass(frozen=True)
class Work:
    """A command that writes.

    Attributes:
        name: unique.
        prepare: writes what the command reads into an empty folder.
        words: the command, for that folder and the one to write to.
        results: what it has written that must be the same each time.
        resume: goes on after a kill; by default the command itself.
        other: replaces what is there by something else; None where a command never replaces.
        processes: that join, as those of torchrun do; 1 has none to join.
        beside: what runs meanwhile, such as a server; gives more variables of the environment.
    """

    name: str
    prepare: Callable[[Path], object]
    words: Callable[[Path, Path], list[str]]
    results: Callable[[Path], Files]
    resume: Callable[[Path, Path], list[str]] | None = None
    other: Callable[[Path, Path], list[str]] | None = None
    processes: int = 1
    environment: dict[str, str] = field(default_factory=dict)
    beside: Callable[[Path], AbstractContextManager[dict[str, str]]] = lambda folder: nullcontext({})

    def goes_on(self, folder: Path, out: Path) -> list[str]:
        """The command to be given after the first was ended, whenever that was."""
        return (self.resume or self.words)(folder, out)


def remains(out: Path) -> list[str]:
    """Temporary files, which nothing should leave once a command has succeeded."""
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if ".partial" in path.name)


# Builds


def _corpus(folder: Path) -> None:
    generator = np.random.default_rng(0)
    lines = ["key,longitude,latitude,title"]
    for number in range(24):
        write_image(folder / "images" / f"{number}.png", (90, 60 + 4 * number, 30), generator)
        write_sound(folder / "audio" / f"{number}.wav", 300.0 + 50 * number, generator)
        lines.append(f"{number},{number},{number},place {number}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")


def _build(folder: Path, out: Path, workers: int = 2) -> list[str]:
    words = ("--source", "recordings", "--root", folder, "--out", out, "--samples-per-shard", "3")
    return python("shards/run.py", "build", *words, "--workers", workers, "--max-rejected", "0.1")


def _recordings(folder: Path) -> None:
    rows = [Row(f"l{number}", "lake", 3, number) for number in range(12)]
    write_corpus(folder / "corpus", [*rows, Row("b", "beach", 3, 0), Row("short", "lake", 1, 12)])
    write_map(folder / "map.geojson")


def _collect_advance(folder: Path, out: Path) -> list[str]:
    words = ("--root", folder / "corpus", "--out", out / "scenes", "--osm", folder / "map.geojson")
    return python("shards/run.py", "collect", "advance", *words, "--tile-pixels", "32", "--workers", "2")


def _info(folder: Path, out: Path) -> list[str]:
    return python("shards/run.py", "info", folder / "set", "--report", out / "page")


def _build_demo(folder: Path, out: Path) -> list[str]:
    words = ("--source", "demo", "--root", out / "world", "--out", out / "set", "--places", "12")
    return python("shards/run.py", "build", *words, "--workers", "2")


def _foreign(folder: Path) -> None:
    write_tars(folder / "tars", {"train": 16, "val": 4, "test": 4}, per_tar=3, seconds=1.0)
    write_parquet(folder / "parquet", {"train": 16, "val": 4, "test": 4}, per_file=3)
    write_tiny_shards(folder / "set", {"train": 24, "val": 8, "test": 8}, image_side=32, samples_per_shard=3)


def _adopt(folder: Path, out: Path) -> list[str]:
    words = ("adopt", folder / "tars", "--out", out / "set", "--samples-per-shard", "3", "--workers", "1")
    return python("shards/run.py", *words)


def _build_parquet(folder: Path, out: Path) -> list[str]:
    words = ("--source", "parquet", "--root", folder / "parquet", "--out", out / "set", "--samples-per-shard", "3")
    return python("shards/run.py", "build", *words, "--workers", "1")


def _export(form: str) -> Callable[[Path, Path], list[str]]:
    def words(folder: Path, out: Path) -> list[str]:
        return python("shards/run.py", "export", folder / "set", "--out", out / "export", "--format", form)

    return words


# Pre-training


def _shards(folder: Path) -> None:
    write_tiny_shards(folder / "set", {"train": 48, "val": 16, "test": 24}, image_side=32)


TRAINED = [*SMALL, "--epochs", "3", "--checkpoint.every-steps", "1", "--data.workers", "2"]
FROZEN = ["--model.freeze", "image,sound", "--data.feature-views", "3", "--mixing", "1", *TRAINED]


def _train(preset: str, *settings: str) -> Callable[[Path, Path], list[str]]:
    def words(folder: Path, out: Path) -> list[str]:
        where = (folder / "url").read_text() if (folder / "url").exists() else folder / "set"
        return python("pretrain/run.py", preset, "--shards", where, "--out", out / "run", *settings)

    return words


def _resume(words: Callable[[Path, Path], list[str]], *more: str) -> Callable[[Path, Path], list[str]]:
    """Resumes a run, or begins it where it was ended before it had written its settings."""

    def resume(folder: Path, out: Path) -> list[str]:
        run = out / "run"
        if (run / "config.yaml").exists():
            return python(words(folder, out)[1], "--resume", run, *more)
        return words(folder, out)

    return resume


def _run_results(out: Path) -> Files:
    """Weights, the state of the newest checkpoint, the losses of every step, and stored features."""
    run = out / "run"
    wanted = ("model/*.safetensors", "checkpoints/*/weights.safetensors", "features/*.npy")
    files: Files = {str(path.relative_to(run)): path.read_bytes() for glob in wanted for path in run.glob(glob)}
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    files["losses"] = [(line["step"], line["loss"]) for line in lines if line["split"] == "train"]
    files["medians"] = [(line["step"], line["image_to_sound"]) for line in lines if line["split"] == "val"]
    return files


@contextmanager
def _slow_shards(folder: Path) -> Iterator[dict[str, str]]:
    """The set from a server that takes its time over the tars, so that a kill meets one half fetched."""
    with serve(folder / "set") as server:
        for tar in (folder / "set").glob("*.tar"):
            server.always[tar.name] = Fault(seconds_a_byte=5e-7, bytes_at_once=4096)
        (folder / "url").write_text(f"{server.url}")
        yield {}


# Retrieval


def _listening(folder: Path) -> None:
    write_listening_shards(folder / "set", {"train": 4, "val": 16, "test": 24})
    write_tiny_towers(folder / "model")


def _retrieval(*verb: str, split: str = "test", **more: object) -> Callable[[Path, Path], list[str]]:
    def words(folder: Path, out: Path) -> list[str]:
        places = ("--weights", folder / "model", "--shards", folder / "set", "--split", split, "--out", out / "out")
        settings = [str(word) for name, value in more.items() for word in (f"--{name}", value)]
        return python("retrieval/run.py", *verb, *places, "--crops", "2", "--batch-size", "2", *settings)

    return words


EVALUATE, STUDY = partial(_retrieval, "evaluate"), partial(_retrieval, "study", "prepare")


def _evaluate_from_hub(folder: Path, out: Path) -> list[str]:
    words = EVALUATE()(folder, out)
    words[words.index("--weights") + 1] = "tester/model"
    return words


@contextmanager
def _hub(folder: Path) -> Iterator[dict[str, str]]:
    """The towers on a hub, and a cache that is the command's own."""
    with serve_hub() as hub:
        hub.models["tester/model"] = {path.name: path.read_bytes() for path in (folder / "model").iterdir()}
        hub.seconds_a_chunk = 0.002
        yield hub.environment(folder / "hub")


def _embed(kind: str, suffix: str = ".npz") -> Callable[[Path, Path], list[str]]:
    def words(folder: Path, out: Path) -> list[str]:
        files = folder / {"images": "images", "sounds": "audio"}[kind]
        places = ("--weights", folder / "model", f"--{kind}", files, "--out", out / f"embeddings{suffix}")
        return python("retrieval/run.py", "embed", *places)

    return words


def _files_and_model(folder: Path) -> None:
    _corpus(folder)
    write_tiny_towers(folder / "model")


# Benchmarks


def _benchmark(name: str, root: str, *settings: str) -> Callable[[Path, Path], list[str]]:
    def words(folder: Path, out: Path) -> list[str]:
        places = ("--root", folder / root, "--out", out / "run")
        weights = () if "--weights" in settings else ("--weights", folder / "model")
        return python("downstream/run.py", name, *places, *weights, *QUICK, *settings)

    return words


QUICK = ("--tracker", "none", "--workers", "0", "--precision", "fp32", "--threads", "1")
SMALL_SCENES = ("--image-size", "32", "--batch-size", "8", "--epochs", "3", "--num-seeds", "2")
TRANSFERRED = (
    *("--weights", "random", "--backbone", "resnet18", "--transfer.num-frames", "32", "--batch-size", "8"),
    *("--epochs", "2", "--num-seeds", "1"),
)


def _scenes(folder: Path) -> None:
    write_scenes(folder / "scenes")
    write_tiny_towers(folder / "model")


def _advance(folder: Path) -> None:
    write_advance(folder / "advance")
    write_tiny_towers(folder / "model")


def _benchmark_results(out: Path) -> Files:
    """All files of a benchmark but how long it took and what is kept for resuming."""
    run = out / "run"
    timed = ("checkpoints/", "metrics.jsonl", "summary.json")
    kept = {name: content for name, content in files_of(run).items() if not any(part in name for part in timed)}
    for name in [name for name in kept if name.endswith("results.json")]:
        record = json.loads(kept[name])
        del record["seconds"]
        kept[name] = json.dumps(record).encode()
    return kept


def _landcover(folder: Path) -> None:
    generate_demo_corpus(
        folder / "world",
        num_places=12,
        image_size=64,
        clip_seconds=0.5,
        sample_rate_hz=16_000,
        num_workers=0,
        show_progress=False,
    )


def _events(folder: Path) -> None:
    write_events(folder / "events")


def _cities(folder: Path) -> None:
    write_demo(folder / "cities")


# Reports and releases


def _run(folder: Path) -> None:
    shards = write_tiny_shards(folder / "set", {"train": 16, "val": 4, "test": 4}, image_side=32)
    write_run(folder / "run", shards)


def _release(folder: Path, out: Path) -> list[str]:
    return python("pretrain/run.py", "release", folder / "run", "--out", out / "release")


def _demo_weights(folder: Path, out: Path) -> list[str]:
    """The command where the demo was trained already: it releases in half precision."""
    words = ["--run", folder / "run", "--shards", folder / "set", "--out", out / "demo"]
    return python("pretrain/run.py", "demo-weights", *words)


def _results(folder: Path) -> None:
    from fuzz.model_families import write_results

    (folder / "results").mkdir()
    write_results("ucmerced")(folder / "results")


def _report(folder: Path, out: Path) -> list[str]:
    return python("downstream/run.py", "report", folder / "results", "--out", out / "report")


def _plan(folder: Path) -> None:
    _shards(folder)
    settings: dict[str, Any] = {
        **{"batch_size": 16, "data.image_size": 32, "model.sound_pooling": 4, "data.workers": 0, "precision": "fp32"},
        **{"validation.crops": 1, "threads": 1, "epochs": 1},
    }
    record = {"name": "small", "shards": str(folder / "set"), "settings": settings, "methods": {"one": {}}}
    (folder / "plan.yaml").write_text(yaml.safe_dump(record))


def _compare(folder: Path, out: Path) -> list[str]:
    return python("launch/compare.py", folder / "plan.yaml", "--out", out / "compared")


def _compare_results(out: Path) -> Files:
    row = out / "compared" / "rows" / "one" / "resnet18" / "seed-0" / "run"
    names = sorted(path.name for path in (out / "compared" / "report").iterdir())
    return {"names": names, "model": (row / "model" / "model.safetensors").read_bytes()}


BATCH_TRIPLET, FEATURES = _train("demo", *TRAINED), _train("symmetric-contrastive", *FROZEN)
SCENES = _benchmark("folder", "scenes", *SMALL_SCENES)
LANDCOVER = _benchmark(
    "demo-landcover", "world", "--weights", "random", "--image-size", "32", "--epochs", "1", "--batch-size", "8"
)
ADVANCE = _benchmark("advance", "advance", "--allow-partial")
TRANSFER = _benchmark(
    "advance-transfer", "advance", *TRANSFERRED, "--allow-partial", "--image-size", "32", "--transfer.loss", "none"
)
EVENTS = _benchmark("sound-events", "events", *TRANSFERRED)
CITIES = _benchmark(
    "demo-tau",
    "cities",
    *("--tau.strategy", "audio", "--tau.train-frames", "2", "--image-size", "32", "--epochs", "1"),
    *("--weights", "random", "--batch-size", "40"),
)
WORKS = [
    Work("build", _corpus, _build, files_of),
    Work("build demo", lambda folder: None, _build_demo, files_of),
    Work(
        *("collect aporee", collecting.write_sounds, collecting.collect_aporee, collecting.collected),
        beside=collecting.archive,
    ),
    Work(
        *("collect tiles", collecting.write_sounds, collecting.collect_tiles, collecting.collected),
        beside=collecting.map_service,
    ),
    Work("collect clean", collecting.write_sounds, collecting.collect_clean(), collecting.collected),
    Work("build parquet", _foreign, _build_parquet, files_of),
    Work("adopt", _foreign, _adopt, files_of),
    Work("export parquet", _foreign, _export("parquet"), files_of),
    Work("export folder", _foreign, _export("folder"), files_of),
    Work("collect advance", _recordings, _collect_advance, files_of),
    Work("info", _shards, _info, files_of, other=_info),
    Work("pretrain", _shards, BATCH_TRIPLET, _run_results, _resume(BATCH_TRIPLET)),
    Work(
        *("pretrain zero2", _shards, BATCH_TRIPLET, _run_results, _resume(BATCH_TRIPLET)),
        processes=2,
        environment=with_deepspeed("zero2"),
    ),
    Work("pretrain frozen", _shards, FEATURES, _run_results, _resume(FEATURES)),
    Work("pretrain remote", _shards, BATCH_TRIPLET, _run_results, _resume(BATCH_TRIPLET), beside=_slow_shards),
    Work("evaluate", _listening, EVALUATE(), files_of, other=EVALUATE(split="val")),
    Work("evaluate hub", _listening, _evaluate_from_hub, files_of, beside=_hub),
    Work("embed", _files_and_model, _embed("images"), files_of, other=_embed("sounds")),
    Work("embed csv", _files_and_model, _embed("images", ".csv"), files_of, other=_embed("sounds", ".csv")),
    Work("study prepare", _listening, STUDY(pairs=12), files_of, other=STUDY(pairs=12, seed=1)),
    Work("scenes", _scenes, SCENES, _benchmark_results, _resume(SCENES)),
    Work("landcover", _landcover, LANDCOVER, _benchmark_results, _resume(LANDCOVER)),
    Work("advance", _advance, ADVANCE, _benchmark_results, _resume(ADVANCE)),
    Work("advance-transfer", _advance, TRANSFER, _benchmark_results, _resume(TRANSFER)),
    Work("sound-events", _events, EVENTS, _benchmark_results, _resume(EVENTS)),
    Work("tau", _cities, CITIES, _benchmark_results, _resume(CITIES)),
    Work("release", _run, _release, files_of),
    Work("demo-weights", _run, _demo_weights, files_of),
    Work("report", _results, _report, files_of, other=_report),
    Work("compare", _plan, _compare, _compare_results, other=_compare),
]
