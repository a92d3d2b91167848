"""Folders of results → the runs that a report shows, and how their weights are named in it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from downstream.benchmarks import BENCHMARKS
from downstream.results import RESULTS_NAME, Results
from shards.errors import UserError

WEIGHTS = {"random": "Random", "imagenet": "ImageNet", "pretrained": "Published"}
"""As papers write them."""


@dataclass(frozen=True)
class Run:
    """The results in a folder."""

    folder: Path
    results: Results


def runs_of(folders: Sequence[Path]) -> list[Run]:
    """The runs in folders, or in any folder below them, each once, in the order given.

    Runs that another one trained within its own folder are left out unless they are named themselves.

    Raises:
        UserError: a folder has no results, or they name a benchmark from outside that was not allowed.
    """
    runs: dict[Path, Run] = {}
    for folder in folders:
        if (folder / RESULTS_NAME).is_file():
            places = [folder]
        else:
            places = sorted(path.parent for path in folder.rglob(RESULTS_NAME)) if folder.is_dir() else []
        if not places:
            raise UserError(f"no results in {folder}: neither it nor a folder below it holds a {RESULTS_NAME}")
        for place in places:
            if place.resolve() not in runs:
                results = Results.read(place)
                # Results may come from a third party: outside code that they name is imported only if it was allowed.
                if ":" in results.benchmark:
                    BENCHMARKS.check_allowed(results.benchmark, str(place / RESULTS_NAME))
                runs[place.resolve()] = Run(place, results)
    named = {folder.resolve() for folder in folders}
    return [run for place, run in runs.items() if place in named or runs.keys().isdisjoint(place.parents)]


def drawn_seeds(results: Results) -> set[int]:
    """The seeds that a run went through from its own on; its own alone where its splits have fixed seeds."""
    drawn = {draw["seed"] for draw in results.details.get("seeds", ()) if "seed" in draw}
    return drawn if drawn and drawn == set(range(results.seed, results.seed + len(drawn))) else {results.seed}


def short_names(weights: Collection[str]) -> dict[str, str]:
    """Paths of weights → their last parts, as many as tell them apart; a trailing `model` folder is left out."""
    names = {given: WEIGHTS[given] for given in weights if given in WEIGHTS}
    parts = {
        given: tuple(part for part in PurePath(given).parts if part != "/") for given in weights if given not in WEIGHTS
    }
    parts = {given: path[:-1] if path[-1:] == ("model",) and len(path) > 1 else path for given, path in parts.items()}
    for given, path in parts.items():
        others = [other for name, other in parts.items() if name != given]
        length = next((n for n in range(1, len(path)) if all(path[-n:] != other[-n:] for other in others)), len(path))
        names[given] = "/".join(path[-length:]) or given
    return names
