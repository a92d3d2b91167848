"""Choices by name: what is known, what is near, what comes from outside, and what a stranger's folder may name."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from pathlib import Path

import pytest

from shards.errors import UserError
from shards.registry import PLUGINS_VARIABLE, Registry

NUMBERS: Registry[object] = Registry("number", {"pi": "math:pi", "tau": "math:tau"})
OPEN: Registry[object] = Registry(
    "number", {"pi": "math:pi"}, families={"power": "operator:pow"}, takes_outside_code=True
)


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "outside_numbers.py").write_text("class Numbers:\n    three = 3\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "outside_numbers", raising=False)
    return "outside_numbers:Numbers.three"


def test_a_name_stands_for_its_object() -> None:
    assert NUMBERS["tau"] == pytest.approx(6.283185)
    assert list(NUMBERS) == ["pi", "tau"]


def test_an_unknown_name_gets_the_nearest_and_the_choices() -> None:
    with pytest.raises(UserError, match=r"unknown number 'tou'; did you mean 'tau'\? choose one of: pi, tau$"):
        NUMBERS.check("tou")


def test_listing_imports_nothing() -> None:
    lazy: Registry[object] = Registry("part", {"broken": "no_such_module_anywhere:thing"})
    lazy.check("broken")
    assert lazy.choices() == "broken"


def test_a_family_takes_the_rest_of_the_name() -> None:
    assert OPEN["power:NAME"].args == ("NAME",)  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="unknown number 'power'"):
        OPEN.check("power")


def test_outside_objects_are_imported_where_the_command_runs(outside: str) -> None:
    assert OPEN[outside] == 3
    assert OPEN.is_outside_code(outside)
    assert not OPEN.is_outside_code("pi")
    assert not OPEN.is_outside_code("power:NAME")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "no_such_module_anywhere:thing",
            "No module named .*; install it, or run from the folder that contains it",
        ),
        ("math:squircle", "math has no 'squircle'"),
        (":thing", "must be module:object"),
    ],
)
def test_what_can_not_be_imported_is_a_sentence(name: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        OPEN.load(name)


def test_a_closed_registry_takes_no_outside_code(outside: str) -> None:
    with pytest.raises(UserError, match="unknown number"):
        NUMBERS.load(outside)


def test_a_model_folder_names_outside_code_only_by_leave(outside: str, monkeypatch: pytest.MonkeyPatch) -> None:
    OPEN.check_allowed("pi", "folder")
    with pytest.raises(UserError, match=f"folder uses the number {outside}.* set {PLUGINS_VARIABLE}={outside}"):
        OPEN.check_allowed(outside, "folder")
    assert "outside_numbers" not in sys.modules
    monkeypatch.setenv(PLUGINS_VARIABLE, f"other:thing, {outside}")
    OPEN.check_allowed(outside, "folder")
    monkeypatch.delenv(PLUGINS_VARIABLE)
    fresh: Registry[object] = Registry("number", {}, takes_outside_code=True)
    fresh.allow(outside)
    fresh.check_allowed(outside, "folder")


class Number:
    """What a registry of numbers may ask for."""


class Prime(Number):
    """A number of one's own."""


SEVEN = Prime()


def test_outside_code_of_another_type_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "outside_primes", sys.modules[__name__])
    number = f"{__name__}:Number"
    kinds: Registry[object] = Registry("kind", {}, takes_outside_code=True, subclass_of=number)
    primes: Registry[object] = Registry("prime", {}, takes_outside_code=True, instance_of=number)
    assert kinds.load("outside_primes:Prime") is Prime
    assert primes.load("outside_primes:SEVEN") is SEVEN
    with pytest.raises(UserError, match=r"^kind outside_primes:SEVEN must be a subclass of .*\.Number, got <"):
        kinds.check("outside_primes:SEVEN")
    with pytest.raises(UserError, match=r"^prime outside_primes:Prime must be an instance of .*\.Number, got <"):
        primes.check("outside_primes:Prime")


class Countable(ABC):
    """What a registry may ask to define something."""

    @abstractmethod
    def count(self) -> int: ...


def test_outside_code_that_leaves_something_undefined_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "outside_counts", sys.modules[__name__])
    kinds: Registry[object] = Registry("kind", {}, takes_outside_code=True, subclass_of=f"{__name__}:Countable")
    with pytest.raises(UserError, match=r"^kind outside_counts:Countable must define count, as .*\.Countable says$"):
        kinds.load("outside_counts:Countable")
