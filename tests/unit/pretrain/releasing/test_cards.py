"""Cards state the facts of their run: its method, steps and hardware; untrusted text is escaped."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from released_runs import WIDE, authors_checkpoint, small_towers, write_run

from pretrain.methods.settings import AudiovisualConfig
from pretrain.releasing.model_card import intervals_words, model_card, results_table
from pretrain.releasing.release import ReleaseOptions, release
from pretrain.releasing.training_data import outline
from pretrain.settings.files import with_settings
from pretrain.training.checkpoints import RunState
from pretrain.weights.authors_checkpoint import convert_authors_checkpoint
from shards.streaming.reading import ShardSet

VIEWS = {"recall_at_1": 0.5, "recall_at_10": 1.0, "recall_at_100": None, "median_rank": 2.0}
SOURCE = "evil` |\n# Heading <b>"


def card_of(run: Path, out: Path) -> str:
    release(ReleaseOptions(run, out))
    return (out / "README.md").read_text()


def test_an_image_only_run_promises_nothing_of_sounds(tiny_shards: Path, tmp_path: Path) -> None:
    towers = small_towers(sound_trained=False)
    card = card_of(write_run(tmp_path / "run", tiny_shards, towers, method="simclr", best_error=None), tmp_path / "out")
    assert "A sound tower (resnet18) that was never trained, and an image tower (resnet18) that embeds overhead" in card
    assert "retrieval" not in card.split("## Intended use")[1].split("##")[0]
    assert "images and sounds can't be compared" in card
    assert "where and when the sounds" not in card
    image, sound = card.split("**`image_trunk.safetensors`**")[1].split("**`sound_trunk.safetensors`**")
    assert "never trained" not in image
    assert "It was never trained: these are its initial weights." in sound
    assert "by which the weights were chosen" not in card


def test_weights_before_any_step_are_said_to_be_untrained(tiny_shards: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", tiny_shards, best_step=0, step=0)
    line = (run / "metrics.jsonl").read_text().splitlines()[0]
    (run / "metrics.jsonl").write_text(line.replace('"step": 3', '"step": 0') + "\n")
    card = card_of(run, tmp_path / "out")
    assert "not trained here: these are the initial weights that training would start from" in card
    assert "They are\nnot useful by themselves." in card
    assert "where and when the sounds" not in card
    assert card.count("It was never trained") == 2
    assert "by which the weights were chosen" not in card  # there was one validation


@pytest.mark.parametrize(("method", "epochs"), [("audiovisual", 2), ("simclr", 2), ("audiovisual", 0)])
def test_the_card_of_a_run_folder_says_the_same(method: str, epochs: int, tiny_shards: Path) -> None:
    config = with_settings(AudiovisualConfig(shards=tiny_shards, epochs=epochs), {"method": method})
    scores: dict[str, Any] = {"view_to_view": VIEWS, "chance": VIEWS, "gallery_size": 4}
    card = model_card(config, ShardSet.open(tiny_shards).manifest, scores, step=3 * epochs, epoch=epochs)
    assert ("recorded at the same place into one space" in card) == (method == "audiovisual")
    assert ("encode_sound" in card) == (method == "audiovisual")
    assert ("can't be compared" in card) == (method != "audiovisual")
    assert ("not trained here" in card) == (epochs == 0)


def test_hardware_and_energy_are_those_of_all_starts(tiny_shards: Path, tmp_path: Path) -> None:
    state = RunState(seconds=7200.0)
    state.use({"Tesla T4": 2}, 2)["seconds"] += 3600.0
    state.use({"NVIDIA L4": 1}, 1)["seconds"] += 1800.0
    state.use({"Tesla T4": 2}, 2)["seconds"] += 1800.0
    assert len(state.uses) == 2
    card = card_of(write_run(tmp_path / "run", tiny_shards, uses=state.uses), tmp_path / "out")
    assert "| hardware | 2 × Tesla T4 for 1.5 hours; 1 × NVIDIA L4 for 0.5 hours |" in card
    assert "| processes | 2, then 1 |" in card
    assert "about 0.25 kWh: (2 × 70 W) × 1.5 h + (1 × 72 W) × 0.5 h" in card


def test_hours_that_an_older_checkpoint_did_not_explain_are_a_gap(tiny_shards: Path, tmp_path: Path) -> None:
    state = RunState(step=3, seconds=3600.0)  # as an older checkpoint has it
    state.use({"Tesla T4": 1}, 1)["seconds"] += 3600.0
    card = card_of(write_run(tmp_path / "run", tiny_shards, uses=state.uses), tmp_path / "out")
    assert "- the hardware used for 1 of the run's 2 hours\n" in card
    assert "| energy | not estimated: the hardware used for some of the hours is not known |" in card


def test_warnings_of_the_shards_are_on_both_cards(tiny_shards: Path, tmp_path: Path) -> None:
    manifest = dataclasses.replace(ShardSet.open(tiny_shards).manifest, warnings=("val has 16 pairs; few", "b|c"))
    scores: dict[str, Any] = {"view_to_view": VIEWS, "chance": VIEWS, "gallery_size": 4}
    card = model_card(AudiovisualConfig(shards=tiny_shards), manifest, scores, step=3, epoch=1)
    assert "| warnings | val has 16 pairs; few; bc |" in card
    data = outline(manifest)
    assert data["warnings"] == ["val has 16 pairs; few", "b|c"]
    card = card_of(write_run(tmp_path / "run", tmp_path / "gone", data=data), tmp_path / "out")
    assert "| warnings | val has 16 pairs; few; bc |" in card
    del data["warnings"]
    assert "| warnings |" not in card_of(write_run(tmp_path / "old", tmp_path / "gone", data=data), tmp_path / "out2")


@pytest.mark.parametrize(
    ("source", "init", "best_step", "says"),
    [
        ("demo", "random", 3, "they are of no use on real images or recordings."),
        ("demo", "imagenet", 3, "What the weights learned from them is of no use on real images"),
        ("demo", "random", 0, ""),
        ("recordings", "random", 3, ""),
    ],
)
def test_weights_of_a_generated_world_are_of_no_use_on_real_data(
    source: str, init: str, best_step: int, says: str, tmp_path: Path
) -> None:
    """By the source of the shard set, whatever the folders are called."""
    data = {"source": source, "pairs": {"train": 3}, "split_by": "key", "num_rejected": 0, "seconds_of_sound": 1.0}
    run = write_run(tmp_path / "demo", tmp_path / "gone", image_init=init, data=data, best_step=best_step)
    card = card_of(run, tmp_path / "out" / "demo")
    top = card.split("## Usage")[0]
    assert (says in top) if says else ("generated" not in card)
    assert ("Not for any task on real images" in card.split("## Intended use")[1]) == bool(says)
    assert ("For research" in card) == (source != "demo")
    for modality in ("image", "sound"):
        alone = (tmp_path / "out" / "demo" / f"{modality}-encoder-timm" / "README.md").read_text()
        assert (says in alone) if says else ("generated" not in alone)


@pytest.mark.parametrize(("source", "step", "says"), [("demo", 3, True), ("demo", 0, False), ("adopted", 3, False)])
def test_the_card_of_a_run_on_a_generated_world_says_so(source: str, step: int, says: bool, tiny_shards: Path) -> None:
    manifest = dataclasses.replace(ShardSet.open(tiny_shards).manifest, source=source)
    scores: dict[str, Any] = {"view_to_view": VIEWS, "chance": VIEWS, "gallery_size": 4}
    card = model_card(AudiovisualConfig(shards=tiny_shards), manifest, scores, step=step, epoch=1)
    assert ("of no use on real images or recordings" in card) == says


@pytest.mark.parametrize(
    ("intervals", "cell"),
    [
        ({"unit": "recording", "num_units": 40, "view_to_view": {"median_rank": [1.5, 3]}}, "2.0 (1.5 – 3.0)"),
        ({"view_to_view": {"median_rank": [1.5]}}, "2.0"),
        ({"view_to_view": {"median_rank": [1.5, "<b>"]}}, "2.0"),
        ({"view_to_view": [1.5]}, "2.0"),
        ("<b>", "2.0"),
    ],
)
def test_intervals_stand_beside_figures_where_a_record_has_them(intervals: Any, cell: str) -> None:
    record = {"view_to_view": VIEWS, "gallery_size": 4, "intervals": intervals}
    assert f"| median rank | {cell} |" in results_table(record)
    says = "In brackets 95 % intervals, by bootstrap over 40 recordings."
    assert intervals_words(record) == (says if "(" in cell else "")


def test_untrusted_words_stay_words(tmp_path: Path) -> None:
    data = {"source": SOURCE, "pairs": {"train": 3}, "split_by": SOURCE, "num_rejected": 0, "seconds_of_sound": 1.0}
    uses = [{"hardware": {SOURCE: 1}, "processes": 1, "seconds": 7200.0}]
    card = card_of(write_run(tmp_path / "run", tmp_path / "gone", data=data, uses=uses), tmp_path / "out")
    assert "| source | `evil' / # Heading <b>` |" in card
    assert "| split | by `evil' / # Heading <b>` |" in card
    assert "| hardware | 1 × evil # Heading b |" in card
    assert "- energy, not estimated: the power of evil # Heading b is not known\n" in card
    assert "\n# Heading" not in card


def test_keys_and_names_of_a_checkpoint_are_code(tmp_path: Path) -> None:
    file = authors_checkpoint(tmp_path, small_towers(**WIDE))
    state = torch.load(file)
    torch.save(state | {"`]\n# key": torch.zeros(1)}, tmp_path / "a`b\n# c.pt")
    convert_authors_checkpoint(tmp_path / "a`b\n# c.pt", tmp_path / "out")
    card = (tmp_path / "out" / "model" / "README.md").read_text()
    assert "Converted from `a'b # c.pt`" in card
    assert "1 unused: `'] # key`" in card


@pytest.mark.parametrize("name", ['a"b\\', "it's {x}", "ü 🎧", "a```b"])
def test_any_name_makes_python(name: str, tiny_shards: Path, tmp_path: Path) -> None:
    card = card_of(write_run(tmp_path / "run", tiny_shards), tmp_path / name)
    block = re.findall(r"```python\n(.*?)\n```", card, flags=re.DOTALL)[0]
    names: list[str] = []
    places = {"earshot": type("Fake", (), {"load": staticmethod(names.append)})}
    lines = [line for line in block.splitlines() if "earshot.load(" in line]
    exec(compile("\n".join(lines), "card", "exec"), places)
    compile(block, "card", "exec")
    assert names == [name]


def test_where_trunks_began_is_told_to_the_user_alone(tiny_shards: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", tiny_shards, image_init="/home/me/secret.pth")
    told = release(ReleaseOptions(run, tmp_path / "out"))
    assert any("the image encoder started from (/home/me/secret.pth)" in line for line in told)
    for path in (path for path in (tmp_path / "out").rglob("*") if path.is_file()):
        assert b"secret" not in path.read_bytes()
        assert b"--" + b"watts" not in path.read_bytes()
    assert "| encoders start from | image other weights, sound random |" in (tmp_path / "out" / "README.md").read_text()
