"""A file of a server as its archive lists it: address, size and checksums, which the download is compared with."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HEX_DIGITS = {"sha256": 64, "sha1": 40, "md5": 32}
"""Checksums that are compared, the strongest first, and their length."""


class WrongContent(Exception):
    """What was downloaded is not the file that was listed."""


@dataclass(frozen=True)
class RemoteFile:
    """A file to download.

    Attributes:
        url: its address.
        size: its bytes, None if unknown.
        largest: the most bytes that are accepted where the size is unknown.
        checksums: lower-case hexadecimal by name, of those in `HEX_DIGITS`.
    """

    url: str
    size: int | None = None
    largest: int = 1 << 31
    checksums: Mapping[str, str] = field(default_factory=dict)

    @property
    def most_bytes(self) -> int:
        """The most bytes that are read."""
        return self.largest if self.size is None else self.size

    def check(self, path: Path) -> None:
        """Compares a download with what was listed.

        Raises:
            WrongContent: its size or its strongest checksum differs, or it is empty.
        """
        have = path.stat().st_size if path.exists() else 0
        if not have:
            raise WrongContent("the file is empty")
        if self.size is not None and have != self.size:
            raise WrongContent(f"{have:,} bytes, the list says {self.size:,}")
        if have > self.largest:
            raise WrongContent(f"more than {self.largest:,} bytes")
        for name in HEX_DIGITS:
            if name in self.checksums:
                with path.open("rb") as file:
                    found = hashlib.file_digest(file, name).hexdigest()
                if found != self.checksums[name]:
                    raise WrongContent(f"{name} {found}, the list says {self.checksums[name]}")
                return


def checksums_of(record: Mapping[str, object]) -> dict[str, str]:
    """The well-formed checksums of a record, by name."""
    found = {name: str(record.get(name) or "").strip().lower() for name in HEX_DIGITS}
    return {name: text for name, text in found.items() if re.fullmatch(rf"[0-9a-f]{{{HEX_DIGITS[name]}}}", text)}
