"""Runs of advance-transfer in tables: what an approach is called, and which runs share a row."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from downstream.reporting.rows import rows_of_runs
from downstream.reporting.runs import runs_of
from downstream.reporting.tables import build_tables
from downstream.results import Results
from downstream.transfer.kind import TransferRunSettings
from downstream.transfer.settings import APPROACHES, TransferLoss, TransferSettings, approach_of


def test_every_approach_has_its_place_in_tables() -> None:
    for loss in get_args(TransferLoss):
        for with_scene_loss in (True, False):
            if loss != "none" or with_scene_loss:
                for beta in (0.0, 0.001):
                    transfer = TransferSettings(loss=loss, with_scene_loss=with_scene_loss, beta=beta)
                    assert approach_of(TransferRunSettings(transfer=transfer)) in APPROACHES


@pytest.mark.parametrize(
    ("weights", "taught", "of_both", "of_image", "of_sound"),
    [
        ("random", False, "L_s†", "L_s†", "L_s†"),
        ("random", True, "L_s", "L_s†", "L_s"),
        ("imagenet", False, "L_s", "L_s", "L_s†"),
        ("imagenet", True, "L_s", "L_s", "L_s"),
    ],
)
def test_a_dagger_marks_what_begins_from_random_weights_alone(
    weights: str, taught: bool, of_both: str, of_image: str, of_sound: str
) -> None:
    teacher = Path("t") if taught else None
    for modality, expected in (("both", of_both), ("image", of_image), ("sound", of_sound)):
        transfer = TransferSettings(loss="none", teacher=teacher, modality=modality)  # type: ignore[arg-type]
        assert approach_of(TransferRunSettings(weights=weights, transfer=transfer)) == expected


def write_result(folder: Path, approach: str, modality: str, **details: Any) -> None:
    entry = {f"{score}{end}": 0.5 for score in ("precision", "recall", "f1") for end in ("", "_sd")}
    said = {"approach": approach, "modality": modality, "sound_weights": "random resnet18", "num_seeds": 3}
    values: dict[str, Any] = {
        **{"benchmark": "advance-transfer", "weights": "random", "backbone": "resnet18", "protocol": "paper"},
        **{"num_train": 8, "num_test": 2, "seconds": 1.0, "head_on": "trunk", "seed": 0, "split": "grouped"},
        **{"train_fraction": 0.8, "epochs": [{"epoch": 3, **entry}], "details": {**said, **details}},
    }
    Results(**values).write(folder)


@pytest.mark.parametrize(("name", "values"), [("teacher", ("a", "b")), ("over_events", ("sum", "mean"))])
def test_results_of_other_teachers_and_sums_are_rows_that_say_so(
    name: str, values: tuple[str, str], tmp_path: Path
) -> None:
    for value in values:
        write_result(tmp_path / value, "L_s + L_E", "both", **{"teacher": "t", "over_events": "sum", name: value})
    first, second = rows_of_runs(runs_of([tmp_path / value for value in values]))
    (said,), (otherwise,) = (
        set(one.conditions) - set(other.conditions) for one, other in ((first, second), (second, first))
    )
    assert values[0] in said.split()
    assert values[1] in otherwise.split()


def test_the_report_sets_approaches_beside_those_of_the_paper(tmp_path: Path) -> None:
    for name, approach, modality in (("a", "L_s + L_E", "both"), ("b", "L_s", "sound"), ("c", "L_E alone", "both")):
        write_result(tmp_path / name, approach, modality)
    (table,) = build_tables(rows_of_runs(runs_of([tmp_path])))
    assert table.layout.name == "transfer"
    measured = [(row.modality, row.approach) for row in table.rows if row.origin == "measured"]
    assert measured == [("sound", "L_s"), ("both", "L_s + L_E"), ("both", "L_E alone")]
    places = [(row.modality, APPROACHES.index(row.approach)) for row in table.rows]
    assert places == sorted(places, key=lambda place: (["sound", "image", "both"].index(place[0]), place[1]))
    published = {(row.modality, row.approach): row.figures for row in table.rows if row.origin == "published"}
    assert published["image", "L_s + L_E"]["f1"].mean == 73.44
    assert published["both", "L_E alone"]["precision"].sd == 1.14
    assert published["sound", "L_s + L_SQ (N_v+a)"]["recall"].mean == 34.68
    assert list(published["both", "L_s"]) == ["f1"]
