"""The limit on unreadable items of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence

from shards.errors import UserError


def refuse_corrupt(faults: Sequence[str], num_items: int, items: str, max_corrupt: float) -> None:
    """Rejects data sets with too many unusable items.

    Args:
        faults: a sentence for each item that can't be used.
        num_items: all there are.
        items: what they are, for the message, such as "images".
        max_corrupt: largest share of them that may be unusable, in [0, 1].

    Raises:
        UserError: it is exceeded; names the first.
    """
    if len(faults) > max_corrupt * num_items:
        raise UserError(
            f"{len(faults)} of {num_items} {items} can't be used, more than max_corrupt {max_corrupt:g}; the first: "
            f"{faults[0]}; fix or remove them, or allow more with --max-corrupt"
        )
