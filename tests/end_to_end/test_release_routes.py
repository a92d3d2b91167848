"""Every route of loading a release, as its card writes it, from a hub and in a process that has no Earshot."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from clean_process import run_without_earshot
from commands import python, run
from hub_server import HubServer, serve_hub
from numpy.typing import NDArray
from released_runs import small_towers, write_run
from safetensors.torch import load_file, save_file

from pretrain.data.image_transforms import evaluation_image
from pretrain.model import TwoTower
from pretrain.ranking import cross_modal_ranks
from pretrain.training.embedding import embed_images, embed_sounds
from retrieval.file_inputs import SoundInput
from shards.decoding.imagery import stored_image

NUM_PLACES = 12
RATE = 16_000

NARROW = {"image_encoder": "narrow-resnet10", "sound_encoder": "narrow-resnet10", "on_sphere": True}

ROUTES = """
import json, re
import numpy as np, torch
from huggingface_hub import snapshot_download
from pathlib import Path
from PIL import Image
from safetensors.torch import load_file, save_file

folder = Path(snapshot_download("lab/ears"))
blocks = re.findall(r"```python\\n(.*?)```", (folder / "README.md").read_text(), flags=re.DOTALL)
given = load_file("given.safetensors")
pictures = [Image.fromarray(given[f"picture{i}"].numpy()) for i in range(12)]
waves = [given[f"wave{i}"].numpy() for i in range(12)]
answers, tried = {}, []

def block_with(words):
    (block,) = [block for block in blocks if words in block]
    tried.append(words)
    return block

for modality in ("image", "sound"):
    block = block_with(f"hf-hub:lab/ears-{modality}-encoder")
    exec(block, names := {})
    encoder = names["encoder"].eval()
    local = block.replace(f"hf-hub:lab/ears-{modality}-encoder", f"local-dir:{folder / f'{modality}-encoder-timm'}")
    exec(local, names := {})
    with torch.inference_mode():
        answers[f"{modality}_features"] = encoder(given[f"{modality}_inputs"])
        assert torch.equal(names["encoder"].eval()(given[f"{modality}_inputs"]), answers[f"{modality}_features"])
    assert (encoder.pretrained_cfg["num_classes"], encoder.pretrained_cfg["license"]) == (0, "cc-by-4.0")
    if modality == "image":
        from timm.data import create_transform, resolve_model_data_config
        transform = create_transform(**resolve_model_data_config(encoder), is_training=False)
        answers["timm_pixels"] = torch.stack([transform(picture) for picture in pictures])

names = {"image": pictures[0], "waveform": waves[0], "sampling_rate": 16000}
exec(block_with("SentenceTransformer("), names)
model = names["model"]
assert model.supports("image") and model.supports("audio") and not model.supports("text")
distance = np.linalg.norm(names["images"] - names["sounds"])
assert abs(float(names["similarity"]) + distance) < 1e-4
sounds = [{"array": wave, "sampling_rate": 16000} for wave in waves]
answers["st_images"] = torch.from_numpy(model.encode(pictures, batch_size=5))
answers["st_sounds"] = torch.from_numpy(model.encode(sounds, batch_size=5))
pictures[1].save("picture.png")
assert np.array_equal(model.encode(["picture.png"])[0], model.encode([pictures[1]])[0])
model.save_pretrained("saved")
again = type(model)("saved", trust_remote_code=True)
assert np.array_equal(again.encode(pictures[:2]), model.encode(pictures[:2]))

onnx = block_with("onnxruntime")
snapshot_download("lab/ears", local_dir="lab/ears")
import soundfile
pictures[0].save("tile.jpg", format="PNG")  # whatever its name, without loss
soundfile.write("recording.wav", waves[0], 16000, subtype="FLOAT")
exec(onnx, names := {})
for name in ("pixels", "crops", "images", "sounds"):
    answers[name] = torch.from_numpy(np.ascontiguousarray(names[name]))
assert abs(float(names["distance"]) - np.linalg.norm(names["images"] - names["sounds"])) < 1e-6
answers["onnx_images"] = torch.from_numpy(names["embed"]("image_tower.onnx", given["pixels"].numpy()))
answers["onnx_sounds"] = torch.from_numpy(names["embed"]("sound_tower.onnx", given["spectrograms"].numpy()))

from datasets import Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
from mteb.abstasks.task_metadata import TaskMetadata

class Places(AbsTaskRetrieval):
    metadata = TaskMetadata(
        name="PlacesA2I", description="Places seen and heard.", reference=None, type="Any2AnyRetrieval",
        dataset={"path": "none", "revision": "none"}, category="a2i", modalities=["audio", "image"],
        eval_splits=["test"], eval_langs=["eng-Latn"], main_score="ndcg_at_10", date=None, domains=None,
        task_subtypes=None, license=None, annotations_creators=None, dialect=None, sample_creation=None,
        bibtex_citation=None,
    )

    def load_data(self, **_):
        queries = Dataset.from_dict({"id": [f"q{i}" for i in range(12)], "audio": sounds})
        corpus = Dataset.from_dict({"id": [f"d{i}" for i in range(12)], "image": pictures})
        relevant = {f"q{i}": {f"d{i}": 1} for i in range(12)}
        split = RetrievalSplitData(queries=queries, corpus=corpus, relevant_docs=relevant, top_ranked=None)
        self.dataset = {"default": {"test": split}}
        self.data_loaded = True

exec(block_with("mteb.evaluate"), names := {"tasks": [Places()]})
(result,) = names["results"].task_results
save_file({name: value.clone().contiguous() for name, value in answers.items()}, "answers.safetensors")
print(json.dumps({"ndcg": float(result.get_score()), "tried": tried}))
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    with serve_hub() as hub:
        yield hub


@pytest.fixture(scope="module")
def finished(tiny_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of networks that neither torchvision nor timm has by name, as the demo's."""
    return write_run(tmp_path_factory.mktemp("runs") / "mine", tiny_shards, small_towers(**NARROW))


@pytest.fixture(scope="module")
def released(finished: Path, hub: HubServer) -> tuple[Path, str]:
    """Its release in half precision and as ONNX, pushed to the hub, and what was printed."""
    out = finished.parent / "out"
    options = ["--half", "--onnx", "--licence", "cc-by-4.0", "--push-to-hub", "lab/ears", "--push-encoders"]
    words = ["release", finished, "--out", out, *options]
    result = run(python("pretrain/run.py", *words), cwd=out.parent, **hub.environment(out.parent / "hf"))
    assert result.returncode == 0, result.stderr
    return out, result.stdout


@pytest.mark.slow
def test_what_was_checked_is_said(finished: Path, released: tuple[Path, str], hub: HubServer) -> None:
    out, told = released
    assert "checked: image-encoder-timm by timm, within 1e-05 of the largest feature; sound-encoder-timm" in told
    assert "image_tower.onnx and sound_tower.onnx (opset 18) by onnxruntime, within 0.0001" in told
    assert "half precision changes embeddings by up to 0.0" in told
    assert (
        "median ranks of 16 validation pairs in float32 and in half precision, with 95 % intervals: image → sound"
        in told
    )
    assert f"on the hub, for timm: {hub.url}/lab/ears-image-encoder\n" in told
    weights = (out / "model.safetensors").stat().st_size
    assert weights < 0.52 * (finished / "model" / "model.safetensors").stat().st_size
    sums = dict(line.split("  ")[::-1] for line in (out / "SHA256SUMS").read_text().splitlines())
    files = {str(path.relative_to(out)): path for path in out.rglob("*") if path.is_file()}
    assert sums.keys() == files.keys() - {"SHA256SUMS"}
    assert all(hashlib.sha256(files[name].read_bytes()).hexdigest() == checksum for name, checksum in sums.items())
    assert {name: path.read_bytes() for name, path in files.items()} == hub.models["lab/ears"]


@pytest.mark.slow
def test_every_route_of_the_card_gives_the_towers_embeddings(
    released: tuple[Path, str], hub: HubServer, tmp_path: Path
) -> None:
    towers = TwoTower.from_pretrained(released[0])
    given, pictures, waves = made_files()
    pixels = np.stack([evaluation_image(stored_image(picture), 32) for picture in pictures])
    read = SoundInput(towers.config.spectrogram, towers.config.num_frames, 10, 600.0)
    for number, wave in enumerate(waves):
        soundfile.write(tmp_path / f"{number}.wav", wave, RATE, subtype="FLOAT")
    crops = [read(tmp_path / f"{number}.wav") for number in range(NUM_PLACES)]
    given |= {
        "pixels": torch.from_numpy(pixels),
        "spectrograms": torch.from_numpy(np.concatenate(crops).copy(order="C")),
    }
    given["image_inputs"] = towers.prepare_images(given["pixels"]).contiguous()
    given["sound_inputs"] = towers.prepare_sounds(given["spectrograms"]).contiguous()
    save_file(given, tmp_path / "given.safetensors")
    where = {**hub.environment(tmp_path / "hf"), "MTEB_CACHE": str(tmp_path / "mteb")}
    told = json.loads(run_without_earshot(ROUTES, cwd=tmp_path, **where).splitlines()[-1])
    assert len(told["tried"]) == 5
    found = load_file(tmp_path / "answers.safetensors")

    with torch.inference_mode():
        features = {name: towers.get_submodule(f"{name}_tower.trunk")(given[f"{name}_inputs"]) for name in INPUTS}
        images, sounds = embed_images(towers, pixels), embed_sounds(towers, np.concatenate(crops), [*map(len, crops)])
        of_crops = towers.encode_sound(given["spectrograms"])
    for name, expected in features.items():
        torch.testing.assert_close(found[f"{name}_features"], expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    torch.testing.assert_close(found["onnx_images"], torch.from_numpy(images), rtol=0, atol=1e-4)
    torch.testing.assert_close(found["onnx_sounds"], of_crops, rtol=0, atol=1e-4)
    # Bytes may fall to either side of a half.
    for name, bytes_ in (("pixels", pixels[:1]), ("crops", crops[0])):
        assert np.abs(found[name].numpy().astype(int) - bytes_).max() <= 1
    torch.testing.assert_close(found["images"], torch.from_numpy(images[:1]), rtol=0, atol=5e-3)
    torch.testing.assert_close(found["sounds"], torch.from_numpy(sounds[:1]), rtol=0, atol=5e-3)
    torch.testing.assert_close(found["st_images"], torch.from_numpy(images), rtol=0, atol=5e-3)
    torch.testing.assert_close(found["st_sounds"], torch.from_numpy(sounds), rtol=0, atol=5e-3)
    assert (found["timm_pixels"] - given["image_inputs"]).abs().mean() < 0.1  # 0.18 without the central crop

    ranks = cross_modal_ranks(found["st_sounds"].numpy(), found["st_images"].numpy())
    expected_ndcg = np.mean([1 / math.log2(rank + 1) if rank <= 10 else 0.0 for rank in ranks])
    assert told["ndcg"] == pytest.approx(expected_ndcg, abs=1e-4)


INPUTS = ("image", "sound")


def made_files() -> tuple[dict[str, torch.Tensor], list[NDArray[np.uint8]], list[NDArray[np.float32]]]:
    """Pictures of several shapes with something in them, and sounds of several lengths."""
    generator = np.random.default_rng(0)
    pictures, waves = [], []
    for number in range(NUM_PLACES):
        ramp = np.linspace(0, 200, 70 + 5 * number)[None, :, None] * generator.uniform(0.2, 1, 3)
        pictures.append((ramp + generator.uniform(0, 40, (60 + number, 1, 3))).astype(np.uint8))
        seconds = np.arange(RATE * (4 + number % 3)) / RATE
        tone = np.sin(2 * np.pi * (200 + 300 * number) * seconds) * 0.2
        waves.append((tone + generator.normal(0, 0.02, len(seconds))).astype(np.float32))
    given = {f"picture{number}": torch.from_numpy(picture) for number, picture in enumerate(pictures)}
    given |= {f"wave{number}": torch.from_numpy(wave) for number, wave in enumerate(waves)}
    return given, pictures, waves
