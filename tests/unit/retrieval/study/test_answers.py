"""Answers outlive a killed writer, are never overwritten, and belong to one study."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from commands import REPOSITORY, environment

from retrieval.study.answers import Answers, GivenAnswer, last_ones_in, raters_in
from shards.errors import UserError

WRITE_FOR_EVER = """
import itertools, sys
from pathlib import Path
from retrieval.study.answers import Answers
answers = Answers(Path(sys.argv[1]), "a study")
rater = answers.add_rater()
print(rater, flush=True)
for number in itertools.count():
    answers.record(rater, str(number), "yes" if number % 3 else "no")
    print(number, flush=True)
"""


@pytest.fixture
def answers(tmp_path: Path) -> Answers:
    return Answers(tmp_path / "answers.sqlite", "a study")


def test_what_was_acknowledged_outlives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    command = [sys.executable, "-c", WRITE_FOR_EVER, str(path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, env=environment(PYTHONPATH=str(REPOSITORY))
    ) as writer:
        assert writer.stdout is not None
        rater = writer.stdout.readline().strip()
        for _ in range(40):
            writer.stdout.readline()
        writer.kill()
        acknowledged = 40 + len(writer.stdout.read().splitlines())
    assert writer.returncode == -signal.SIGKILL
    kept = Answers(path, "a study").of_rater(rater)
    expected = {str(number): "yes" if number % 3 else "no" for number in range(acknowledged)}
    assert expected.items() <= kept.items()
    assert len(kept) <= acknowledged + 1


def test_the_last_answer_counts_and_the_earlier_ones_stay(answers: Answers, tmp_path: Path) -> None:
    first, second = answers.add_rater(), answers.add_rater()
    for rater, pair, answer in [
        (first, "1", "yes"),
        (second, "1", "no"),
        (first, "2", "no"),
        (first, "1", "unplayable"),
    ]:
        answers.record(rater, pair, answer)
    assert answers.of_rater(first) == {"1": "unplayable", "2": "no"}
    assert answers.last_ones() == [
        GivenAnswer(2, "1", "no"),
        GivenAnswer(1, "2", "no"),
        GivenAnswer(1, "1", "unplayable"),
    ]
    with sqlite3.connect(tmp_path / "answers.sqlite") as connection:
        rows = connection.execute(
            "SELECT pair, answer FROM answers WHERE rater = ? ORDER BY number", (first,)
        ).fetchall()
        assert rows == [("1", "yes"), ("2", "no"), ("1", "unplayable")]
        for statement in ("UPDATE answers SET answer = 'no'", "DELETE FROM answers"):
            with pytest.raises(sqlite3.IntegrityError, match="answers stay"):
                connection.execute(statement)


def test_many_raters_answer_at_once(answers: Answers) -> None:
    def rate(number: int) -> str:
        rater = answers.add_rater()
        for pair in range(15):
            answers.record(rater, str(pair), "yes" if (pair + number) % 2 else "no")
        return rater

    with ThreadPoolExecutor(8) as pool:
        raters = list(pool.map(rate, range(8)))
    assert len(set(raters)) == answers.num_raters() == 8
    assert len(answers.last_ones()) == 8 * 15
    for number, rater in enumerate(raters):
        assert answers.of_rater(rater) == {str(p): "yes" if (p + number) % 2 else "no" for p in range(15)}


def test_only_raters_and_answers_that_are_known_get_in(answers: Answers) -> None:
    rater = answers.add_rater()
    with pytest.raises(sqlite3.IntegrityError):
        answers.record("somebody", "1", "yes")
    with pytest.raises(sqlite3.IntegrityError):
        answers.record(rater, "1", "perhaps")
    assert not answers.has_rater("somebody")
    assert answers.has_rater(rater)
    assert answers.last_ones() == []


def test_answers_belong_to_one_study(answers: Answers, tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    again = Answers(path, "a study")
    assert again.secret == answers.secret
    with pytest.raises(UserError, match="a study other than"):
        Answers(path, "another one")
    with pytest.raises(UserError, match="a study other than"):
        last_ones_in(path, "another one")


def test_what_is_no_database_gets_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    path.write_text("not a database, but long enough to be taken for one " * 40)
    with pytest.raises(UserError, match=r"answers can't be stored in .*not a database"):
        Answers(path, "a study")
    with pytest.raises(UserError, match="can't be read"):
        raters_in(path)
    with pytest.raises(UserError, match="can't be read"):
        last_ones_in(path, "a study")
