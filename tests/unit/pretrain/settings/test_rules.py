"""Rules of settings: what stands on a field, in a union, in a group, in a registry, and between settings."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from pretrain.settings.rules import Count, Fraction, OneOf, Positive, Rule, check_rules
from shards.errors import UserError
from shards.registry import Registry

FORKS: Registry[float] = Registry("fork", {"pi": "math:pi", "e": "math:e"})


@dataclass(frozen=True)
class Strings:
    gauge: Annotated[float, Field(gt=0, le=2)] = 1.0
    tension: Annotated[float, Field(ge=0, lt=10, description="they break")] = 1.0
    share: Fraction = 0.5

    def check(self) -> None:
        if self.gauge > self.tension:
            raise UserError(f"strings.gauge must be at most strings.tension, got {self.gauge}")


@dataclass(frozen=True)
class Harp:
    pedals: Count = 7
    capo: Positive | None = None
    side: Annotated[int, Rule(lambda side: side == 0 or side >= 32, "0 or >= 32 pixels")] = 0
    fork: Annotated[str, OneOf(FORKS)] = "pi"
    strings: Strings = field(default_factory=Strings)

    def check(self) -> None:
        if self.pedals > 7:
            raise UserError(f"pedals must be at most 7, got {self.pedals}")


@pytest.mark.parametrize(
    ("harp", "sentence"),
    [
        (Harp(pedals=0), "pedals must be >= 1, got 0"),
        (Harp(capo=-1.0), "capo must be > 0, got -1.0"),
        (Harp(capo=1e39), "capo must be at most 1e+09 in size, got 1e+39"),
        (Harp(capo=math.inf), "capo must be at most 1e+09 in size, got inf"),
        (Harp(side=16), "side must be 0 or >= 32 pixels, got 16"),
        (Harp(fork="p"), "unknown fork 'p'; "),
        (Harp(strings=Strings(gauge=0)), "strings.gauge must be in (0, 2], got 0"),
        (Harp(strings=Strings(tension=10)), "strings.tension must be in [0, 10) (they break), got 10"),
        (Harp(strings=Strings(gauge=math.nan)), "strings.gauge must be in (0, 2], got nan"),
        # The inner group first, and only where every field keeps its own rule.
        (Harp(pedals=8, strings=Strings(gauge=2.0)), "strings.gauge must be at most strings.tension, got 2.0"),
        (Harp(pedals=8), "pedals must be at most 7, got 8"),
        (Harp(pedals=0, strings=Strings(gauge=2.0)), "pedals must be >= 1, got 0"),
    ],
)
def test_a_setting_against_its_rule_is_refused_by_name(harp: Harp, sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        check_rules(harp)
    assert str(refused.value).startswith(sentence)


@given(st.integers(1, 7), st.none() | st.floats(0.1, 9), st.just(0) | st.integers(32), st.floats(0, 1))
def test_settings_that_keep_their_rules_pass(pedals: int, capo: float | None, side: int, share: float) -> None:
    check_rules(Harp(pedals, capo, side, "e", Strings(share=share)))


def test_a_field_whose_rule_is_no_bound_is_a_mistake_of_ours() -> None:
    @dataclass(frozen=True)
    class Odd:
        count: Annotated[int, Field(multiple_of=2)] = 2

    with pytest.raises(KeyError):
        check_rules(Odd())
