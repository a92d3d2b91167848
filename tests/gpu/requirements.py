"""What an item needs and this machine lacks."""

from __future__ import annotations

import os
import shutil
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec

import torch
from gpu.items import CHECKS, COMPILER, CUDA, TIMINGS, Item


def device() -> str:
    """ "cuda" where there is a GPU, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def is_importable(package: str) -> bool:
    """Whether there is a package of this name; it is not imported."""
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def has_compiler() -> bool:
    """Whether Triton and torch.compile would find a C compiler."""
    return any(shutil.which(name) for name in (os.environ.get("CC"), "gcc", "clang", "cc") if name)


def what_is_missing(item: Item) -> str:
    """Why an item can't be carried out here, "" where it can."""
    is_there = {CUDA: torch.cuda.is_available, COMPILER: has_compiler}
    missing = [need for need in item.needs if not is_there[need]()]
    missing += [package for package in item.packages if not is_importable(package)]
    return f"missing: {', '.join(missing)}" if missing else ""


def versions() -> dict[str, str | None]:
    """The version of every package that an item may use; None where it is missing."""
    packages = {"torch", "numpy"} | {package for item in (*CHECKS, *TIMINGS) for package in item.packages}
    return {package: _version(package) for package in sorted(packages)}


def _version(package: str) -> str | None:
    if not is_importable(package):
        return None
    try:
        return version(packages_distributions().get(package, [package])[0])
    except PackageNotFoundError:
        return "unknown"
