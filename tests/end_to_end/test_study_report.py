"""The study's report of chosen answers: what it says of its figures, and where it can't be made or written."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from commands import PATIENCE_SECONDS, environment, python
from listening_shards import write_listening_shards, write_tiny_towers
from study_serving import obey_permissions, read_only

from retrieval.study.answers import Answers
from retrieval.study.folder import Study
from retrieval.study.options import PrepareOptions, StudyReportOptions
from retrieval.study.preparing import prepare
from retrieval.study.reporting import report
from shards.errors import UserError

FILES = ["figures.png", "report.html", "report.json", "report.md"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("study")
    shards = write_listening_shards(root / "shards", {"test": 12})
    options = PrepareOptions(write_tiny_towers(root / "model"), shards, root / "out", pairs=6, crops=1, device="cpu")
    prepare(options)
    return options.out


@pytest.fixture
def folder(prepared: Path, tmp_path: Path) -> Path:
    return shutil.copytree(prepared, tmp_path / "study")


def give(folder: Path, true: str, retrieved: str) -> None:
    """A rater's answers to the true and to the retrieved pairs, y or n each."""
    study = Study.load(folder)
    answers = Answers(folder / "answers.sqlite", study.identity)
    rater = answers.add_rater()
    for kind, given in (("true", true), ("retrieved", retrieved)):
        ids = [pair.id for pair in study.pairs if pair.kind == kind]
        for pair, answer in zip(ids, given, strict=True):
            answers.record(rater, pair, {"y": "yes", "n": "no"}[answer])


def give_all(folder: Path) -> None:
    for true, retrieved in (("yyy", "ynn"), ("yyy", "yyn"), ("yyy", "nnn"), ("yyy", "nyn")):
        give(folder, true, retrieved)


def run_obeying(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        python("retrieval/run.py", "study", *words),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
        preexec_fn=obey_permissions,
    )


def test_every_row_has_its_own_method(folder: Path) -> None:
    give_all(folder)
    report(StudyReportOptions(folder))
    record = json.loads((folder / "report" / "report.json").read_text())
    assert record["rates"]["true"]["method"].startswith("Wilson")
    assert record["rates"]["retrieved"]["method"].startswith("Student")
    assert record["difference"]["method"].startswith("Student")
    text = (folder / "report" / "report.md").read_text()
    wilson = (
        "Wilson's over the 3 answers of a rater, because there is no spread between raters; generalises to other pairs"
    )
    student = "Student's t over raters; generalises to other raters"
    assert f"True pairs: {wilson}. Retrieved pairs, Difference: {student}." in text
    page = (folder / "report" / "report.html").read_text()
    low, high = (100 * record["rates"]["true"][end] for end in ("low", "high"))
    assert f"95 % intervals: {low:.1f} to {high:.1f} % of the true pairs, " in page
    agreement = record["agreement"]["all"]
    low, high = agreement["krippendorff_alpha_interval"]
    assert f"all pairs {agreement['krippendorff_alpha']:.3f} ({low:.3f} to {high:.3f})".replace("-", "−") in page


def test_a_difference_without_spread_shows_no_interval(folder: Path) -> None:
    for true, retrieved in (("yyy", "ynn"), ("yyy", "nyn"), ("yyy", "nny")):
        give(folder, true, retrieved)
    counts = report(StudyReportOptions(folder))
    assert counts.p_value == 0.25
    assert "| Difference | 66.7 ± 0.0 | none: no spread between raters | 2.1 |" in (
        folder / "report" / "report.md"
    ).read_text(encoding="utf-8")


def test_changed_media_get_a_sentence_and_no_report(folder: Path) -> None:
    give_all(folder)
    (folder / "media" / "3.jpg").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"media/3\.jpg has changed: its SHA-256 is"):
        report(StudyReportOptions(folder))
    assert not (folder / "report").exists()


def test_nothing_is_written_before_all_is_rendered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give_all(folder)
    report(StudyReportOptions(folder))
    before = {path.name: path.read_bytes() for path in (folder / "report").iterdir()}
    give(folder, "nnn", "nnn")

    def fail(_: bytes) -> None:
        raise OSError("the last thing that is rendered")

    monkeypatch.setattr("retrieval.study.reporting.decode_jpeg", fail)
    with pytest.raises(OSError, match="the last thing"):
        report(StudyReportOptions(folder))
    assert {path.name: path.read_bytes() for path in (folder / "report").iterdir()} == before


def test_a_folder_that_can_t_be_written_is_reported_elsewhere(folder: Path, tmp_path: Path) -> None:
    give_all(folder)
    with read_only(folder):
        refused = run_obeying("report", folder)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert (
            refused.stderr == f"error: out {folder}/report can't be written: Permission denied; give another folder\n"
        )
        written = run_obeying("report", folder, "--out", tmp_path / "elsewhere")
        assert written.returncode == 0, written.stderr
        served = run_obeying("serve", folder, "--port", "0")
        assert served.returncode == 2
        assert served.stderr.startswith(
            f"error: {folder} can't be written to (Permission denied), but answers are stored"
        )
        assert served.stderr.count("\n") == 1
    assert sorted(path.name for path in (tmp_path / "elsewhere").iterdir()) == FILES
    assert json.loads((tmp_path / "elsewhere" / "report.json").read_text())["num_answers"] == 24


def test_answers_not_yet_merged_are_read_where_nothing_can_be_written(folder: Path, tmp_path: Path) -> None:
    give_all(folder)
    # As long as a connection is open what others write stays in the write-ahead log.
    with closing(sqlite3.connect(folder / "answers.sqlite")) as connection:
        connection.execute("SELECT * FROM answers").fetchall()
        give(folder, "ynn", "nnn")
        copy = shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns("*-shm"))
    assert (copy / "answers.sqlite-wal").stat().st_size
    with read_only(copy):
        written = run_obeying("report", copy, "--out", tmp_path / "elsewhere")
    assert written.returncode == 0, written.stderr
    assert json.loads((tmp_path / "elsewhere" / "report.json").read_text())["num_answers"] == 30


def test_a_place_that_is_no_folder_gets_a_sentence(folder: Path, tmp_path: Path) -> None:
    give_all(folder)
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UserError, match=r"taken can't be written: .*; give another folder"):
        report(StudyReportOptions(folder, out=tmp_path / "taken"))
    (folder / "report" / "report.md").mkdir(parents=True)
    with pytest.raises(UserError, match=r"report can't be written: Is a directory; give another folder with --out"):
        report(StudyReportOptions(folder))
