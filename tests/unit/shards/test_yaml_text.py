"""Untrusted YAML: plain values, within limits, and one sentence for anything else."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from shards.errors import UserError
from shards.yaml_text import read_yaml, yaml_of

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@given(PLAIN)
def test_plain_values_are_read_as_they_were_written(value: object) -> None:
    assert yaml_of(yaml.safe_dump(value), "a.yaml") == value


def test_dates_stay_texts_and_anchors_can_be_used() -> None:
    text = "begun: 2024-02-30\nbase: &base {rate: 1.0e-3}\nfast: {<<: *base, epochs: 2}\n"
    assert yaml_of(text, "a.yaml") == {
        "begun": "2024-02-30",
        "base": {"rate": 1e-3},
        "fast": {"rate": 1e-3, "epochs": 2},
    }
    assert yaml_of("", "a.yaml") is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: !!python/object:os.system {}", r"a\.yaml is not YAML: could not determine a constructor"),
        ("a: !!timestamp 2024-99-99", r"a\.yaml is not YAML: month must be in 1\.\.12"),
        ("a: !!int x", r"a\.yaml is not YAML: invalid literal"),
        (f"a: {'9' * 5000}", r"a\.yaml is not YAML: Exceeds the limit"),
        ("a: [1", r"a\.yaml is not YAML: while parsing a flow sequence"),
        ("? [a]\n: 1", r"a\.yaml is not YAML: .*unhashable key"),
        ("a: 1\n---\nb: 2", r"a\.yaml is not YAML: expected a single document"),
        ("[" * 70 + "]" * 70, r"a\.yaml nests values deeper than the 64 levels"),
        ("[" * 10**5, r"a\.yaml nests values deeper than the 64 levels"),
        ("a: &a [*a]", r"a\.yaml nests values deeper than the 64 levels"),
        ("".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9) if i else 1}]\n" for i in range(8)), "aliases repeat"),
        (b"a: \xff", r"a\.yaml can't be read as UTF-8 text"),
    ],
)
def test_anything_else_gets_a_sentence(text: str | bytes, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as refusal:
        yaml_of(text, "a.yaml")
    assert len(str(refusal.value)) < 400


def test_files_beyond_the_limit_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: 1\n# " + "x" * (4 << 20))
    with pytest.raises(UserError, match="is larger than the 4,194,304 bytes"):
        read_yaml(tmp_path / "a.yaml")
