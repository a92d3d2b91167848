"""Short and usual names of options: one table, and the words of a command line with full names in their place."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

SHORT_NAMES: Mapping[str, Sequence[str]] = {
    "-o": ("--out",),
    "--output": ("--out",),
    "-s": ("--shards",),
    "-w": ("--weights",),
    "-b": ("--batch-size",),
    "--bs": ("--batch-size",),
    "-j": ("--workers",),
    "--num-workers": ("--workers",),
}
"""Full names by short name; a command takes the first of them that it has."""


def full_name(name: str, table: Mapping[str, Sequence[str]], known: Collection[str]) -> str | None:
    """The full name that a short one stands for; None: the command has none of them, or an option of the short name.

    Args:
        name: the option as typed, such as "-o".
        table: full names by short name.
        known: names of the command's options.
    """
    name = name.replace("_", "-") if name.startswith("--") else name
    return None if name in known else next((full for full in table.get(name, ()) if full in known), None)


def expand(words: Sequence[str], table: Mapping[str, Sequence[str]], known: Collection[str]) -> list[str]:
    """The words of a command line, with full names for short ones, also in `--lr=0.1`.

    Args:
        words: the command line.
        table: full names by short name.
        known: names of the command's options.
    """
    full = []
    for word in words:
        name, equals, value = word.partition("=")
        full.append(f"{full_name(name, table, known) or name}{equals}{value}")
    return full


def describe(table: Mapping[str, Sequence[str]], known: Collection[str]) -> str:
    """The short names that a command takes, as lines of its `--help`; "" if it takes none."""
    short: dict[str, list[str]] = {}
    for name in table:
        if full := full_name(name, table, known):
            short.setdefault(full, []).append(name)
    entries = {", ".join(names): full for full, names in short.items()}
    width = max(map(len, entries), default=0) + 2
    lines = [f"  {names:<{width}}{full}" for names, full in entries.items()]
    return "\n".join(["Short names:", *lines]) if lines else ""
