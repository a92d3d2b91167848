"""`evaluate` and `embed` by their commands, from start to end: the recipe's ResNet-18 and a light network."""

from __future__ import annotations

import itertools
from pathlib import Path

from benchmarks.building import write_recordings
from benchmarks.checkouts import Checkout, checkouts, compared, in_turn
from benchmarks.corpus import Workplace
from benchmarks.results import Row, Value

from pretrain.precision import cpu_computes_bf16

SUITE = "evaluate"
MODELS = {"resnet18, 192 px": ("resnet18", 192, 1), "resnet18, 32 px, pooled by 4": ("resnet18", 32, 4)}
PAIRS, QUICK_PAIRS = 300, 8
SECONDS_OF_SOUND = 60
WORK = ("evaluate", "embed --images", "embed --sounds")
BF16 = "{}, bf16"

TARGETS = tuple(
    compared(f"{work}, {model}", SUITE, f"{work}, {model}", "seconds", 1 / 2) for model in MODELS for work in WORK
)


def measure(place: Workplace, _earlier: list[Row]) -> list[Row]:
    """All three by both checkouts, and by this one in bfloat16 as well where the CPU has instructions for it."""
    number = QUICK_PAIRS if place.quick else PAIRS
    root = write_recordings(place, place.folder / "to-evaluate", SECONDS_OF_SOUND, number)
    outs = itertools.count()
    sets: dict[tuple[Path, str], Path] = {}

    def made(checkout: Checkout, model: str) -> tuple[Path, Path]:
        """The weights and shards of a checkout, in its own formats."""
        shards = sets.get((checkout.root, ""))
        if shards is None:
            shards = sets[checkout.root, ""] = place.folder / f"shards-{next(outs)}"
            words = ["--root", root, "--out", shards, "--split-by", "random"]
            checkout.run("shards/run.py", "build", "--source", "recordings", *words)
        weights = sets.get((checkout.root, model))
        if weights is None:
            weights = sets[checkout.root, model] = place.folder / f"model-{next(outs)}"
            checkout.probe("save_model", weights, *MODELS[model])
        return weights, shards

    def timed(checkout: Checkout, work: str, model: str, *more: str) -> dict[str, Value]:
        weights, shards = made(checkout, model)
        out = place.folder / f"out-{next(outs)}"
        words = {
            "evaluate": ["evaluate", "--shards", shards, "--split", "train", "--out", out],
            "embed --images": ["embed", "--images", root / "images", "--out", f"{out}.npz"],
            "embed --sounds": ["embed", "--sounds", root / "audio", "--out", f"{out}.npz"],
        }[work]
        return {"seconds": checkout.run("retrieval/run.py", *words, "--weights", weights, *more)[0]}

    rows = []
    for model, work in itertools.product(list(MODELS)[: 1 if place.quick else None], WORK):
        case = f"{work}, {model}"
        rows += in_turn(SUITE, case, checkouts(place), lambda checkout, of=(work, model): timed(checkout, *of))
        # In a quick run, the other precision once.
        if cpu_computes_bf16() and not (place.quick and work != WORK[0]):
            in_bf16 = (work, model, "--precision", "bf16")
            rows += in_turn(
                SUITE, BF16.format(case), checkouts(place)[:1], lambda checkout, of=in_bf16: timed(checkout, *of)
            )
    return rows
