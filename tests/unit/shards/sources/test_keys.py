"""Keys from any text: valid ones stay, all others are valid, readable, and different for different texts."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shards.schema import MAX_KEY_CHARACTERS, is_valid_key
from shards.sources.keys import make_key

texts = st.text(min_size=1, max_size=120).filter(lambda text: bool(text.strip()))


@given(st.from_regex(r"[A-Za-z0-9_-]{1,80}", fullmatch=True))
def test_a_valid_key_stays(text: str) -> None:
    assert make_key(text) == text


@given(texts)
def test_any_text_gives_a_valid_key(text: str) -> None:
    key = make_key(text)
    assert is_valid_key(key)
    assert len(key) <= MAX_KEY_CHARACTERS
    assert make_key(f" {text}\n") == key


@given(texts, texts)
def test_different_texts_give_different_keys(one: str, other: str) -> None:
    assume(unicodedata.normalize("NFC", one.strip()) != unicodedata.normalize("NFC", other.strip()))
    assert make_key(one) != make_key(other)


@pytest.mark.parametrize(("one", "other"), [("Site 1", "Site_1"), ("a.b", "a_b"), ("Süd", "Sud"), ("日本", "京都")])
def test_texts_of_one_slug_keep_apart(one: str, other: str) -> None:
    assert make_key(one) != make_key(other)


def test_keys_can_be_read_and_do_not_change() -> None:
    # Published sets hold them.
    assert make_key("Site 1") == "Site_1-acbd26c13dd7"
    assert make_key("Übergang Süd/3").startswith("Ubergang_Sud_3-")
    assert make_key("東京").startswith("key-")
    assert make_key("U\u0308bung 1") == make_key("\u00dcbung 1")
    with pytest.raises(ValueError, match="needs a text"):
        make_key("  ")
