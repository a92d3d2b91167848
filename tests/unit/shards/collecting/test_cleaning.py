"""Rules find what they say and nothing else, and what a person has decided stays decided."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from shards.collecting.cleaning import EXCLUDE, KEEP, clean, read_rules, restore
from shards.collecting.collection import Collection
from shards.errors import UserError

ROWS = {
    "a": ("testsound", "", "x.mp3"),
    "b": ("river", "a test of patience near the sound", "y.mp3"),
    "c": ("mic check", "", "z.mp3"),
    "d": ("Test", "", "t.mp3"),
    "e": ("town", "", "Test_Sound 3.mp3"),
    "f": ("contest", "soundtest of a bell", "u.mp3"),
    "g": ("market", "the latest recordings", "v.mp3"),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    with (tmp_path / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["key", "title", "description", "original_name", "mp3name"])
        writer.writerows([key, *texts, f"{key}.mp3"] for key, texts in ROWS.items())
    return tmp_path


def excluded(root: Path, rules: Path | None = None, *, dry_run: bool = False) -> set[str]:
    matches = clean(Collection.load(root), rules, dry_run=dry_run)
    return {match.row.key for match in matches if match.decision == EXCLUDE}


def test_default_rules_find_nondescript_recordings(root: Path) -> None:
    assert excluded(root) == {"a", "c", "d", "e", "f"}
    assert [row.key for row in Collection.load(root).included] == ["b", "g"]


def test_a_dry_run_only_lists(root: Path) -> None:
    before = (root / "metadata.csv").read_bytes()
    assert len(excluded(root, dry_run=True)) == 5
    assert (root / "metadata.csv").read_bytes() == before
    assert not (root / "excluded.csv").exists()
    assert (root / "review.csv").read_text().splitlines()[0] == "key,decision,rule,field,text"


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("test", {"b", "d", "e"}), ("test sound", {"e"}), ("TEST of  patience", {"b"}), ("/^test/", {"a", "d", "e"}),
        ("/[a-z]test/", {"f", "g"}), ("# a comment\n\nmarket\n/^river$/", {"b", "g"}), ("v.mp3", {"g"}),
    ],
)  # fmt: skip
def test_rules_are_words_or_expressions(root: Path, tmp_path: Path, rule: str, expected: set[str]) -> None:
    (tmp_path / "rules.txt").write_text(rule)
    assert excluded(root, tmp_path / "rules.txt") == expected


def test_other_rules_put_back_what_only_the_former_matched(root: Path, tmp_path: Path) -> None:
    excluded(root)
    (tmp_path / "rules.txt").write_text("market")
    assert excluded(root, tmp_path / "rules.txt") == {"g"}
    assert [row.key for row in Collection.load(root).included] == ["a", "b", "c", "d", "e", "f"]


def test_what_was_restored_or_kept_by_hand_stays_in(root: Path) -> None:
    excluded(root)
    assert restore(Collection.load(root), ["c", "a"]) == f"{root}: 2 restored, 3 still excluded"
    review = root / "review.csv"
    review.write_text(review.read_text().replace("d,exclude", f"d,{KEEP}"))
    assert excluded(root) == {"e", "f"}
    assert [row.key for row in Collection.load(root).included] == ["a", "b", "c", "d", "g"]
    assert restore(Collection.load(root), ["all"]).endswith("2 restored, 0 still excluded")
    assert excluded(root) == set()


def test_rows_that_other_commands_excluded_are_left_alone(root: Path) -> None:
    rows = Collection.load(root)
    rows.rows[0].exclude("collect tiles", "no imagery")
    rows.save()
    assert "a" not in excluded(root)
    with pytest.raises(UserError, match="--restore a: not excluded by collect clean"):
        restore(Collection.load(root), ["a"])


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"# nothing\n", "has no rule"),
        (b"ok\n/(/\n", "line 2: /.*/ is no regular expression"),
        (b"\xff\xfe\x00", "can't be read"),
    ],
)
def test_rules_that_are_none(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / "rules.txt").write_bytes(content)
    with pytest.raises(UserError, match=match):
        read_rules(tmp_path / "rules.txt")
    with pytest.raises(UserError, match="can't be read"):
        read_rules(tmp_path / "none.txt")
