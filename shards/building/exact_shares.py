"""Divides a small set into splits of exact shares, with groups that stay together as near to them as they allow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence

from shards.building.splitting import TEST_SHARE, VAL_SHARE, hash_share

EXACT_BELOW_PAIRS = 500
"""In smaller sets, splits drawn by hash would be off by more than a tenth of their size."""


def split_exactly(groups: Sequence[Hashable], seed: int) -> list[str]:
    """The split of each pair; all pairs of a group are in one split.

    With single pairs, 10 % are val and 20 % test, rounded by largest remainder. With groups, the sums nearest to these
    are drawn; the largest group is always training, and a split whose share is a pair or more gets a group where there
    are three.

    Args:
        groups: the group of each pair, with a text that is the same in every run.
        seed: another seed gives another draw.
    """
    members: dict[Hashable, list[int]] = defaultdict(list)
    for number, group in enumerate(groups):
        members[group].append(number)
    sizes = {group: len(numbers) for group, numbers in members.items()}
    drawn = sorted(members, key=lambda group: (hash_share(f"{seed}:{group}"), str(group)))
    largest, *others = sorted(drawn, key=lambda group: -sizes[group]) or [None]
    # The second largest group is test or training, so that val leaves something for test.
    second = others[:1]
    num_val, num_test = share_sizes(len(groups))
    val = _nearest_sum([group for group in drawn if group != largest and group not in second], sizes, num_val)
    left = [group for group in drawn if group != largest and group not in second and group not in val]
    test = _nearest_sum([*left, *second], sizes, num_test)
    splits = ["train"] * len(groups)
    for split, chosen in (("val", val), ("test", test)):
        for group in chosen:
            for number in members[group]:
                splits[number] = split
    return splits


def share_sizes(num_pairs: int) -> tuple[int, int]:
    """Pairs of val and test: 10 % and 20 %, rounded by largest remainder, training first where remainders are equal."""
    shares = {"train": 1 - VAL_SHARE - TEST_SHARE, "val": VAL_SHARE, "test": TEST_SHARE}
    exact = {split: round(num_pairs * share, 9) for split, share in shares.items()}
    sizes = {split: int(value) for split, value in exact.items()}
    left = num_pairs - sum(sizes.values())
    for split in sorted(exact, key=lambda split: sizes[split] - exact[split])[:left]:
        sizes[split] += 1
    return sizes["val"], sizes["test"]


def _nearest_sum(order: Sequence[Hashable], sizes: dict[Hashable, int], wanted: int) -> set[Hashable]:
    """Groups, at least one if there is any, whose sizes sum to what is nearest to `wanted`; the first that do so."""
    # Sum → (sum before, group that was added); each group is added to the sums of earlier groups only.
    reached: dict[int, tuple[int, Hashable]] = {}
    for group in order:
        for before in [0, *reached]:
            after = before + sizes[group]
            if after not in reached and before < max(wanted, 1):
                reached[after] = (before, group)
        if wanted in reached:
            break
    if not reached or wanted == 0:
        return set()
    total = min(reached, key=lambda sum_: (abs(sum_ - wanted), sum_))
    chosen: set[Hashable] = set()
    while total:
        total, group = reached[total]
        chosen.add(group)
    return chosen
