"""Before a long download: how much it is, whether the disk holds it, and whether the user wants it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from shards.errors import UserError

ASK_ABOVE_BYTES = 1 << 30
ASK_ABOVE_REQUESTS = 5000
SPARE_BYTES = 1 << 28
"""Left free on the disk."""


def confirm(out: Path, what: str, *, num_bytes: int | None, num_requests: int, rate: float, yes: bool) -> None:
    """Prints an estimate, checks the disk, and asks before anything large.

    Args:
        out: folder that is written to; it exists.
        what: what is to be fetched, with its count.
        num_bytes: of all of it, at most; None if unknown.
        num_requests: requests at least.
        rate: requests per second.
        yes: begin without asking.

    Raises:
        UserError: the disk is too small, or the user did not agree, or can't be asked.
    """
    size = "unknown size" if num_bytes is None else f"at most {shown_bytes(num_bytes)}"
    sentence = f"to fetch: {what}, {size}, at least {shown_requests(num_requests, rate)}"
    print(sentence, file=sys.stderr, flush=True)
    free = shutil.disk_usage(out).free
    if num_bytes is not None and num_bytes + SPARE_BYTES > free:
        raise UserError(
            f"{out} has {shown_bytes(free)} free, and {shown_bytes(num_bytes)} may be needed; free up space, give "
            "another --out, or fetch less (--limit, --bbox, --since)"
        )
    is_small = (num_bytes or 0) <= ASK_ABOVE_BYTES and num_requests <= ASK_ABOVE_REQUESTS
    if yes or is_small:
        return
    if not sys.stdin.isatty():
        raise UserError(f"{what} of {size} need your word; add --yes to begin, or fetch less with --limit")
    print("begin? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UserError("not begun; add --yes, or answer y")


def shown_requests(num_requests: int, rate: float) -> str:
    """A number of requests and the time that they take at a rate a second."""
    hours = num_requests / rate / 3600
    duration = f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"
    return f"{num_requests:,} requests ({duration} at {rate:g} a second)"


def shown_bytes(num_bytes: float) -> str:
    """Bytes in the decimal unit that suits them, as file managers show them."""
    for unit in ("bytes", "kB", "MB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:,.1f} GB"
