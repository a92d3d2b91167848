"""`earshot show` knows what a folder holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from launch import showing
from launch.showing import ShowAnyOptions, show_any
from shards.errors import UserError


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["config.yaml"], ["run"]),
        (["metrics.json"], ["evaluation"]),
        (["config.yaml", "metrics.json"], ["run", "evaluation"]),
    ],
)
def test_a_folder_is_shown_as_what_it_is(
    files: list[str], expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(showing, "run_show", lambda options: shown.append("run"))
    monkeypatch.setattr(showing, "show_evaluation", lambda options: shown.append("evaluation"))
    for name in files:
        (tmp_path / name).touch()
    show_any(ShowAnyOptions(tmp_path))
    assert shown == expected


def test_another_folder_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has neither config\.yaml, as a run has, nor metrics\.json"):
        show_any(ShowAnyOptions(tmp_path))
