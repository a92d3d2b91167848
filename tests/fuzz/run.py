"""Tries changed inputs of every family, or of some, and prints what became of them: `make fuzz`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

from fuzz.campaign import ACCEPTED, FAILED, REFUSED, Findings, try_family  # noqa: E402 (paths first)
from fuzz.command_families import COMMANDS, CommandFamily, try_command  # noqa: E402
from fuzz.families import FAMILIES  # noqa: E402

ROUND = 100
"""Inputs of a family in one go."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long to try; every family gets as many inputs")
    parser.add_argument("--inputs", type=int, default=10**9, help="of a family, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", type=int, default=0, help="instead: whole commands, so many of each kind")
    parser.add_argument("--family", action="append", help="only this one; may be given several times")
    options = parser.parse_args()
    if options.commands:
        commands = [family for family in COMMANDS if not options.family or family.name in options.family]
        sys.exit(try_commands(commands, options.commands, options.seed))
    families = [family for family in FAMILIES if not options.family or family.name in options.family]
    end = time.monotonic() + 60 * options.minutes
    found = {family.name: Findings() for family in families}
    start = 0
    while start < options.inputs and time.monotonic() < end:
        numbers = range(start, min(start + ROUND, options.inputs))
        for family in families:
            findings = try_family(family, numbers, options.seed)
            total = found[family.name]
            total.counts += findings.counts
            total.failures |= findings.failures
            total.peak_bytes = max(total.peak_bytes, findings.peak_bytes)
            print(f"\r{numbers.stop} inputs of {family.name}".ljust(70), end="", file=sys.stderr, flush=True)
        start = numbers.stop
    print(file=sys.stderr)
    print_table(found)
    sys.exit(any(findings.failures for findings in found.values()))


def try_commands(families: list[CommandFamily], inputs: int, seed: int) -> bool:
    """Runs whole commands, as many at once as there are cores, and prints what became of them; whether one failed."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        tried = {family.name: pool.submit(try_command, family, range(inputs), seed) for family in families}
        found = {}
        for name, findings in tried.items():
            found[name] = findings.result()
            print(f"\r{inputs} commands: {name}".ljust(70), end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print_table(found)
    return any(findings.failures for findings in found.values())


def print_table(found: dict[str, Findings]) -> None:
    """A line for every family, then the failures by seed and number."""
    kinds = (REFUSED, ACCEPTED, FAILED)
    print(f"{'family':32}{'tried':>9}" + "".join(f"{kind:>10}" for kind in kinds) + f"{'peak MB':>10}")
    for name, findings in found.items():
        tried = sum(findings.counts.values())
        counts = "".join(f"{findings.counts[kind]:>10,}" for kind in kinds)
        print(f"{name:32}{tried:>9,}{counts}{findings.peak_bytes / 1e6:>10,.0f}")
    totals = [sum(findings.counts[kind] for findings in found.values()) for kind in kinds]
    print(f"{f'{len(found)} families':32}{sum(totals):>9,}" + "".join(f"{total:>10,}" for total in totals))
    for name, findings in found.items():
        for number, why in sorted(findings.failures.items())[:20]:
            print(f"{name} {number}: {why}")


if __name__ == "__main__":
    main()
