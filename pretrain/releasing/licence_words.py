"""What the words of a licence's name or URL say: whether it restricts use, and whether it is a known one."""

from __future__ import annotations

import re

from shards.untrusted_text import as_code

RESTRICTS = {"nc", "nd", "noncommercial", "noderivs", "noderivatives", "sampling"}
"""Words of licences that restrict commercial use or derivatives."""

RESTRICTS_IN_WORDS = ("non commercial", "no deriv", "all rights reserved", "research only", "research use", "academic")
KNOWN = {"cc", "creativecommons", "attribution", "publicdomain"}
KNOWN_IN_WORDS = ("creative commons", "public domain")
SHORT = {"by", "sa"}
"""Creative Commons' elements, which identify a licence only if it has no other words."""


def is_restricted(name: str) -> bool:
    """Returns whether a licence, by URL or name, restricts commercial use or derivatives, or allows research only."""
    words = _words(name)
    return not RESTRICTS.isdisjoint(words) or any(each in " ".join(words) for each in RESTRICTS_IN_WORDS)


def is_known(name: str) -> bool:
    """Returns whether a name or URL is that of a Creative Commons licence or of the public domain."""
    words = _words(name)
    return (
        not KNOWN.isdisjoint(words)
        or (bool(words) and SHORT.issuperset(words))
        or any(each in " ".join(words) for each in KNOWN_IN_WORDS)
    )


def of_whole_corpus(licence: str) -> str:
    """A sentence on the licence of a corpus as a whole, in Markdown."""
    restricted = (
        "; it restricts commercial use or derivatives, or allows research only" if is_restricted(licence) else ""
    )
    return f"The corpus as a whole is published under {as_code(licence)}{restricted}."


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z]+", name.lower())
