"""Unpacks the wheels of packages that are not installed: `python tests/gpu/carried_wheels.py WHEELS TARGET`.

What is installed stays as it is: a carried torch, or a NumPy that another torch was built for, is left out. Wheels are
checked by pip, which must fit this machine; one that doesn't is named and the rest go on.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def is_installed(wheel: Path) -> bool:
    """Whether the package of a wheel is there, in whatever version."""
    try:
        version(wheel.name.partition("-")[0])
    except PackageNotFoundError:
        return False
    return True


def install(wheels: list[Path], target: Path) -> bool:
    """Whether pip took these wheels, all of them, without looking elsewhere for what they depend on."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
    command += ["--disable-pip-version-check", "--target", str(target), *map(str, wheels)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def main() -> None:
    """Installs what is missing into the target folder, and says what was done with each wheel."""
    folder, target = Path(sys.argv[1]), Path(sys.argv[2])
    if not folder.is_dir():
        sys.exit(f"WHEELS must be a folder of wheels, got {folder}")
    wheels = sorted(folder.glob("*.whl"))
    wanted = [wheel for wheel in wheels if not is_installed(wheel)]
    refused = []
    if wanted and not install(wanted, target):
        refused = [wheel for wheel in wanted if not install([wheel], target)]
    print(f"{len(wheels)} wheels in {folder}: {len(wheels) - len(wanted)} of packages that are installed, left out;")
    print(f"{len(wanted) - len(refused)} unpacked for this run; {len(refused)} refused by pip, or there is no pip")
    for wheel in refused:
        print(f"  refused: {wheel.name}")


if __name__ == "__main__":
    main()
