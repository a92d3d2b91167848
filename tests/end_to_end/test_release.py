"""A trained run is released as a user does it, and loads by every route where nothing of Earshot is installed."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from clean_process import run_without_earshot
from commands import BIN, REPOSITORY, SMALL_INPUTS, python, run
from hub_server import serve_hub
from safetensors.torch import load_file, save_file
from scene_folders import write_scenes

from pretrain.data.image_transforms import evaluation_image
from pretrain.model import TwoTower
from pretrain.weights.same_embeddings import fixed_probe
from shards.decoding.spectrogram_stream import SpectrogramStream
from shards.schema import SpectrogramSettings

RUN_THE_CARD = """
import re
from pathlib import Path
import torch
from safetensors.torch import load_file
probe = load_file("probe.safetensors")
blocks = re.findall(r"```python\\n(.*?)```", Path("README.md").read_text(), flags=re.DOTALL)
alone = [block for block in blocks if "_trunk.safetensors" in block]
for block in alone:
    names = {}
    exec(block, names)
    trunk = names["trunk"]
    if "num_classes=10" in block:
        assert trunk.fc.out_features == 10
        trunk.reset_classifier(0)
    modality = "image" if "image_trunk" in block else "sound"
    with torch.inference_mode():
        features = trunk.eval()(probe[modality].contiguous(memory_format=torch.channels_last))
    assert torch.equal(features, probe[modality + "_features"]), block
print(len(alone), "blocks")
"""

PREPARE_AS_THE_CONFIG_SAYS = """
import json
from pathlib import Path
import cv2, torch, torchaudio, torchvision
from safetensors.torch import load_file, save_file
config = json.loads(Path("config.json").read_text())
weights, given = load_file("model.safetensors"), load_file("given.safetensors")
image, sound = config["preprocessing"]["image"], config["preprocessing"]["sound"]

pixels = given["pixels"].numpy()
side = round(image["central_fraction_of_shorter_side"] * min(pixels.shape[:2]))
top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
crop = pixels[top : top + side, left : left + side]
crop = torch.from_numpy(cv2.resize(crop, image["resize_to_pixels"], interpolation=cv2.INTER_AREA))
mean, std = (torch.tensor(image[name]) for name in ("mean", "std"))
images = ((crop / 255 - mean) / std).permute(2, 0, 1)[None]

size = sound["window_samples"]
window = torch.hann_window(size, periodic=True, dtype=torch.float64)
spectrum = torch.stft(given["wave"].double(), size, sound["hop_samples"], window=window / window.sum(), center=False,
                      return_complex=True)
filters = torchaudio.functional.melscale_fbanks(
    size // 2 + 1, 0.0, sound["sample_rate_hz"] / 2, sound["mel_bands"], sound["sample_rate_hz"], None, "slaney"
)
values = (filters.double().T @ spectrum.abs() ** sound["power"]).clamp_min(1e-30).log()
low, high = sound["byte_0_stands_for"], sound["byte_255_stands_for"]
bytes_ = ((values - low) * 255 / (high - low)).round().clamp(0, 255)[:, : sound["num_frames"]]
sounds = ((bytes_.float() - sound["mean"]) / sound["std"])[None, None]
sounds = torch.nn.functional.avg_pool2d(sounds, sound["average_pooling_after"])

embeddings = {}
for modality, inputs in (("image", images), ("sound", sounds)):
    trunk = torchvision.models.resnet18()
    if modality == "sound":
        trunk.conv1 = torch.nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    trunk.load_state_dict(load_file(modality + "_trunk.safetensors"))
    tower = modality + "_tower.projection."
    trunk.fc = torch.nn.Linear(512, config["preprocessing"]["embedding"]["dimensions"])
    trunk.fc.load_state_dict({name: weights[tower + name] for name in ("weight", "bias")})
    with torch.inference_mode():
        rows = trunk.eval()(inputs).clone()
    length = config["preprocessing"]["embedding"]["length"]
    embeddings[modality] = rows if length is None else length * rows / rows.norm(dim=1, keepdim=True)
save_file({**embeddings, "bytes": bytes_.contiguous()}, "embeddings.safetensors")
"""

BY_TORCH_HUB = """
import sys
import torch
from safetensors.torch import load_file, save_file
repository, weights, probe, out = sys.argv[1:]
inputs = load_file(probe)
answers = {}
with torch.inference_mode():
    for modality in ("image", "sound"):
        tower = torch.hub.load(repository, modality + "_tower", source="local", weights=weights)
        answers[modality] = tower(inputs[modality])
        other = "sound" if modality == "image" else "image"
        assert not any(name.startswith("towers." + other) for name in tower.state_dict())
    both = torch.hub.load(repository, "two_towers", source="local", weights=weights)
    assert torch.equal(both.encode_image(inputs["image"]), answers["image"])
sys.path.insert(0, repository)
import hubconf
entries = {name for name in dir(hubconf) if callable(getattr(hubconf, name)) and not name.startswith("_")}
assert entries == {"image_tower", "sound_tower", "two_towers"}, entries
save_file(answers, out)
"""


@pytest.fixture(scope="module")
def finished(tiny_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 2 epochs, in two starts."""
    folder = tmp_path_factory.mktemp("runs")
    # Encoders that torchvision and timm have, which the release is tried with.
    encoders = ["--model.image-encoder", "resnet18", "--model.sound-encoder", "resnet18"]
    begin = ["demo", "--shards", tiny_shards, "--out", "mine", *SMALL_INPUTS, *encoders, "--epochs", "1"]
    for words in (begin, ["--resume", "mine", "--epochs", "2"]):
        result = run(python("pretrain/run.py", *words), cwd=folder)
        assert result.returncode == 0, result.stderr
    return folder / "mine"


def contents_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def released(finished: Path) -> Path:
    """Its release."""
    out = finished.parent / "out"
    result = run(python("pretrain/run.py", "release", finished, "--out", out, "--watts", "90"), cwd=finished.parent)
    assert result.returncode == 0, result.stderr
    assert "checked, bit for bit on random inputs and validation pairs" in result.stdout
    assert result.stdout.endswith(f"release: {out}\n")
    return out


@pytest.mark.slow
def test_the_run_records_what_its_card_shows(finished: Path, released: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    (use,) = summary["uses"]
    (name,) = use["hardware"]
    assert use["processes"] == 1
    assert use["seconds"] == pytest.approx(summary["seconds"])
    card = (released / "README.md").read_text()
    assert f"| hardware | 1 × {name} |" in card
    assert "| pairs | 48 train, 16 val, 24 test; 0 rejected |" in card
    assert summary["data"]["pairs"] == {"train": 48, "val": 16, "test": 24}
    best = [line for line in map(json.loads, (finished / "metrics.jsonl").open()) if line["split"] == "val"]
    best = [line for line in best if line["step"] == summary["best_step"]]
    low, high = best[0]["intervals"]["image_to_sound"]["median_rank"]
    assert f"| median rank | {best[0]['image_to_sound']['median_rank']:.1f} ({low:.1f} – {high:.1f}) |" in card
    assert "1 × 90 W" in card


@pytest.mark.slow
def test_the_card_loads_the_trunks_without_earshot(finished: Path, released: Path) -> None:
    pytest.importorskip("timm")
    towers = TwoTower.from_pretrained(finished)
    probe = fixed_probe(towers.config)
    with torch.inference_mode():
        inputs = {"image": towers.prepare_images(probe.images), "sound": towers.prepare_sounds(probe.sounds)}
        inputs["image_features"] = towers.image_tower.trunk(inputs["image"])
        inputs["sound_features"] = towers.sound_tower.trunk(inputs["sound"])
    save_file({name: value.contiguous().clone() for name, value in inputs.items()}, released / "probe.safetensors")
    assert run_without_earshot(RUN_THE_CARD, cwd=released) == "6 blocks\n"


@pytest.mark.slow
def test_a_stranger_embeds_files_by_the_config_alone(finished: Path, released: Path) -> None:
    """What `preprocessing` says is enough: raw pixels and a waveform become the embeddings that Earshot gives them."""
    generator = np.random.default_rng(0)
    pixels = cv2.GaussianBlur(generator.integers(0, 256, (90, 120, 3), dtype=np.uint8), (9, 9), 0)
    wave = np.cumsum(generator.normal(0, 0.01, 16_000 * 4)).astype(np.float32)
    given = {"pixels": torch.from_numpy(np.ascontiguousarray(pixels)), "wave": torch.from_numpy(wave)}
    save_file(given, released / "given.safetensors")
    run_without_earshot(PREPARE_AS_THE_CONFIG_SAYS, cwd=released)
    theirs = load_file(released / "embeddings.safetensors")

    towers = TwoTower.from_pretrained(finished)
    stream = SpectrogramStream(SpectrogramSettings())
    frames = np.concatenate([stream.push(wave), stream.finish()], axis=1)[:, :128]
    with torch.inference_mode():
        image = towers.encode_image(torch.from_numpy(evaluation_image(pixels, 32))[None])
        sound = towers.encode_sound(torch.from_numpy(np.ascontiguousarray(frames))[None, None])
    torch.testing.assert_close(theirs["image"], image, rtol=1e-4, atol=1e-5)
    # Two ways to add up a spectrum may fall to either side of a half.
    assert (theirs["bytes"].numpy() - frames).__abs__().max() <= 1
    torch.testing.assert_close(theirs["sound"], sound, rtol=1e-2, atol=1e-2 * float(sound.abs().max()))


@pytest.mark.slow
def test_torch_hub_loads_each_tower(finished: Path, released: Path, tmp_path: Path) -> None:
    towers = TwoTower.from_pretrained(finished)
    probe = fixed_probe(towers.config)
    save_file({"image": probe.images, "sound": probe.sounds}, tmp_path / "probe.safetensors")
    words = [REPOSITORY, released, tmp_path / "probe.safetensors", tmp_path / "answers.safetensors"]
    result = run([sys.executable, "-I", "-c", BY_TORCH_HUB, *map(str, words)], cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    answers = load_file(tmp_path / "answers.safetensors")
    with torch.inference_mode():
        assert torch.equal(answers["image"], towers.encode_image(probe.images))
        assert torch.equal(answers["sound"], towers.encode_sound(probe.sounds))


@pytest.mark.slow
def test_results_of_real_commands_and_a_push(finished: Path, tiny_shards: Path, tmp_path: Path) -> None:
    """Retrieval and a benchmark on the run, both in the card; the release goes to the hub and serves from there."""
    words = ["--weights", finished, "--shards", tiny_shards, "--out", tmp_path / "retrieval", "--crops", "1"]
    assert run(python("retrieval/run.py", "evaluate", *words), cwd=tmp_path).returncode == 0
    root = write_scenes(tmp_path / "scenes")
    scenes = ["folder", "--root", root, "--protocol", "linear", "--num-seeds", "1", "--image-size", "32"]
    scenes += ["--batch-size", "8", "--workers", "0", "--threads", "1", "--tracker", "none"]
    first = ["--weights", finished, "--out", tmp_path / "on_run"]
    assert run(python("downstream/run.py", *scenes, *first), cwd=tmp_path).returncode == 0
    with serve_hub() as hub:
        where = hub.environment(tmp_path / "hf")
        results = ["--results", tmp_path / "retrieval", tmp_path / "on_run"]
        pushed = ["release", finished, "--out", "out", *results, "--push-to-hub", "lab/ears"]
        told = run(python("pretrain/run.py", *pushed), cwd=tmp_path, **where)
        assert told.returncode == 0, told.stderr
        assert told.stdout.endswith(f"on the hub: {hub.url}/lab/ears\n")
        assert hub.models["lab/ears"] == contents_of(tmp_path / "out")

        # The hub's name is weights like any others.
        again = ["--weights", "lab/ears", "--out", tmp_path / "on_hub"]
        classified = run(python("downstream/run.py", *scenes, *again), cwd=tmp_path, **where)
        assert classified.returncode == 0, classified.stderr
        words = ["--weights", "lab/ears", "--shards", tiny_shards, "--out", tmp_path / "from_hub", "--crops", "1"]
        assert run(python("retrieval/run.py", "evaluate", *words), cwd=tmp_path, **where).returncode == 0
        # What a push that failed advises.
        hub.models["lab/again"] = {}
        upload = run([str(BIN / "hf"), "upload", "lab/again", "out", "."], cwd=tmp_path, **where)
        assert upload.returncode == 0, upload.stderr
        assert hub.models["lab/again"] == hub.models["lab/ears"]
    for name in ("image_to_sound", "sound_to_image"):
        one, other = (json.loads((tmp_path / out / "metrics.json").read_text()) for out in ("retrieval", "from_hub"))
        assert one[name] == other[name]
    checksum = hashlib.sha256((finished / "model" / "model.safetensors").read_bytes()).hexdigest()
    assert one["weights_sha256"] == other["weights_sha256"] == checksum
    one, other = (json.loads((tmp_path / out / "results.json").read_text()) for out in ("on_run", "on_hub"))
    assert one["epochs"] == other["epochs"]
    assert one["weights_sha256"] == other["weights_sha256"] == checksum
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"accuracy {100 * one['epochs'][-1]['accuracy']:.2f}" in card
    assert "Retrieval, `test` split, protocol `standard`, gallery of 24 pairs" in card
    assert re.search(r'TwoTower\.from_pretrained\("lab/ears"\)', card)
