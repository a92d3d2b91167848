"""How embeddings of a split become ranks: the protocols that papers used, by name."""

from __future__ import annotations

from retrieval.protocols.khdlr import Khdlr
from retrieval.protocols.protocol import Protocol
from retrieval.protocols.standard import Standard

PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in (Standard(), Khdlr())}
