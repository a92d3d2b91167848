"""Makes the key of a sample from any text, by a rule under which different texts get different keys."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from shards.schema import MAX_KEY_CHARACTERS, is_valid_key

HASH_CHARACTERS = 12
MAX_SLUG_CHARACTERS = 40


def make_key(text: str) -> str:
    """The key for a text: itself if it is a valid key, else its letters and digits and a hash of the whole.

    "Site 1" gives "Site_1-" and 12 hexadecimal digits. The same text in another Unicode form gives the same key. Two
    texts could share a key only by a collision of 48 bits of a hash; the listing rejects the second by name.

    Args:
        text: any text that is not empty.

    Raises:
        ValueError: the text is empty.
    """
    composed = unicodedata.normalize("NFC", text.strip())
    if not composed:
        raise ValueError("a key needs a text")
    if is_valid_key(composed) and len(composed) <= MAX_KEY_CHARACTERS:
        return composed
    ascii_letters = unicodedata.normalize("NFKD", composed).encode("ascii", "ignore").decode("ascii")
    slug = re.sub(r"[^A-Za-z0-9-]+", "_", ascii_letters).strip("_-")[:MAX_SLUG_CHARACTERS]
    digest = hashlib.sha256(composed.encode("utf-8", "surrogatepass")).hexdigest()[:HASH_CHARACTERS]
    return f"{slug or 'key'}-{digest}"
