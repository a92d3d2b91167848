"""Kills commands at any moment, takes the disk away from them, visits servers, and prints what became of them.

`make faults` runs all three: `run.py kills`, `run.py disks`, `run.py servers`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

from faults.disks import take_the_disk  # noqa: E402 (paths first)
from faults.kills import kill_campaigns  # noqa: E402
from faults.servers import SITES, try_site  # noqa: E402
from faults.study_kills import kill_study_server  # noqa: E402
from faults.works import WORKS, Work  # noqa: E402

STUDY_SERVER = "study serve"
NAME_WIDTH = 20


def main() -> None:
    """Carries out the campaigns that are asked for; the exit status says whether one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=list(KINDS))
    parser.add_argument("--campaigns", type=int, default=6, help="kills: of each command")
    parser.add_argument("--requests", type=int, default=2000, help="servers: to each")
    parser.add_argument("--slow", type=int, default=200, help="servers: clients that never come to an end")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", help="this command or server; may be given several times")
    options = parser.parse_args()
    sys.exit(KINDS[options.kind](options))


def try_kills(options: argparse.Namespace) -> bool:
    """Prints how often each command was killed, and why a campaign failed; whether one did."""
    print(f"{'command':{NAME_WIDTH}}{'campaigns':>10}{'kills':>7}{'failed':>8}{'minutes':>9}")
    numbers, totals = range(options.campaigns), [0, 0, 0]
    tries = {work.name: lambda work=work: kill_campaigns(work, numbers, options.seed) for work in WORKS}
    tries[STUDY_SERVER] = lambda: kill_study_server(numbers, options.seed)
    for name in _chosen(tries, options):
        started = time.monotonic()
        killed = tries[name]()
        counts = (killed.campaigns, killed.kills, len(killed.failures))
        totals = [total + count for total, count in zip(totals, counts, strict=True)]
        _print_line(name, counts, started)
        for number, why in killed.failures.items():
            print(f"    campaign {number}: {why}", flush=True)
    _print_line("all", totals)
    return totals[-1] > 0


def try_disks(options: argparse.Namespace) -> bool:
    """Prints what became of each command, what it said, and what went wrong; whether something did."""
    print(f"{'command':{NAME_WIDTH}}{'refused':>10}{'enough':>7}{'failed':>8}{'minutes':>9}")
    works: dict[str, Work] = {work.name: work for work in WORKS}
    totals = [0, 0, 0]
    for name in _chosen(works, options):
        started = time.monotonic()
        found = take_the_disk(works[name])
        counts = (found.refused, found.enough, len(found.failures))
        totals = [total + count for total, count in zip(totals, counts, strict=True)]
        _print_line(name, counts, started)
        for when, sentence in found.sentences.items():
            print(f"    {when}: {sentence}", flush=True)
        for why in found.failures:
            print(f"    FAILED {why}", flush=True)
    _print_line("all", totals)
    return totals[-1] > 0


def try_servers(options: argparse.Namespace) -> bool:
    """Prints how long good requests took, what bad ones were told, and what went wrong; whether something did."""
    has_failed = False
    for name in _chosen(SITES, options):
        served = try_site(name, options.requests, options.slow, options.seed)
        seconds = sorted(served.good_seconds)
        shares = ", ".join(
            f"{share:.0%} within {seconds[int(share * (len(seconds) - 1))]:.3f} s" for share in (0.5, 0.99, 1)
        )
        print(f"{name}: {len(seconds)} good requests, {shares}; {options.slow} slow clients; bad ones:")
        for (kind, status), count in sorted(served.bad.items()):
            print(f"    {kind:{NAME_WIDTH}}{status or 'hung up':>8}{count:>6}")
        for why in served.failures:
            print(f"    FAILED {why}")
        has_failed |= bool(served.failures)
    return has_failed


KINDS: dict[str, Callable[[argparse.Namespace], bool]] = {
    "kills": try_kills,
    "disks": try_disks,
    "servers": try_servers,
}


def _chosen(names: Iterable[str], options: argparse.Namespace) -> list[str]:
    return [name for name in names if not options.only or name in options.only]


def _print_line(name: str, counts: Iterable[int], started: float | None = None) -> None:
    first, second, failed = counts
    minutes = "" if started is None else f"{(time.monotonic() - started) / 60:.1f}"
    print(f"{name:{NAME_WIDTH}}{first:>10}{second:>7}{failed:>8}{minutes:>9}", flush=True)


if __name__ == "__main__":
    main()
