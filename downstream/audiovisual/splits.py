"""Which pairs train, choose and test: by pair, as SoundingEarth's authors drew, or by location, as ADVANCE's did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import train_test_split

from downstream.audiovisual.benchmark import ScenePair
from shards.errors import UserError

SPLIT_SEEDS = (0, 42, 84, 126, 168)
"""Seeds of the five draws that a result is the mean of."""

TEST_SEED = 42
"""Seed of the test part that all five draws of `stratified_split` share."""

VAL_SHARE, TEST_SHARE = 0.1, 0.2
"""Shares of all pairs; the rest, 70 %, trains."""

FEWEST_PAIRS_OF_CLASS = 10
"""Pairs per class from which every part gets at least one."""


@dataclass(frozen=True)
class PairSplit:
    """Pairs by their use, each part sorted by key.

    Attributes:
        train: to fit on.
        val: to choose the regularisation by.
        test: to score on.
    """

    train: list[ScenePair]
    val: list[ScenePair]
    test: list[ScenePair]


@dataclass(frozen=True)
class SharedLocations:
    """How far a split leaks.

    Attributes:
        num_test: clips of the test part.
        num_shared: those of them whose location, and so whose recording, is in the training part too.
    """

    num_test: int
    num_shared: int


def stratified_split(pairs: Sequence[ScenePair], seed: int) -> PairSplit:
    """70/10/20 of the pairs of each class: the test part is always the same, the rest is redrawn by the seed.

    Clips of one location, and so of one recording, come to lie in all parts; `shared_locations` counts them. It is the
    split of SoundingEarth's authors: with a fixed training part, too, all draws would give the same score.

    Args:
        pairs: labelled; their order does not matter.
        seed: of the draw of training and validation.

    Raises:
        UserError: a class has too few pairs.
    """
    ordered = sorted(pairs, key=lambda pair: pair.key)
    _check_counts(ordered)
    rest, test = _stratified(ordered, TEST_SHARE, TEST_SEED)
    train, val = _stratified(rest, VAL_SHARE / (1 - TEST_SHARE), seed)
    return PairSplit(train, val, test)


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
                f"split grouped needs 3 locations of each class, the class of {members[locations[0]][0].key} has "
                f"{len(locations)}; take --split stratified"
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
"""By the name of the setting `split`."""

SPLIT_NAMES = {
    "stratified": "70/10/20 % of each class by clip, the test part fixed; clips of one recording may be in two parts",
    "grouped": "70/10/20 % of each class by location; no location in two parts",
}
"""As results show them."""


def shared_locations(split: PairSplit) -> SharedLocations:
    """Counts the test clips whose location is in the training part too."""
    trained = {pair.location for pair in split.train}
    return SharedLocations(len(split.test), sum(pair.location in trained for pair in split.test))


def leaks(pairs: Sequence[ScenePair]) -> dict[str, dict[str, list[int]] | None]:
    """How far each split leaks, draw by draw: `num_test`, and `num_shared` of them; None where it can't be drawn."""
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
    """A split's part of `leaks` as a sentence."""
    if leak is None:
        return f"split {name} can't be drawn from these pairs"
    shared, tested = sum(leak["num_shared"]), sum(leak["num_test"])
    draws = len(leak["num_test"])
    return (
        f"split {name}: {shared / draws:g} of {tested / draws:g} test clips ({shared / tested:.1%}) share a recording "
        f"with training, in the mean of {draws} draws"
    )


def _stratified(pairs: list[ScenePair], share: float, seed: int) -> tuple[list[ScenePair], list[ScenePair]]:
    """The rest, and a share of each class, by scikit-learn's draw."""
    rest, part = train_test_split(
        pairs, test_size=share, stratify=[pair.label for pair in pairs], random_state=seed, shuffle=True
    )
    return sorted(rest, key=lambda pair: pair.key), sorted(part, key=lambda pair: pair.key)


def _check_counts(pairs: list[ScenePair]) -> None:
    label, count = min(Counter(pair.label for pair in pairs).items(), key=lambda entry: entry[1])
    if count < FEWEST_PAIRS_OF_CLASS:
        first = next(pair.key for pair in pairs if pair.label == label)
        raise UserError(
            f"the class of {first} has {count} pairs, a split into 70/10/20 % needs {FEWEST_PAIRS_OF_CLASS} or more"
        )
