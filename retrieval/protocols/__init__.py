"""Retrieval protocols. To add one, write a file here and add a line to `PROTOCOLS`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shards.registry import Registry

if TYPE_CHECKING:
    from retrieval.protocols.protocol import Protocol

PROTOCOLS: Registry[type[Protocol]] = Registry(
    "protocol",
    {
        "standard": "retrieval.protocols.standard:Standard",
        "khdlr": "retrieval.protocols.khdlr:Khdlr",
    },
    takes_outside_code=True,
    subclass_of="retrieval.protocols.protocol:Protocol",
)
