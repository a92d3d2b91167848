"""Short names of licences."""

from __future__ import annotations

from shards.reporting.licence_names import licence_name


def test_licences_read_well() -> None:
    names = {
        "https://creativecommons.org/licenses/by-nc-sa/3.0/": "CC BY-NC-SA 3.0",
        "http://creativecommons.org/publicdomain/zero/1.0/": "CC0 1.0",
        "https://creativecommons.org/publicdomain/mark/1.0/": "Public domain",
        "https://example.org/licence": "example.org",
        "https://creativecommons.org": "creativecommons.org",
        "javascript:alert(1)": "javascript:alert(1)",
        "CC BY 4.0": "CC BY 4.0",
        "": "",
    }
    assert {licence: licence_name(licence) for licence in names} == names
