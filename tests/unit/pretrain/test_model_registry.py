"""Models by name: the repository's registry, a lab's own, and what each kind of source does."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from released_runs import small_towers
from torchvision.models import WeightsEnum

from pretrain.data.image_transforms import evaluation_image
from pretrain.model import TwoTower
from pretrain.model_files import check_model_folder, find_model_folder, require_weights
from pretrain.model_registry import REGISTRY_FILE, list_models, model_entry, models_folder
from pretrain.presets import DEMO
from pretrain.verbs import PRETRAIN
from pretrain.weights.identity import weights_sha256
from pretrain.weights.weights_enum import earshot_weights, get_weight
from shards.decoding.imagery import stored_image
from shards.errors import UserError

ENTRY = {
    **{"summary": "Towers of a test.", "image_encoder": "narrow-resnet10", "sound_encoder": "narrow-resnet10"},
    **{"embedding_dim": 128, "image_size": 32, "training_set": "nothing", "licence": "cc0-1.0"},
}


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for weights, empty; and the working directory, where no name is taken."""
    monkeypatch.setenv("EARSHOT_MODELS", str(tmp_path / "models"))
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    return tmp_path / "models"


def use_registry(path: Path, monkeypatch: pytest.MonkeyPatch, **models: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump({"models": {name: ENTRY | values for name, values in models.items()}}))
    monkeypatch.setenv("EARSHOT_REGISTRY", str(path))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a folder with towers, and the folder."""
    towers = small_towers(image_encoder="narrow-resnet10", sound_encoder="narrow-resnet10")
    towers.save_pretrained(tmp_path / "site" / "ears")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "site"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/ears", tmp_path / "site" / "ears"
    finally:
        server.shutdown()
        server.server_close()


def checksums(folder: Path) -> dict[str, str]:
    names = ("config.json", "model.safetensors")
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def test_the_repositorys_entries_are_true() -> None:
    assert list_models() == ["demo"]
    entry = model_entry("demo")
    assert (entry.image_encoder, entry.sound_encoder) == (DEMO.model.image_encoder, DEMO.model.sound_encoder)
    assert (entry.embedding_dim, entry.image_size) == (DEMO.model.embedding_dim, DEMO.data.image_size)
    assert entry.command is not None
    command, verb = entry.command.split()
    assert command == "earshot"
    assert verb in PRETRAIN.verbs
    readme = (REGISTRY_FILE.parents[1] / "README.md").read_text()
    for direction, label in (("image_to_sound", "image → sound"), ("sound_to_image", "sound → image")):
        (line,) = [
            line.split() for line in readme.splitlines() if line.strip().startswith(label) and len(line.split()) == 8
        ]
        scores = entry.scores[direction]
        shown = [100 * scores["recall_at_1"], 100 * scores["recall_at_10"], scores["median_rank"]]
        assert [float(line[3]), float(line[5]), float(line[7])] == pytest.approx(shown, abs=0.006)


def test_weights_that_are_made_are_found_once_they_are(models: Path) -> None:
    for look in (find_model_folder, check_model_folder):
        with pytest.raises(UserError, match=r"demo are not published .*make them with: earshot demo-weights"):
            look(Path("demo"))
    require_weights("demo")  # a name, whose weights are looked for later
    small_towers().save_pretrained(models / "demo")
    assert find_model_folder(Path("demo")) == models_folder() / "demo"
    assert weights_sha256("demo") == checksums(models / "demo")["model.safetensors"]
    assert TwoTower.from_pretrained("demo").config.image_size == 32
    # A folder of that name is meant before it.
    small_towers(image_size=48).save_pretrained(Path("demo"))
    assert TwoTower.from_pretrained("demo").config.image_size == 48


def test_a_url_is_fetched_once_and_checked(
    served: tuple[str, Path], models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, folder = served
    use_registry(tmp_path / "own.yaml", monkeypatch, ears={"url": url, "sha256": checksums(folder)})
    assert list_models() == ["demo", "ears"]
    assert (list_models("d*"), list_models(filter="*[ar]s"), list_models("x*")) == (["demo"], ["ears"], [])
    inputs = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    with torch.inference_mode():
        expected = TwoTower.from_pretrained(folder).encode_image(inputs)
        assert torch.equal(TwoTower.from_pretrained("ears").encode_image(inputs), expected)
    weights = get_weight("ears")
    assert isinstance(weights, WeightsEnum)
    assert (weights.url, weights.meta["license"], weights.meta["model"]) == (url, "cc0-1.0", "narrow-resnet10")
    state = weights.get_state_dict()
    assert torch.equal(state["conv1.weight"], TwoTower.from_pretrained(folder).image_tower.trunk.conv1.weight)  # type: ignore[union-attr]
    picture = Image.linear_gradient("L").convert("RGB").crop((0, 20, 200, 180))
    pixels = evaluation_image(stored_image(np.asarray(picture)), 32)
    prepared = TwoTower.from_pretrained(folder).prepare_images(torch.from_numpy(pixels)[None])[0]
    torch.testing.assert_close(weights.transforms()(picture), prepared)
    # Files that were fetched are used as they are, and fetched again where they changed.
    (folder / "model.safetensors").rename(folder / "gone")
    find_model_folder(Path("ears"))
    (models / "ears" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"model\.safetensors can't be downloaded"):
        find_model_folder(Path("ears"))
    (folder / "model.safetensors").write_bytes(b"another file")
    with pytest.raises(UserError, match=r"ears/model\.safetensors has the SHA-256 .*not .* as the registry states"):
        find_model_folder(Path("ears"))
    assert (models / "ears" / "model.safetensors").read_bytes() == b"damaged"


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("ears", {}, "ears must have exactly one source of hub, url and command"),
        ("ears", {"hub": "a/b", "command": "make"}, "ears must have exactly one source"),
        ("ears", {"url": "http://x/y"}, r"sha256 must hold config\.json and model\.safetensors"),
        ("ears", {"hub": "a/b", "image_size": 0}, "image_size"),
        ("ears", {"hub": "a/b", "licens": "x"}, "licens"),
        ("imagenet", {"hub": "a/b"}, "none of random, imagenet, pretrained, got 'imagenet'"),
        ("My ears", {"hub": "a/b"}, "got 'My ears'"),
    ],
)
def test_an_own_registry_with_a_mistake_gets_a_sentence(
    name: str, values: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_registry(tmp_path / "own.yaml", monkeypatch, **{name: values})
    with pytest.raises(UserError, match=message):
        list_models()


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(UserError, match="unknown model 'demmo'; choose one of: demo"):
        model_entry("demmo")
    with pytest.raises(UserError, match="no weights at demmo: no such folder; models by name: demo"):
        find_model_folder(Path("demmo"))
    with pytest.raises(UserError, match="unknown weights 'x'; choose one of: demo"):
        get_weight("x")
    with pytest.raises(TypeError, match="name must be a str with the name of a model, such as 'demo', got 3"):
        get_weight(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"filter must be a pattern such as 'd\*', got 3"):
        list_models(3)  # type: ignore[arg-type]
    assert get_weight("EARSHOT_WEIGHTS.DEMO") is get_weight("demo")
    assert [member.name for member in earshot_weights()] == ["DEMO"]
