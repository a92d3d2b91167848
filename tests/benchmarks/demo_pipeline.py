"""`make demo` after the install, step by step: building the world and its shards, training, evaluating.

With the instructions of this CPU, and as on one without bf16 (ONEDNN_MAX_CPU_ISA=AVX2, --precision fp32). It runs only
when it is named; the commit before needed a quarter of an hour without bf16:

    python tests/benchmarks/run.py --only demo --against CHECKOUT
"""

from __future__ import annotations

import itertools
import json

from benchmarks.checkouts import AVX2, CPU_FORMS, NATIVE, Checkout, checkouts, in_turn
from benchmarks.corpus import Workplace
from benchmarks.results import Figure, Row, Target, Value

SUITE = "demo"
IS_LONG = True
MOST_SECONDS = {NATIVE: 120, AVX2: 240}
MOST_RANK = 8
DIRECTIONS = ("image_to_sound", "sound_to_image")
RANKS = tuple(f"{direction}_median_rank" for direction in DIRECTIONS)
QUICK_PLACES = 80
QUICK = ["--epochs", 1, "--data.image-size", 32, "--batch-size", 16]

TARGETS = (
    *(
        Target(case, Figure(SUITE, case, "seconds"), None, most, at_most=True, unit="s")
        for case, most in MOST_SECONDS.items()
    ),
    *(
        Target(f"{case}, {name}", Figure(SUITE, case, name), None, MOST_RANK, at_most=True, unit="of 240")
        for case in CPU_FORMS
        for name in RANKS
    ),
)


def measure(place: Workplace, _earlier: list[Row]) -> list[Row]:
    """Both forms by both checkouts."""
    numbers = itertools.count()

    def demo(checkout: Checkout, words: tuple[str, ...]) -> dict[str, Value]:
        folder = place.folder / f"demo-{next(numbers)}"
        folder.mkdir()
        shards, run, report = (folder / name for name in ("shards", "run", "report"))
        world = (place.folder if place.quick else folder) / "world"
        smaller, settings = (["--limit", QUICK_PLACES], QUICK) if place.quick else ([], [])
        steps: dict[str, tuple[str, list[object]]] = {
            "build_s": ("shards/run.py", ["build", "--source", "demo", "--root", world, "--out", shards, *smaller]),
            "train_s": ("pretrain/run.py", ["demo", "--shards", shards, "--out", run, *words, *settings]),
            "evaluate_s": ("retrieval/run.py", ["evaluate", "--weights", run, "--shards", shards, "--out", report]),
        }
        parts = {name: checkout.run(script, *more, cwd=folder)[0] for name, (script, more) in steps.items()}
        metrics = json.loads((report / "metrics.json").read_text(encoding="utf-8"))
        ranks = {name: metrics[direction]["median_rank"] for direction, name in zip(DIRECTIONS, RANKS, strict=True)}
        return {"seconds": sum(parts.values()), **parts, **ranks}

    rows = []
    for case, form in list(CPU_FORMS.items())[: 1 if place.quick else None]:
        of = checkouts(place, **form.variables)
        rows += in_turn(SUITE, case, of, lambda checkout, words=form.words: demo(checkout, words))
    return rows
