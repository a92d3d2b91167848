"""Untrusted XML: parsed without document types and entities, and read without regard to namespaces."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any
from xml.etree import ElementTree

from shards.errors import first_line
from shards.records import DamagedRecord

_DECLARATION = re.compile(rb"<!(DOCTYPE|ENTITY)", re.IGNORECASE)


def parse_xml(data: bytes, where: str, kind: str = "XML", remedy: str = "") -> Any:
    """The root element of an XML text.

    Args:
        data: the text.
        where: what it is, for the message.
        kind: of XML, for the message.
        remedy: what to do if it can't be read; appended to the message.

    Raises:
        DamagedRecord: it declares a document type, whose entities could grow without bound, or is no XML.
    """
    if _DECLARATION.search(data.replace(b"\0", b"")):
        raise DamagedRecord(f"{where} declares a document type, which is not read{remedy and '; '}{remedy}")
    try:
        return ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DamagedRecord(
            f"{where} can't be read as {kind} ({first_line(error)}){remedy and '; '}{remedy}"
        ) from error


def local_name(tag: Any) -> str:
    """The name of an element without its namespace."""
    return str(tag).rpartition("}")[2]


def child_texts(element: Any) -> dict[str, list[str]]:
    """The texts of an element's children by their names."""
    found: dict[str, list[str]] = defaultdict(list)
    for child in element:
        found[local_name(child.tag)].append(" ".join((child.text or "").split()))
    return dict(found)
