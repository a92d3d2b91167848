"""An estimate of a run's electricity use, from the rated power of its devices."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from shards.untrusted_text import as_line

RATED_WATTS: dict[str, int | None] = {
    "MIG": None,  # part of a device; its share of the power is not published
    "Laptop": None,  # set by the laptop's manufacturer
    "B200": 1000,
    "H200 NVL": 600,
    "H200": 700,
    "H100 PCIe": 350,
    "H100 NVL": 400,
    "H100": 700,
    "A100 80GB PCIe": 300,
    "A100-PCIE": 250,
    "A100": 400,
    "V100-PCIE": 250,
    "V100": 300,
    "L40S": 350,
    "L40": 300,
    "L4": 72,
    "T4": 70,
    "A40": 300,
    "A30": 165,
    "RTX 6000 Ada": 300,
    "RTX A6000": 300,
    "RTX 4090 D": 425,
    "RTX 4090": 450,
    "RTX 3090 Ti": 450,
    "RTX 3090": 350,
}
"""Watts by words in CUDA's name of a device; the first match is used. Source: the manufacturer's data sheets (total
board power, or maximum thermal design power)."""


@dataclass(frozen=True)
class Energy:
    """An estimate of electricity use.

    Attributes:
        kilowatt_hours: the estimate, None if a device's power is not known.
        assumption: how it was estimated, or why it was not.
        advice: what would make an estimate possible, for the person who publishes the release.
    """

    kilowatt_hours: float | None
    assumption: str
    advice: str = ""


def estimate_energy(uses: Sequence[tuple[dict[str, int], float]], watts: float | None = None) -> Energy:
    """Estimates energy as the sum of power × devices × hours.

    Args:
        uses: for each kind of hardware that the run was computed on: the number of devices by name, and the
            wall-clock hours, validation included.
        watts: power of one device; None: the manufacturer's rating.
    """
    names = {name for devices, _ in uses for name in devices}
    powers = {name: watts if watts is not None else rated_watts(name) for name in names}
    unknown = sorted(as_line(name) for name, power in powers.items() if power is None)
    if unknown or not names:
        what = ", ".join(unknown) or "the devices"
        return Energy(
            None, f"not estimated: the power of {what} is not known", "set it with --watts" if unknown else ""
        )
    known = {name: power for name, power in powers.items() if power is not None}
    total = sum(sum(known[name] * count for name, count in devices.items()) * hours for devices, hours in uses) / 1000
    origin = "as stated by the publisher" if watts is not None else "as rated by the manufacturer"
    terms = (
        f"({' + '.join(f'{count} × {known[name]:g} W' for name, count in devices.items())}) × {hours:.3g} h"
        for devices, hours in uses
    )
    return Energy(
        total,
        f"{' + '.join(terms)}, with each device's power {origin} and drawn all the time; the rest of the "
        "machine, its cooling and runs that were not released are not included",
    )


def rated_watts(name: str) -> float | None:
    """Returns the rated power of a device by CUDA's name for it, None if it is not known."""
    known = (power for words, power in RATED_WATTS.items() if re.search(rf"(?<!\w){re.escape(words)}(?!\w)", name))
    return next(known, None)
