"""Untrusted records: within limits, typed, and refused with one sentence that names the file and the place."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards import records
from shards.errors import UserError
from shards.records import Count, Finite, Sha256, as_number, holds_json, json_as, json_of, read_json, typed


@dataclass(frozen=True)
class Part:
    name: str
    count: Count
    share: Finite = 0.5


@dataclass(frozen=True)
class Whole:
    parts: tuple[Part, ...]
    sha256: Sha256 | None = None


@pytest.mark.parametrize(
    ("content", "said"), [(b"{", "is not JSON: "), (b"\xff", "is not JSON: "), (None, "can't be read: No such")]
)
def test_what_is_missing_or_damaged_gets_a_sentence(content: bytes | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=said) as refusal:
        read_json(path, "run it again")
    assert str(refusal.value).startswith(f"{path} ")
    assert str(refusal.value).endswith("; run it again")
    assert not holds_json(path)
    with pytest.raises(UserError, match=r"[^;]$"):
        read_json(path)


def test_a_record_becomes_what_the_code_expects() -> None:
    text = json.dumps({"parts": [{"name": "a", "count": 3}], "later": "is left out"})
    assert json_as(Whole, text, "a.json") == Whole((Part("a", 3),))


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        ([], r"^a\.json: input should be a dictionary or an instance of Whole, got \[\]; copy it again$"),
        ({}, r"^a\.json: parts: field required, got \{\}; copy it again$"),
        ({"parts": 5}, r"parts: input should be a valid tuple, got 5;"),
        ({"parts": [{"name": "a", "count": "x"}]}, r"parts\.0\.count: input should be a valid integer, .*, got 'x';"),
        ({"parts": [{"name": "a", "count": -1}]}, r"count: input should be greater than or equal to 0, got -1;"),
        ({"parts": [{"name": "a", "count": 2**63}]}, r"count: input should be less than 9223372036854775808,"),
        ({"parts": [{"name": "a", "count": 10**400}]}, r"got a number of more than 60 digits;"),
        ({"parts": [{"name": "a", "count": 1, "share": float("inf")}]}, r"share: input should be a finite number,"),
        ({"parts": [{"name": 7, "count": 1}]}, r"name: input should be a valid string, got 7;"),
        ({"parts": [], "sha256": "../" * 30}, r"sha256: string should match pattern .*, got '\.\./.*…;"),
    ],
)
def test_another_type_is_named_with_its_place(record: Any, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as refusal:
        json_as(Whole, json.dumps(record), "a.json", "copy it again")
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize("text", ["[" * 10**6, "[" * 65 + "]" * 65, '{"a":' * 65 + "1" + "}" * 65])
def test_what_nests_too_deep_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"a\.json nests lists and objects deeper than the 64 levels that are read"):
        json_of(text, "a.json")
    assert json_of("[" * 64 + "]" * 64, "a.json")


def test_what_is_too_large_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MOST_BYTES", 10)
    (tmp_path / "a.json").write_text('"0123456789"')
    with pytest.raises(UserError, match="is larger than the 10 bytes that are read at most"):
        read_json(tmp_path / "a.json")
    with pytest.raises(UserError, match="is larger than"):
        json_of("[1, 2, 3, 4]", "a.json")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(UserError, match="is not a file"):
        read_json(tmp_path / "a.json")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=8,
)


@given(ANYTHING, st.sampled_from([Whole, Part, dict[str, Finite], list[Sha256]]))
def test_whatever_was_read_is_converted_or_refused_in_a_short_sentence(value: Any, kind: Any) -> None:
    sentence = "-"
    try:
        typed(kind, value, "field")
    except UserError as error:
        sentence = str(error)
    assert sentence.isprintable()
    assert len(sentence) < 300


@given(ANYTHING)
def test_numbers_are_finite(value: Any) -> None:
    number = as_number(value)
    assert number is None or (number == value and abs(number) < float("inf"))
