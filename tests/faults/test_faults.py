"""Few kills, disks and visits of which `make faults` tries more; and the campaigns notice what they should."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import missing
from faults.disks import Disk, take_the_disk
from faults.kills import kill_campaigns
from faults.servers import SITES, try_site
from faults.study_kills import kill_study_server
from faults.works import WORKS, Work
from shard_commands import files_of

pytestmark = pytest.mark.slow

WORK = {work.name: work for work in WORKS}
MOST_CAMPAIGNS = 50
"""Of a command that must be found to fail; a moment that shows it comes up long before."""


@pytest.mark.parametrize(
    "name",
    [
        *("build", "adopt", "export folder", "collect aporee", "collect tiles"),
        *("evaluate", "pretrain frozen", "scenes", "study prepare"),
    ],
)
def test_a_killed_command_ends_in_the_same_bytes(name: str) -> None:
    killed = kill_campaigns(WORK[name], range(1), seed=0)
    assert killed.failures == {}
    assert killed.campaigns == 1


def test_a_killed_study_server_keeps_each_answer_once() -> None:
    killed = kill_study_server(range(2), seed=0)
    assert killed.failures == {}
    assert killed.kills > 0


@pytest.mark.usefixtures("may_mount")
@pytest.mark.parametrize("name", ["advance", "collect aporee", "embed", "release", "study prepare", "tau"])
def test_a_disk_that_is_full_or_read_only_is_one_sentence(name: str) -> None:
    found = take_the_disk(WORK[name], shares=(0.3,))
    assert found.failures == []
    assert found.refused > 0


@pytest.mark.parametrize("name", SITES)
def test_good_visitors_are_served_beside_bad_and_slow_ones(name: str) -> None:
    served = try_site(name, requests=80, slow=20, seed=0)
    assert served.failures == []
    assert len(served.good_seconds) > 100
    assert len(served.bad) > 8


# The campaigns themselves


def _made_up(folder: Path, code: str) -> Work:
    """A command of a few lines, `code`, which writes to the folder `out`; `begun` says whether it was begun before."""
    script = folder / "made_up.py"
    script.write_text(
        "import os, sys, time\nfrom pathlib import Path\n"
        "out = Path(sys.argv[-1])\nbegun = (out / 'begun').exists()\n"
        f"(out / 'begun').touch()\ntime.sleep(0.3)\n{code}\n"
    )
    return Work("made up", lambda _: None, lambda _, out: [sys.executable, str(script), str(out)], files_of)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("(out / 'a').write_text(str(begun))", "other contents: ['a']"),
        ("(out / ('b' if begun else 'a')).touch()", "other files: ["),
        ("sys.exit(3 if begun else 0)", "status 3"),
        ("print('Traceback', file=sys.stderr) if begun else None", "a traceback"),
        ("os.system('sleep 100 &') if begun else None", "still running"),
    ],
    ids=["contents", "files", "status", "traceback", "processes"],
)
def test_a_command_that_does_not_go_on_as_it_should_is_noticed(
    code: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faults.kills.LEFT_SECONDS", 1.0)
    killed = kill_campaigns(_made_up(tmp_path, code), range(MOST_CAMPAIGNS), seed=0, until_failure=True)
    assert any(why in failure for failure in killed.failures.values()), killed


def test_remains_are_noticed(tmp_path: Path) -> None:
    code = "(out / 'a').write_text('x')\nif begun: (out / '.a.partial').touch()"
    work = dataclasses.replace(_made_up(tmp_path, code), results=lambda out: {"a": (out / "a").read_bytes()})
    killed = kill_campaigns(work, range(MOST_CAMPAIGNS), seed=0, until_failure=True)
    assert any("left behind: ['.a.partial']" in failure for failure in killed.failures.values()), killed


@pytest.mark.usefixtures("may_mount")
@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("(out / 'a').write_bytes(bytes(100_000))", "a traceback"),
        (
            "os.truncate(out / 'begun', 10_000)\nimport numpy as np\nnp.memmap(out / 'begun', mode='r+')[:] = 1",
            "status -7",
        ),
        (
            "try: (out / 'a').write_bytes(bytes(100_000))\nexcept OSError: sys.exit('error: it did not work')",
            "status 1",
        ),
    ],
    ids=["traceback", "signal", "status"],
)
def test_a_command_that_can_t_bear_a_full_disk_is_noticed(code: str, why: str, tmp_path: Path) -> None:
    found = take_the_disk(_made_up(tmp_path, code), shares=(0.3,))
    assert any(why in failure for failure in found.failures), found


@pytest.fixture
def may_mount(tmp_path: Path) -> None:
    """Skips where no file system can be mounted (or fails, see `missing`)."""
    try:
        (tmp_path / "disk").mkdir()
        Disk(tmp_path / "disk")
        subprocess.run(["umount", str(tmp_path / "disk")], check=True)
    except (OSError, subprocess.CalledProcessError):
        missing("netns", "file systems in memory can't be mounted here, which needs root")
