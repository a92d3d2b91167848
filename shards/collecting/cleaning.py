"""Cleaning: rules over titles, descriptions and file names, a list to review, and exclusions that can be undone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from shards.atomic_files import write_text_atomically
from shards.collecting.collection import Collection, Row
from shards.csv_text import csv_text
from shards.errors import UserError, first_line
from shards.registry import nearest
from shards.sources.tables import read_table_file

REVIEW_NAME = "review.csv"
COMMAND = "collect clean"
MOST_LETTERS = 10_000
"""Of a text that is searched."""

DEFAULT_RULES = (
    r"/\btest[ _-]?(sound|recording|file|upload|audio|tone|aufnahme)/",
    r"/\b(sound|audio|recording|upload)[ _-]?test\b/",
    r"/\b(mic|microphone|equipment)[ _-]?(test|check)\b/",
    r"/^\W*(test|untitled|unknown|deleted?|dummy)\W*\d*\W*(\.\w{2,4})?$/",
)
"""Nondescript recordings. The paper searched names and descriptions for such as "testsound.mp3", and excluded 621."""

EXCLUDE, KEEP = "exclude", "keep"
_SEARCHED = ("title", "description", "original_name", "mp3name")


@dataclass(frozen=True)
class Rule:
    """A rule.

    Attributes:
        text: as it was written.
        pattern: what is searched for.
    """

    text: str
    pattern: re.Pattern[str]


@dataclass(frozen=True)
class Match:
    """A recording that a rule matches.

    Attributes:
        row: the recording.
        decision: exclude or keep; what was restored or kept by hand stays.
        rule: the text of the rule.
        field: the column.
        text: what stands there.
    """

    row: Row
    decision: str
    rule: str
    field: str
    text: str


def clean(collection: Collection, rules: Path | None, *, dry_run: bool = False) -> list[Match]:
    """Finds what rules match, writes review.csv, and excludes what is not to be kept.

    Args:
        collection: the tables; saved unless `dry_run`.
        rules: file of the rules, None for the default ones.
        dry_run: only write the list.

    Raises:
        UserError: the rules or the list can't be read.
    """
    patterns = read_rules(rules)
    path = collection.root / REVIEW_NAME
    kept = _kept_keys(path)
    matches = []
    for row in collection.rows:
        found = _first_match(collection, row, patterns)
        if found is not None and row.excluded_by in ("", COMMAND):
            rule, name, text = found
            matches.append(Match(row, KEEP if row.key in kept else EXCLUDE, rule.text, name, text))
    lines = [(m.row.key, m.decision, m.rule, m.field, m.text) for m in matches]
    write_text_atomically(path, csv_text(("key", "decision", "rule", "field", "text"), lines))
    if not dry_run:
        matched = {match.row.key: match for match in matches if match.decision == EXCLUDE}
        for row in collection.rows:
            if row.key in matched:
                match = matched[row.key]
                row.exclude(COMMAND, f"{match.field} matches {match.rule}")
            elif row.excluded_by == COMMAND:  # by a rule that is not there any more, or kept by hand
                row.include()
        collection.save()
    return matches


def restore(collection: Collection, keys: Sequence[str]) -> str:
    """Puts excluded recordings back where they were; later runs leave them in.

    Args:
        collection: the tables; saved.
        keys: of the recordings, or "all".

    Returns:
        A sentence on what was done.

    Raises:
        UserError: a key is none of an excluded recording.
    """
    excluded = {row.key: row for row in collection.rows if row.excluded_by == COMMAND}
    wanted = list(excluded) if list(keys) == ["all"] else list(dict.fromkeys(keys))
    unknown = [key for key in wanted if key not in excluded]
    if unknown:
        raise UserError(
            f"--restore {unknown[0]}: not excluded by {COMMAND}; {nearest(unknown[0], list(excluded))}see excluded.csv"
        )
    for key in wanted:
        excluded[key].include()
    path = collection.root / REVIEW_NAME
    table = read_table_file(path) if path.exists() else None
    rows = [dict(fields) for _, fields in table.rows] if table else []
    for fields in rows:
        if fields.get("key") in wanted:
            fields["decision"] = KEEP
    listed = {fields.get("key") for fields in rows}
    rows += [{"key": key, "decision": KEEP} for key in wanted if key not in listed]
    header = ("key", "decision", "rule", "field", "text")
    write_text_atomically(path, csv_text(header, [[fields.get(name, "") for name in header] for fields in rows]))
    collection.save()
    return f"{collection.root}: {len(wanted):,} restored, {len(excluded) - len(wanted):,} still excluded"


def read_rules(path: Path | None) -> list[Rule]:
    """The rules of a file, one a line.

    Plain words match as whole words, in this order, without regard to case and to what is between them;
    /…/ is a regular expression; empty lines and those that begin with # are left out.

    Raises:
        UserError: the file can't be read, has no rule, or a line is no regular expression.
    """
    if path is None:
        lines: Sequence[str] = DEFAULT_RULES
    else:
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"--rules {path} can't be read: {first_line(error)}; give a text file in UTF-8") from error
    rules = []
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line or line.startswith("#"):
            continue
        is_expression = len(line) > 2 and line.startswith("/") and line.endswith("/")
        expression = line[1:-1] if is_expression else _words_expression(line)
        try:
            rules.append(Rule(line, re.compile(expression, re.IGNORECASE)))
        except re.error as error:
            raise UserError(f"--rules {path}, line {number}: {line} is no regular expression: {error}") from error
    if not rules:
        raise UserError(f"--rules {path} has no rule; write one a line")
    return rules


def _words_expression(line: str) -> str:
    """Words in this order, with anything but letters and digits around and between them."""
    return r"(?<![^\W_])" + r"[\W_]+".join(map(re.escape, line.split())) + r"(?![^\W_])"


def print_cleaning(root: Path, matches: Sequence[Match], *, dry_run: bool) -> None:
    """Prints how many recordings were excluded, by which rules."""
    excluded = [match for match in matches if match.decision == EXCLUDE]
    kept = len(matches) - len(excluded)
    verb = "would be excluded" if dry_run else "excluded"
    print(f"{root}: {len(excluded):,} {verb}, {kept:,} matched but kept; see {root / REVIEW_NAME}")
    for rule, count in Counter(match.rule for match in excluded).most_common():
        print(f"  {count:,} by {rule}")


def _first_match(collection: Collection, row: Row, rules: Sequence[Rule]) -> tuple[Rule, str, str] | None:
    for name, text in _texts(collection, row):
        for rule in rules:
            if rule.pattern.search(text[:MOST_LETTERS]):
                return rule, name, text
    return None


def _texts(collection: Collection, row: Row) -> Iterator[tuple[str, str]]:
    """Column and text of what is searched in a row."""
    roles = collection.table.roles if collection.table else None
    names: list[str] = []
    for role in _SEARCHED:
        names += roles.properties.get(role, ()) if roles else ()
        names.append(roles.columns.get("sound", role) if roles and role == "mp3name" else role)
    for name in dict.fromkeys(names):
        if text := row.fields.get(name, ""):
            yield name, text


def _kept_keys(path: Path) -> set[str]:
    """Keys that the list says to keep."""
    if not path.exists():
        return set()
    table = read_table_file(path, None, lambda name: name in ("key", "decision"))
    return {fields.get("key", "") for _, fields in table.rows if fields.get("decision", "").lower() == KEEP}
