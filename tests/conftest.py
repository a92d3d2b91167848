"""Fixtures shared by all tests: real data where it is there, and what to do where something is missing."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import hypothesis
import pytest

# One thread a process, read when torch is loaded: the cores are shared by several processes of tests, where waiting
# threads of OpenMP would spin, and what tests compute themselves has the bits of what their commands compute.
os.environ["OMP_NUM_THREADS"] = "1"
# On every CPU as commands set it on one without bf16: tests run beside each other.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Where it is set, pytest reports all differences between two values, which takes hours for two checkpoints.
os.environ.pop("CI", None)

# Examples of hypothesis take their time on a busy machine; how long is no matter of right and wrong.
hypothesis.settings.register_profile("earshot", deadline=None)
hypothesis.settings.load_profile("earshot")

# A shell starts what runs in its background with Ctrl-C ignored, and so would be all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

LONGEST = ("test_benchmarks.py", "test_compare.py", "test_paper_plan.py", "test_tau.py", "test_transfer.py")
"""Files that keep a core busy for minutes, whatever their number of tests."""

REPOSITORY = Path(__file__).resolve().parents[1]
REAL_DATA = REPOSITORY.parent / "shared" / "data"


MOST_PROCESSES = 4
"""More would want more memory than many machines have."""


def pytest_xdist_auto_num_workers() -> int:
    """One process of tests more than cores: tests wait for servers, browsers and processes a tenth of their time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST_PROCESSES, cores + 1)


@pytest.hookimpl(trylast=True)  # when those that -m leaves out are gone
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begins with the longest files, so that none of them is left to one core at the end; then those of most tests."""
    sizes = Counter(item.path for item in items)
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: (places.get(item.path.name, len(LONGEST)), -sizes[item.path]))


def is_required(what: str) -> bool:
    """Whether EARSHOT_REQUIRE, a comma list, names it."""
    return what in os.environ.get("EARSHOT_REQUIRE", "").split(",")


def only_if_named(what: str, reason: str) -> None:
    """Skips the test unless EARSHOT_REQUIRE names it: it takes long, and others prove most of the same."""
    if not is_required(what):
        pytest.skip(f"{reason}; EARSHOT_REQUIRE={what} runs it")


def missing(what: str, reason: str) -> None:
    """Skips the test for want of `what`, or fails it where EARSHOT_REQUIRE names it."""
    if is_required(what):
        pytest.fail(f"{reason}, and EARSHOT_REQUIRE names {what!r}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images and sounds; its README describes it."""
    if not REAL_DATA.is_dir():
        missing("data", "the real images and sounds are not at ../shared/data")
    return REAL_DATA


@pytest.fixture(scope="session")
def tiny_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 training, 16 validation and 24 test pairs in shards of 7."""
    from tiny_shards import write_tiny_shards

    return write_tiny_shards(tmp_path_factory.mktemp("tiny") / "shards", {"train": 48, "val": 16, "test": 24})
