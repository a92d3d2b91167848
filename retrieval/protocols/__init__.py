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
        "geoclap": "retrieval.protocols.geoclap:GeoClap",
        "spectrum4geo": "retrieval.protocols.spectrum4geo:Spectrum4Geo",
        "psm": "retrieval.protocols.psm:Psm",
        "psm-corrected": "retrieval.protocols.psm_corrected:PsmCorrected",
        "geosound": "retrieval.protocols.geosound:GeoSound",
        "mteb": "retrieval.protocols.mteb:Mteb",
    },
    takes_outside_code=True,
    subclass_of="retrieval.protocols.protocol:Protocol",
)
