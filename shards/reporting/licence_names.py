"""Short names of licences: "CC BY-NC 4.0" for the address of a Creative Commons licence."""

from __future__ import annotations


def licence_name(licence: str) -> str:
    """A short name: "CC BY-NC 4.0" for a Creative Commons URL, the host of any other URL, otherwise the text itself."""
    if not licence.startswith(("https://", "http://")):
        return licence
    host, *path = licence.split("//", 1)[1].strip("/").split("/")
    if host.endswith("creativecommons.org") and path[:1] == ["licenses"] and len(path) > 1:
        return " ".join(["CC", path[1].upper(), *path[2:3]])
    if host.endswith("creativecommons.org") and path[:1] == ["publicdomain"] and len(path) > 1:
        return {"zero": "CC0 1.0", "mark": "Public domain"}.get(path[1], path[1])
    return host
