"""The verb `release`: the folder, its card and its notice, filled from a run, and what they can't tell."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from commands import REPOSITORY
from huggingface_hub import ModelCard
from released_runs import DIRECTION, WIDE, authors_checkpoint, small_towers, write_run
from tiny_shards import write_tiny_shards

from pretrain.model import TwoTower
from pretrain.releasing.citation import CITATION
from pretrain.releasing.release import ReleaseOptions, release
from pretrain.training.curves_picture import curves_png
from pretrain.training.metrics_file import MetricsFile
from pretrain.weights.authors_checkpoint import convert_authors_checkpoint
from pretrain.weights.identity import weights_sha256
from shards.errors import UserError

GPUS = {"uses": [{"hardware": {"NVIDIA H100 80GB HBM3": 2}, "processes": 2, "seconds": 7200.0}]}
UNTRIED = "not tested: torch.hub, TorchGeo"
RELEASED = {
    *("config.json", "model.safetensors", "image_trunk.safetensors", "sound_trunk.safetensors"),
    *("README.md", "NOTICE.md", "SHA256SUMS", "curves.png", "modules.json", "config_sentence_transformers.json"),
    *("earshot_towers.py", "earshot_sentence_transformers.py", "earshot_mteb.py"),
    *(f"image-encoder-timm/{name}" for name in ("config.json", "model.safetensors", "README.md", "NOTICE.md")),
    *(f"sound-encoder-timm/{name}" for name in ("config.json", "model.safetensors", "README.md", "NOTICE.md")),
}
BY_TIMM = (
    "checked: image-encoder-timm by timm, bit for bit; sound-encoder-timm by timm, bit for bit; earshot_towers.py, "
    "within 1e-05 of the largest value"
)


@pytest.fixture(scope="module")
def finished(tiny_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two hours on two GPUs."""
    return write_run(tmp_path_factory.mktemp("finished") / "run", tiny_shards, **GPUS)


@pytest.fixture(scope="module")
def released(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Its release with the results of retrieval and of a benchmark, and what was printed."""
    folder = tmp_path_factory.mktemp("released")
    results = [write_retrieval(folder / "retrieval", finished), write_benchmark(folder / "scenes", finished)]
    (folder / "out").mkdir()  # an empty folder is as good as none
    return folder / "out", release(ReleaseOptions(finished, folder / "out", results=tuple(results)))


def stated(weights: Path | str) -> dict[str, Any]:
    """What results say of their weights."""
    return {"weights": str(weights), "weights_sha256": weights_sha256(weights)}


def write_retrieval(folder: Path, weights: Path | str, **changes: Any) -> Path:
    record: dict[str, Any] = {"protocol": "standard", "gallery_size": 24, "split": "test", **stated(weights)}
    record |= {part: DIRECTION | {"median_rank": 5.0} for part in ("image_to_sound", "sound_to_image", "chance")}
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(record | changes))
    return folder


def write_benchmark(folder: Path, weights: Path | str, **changes: Any) -> Path:
    record: dict[str, Any] = {"benchmark": "folder", "backbone": "resnet18", **stated(weights)}
    record |= {"protocol": "linear", "num_train": 1200, "num_test": 24, "details": {}}
    record["epochs"] = [{"epoch": 0, "accuracy": 0.1}, {"epoch": 1, "accuracy": 0.625, "accuracy_sd": 0.011}]
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(record | changes))
    return folder


def test_the_folder_holds_all_and_nothing_else(finished: Path, released: tuple[Path, list[str]]) -> None:
    folder, told = released
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == RELEASED
    assert (
        subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, check=False, capture_output=True).returncode == 0
    )
    assert len((folder / "SHA256SUMS").read_text().splitlines()) == len(RELEASED) - 1
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".")] == []
    assert "](curves.png)\n" in (folder / "README.md").read_text()
    assert (folder / "curves.png").read_bytes() == curves_png(MetricsFile(finished).read(), 3)
    assert told[0].startswith("checked, bit for bit on random inputs and validation pairs: model.safetensors by")
    assert told[1:] == [BY_TIMM, UNTRIED, f"release: {folder}"]
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    ours, theirs = TwoTower.from_pretrained(finished), TwoTower.from_pretrained(folder)
    assert torch.equal(ours.encode_image(images), theirs.encode_image(images))


def test_the_card_is_filled_from_the_run(released: tuple[Path, list[str]]) -> None:
    card = (released[0] / "README.md").read_text()
    for words in (
        "| pairs | 48 train, 16 val, 24 test; 0 rejected |",
        "| split | by `key` |",
        "| batch | 16 over all processes |",
        "weights after step 3, epochs: 1; total steps trained: 6",
        "| hardware | 2 × NVIDIA H100 80GB HBM3 |",
        "| processes | 2 |",
        "| hours | 2 of wall-clock time, validation included",
        "| energy | estimated: about 2.8 kWh: (2 × 700 W) × 2 h",
        "Validation split, by which the weights were chosen, gallery of 16 pairs",
        "| recall@1, % | 12.50 (0.00 – 25.00) | 12.50 (0.00 – 25.00) | 12.50 |",
        "| median rank | 7.0 (5.0 – 9.5) | 7.0 (5.0 – 9.5) | 7.0 |",
        "In brackets 95 % intervals, by bootstrap over 16 queries.",
        "Retrieval, `test` split, protocol `standard`, gallery of 24 pairs",
        "| median rank | 5.0 | 5.0 | 5.0 |",
        "| `folder` | `linear` | 1,200 · 24 | accuracy 62.50 ± 1.10 % |",
        "states no licence for any of its 48 training recordings",
        "## Intended use",
        "## Limits",
        "arXiv:2108.00688",
    ):
        assert words in card
    assert "Missing information" not in card


def test_the_hub_understands_its_metadata(released: tuple[Path, list[str]]) -> None:
    data = ModelCard.load(released[0] / "README.md").data.to_dict()
    assert (data["license"], data["license_name"], data["license_link"]) == ("other", "see-notice", "NOTICE.md")
    assert (data["library_name"], data["pipeline_tag"]) == ("earshot", "feature-extraction")
    assert "remote-sensing" in data["tags"]


def test_the_citation_is_that_of_the_repository() -> None:
    record = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    paper = record["references"][0]
    flat = " ".join(CITATION.split())
    assert f"{{{record['title']}}}" in flat
    assert f"{{{record['version']}}}" in flat
    assert paper["title"] in flat
    authors = " and ".join(f"{each['family-names']}, {each['given-names']}" for each in paper["authors"])
    assert authors in flat


def test_licences_are_counted_and_those_that_restrict_are_named(tmp_path: Path) -> None:
    nc, zero = (
        "https://creativecommons.org/licenses/by-nc-sa/4.0/",
        "https://creativecommons.org/publicdomain/zero/1.0/",
    )
    shards = write_licensed_shards(tmp_path, [nc, zero, zero, None, "bad | `name`\n<b>", None])
    release(ReleaseOptions(write_run(tmp_path / "run", shards), tmp_path / "out", licence="cc-by-nc-4.0"))
    for name in ("README.md", "NOTICE.md"):
        text = (tmp_path / "out" / name).read_text()
        assert "Each of the 6 training recordings" in text
        assert f"| `{zero}` | 2 |\n| `{nc}` | 1 |\n| `bad / 'name' <b>` | 1 |\n| none stated | 2 |" in text
        assert "At least 1 of them are under licences that restrict commercial use or derivatives.\n" in text
        assert "What these allow was not classified: `bad / 'name' <b>`." in text
    assert ModelCard.load(tmp_path / "out" / "README.md").data.license == "cc-by-nc-4.0"


def write_licensed_shards(folder: Path, licences: list[str | None]) -> Path:
    """A shard set whose training pairs state these licences."""
    from shards.building.writing import ShardWriter
    from shards.manifest import Manifest
    from shards.schema import Sample
    from shards.streaming.reading import ShardSet

    plain = ShardSet.open(write_tiny_shards(folder / "plain", {"train": len(licences), "val": 2}))
    out = folder / "licensed"
    out.mkdir()
    entries = []
    for split in ("train", "val"):
        with ShardWriter(out, f"{split}-000000.tar", with_previews=False) as writer:
            for number, sample in enumerate(plain.samples(split)):
                stated = {"licence": licences[number]} if split == "train" and licences[number] else {}
                frames = sample.frames(0, sample.num_frames)
                writer.add(Sample(sample.key, sample.image_bytes(), frames, {"title": "x", **stated}))
            entries.append(writer.finish())
    manifest = plain.manifest
    settings = (manifest.source, manifest.build, manifest.spectrogram, manifest.statistics)
    Manifest(*settings, tuple(entries), rejected=()).save(out)
    return out


def test_what_is_not_at_hand_is_named_in_the_card_and_on_screen(tmp_path: Path) -> None:
    outline = {"source": "soundingearth", "pairs": {"train": 35000}, "split_by": "column", "num_rejected": 3}
    folder = write_run(tmp_path / "run", tmp_path / "gone", data=outline | {"seconds_of_sound": 36000.0})
    (folder / "metrics.jsonl").unlink()
    told = release(ReleaseOptions(folder, tmp_path / "out"))
    card, notice = ((tmp_path / "out" / name).read_text() for name in ("README.md", "NOTICE.md"))
    assert told[0].startswith("checked, bit for bit on random inputs: ")
    gaps = {
        "the scores of the weights, which are from step 3": "they are not in metrics.jsonl",
        "the hardware used for 2 of the run's 2 hours": "",
        "energy, not estimated: the hardware used for some of the hours is not known": "",
        "the licences of the recordings": f"no shards at {tmp_path / 'gone'}",
    }
    for gap, detail in gaps.items():
        assert any(line.startswith(f"missing from the card: {gap}") and detail in line for line in told)
        assert f"- {gap}\n" in card
    assert str(tmp_path) not in card + notice
    assert "| pairs | 35,000 train; 3 rejected |" in card  # from the run's own summary
    assert "not recorded by name; device cuda" in card
    assert "Google Earth" in notice


def test_a_model_folder_is_released_with_what_its_card_says(finished: Path, tmp_path: Path) -> None:
    told = release(ReleaseOptions(finished / "model", tmp_path / "out", imagery="Tiles of X, used by permission."))
    card = (tmp_path / "out" / "README.md").read_text()
    assert any("is a model folder, not a run" in line for line in told)
    assert "Not known for this release. The weights' own card says:\n\n```text\n# A run's card\n```" in card
    assert str(finished) not in card
    assert "Tiles of X, used by permission." in (tmp_path / "out" / "NOTICE.md").read_text()


def test_a_converted_checkpoint_is_checked_and_can_be_released(tmp_path: Path) -> None:
    towers = small_towers(**WIDE)
    told = convert_authors_checkpoint(authors_checkpoint(tmp_path, towers), tmp_path / "converted")
    assert told.endswith("and gives the same embeddings as the checkpoint")
    told_of_release = release(ReleaseOptions(tmp_path / "converted", tmp_path / "out"))
    assert "image_trunk.safetensors by its tensors" in told_of_release[0]
    why = "because timm can't build soundingearth-resnet18 from its registry"
    assert {f"not written: {modality}-encoder-timm, {why}" for modality in ("image", "sound")} < set(told_of_release)
    assert any(
        "files for sentence-transformers and mteb, because they build on timm" in line for line in told_of_release
    )
    card, notice = ((tmp_path / "out" / name).read_text() for name in ("README.md", "NOTICE.md"))
    assert "````text\n# SoundingEarth's released towers\n\nConverted from `latest.pt`" in card
    assert "Neither torchvision nor timm has this network" in card
    assert "Radio Aporee" in notice
    assert "Google Earth" in notice
    images = torch.randint(0, 256, (2, 3, 192, 192), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(TwoTower.from_pretrained(tmp_path / "out").encode_image(images), towers.encode_image(images))


def test_shards_that_moved_are_given_and_others_refused(tiny_shards: Path, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", tmp_path / "gone", **GPUS)
    told = release(ReleaseOptions(folder, tmp_path / "out", shards=tiny_shards))
    assert told[1:] == [BY_TIMM, UNTRIED, f"release: {tmp_path / 'out'}"]
    other = write_run(tmp_path / "other", tiny_shards, small_towers(spectrogram_mean=91.0))
    with pytest.raises(UserError, match="is not the one that the weights were trained on"):
        release(ReleaseOptions(other, tmp_path / "out2", shards=tiny_shards))


def test_preprocessing_stands_in_the_config_and_older_configs_load(released: tuple[Path, list[str]]) -> None:
    record = json.loads((released[0] / "config.json").read_text())
    assert record["preprocessing"]["image"]["central_fraction_of_shorter_side"] == 0.75
    assert record["preprocessing"]["sound"]["hop_samples"] == 400
    assert record["preprocessing"]["sound"]["seconds"] == pytest.approx(3.2)
    model = TwoTower.from_pretrained(released[0])
    del record["preprocessing"]
    (released[0] / "config.json").write_text(json.dumps(record))
    assert TwoTower.from_pretrained(released[0]).config == model.config


def test_python_in_the_card_is_python(released: tuple[Path, list[str]]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (released[0] / "README.md").read_text(), flags=re.DOTALL)
    assert len(blocks) == 13
    for block in blocks:
        compile(block, "card", "exec")
