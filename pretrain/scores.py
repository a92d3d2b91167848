"""What a score is: its key in files, its heading in tables, its unit, and whether more of it is better."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

from shards.records import as_number

Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True)
class Unit:
    """How tables show values that files hold as plain numbers.

    Attributes:
        name: in files and CSV columns.
        factor: shown value = stored value × factor.
        form: of the shown value, as `format` takes it.
        symbol: after headings, such as "s"; empty where a heading needs none.
        bounds: the least and greatest shown value, which no error bar crosses.
    """

    name: str
    factor: float = 1
    form: str = ",.1f"
    symbol: str = ""
    bounds: tuple[float, float] = (0, math.inf)

    def show(self, value: float) -> str:
        """A stored value as tables, pages and cards show it; "<0.01" for one that would be rounded to 0.00."""
        shown = self.factor * value
        text = format(shown, self.form)
        return text if shown <= 0 or text.strip("0.") else f"<{text[:-1]}1"


PERCENT = Unit("percent", 100, ".2f", bounds=(0, 100))
"""Of shares in [0, 1], such as recalls: files hold them as fractions, and everything that is read shows percent."""
FRACTION = Unit("fraction", form=".3f", bounds=(0, 1))
"""Of figures in [0, 1] that are no share of anything, such as MRR."""
NATS = Unit("nats", form=".4f", symbol="nats")
RANK = Unit("rank", bounds=(1, math.inf))
KILOMETRES = Unit("kilometres", symbol="km")
SECONDS = Unit("seconds", symbol="s")
COUNT = Unit("count", form=",.0f")
GIGABYTES = Unit("gigabytes", 1e-9, ".2f", "GB")
"""Of bytes."""


@dataclass(frozen=True)
class Score:
    """A score, declared once: reports, comparisons and model cards read its declaration.

    Attributes:
        key: in `metrics.json` and `results.json`; "sound/f1" is `f1` in the object `sound`.
        heading: in tables.
        unit: in which tables show it.
        better: "higher" or "lower"; "neither" for costs such as seconds.
    """

    key: str
    heading: str
    unit: Unit = PERCENT
    better: Better = "higher"

    @property
    def name(self) -> str:
        """The heading, with the unit's symbol where it has one."""
        return f"{self.heading} ({self.unit.symbol})" if self.unit.symbol else self.heading

    @property
    def is_percent(self) -> bool:
        """Whether tables show it in percent; files hold it as a fraction in [0, 1]."""
        return self.unit == PERCENT

    def within(self, part: str, words: str) -> Score:
        """The same score of a part of the results, such as of the input `sound`."""
        return replace(self, key=f"{part}/{self.key}", heading=f"{self.heading}, {words}")

    def value_in(self, scores: Any) -> float | None:
        """Its value in nested scores; None where they lack it, or hold something else than a finite number."""
        return _number_at(scores, self.key)

    def deviation_in(self, scores: Any) -> float | None:
        """The standard deviation beside its value, where the value is a mean."""
        return _number_at(scores, f"{self.key}_sd")


def _number_at(scores: Any, path: str) -> float | None:
    value: Any = scores
    for name in path.split("/"):
        value = value.get(name) if isinstance(value, dict) else None
    return as_number(value)
