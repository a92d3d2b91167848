"""The comparison with other libraries: each thing that Earshot is said to have names a test that exists."""

from __future__ import annotations

import re

from commands import REPOSITORY

PAGE = REPOSITORY / "launch" / "expectations.md"
NO_STATUS = ("licence of the code",)


def test_what_earshot_has_is_shown_by_a_test() -> None:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][1:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len(rows) > 25
    for expectation, *others, earshot, shown_by in rows:
        assert len(others) == 5, expectation
        tests = re.findall(r"`(tests/[^`]+)`", shown_by)
        assert all((REPOSITORY / path).is_file() for path in tests), (expectation, tests)
        if expectation in NO_STATUS:
            continue
        for status in (*others, earshot):
            assert re.match(r"(has|part|lacks)(:|$)", status), (expectation, status)
        if earshot.startswith("has"):
            assert tests, f"{expectation}: no test is named"
