"""About how much electricity a run took, from the rated power of its devices."""

from __future__ import annotations

import re
from dataclasses import dataclass

RATED_WATTS: dict[str, int | None] = {
    "MIG": None,  # a part of a device: its share of the power is not published
    "Laptop": None,  # whoever builds the laptop sets it
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
"""Watts by words of the name that CUDA gives a device; the first that are in it count. Source: the maker's data sheets
(total board power, or maximum thermal design power)."""


@dataclass(frozen=True)
class Energy:
    """An estimate.

    Attributes:
        kilowatt_hours: None where a device's power is not known.
        assumption: how it was estimated, or why it was not.
    """

    kilowatt_hours: float | None
    assumption: str


def estimate_energy(devices: dict[str, int], hours: float, watts: float | None = None) -> Energy:
    """Power × hours × devices.

    Args:
        devices: how many of which name.
        hours: of the run by the clock, validation included.
        watts: of one device; None: as its maker rates it.
    """
    powers = {name: watts if watts is not None else rated_watts(name) for name in devices}
    unknown = [name for name, power in powers.items() if power is None]
    if unknown or not devices:
        what = ", ".join(unknown) or "the devices"
        return Energy(None, f"not estimated: the power of {what} is not known (--watts gives it)")
    known = {name: power for name, power in powers.items() if power is not None}
    total = sum(power * devices[name] for name, power in known.items()) * hours / 1000
    origin = "as told by who released it" if watts is not None else "as its maker rates it"
    terms = " + ".join(f"{devices[name]} × {power:g} W" for name, power in known.items())
    return Energy(
        total,
        f"({terms}) × {hours:.3g} h, the power of a device {origin} and drawn all the time; nothing is added for the "
        "rest of the machine or its cooling, nor for runs that were not released",
    )


def rated_watts(name: str) -> float | None:
    """The power of a device by the name that CUDA gives it, None where it is not known."""
    known = (power for words, power in RATED_WATTS.items() if re.search(rf"(?<!\w){re.escape(words)}(?!\w)", name))
    return next(known, None)
