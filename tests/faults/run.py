"""Kills commands at any moment, or takes the disk away from them, and prints what became of them: `make faults`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

from faults.disks import take_the_disk  # noqa: E402 (paths first)
from faults.kills import kill_campaigns  # noqa: E402
from faults.works import WORKS, Work  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--campaigns", type=int, default=6, help="of each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--disks", action="store_true", help="instead: full disks and read-only ones")
    parser.add_argument("--command", action="append", help="only this one; may be given several times")
    options = parser.parse_args()
    if options.disks:
        sys.exit(try_disks([work for work in WORKS if not options.command or work.name in options.command]))
    works = [work for work in WORKS if not options.command or work.name in options.command]
    print(f"{'command':20}{'campaigns':>10}{'kills':>7}{'failed':>8}{'minutes':>9}")
    failures: list[str] = []
    campaigns = kills = 0
    for work in works:
        started = time.monotonic()
        killed = kill_campaigns(work, range(options.campaigns), options.seed)
        campaigns, kills = campaigns + killed.campaigns, kills + killed.kills
        minutes = (time.monotonic() - started) / 60
        line = f"{work.name:20}{killed.campaigns:>10}{killed.kills:>7}{len(killed.failures):>8}{minutes:>9.1f}"
        print(line, flush=True)
        failures += [f"{work.name} {number}: {why}" for number, why in killed.failures.items()]
    print(f"{f'{len(works)} commands':20}{campaigns:>10}{kills:>7}{len(failures):>8}")
    print("\n".join(failures))
    sys.exit(bool(failures))


def try_disks(works: list[Work]) -> bool:
    """Takes the disk from every command, prints what became of it, and whether one failed."""
    print(f"{'command':20}{'refused':>10}{'enough':>8}{'failed':>8}{'minutes':>9}")
    failures: list[str] = []
    for work in works:
        started = time.monotonic()
        found = take_the_disk(work)
        minutes = (time.monotonic() - started) / 60
        counts = f"{found.refused:>10}{found.enough:>8}{len(found.failures):>8}{minutes:>9.1f}"
        print(f"{work.name:20}{counts}", flush=True)
        failures += [f"{work.name}: {why}" for why in found.failures]
        for when, sentence in found.sentences.items():
            print(f"    {when}: {sentence}")
    print("\n".join(failures))
    return bool(failures)


if __name__ == "__main__":
    main()
