"""Splits of pairs: by pair, as by SoundingEarth's authors, or by location, as by ADVANCE's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import train_test_split

from downstream.audiovisual.benchmark import ScenePair
from shards.errors import UserError

SPLIT_SEEDS = (0, 42, 84, 126, 168)
"""Seeds of the five random splits over which results are averaged."""

TEST_SEED = 42
"""Seed of the test split, which is the same for all seeds of `stratified_split`."""

VAL_SHARE, TEST_SHARE = 0.1, 0.2
"""Shares of all pairs; the remaining 70 % are for training."""

FEWEST_PAIRS_OF_CLASS = 10
"""Pairs per class from which every part gets at least one."""


@dataclass(frozen=True)
class PairSplit:
    """A split of pairs, each part sorted by key.

    Attributes:
        train: pairs for fitting.
        val: pairs for selecting the regularisation.
        test: pairs for scoring.
    """

    train: list[ScenePair]
    val: list[ScenePair]
    test: list[ScenePair]


@dataclass(frozen=True)
class SharedLocations:
    """How much a split leaks.

    Attributes:
        num_test: number of test clips.
        num_shared: number of test clips whose location, and so whose recording, is also in the training split.
    """

    num_test: int
    num_shared: int


def stratified_split(pairs: Sequence[ScenePair], seed: int) -> PairSplit:
    """Splits the pairs of each class 70/10/20; the test split is always the same, the rest depends on the seed.

    This is the split of SoundingEarth's authors. Clips of one location, and so of one recording, may be in all splits;
    `shared_locations` counts them. As in their code, the second split draws from the pairs in the order in which the
    first one returned them.

    Args:
        pairs: labelled pairs; their order does not matter.
        seed: seed of the training and validation splits.

    Raises:
        UserError: a class has too few pairs.
    """
    ordered = sorted(pairs, key=lambda pair: pair.key)
    _check_counts(ordered)
    rest, test = _stratified(ordered, TEST_SHARE, TEST_SEED)
    train, val = _stratified(rest, VAL_SHARE / (1 - TEST_SHARE), seed)
    return PairSplit(*(sorted(part, key=lambda pair: pair.key) for part in (train, val, test)))


def grouped_split(pairs: Sequence[ScenePair], seed: int) -> PairSplit:
    """Splits the pairs of each class 70/10/20 by the seed, with no location in two parts.

    Whole locations are dealt out, class by class, so that the parts have the classes in the same shares as far as the
    sizes of the locations allow. A location with pairs of several classes goes with the class of its first pair.
    Source: Hu et al., ECCV 2020 (arXiv 2005.08449), section 5.1, which names the shares and the rule.

    Args:
        pairs: labelled; their order does not matter.
        seed: of the draw.

    Raises:
        UserError: a class has pairs of fewer than three locations.
    """
    ordered = sorted(pairs, key=lambda pair: pair.key)
    members: dict[str, list[ScenePair]] = {}
    for pair in ordered:
        members.setdefault(pair.location, []).append(pair)
    label_of = {location: its_pairs[0].label for location, its_pairs in members.items()}
    generator = np.random.default_rng(seed)
    parts: dict[str, list[ScenePair]] = {"train": [], "val": [], "test": []}
    for label in sorted(set(label_of.values())):
        locations = [location for location in sorted(label_of) if label_of[location] == label]
        if len(locations) < len(parts):
            raise UserError(
                f"split grouped needs 3 locations of each class, but the class of {members[locations[0]][0].key} has "
                f"{len(locations)}; use --split stratified"
            )
        shuffled = [members[locations[i]] for i in generator.permutation(len(locations))]
        for name, chosen in _deal(shuffled).items():
            parts[name] += [pair for its_pairs in chosen for pair in its_pairs]
    return PairSplit(**{name: sorted(chosen, key=lambda pair: pair.key) for name, chosen in parts.items()})


def _deal(locations: list[list[ScenePair]]) -> dict[str, list[list[ScenePair]]]:
    """Assigns a class's shuffled locations to parts: test and val get up to their share, at least one; train the rest.

    A location goes in where more than half of it is still wanted, so that shares are met in the mean.
    """
    num_pairs = sum(map(len, locations))
    left = list(locations)
    parts: dict[str, list[list[ScenePair]]] = {}
    for name, share in (("test", TEST_SHARE), ("val", VAL_SHARE)):
        wanted, chosen = share * num_pairs, [left.pop()]
        wanted -= len(chosen[0])
        # Each remaining part needs one, too.
        while len(left) > 2 - len(parts) and wanted >= len(left[-1]) / 2:
            wanted -= len(left[-1])
            chosen.append(left.pop())
        parts[name] = chosen
    return {"train": left, **parts}


SPLITS: dict[str, Callable[[Sequence[ScenePair], int], PairSplit]] = {
    "stratified": stratified_split,
    "grouped": grouped_split,
}
"""Split functions by the value of the setting `split`."""

SPLIT_NAMES = {
    "stratified": "70/10/20 % of each class by clip, the test part fixed; clips of one recording may be in two parts",
    "grouped": "70/10/20 % of each class by location; no location in two parts",
}
"""Descriptions in results."""


def shared_locations(split: PairSplit) -> SharedLocations:
    """Counts the test clips whose location is also in the training split."""
    trained = {pair.location for pair in split.train}
    return SharedLocations(len(split.test), sum(pair.location in trained for pair in split.test))


def leaks(pairs: Sequence[ScenePair]) -> dict[str, dict[str, list[int]] | None]:
    """Leakage of each kind of split, by seed: `num_test` and `num_shared`; None if the pairs can't be split so."""
    found: dict[str, dict[str, list[int]] | None] = {}
    for name, split in SPLITS.items():
        try:
            shared = [shared_locations(split(pairs, seed)) for seed in SPLIT_SEEDS]
        except UserError:
            found[name] = None
        else:
            found[name] = {
                "num_test": [draw.num_test for draw in shared],
                "num_shared": [draw.num_shared for draw in shared],
            }
    return found


def describe_leak(name: str, leak: dict[str, list[int]] | None) -> str:
    """Describes an entry of `leaks`."""
    if leak is None:
        return f"split {name} is not possible with these pairs"
    shared, tested = sum(leak["num_shared"]), sum(leak["num_test"])
    draws = len(leak["num_test"])
    return (
        f"split {name}: {shared / draws:g} of {tested / draws:g} test clips ({shared / tested:.1%}) share a recording "
        f"with training, mean over {draws} random splits"
    )


def _stratified(pairs: list[ScenePair], share: float, seed: int) -> tuple[list[ScenePair], list[ScenePair]]:
    """Splits off a share of each class with scikit-learn; returns the rest and the share."""
    rest, part = train_test_split(
        pairs, test_size=share, stratify=[pair.label for pair in pairs], random_state=seed, shuffle=True
    )
    return rest, part


def _check_counts(pairs: list[ScenePair]) -> None:
    label, count = min(Counter(pair.label for pair in pairs).items(), key=lambda entry: entry[1])
    if count < FEWEST_PAIRS_OF_CLASS:
        first = next(pair.key for pair in pairs if pair.label == label)
        raise UserError(
            f"the class of {first} has {count} pairs, but a 70/10/20 % split needs at least {FEWEST_PAIRS_OF_CLASS}"
        )
