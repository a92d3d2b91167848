"""Results for a card: read as they were written, refused where they are of another shape or of other weights."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from released_runs import DIRECTION, small_towers

from pretrain.releasing.results import read_results, scores_of
from pretrain.weights.identity import weights_sha256
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


def stated(weights: Path | str) -> dict[str, Any]:
    """What results say of their weights."""
    return {"weights": str(weights), "weights_sha256": weights_sha256(weights)}


def written(folder: Path, name: str, content: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def test_both_kinds_of_one_folder_are_read(weights: Path, tmp_path: Path) -> None:
    run = weights / "run"
    written(tmp_path / "a", "metrics.json", RETRIEVAL | stated(run))
    written(tmp_path / "a", "results.json", DOWNSTREAM | stated(run / "model" / "image_trunk.safetensors"))
    older = written(tmp_path / "b", "metrics.json", RETRIEVAL | {"weights": str(run)})
    shown = read_results((tmp_path / "a", older), run / "model")
    assert len(shown.retrieval) == 2
    assert [record["benchmark"] for record in shown.downstream] == ["aid"]
    assert shown.untraced == [older]


def test_what_lay_there_before_counts_and_not_what_lies_there_now(weights: Path, tmp_path: Path) -> None:
    shutil.copytree(weights / "other", tmp_path / "run" / "model")
    results = written(tmp_path / "retrieval", "metrics.json", RETRIEVAL | stated(tmp_path / "run"))
    assert read_results((results,), tmp_path / "run" / "model").untraced == []
    small_towers(seed=3).save_pretrained(tmp_path / "run" / "model")  # training continued
    with pytest.raises(UserError, match="as they were then, which differ from those of"):
        read_results((results,), tmp_path / "run" / "model")


def test_only_towers_of_ours_have_a_checksum(weights: Path, tmp_path: Path) -> None:
    whole = hashlib.sha256((weights / "run" / "model" / "model.safetensors").read_bytes()).hexdigest()
    for named in (weights / "run", weights / "run" / "model", weights / "run" / "model" / "model.safetensors"):
        assert weights_sha256(named) == whole
    (weights / "run" / "model" / "others.pth").write_bytes(b"of others")
    (tmp_path / "image_trunk.safetensors").write_bytes(b"alone")
    for named in ("random", "imagenet", weights / "run" / "model" / "others.pth", tmp_path / "image_trunk.safetensors"):
        assert weights_sha256(named) is None


@pytest.mark.parametrize("other", ["random", "imagenet", "–", "OTHER"])
def test_results_of_other_weights_are_refused(weights: Path, other: str, tmp_path: Path) -> None:
    named = weights / "other" if other == "OTHER" else other
    folder = written(tmp_path, "metrics.json", RETRIEVAL | stated(named))
    with pytest.raises(UserError, match=f"results of the weights .*{named} .* differ from those of .*, or omit it"):
        read_results((folder,), weights / "run" / "model")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metrics.json", "{", r"metrics\.json is not JSON: .*; compute them again"),
        ("metrics.json", [1], r"metrics\.json: input should be a valid dictionary, got \["),
        ("metrics.json", {"accuracy": 1}, "lacks protocol and gallery_size"),
        ("metrics.json", RETRIEVAL | {"chance": None}, r"lacks a number from 0 to 1 as chance\.recall_at_1"),
        (
            "metrics.json",
            RETRIEVAL | {"sound_to_image": DIRECTION | {"median_rank": None}},
            r"sound_to_image\.median_rank",
        ),
        ("metrics.json", RETRIEVAL | {"chance": DIRECTION | {"recall_at_1": "x"}}, r"as chance\.recall_at_1"),
        (
            "metrics.json",
            RETRIEVAL | {"image_to_sound": {"median_rank": 1.0}},
            r"as image_to_sound\.recall_at_1",
        ),
        ("results.json", {}, "lacks benchmark"),
        ("results.json", DOWNSTREAM | {"num_test": None}, "lacks num_test"),
        ("results.json", DOWNSTREAM | {"epochs": []}, "lacks epochs, a list with scores"),
        ("results.json", DOWNSTREAM | {"epochs": [{"epoch": 1, "loss": 2.0}]}, "lacks a score in its last epoch"),
        *(("metrics.json", RETRIEVAL | {"gallery_size": size}, "gallery_size") for size in (True, -3, 2.5)),
        *(
            (
                "metrics.json",
                RETRIEVAL | {"chance": DIRECTION | {"recall_at_10": recall}},
                r"0 to 1 as chance\.recall_at_10",
            )
            for recall in (-0.1, 1.5, math.nan, math.inf, True)
        ),
        *(
            ("metrics.json", RETRIEVAL | {"chance": DIRECTION | {"median_rank": rank}}, "from 1 to 24 as chance.median")
            for rank in (0, 25, math.nan, math.inf)
        ),
        *(("results.json", DOWNSTREAM | {"num_train": count}, "lacks num_train") for count in (True, -1, 0.5)),
        *(
            (
                "results.json",
                DOWNSTREAM | {"epochs": [{"accuracy": 0.5, "image": {"f1": score}}]},
                "lacks finite scores",
            )
            for score in (math.nan, math.inf)
        ),
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
        "image f1": "50.00 ± 25.00 %",
        "mean iou": "37.50 %",
    }
