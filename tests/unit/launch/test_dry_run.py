"""A comparison's dry run: what each row costs, which weights would be fetched, where the plan leaves its preset."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
import yaml
from transformers import AutoConfig

import pretrain.hub
from launch.comparison.command import main
from launch.comparison.plan import load_plan
from launch.comparison.preset_changes import changes_of_presets
from launch.comparison.rows import rows_of
from pretrain.encoders.efficientat import EfficientAtEncoder
from pretrain.encoders.encoder import Encoder
from pretrain.encoders.published_files import PublishedFile
from pretrain.encoders.resnet import TorchvisionResNet
from pretrain.encoders.timm_network import TimmEncoder
from pretrain.weights.published_weights import published_weights
from shards.errors import UserError

AST = "transformers:MIT/ast-finetuned-audioset-10-10-0.4593"
SMALL = {"batch_size": 16, "tracker": "none", "data.image_size": 32, "model.sound_pooling": 4, "data.workers": 0}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """Empty caches, and every way to a network and to published weights noted and refused."""
    asked: list[str] = []

    def refuse(name: str) -> object:
        def refused(*words: object, **more: object) -> None:
            asked.append(f"{name} {words}")
            raise AssertionError(f"{name} was called")

        return refused

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse(name))
    monkeypatch.setattr(socket, "getaddrinfo", refuse("getaddrinfo"))
    for name in ("download_url_to_file", "load_state_dict_from_url"):
        monkeypatch.setattr(torch.hub, name, refuse(name))
    for name in ("snapshot_download", "hf_hub_download"):
        monkeypatch.setattr(huggingface_hub, name, refuse(name))
    monkeypatch.setattr(pretrain.hub, "fetch_files", refuse("fetch_files"))
    monkeypatch.setattr(AutoConfig, "from_pretrained", refuse("AutoConfig"))
    for kind in (Encoder, TorchvisionResNet, TimmEncoder, EfficientAtEncoder):
        monkeypatch.setattr(kind, "fetch_published", refuse("fetch_published"))
    build = timm.create_model

    def build_without_weights(*words: object, **more: object) -> object:
        return refuse("timm")() if more.get("pretrained") else build(*words, **more)

    monkeypatch.setattr(timm, "create_model", build_without_weights)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", os.environ.get("HF_HUB_OFFLINE", ""))  # set by the command; restored after
    yield asked
    assert asked == []


def dry_run(plan: dict[str, object], folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump({"name": "n", **plan}, sort_keys=False), encoding="utf-8")
    main([str(path), "--out", str(folder / "out"), "--dry-run", *words], "earshot compare")
    assert not (folder / "out").exists()
    return capsys.readouterr().out.splitlines()


def test_each_row_has_its_costs(tiny_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {**SMALL, "epochs": 3}
    methods = {"long": {}, "timed": {"max_seconds": 60}, "untrained": {"epochs": 0}}
    benchmarks = {"retrieval": {"crops": 2}}
    lines = dry_run(
        {"shards": str(tiny_shards), "settings": settings, "methods": methods, "benchmarks": benchmarks},
        tmp_path,
        capsys,
    )
    rows = [line.partition("): ")[2] for line in lines if line.startswith("row ")]
    ranked = rows[0].partition("), ")[2]
    assert ranked.startswith("retrieval (")
    assert ranked.endswith(" pairs of split test, 2 crops)")
    trained = "3 epochs x 48 pairs in batches of 16: 9 steps"
    assert rows == [
        f"training ({trained}), {ranked}",
        f"training (at most 60 s or {trained}), {ranked}",
        f"training (none, 0 epochs), {ranked}",
    ]
    assert lines[-1] == "dry run: all checks passed; nothing was written"


def test_what_is_done_has_no_costs(tiny_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "done" / "rows" / "a" / "resnet18" / "seed-0" / "run"
    run.mkdir(parents=True)
    (run / "summary.json").write_text("{}")
    plan = {"shards": str(tiny_shards), "settings": {**SMALL, "model.image_init": "imagenet"}, "methods": {"a": {}}}
    lines = dry_run(plan, tmp_path, capsys, "--out", str(tmp_path / "done"))
    assert lines[1] == "row 1 of 1 (a, resnet18, seed 0): training (done)"
    assert not any(line.startswith("weights:") for line in lines)


def test_weights_are_listed_and_not_fetched(
    tiny_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cached = tmp_path / "torch/hub/checkpoints/resnet50-11ad3fa6.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(bytes(2_000_000))
    methods = {
        "torchvision": {"model.image_init": "imagenet", "backbones": ["resnet18", "resnet50"]},
        "timm": {"model.image_init": "pretrained", "backbones": ["timm:tf_efficientnet_lite0"]},
        "audioset": {"model.sound_encoder": "mn04", "model.sound_init": "pretrained"},
        "ast": {"model.sound_encoder": AST, "model.sound_init": "pretrained"},
        "mine": {"model.image_init": "somebody/towers"},
    }
    plan = {"shards": str(tiny_shards), "settings": SMALL, "methods": methods}
    lines = [dry_run(plan, tmp_path, capsys, "--row", str(row)) for row in (1, 2, 3, 5, 6)]
    missing, hub = "not in the cache: would be fetched", f"{AST.partition(':')[2]} of the hub"
    assert [line for of_row in lines for line in of_row if line.startswith("weights")] == [
        f"weights: resnet18-f37072fd.pth of download.pytorch.org, 46.8 MB, {missing}",
        "weights: resnet50-11ad3fa6.pth of download.pytorch.org, 2.0 MB, in the cache",
        f"weights: timm/tf_efficientnet_lite0.in1k of the hub, size unknown, {missing}",
        f"weights: {hub}, size unknown, {missing}",
        f"weights: somebody/towers of the hub, size unknown, {missing}",
    ]
    assert f"not checked: {AST}, whose architecture would be fetched first" in lines[3]
    # These shards are of another front end than AudioSet's networks take, which the run refuses too.
    with pytest.raises(UserError, match=r"^row 4 of 6 .*takes spectrograms of audioset-32k"):
        dry_run(plan, tmp_path, capsys, "--row", "4")
    of_audioset = published_weights(rows_of(load_plan(tmp_path / "plan.yaml"), tmp_path)[3].config)
    assert of_audioset == [PublishedFile("mn04_as_mAP_432.pt of github.com", None, False)]


def test_shards_at_an_address_are_not_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = {"shards": "https://example.org/shards", "settings": SMALL, "methods": {"a": {}}}
    lines = dry_run(plan, tmp_path, capsys)
    assert "row 1 of 1 (a, resnet18, seed 0): training (12 epochs x ? pairs in batches of 16)" in lines
    assert "shards  https://example.org/shards, not opened" in lines
    assert lines[-1].startswith("dry run: the settings are checked, the shards are at an address and not opened")


def test_a_plan_that_leaves_its_preset_says_so(tiny_shards: Path, tmp_path: Path) -> None:
    def changes(**plan: object) -> list[str]:
        path = tmp_path / "plan.yaml"
        path.write_text(yaml.safe_dump({"name": "n", "shards": str(tiny_shards), **plan}), encoding="utf-8")
        loaded = load_plan(path)
        return changes_of_presets(loaded, rows_of(loaded, tmp_path / "out"))

    assert changes(preset="soundingearth-resnet18", methods={"a": {}}) == []
    assert changes(preset="soundingearth-resnet18", methods={"a": {"epochs": 7}}) == []  # what is compared
    assert changes(preset="soundingearth-resnet18", settings={"tracker": "none"}, methods={"a": {}}) == []
    assert changes(preset="soundingearth-resnet18", backbones=["resnet50"], methods={"a": {}}) == [
        "the plan changes settings of preset soundingearth-resnet18: model.image_encoder resnet50 (preset: resnet18)"
    ]
    assert changes(settings={"batch_size": 16, "epochs": 12}, methods={"a": {}, "b": {"batch_size": 8}}) == [
        "the plan changes settings of preset demo: model.image_encoder resnet18 (preset: narrow-resnet10); batch_size "
        "16 (preset: 32)"
    ]


@pytest.mark.parametrize("words", [["--dry-run"], ["--slurm"]])
def test_a_comparison_begins_with_what_it_changes(
    words: list[str],
    tiny_shards: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("launch.comparison.command._carry_out", lambda *_: print("the comparison"))
    path = tmp_path / "plan.yaml"
    path.write_text(f"name: n\nshards: {tiny_shards}\nsettings: {{batch_size: 16}}\nmethods: {{a: {{}}}}\n")
    main([str(path), "--out", str(tmp_path / "out"), *words], "earshot compare")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("the plan changes settings of preset demo: model.image_encoder resnet18 (preset: narrow")
