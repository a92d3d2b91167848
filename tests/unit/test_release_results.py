"""Results for a card: read as they were written, refused where they are of another shape or of other weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from released_runs import DIRECTION, small_towers

from pretrain.releasing.results import read_results, scores_of
from shards.errors import UserError

RETRIEVAL: dict[str, Any] = {
    **{"protocol": "standard", "gallery_size": 24, "split": "test"},
    **dict.fromkeys(("image_to_sound", "sound_to_image", "chance"), DIRECTION),
}
DOWNSTREAM: dict[str, Any] = {
    **{"benchmark": "aid", "backbone": "resnet18", "protocol": "paper", "num_train": 10, "num_test": 5},
    "epochs": [{"epoch": 5, "accuracy": 0.5}],
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder's model."""
    folder = tmp_path_factory.mktemp("weights")
    small_towers().save_pretrained(folder / "run" / "model")
    (folder / "run" / "model" / "image_trunk.safetensors").write_bytes(b"a part of it")
    small_towers(seed=2).save_pretrained(folder / "other")
    return folder


def written(folder: Path, name: str, content: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def test_both_kinds_of_one_folder_are_read(weights: Path, tmp_path: Path) -> None:
    run = weights / "run"
    written(tmp_path / "a", "metrics.json", RETRIEVAL | {"weights": str(run)})
    written(tmp_path / "a", "results.json", DOWNSTREAM | {"weights": str(run / "model" / "image_trunk.safetensors")})
    moved = written(tmp_path / "b", "metrics.json", RETRIEVAL | {"weights": "/moved/away"})
    shown = read_results((tmp_path / "a", moved), run / "model")
    assert len(shown.retrieval) == 2
    assert [record["benchmark"] for record in shown.downstream] == ["aid"]
    assert shown.untraced == [moved]


@pytest.mark.parametrize("other", ["random", "imagenet", "OTHER"])
def test_results_of_other_weights_are_refused(weights: Path, other: str, tmp_path: Path) -> None:
    named = str(weights / "other") if other == "OTHER" else other
    folder = written(tmp_path, "metrics.json", RETRIEVAL | {"weights": named})
    with pytest.raises(UserError, match=f"results of the weights .*{named}, not of .*; leave it out"):
        read_results((folder,), weights / "run" / "model")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metrics.json", "{", r"metrics\.json can't be read as results"),
        ("metrics.json", [1], r"metrics\.json holds a list, not results"),
        ("metrics.json", {"accuracy": 1}, "lacks protocol and gallery_size"),
        ("metrics.json", RETRIEVAL | {"chance": None}, r"lacks a number as chance\.recall_at_1"),
        (
            "metrics.json",
            RETRIEVAL | {"sound_to_image": DIRECTION | {"median_rank": None}},
            r"sound_to_image\.median_rank",
        ),
        ("metrics.json", RETRIEVAL | {"chance": DIRECTION | {"recall_at_1": "x"}}, r"a number as chance\.recall_at_1"),
        (
            "metrics.json",
            RETRIEVAL | {"image_to_sound": {"median_rank": 1.0}},
            r"a number as image_to_sound\.recall_at_1",
        ),
        ("results.json", {}, "lacks benchmark"),
        ("results.json", DOWNSTREAM | {"num_test": None}, "lacks num_test"),
        ("results.json", DOWNSTREAM | {"epochs": []}, "lacks epochs, a list with scores"),
        ("results.json", DOWNSTREAM | {"epochs": [{"epoch": 1, "loss": 2.0}]}, "lacks a score in its last epoch"),
        ("else.json", {}, r"holds neither metrics\.json nor results\.json"),
    ],
)
def test_files_of_another_shape_get_a_sentence(
    weights: Path, name: str, content: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        read_results((written(tmp_path, name, content),), weights / "run" / "model")


def test_scores_of_parts_and_deviations_stand_together() -> None:
    epoch = {"epoch": 0, "train_loss": 1.0, "seconds": 3, "image": {"f1": 0.5, "f1_sd": 0.25}, "mean_iou": 0.375}
    assert scores_of({"epochs": [{"accuracy": 0}, epoch | {"classes": ["a"], "f1_sd": None}]}) == {
        "image f1": "0.500 ± 0.250",
        "mean iou": "0.375",
    }
