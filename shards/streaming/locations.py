"""Whether words name a folder or a URL; imports nothing heavy, so that settings can ask."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit


def is_url(location: str | Path) -> bool:
    """Whether a location is a URL (`scheme://…` or `pipe:…`) rather than a path."""
    return isinstance(location, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]*://|pipe:", location) is not None


def local_folder(location: str | Path) -> Path | None:
    """The folder of a path or a `file://` URL, None for any other URL."""
    if not is_url(location):
        return Path(location)
    from urllib.request import url2pathname  # with http.client and email, more than all that settings import

    parts = urlsplit(str(location))
    return Path(url2pathname(parts.path)) if parts.scheme.lower() == "file" else None
