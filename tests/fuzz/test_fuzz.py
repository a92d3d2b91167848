"""A few changed inputs of every family, of which `make fuzz` tries more; and the campaign notices what it should."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from pathlib import Path

import pytest
from fuzz import campaign
from fuzz.campaign import ACCEPTED, REFUSED, Family, try_family
from fuzz.command_families import COMMANDS, CommandFamily, try_command
from fuzz.families import FAMILIES
from fuzz.mutations import change_bytes, change_json, change_text

from shards.errors import UserError

INPUTS = 8


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_changed_inputs_are_accepted_or_refused_in_a_sentence(family: Family) -> None:
    findings = try_family(family, range(INPUTS), seed=0)
    assert findings.failures == {}
    assert sum(findings.counts.values()) == INPUTS


@pytest.mark.slow
@pytest.mark.parametrize("family", COMMANDS, ids=lambda family: family.name)
def test_commands_on_changed_inputs_end_with_a_sentence(family: CommandFamily) -> None:
    findings = try_command(family, range(1), seed=0)
    assert findings.failures == {}
    assert sum(findings.counts.values()) == 1


def _family(use: object) -> Family:
    def write(folder: Path) -> Path:
        (folder / "a.json").write_text('{"a": [1, "x"], "b": 2}')
        return folder / "a.json"

    def only_changed(file: Path) -> None:
        if file.parent.name == "tried":
            use(file)  # type: ignore[operator]

    return Family("made up", write, only_changed, change_json, (UserError,))


def _long_sentence(file: Path) -> None:
    raise UserError(f"{file} " + "x" * 400)


def _refusal(file: Path) -> None:
    raise UserError(f"{file} is refused")


def _grow(file: Path) -> None:
    bytearray(os.urandom(64)) * (1 << 21)


@pytest.mark.parametrize(
    ("use", "why"),
    [
        (lambda file: {}["missing"], "KeyError in test_fuzz.py"),
        (_long_sentence, "a sentence of 4"),
        (lambda file: os.kill(os.getpid(), signal.SIGKILL), "the process ended with status -9"),
        (lambda file: time.sleep(60), "no end within 1 s"),
        (lambda file: (file.parents[1] / "canary" / "secret").read_bytes(), "it opened or contacted"),
        (lambda file: os.system("true"), "it opened or contacted os.system"),
        (_grow, r"it took 0\.1 GB"),
    ],
    ids=["exception", "sentence", "crash", "hang", "open", "command", "memory"],
)
def test_what_must_not_happen_is_noticed(use: object, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(campaign, "MOST_MEMORY_BYTES", 100 << 20)
    findings = try_family(_family(use), range(2), seed=0)
    assert sorted(findings.failures) == [0, 1]
    assert all(re.search(why, reason) for reason in findings.failures.values()), findings


def test_opens_by_other_libraries_are_noticed() -> None:
    import rasterio

    def use(file: Path) -> None:
        try:
            rasterio.open(file.parents[1] / "canary" / "secret.tif")
        except rasterio.errors.RasterioIOError as error:
            raise UserError("it is none") from error

    assert "was opened" in str(try_family(_family(use), range(2), seed=0).failures)


def test_inputs_that_are_fine_are_counted() -> None:
    assert try_family(_family(lambda file: None), range(20), seed=0).counts == {ACCEPTED: 20}
    assert try_family(_family(_refusal), range(20), seed=0).counts == {REFUSED: 20}


def test_an_input_follows_from_seed_and_number() -> None:
    family = _family(_refusal)
    content = b'{"a": [1, "x"], "b": 2}'
    first = [campaign.changed_input(family, content, 0, number) for number in range(50)]
    assert first == [campaign.changed_input(family, content, 0, number) for number in range(50)]
    assert len(set(first)) > 30


@pytest.mark.parametrize("change", [change_bytes, change_json, change_text])
def test_changes_differ_from_the_valid_input(change: object) -> None:
    content = b'{"a": [1, "x"], "b": {"c": null}}'
    changed = [change(content, random.Random(number)) for number in range(100)]  # type: ignore[operator]
    assert sum(one != content for one in changed) > 80
