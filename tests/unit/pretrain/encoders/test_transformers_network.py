"""Sound encoders of `transformers`: against the library's own networks, and what does not fit."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import ASTFeatureExtractor, ClapFeatureExtractor
from transformers_folders import AST_MEAN, AST_STD, save_ast, save_clap

from pretrain.encoders.building import build_encoder
from pretrain.encoders.encoder import checked_layers
from pretrain.model import TwoTower
from pretrain.model_config import TwoTowerConfig
from pretrain.weights.encoder_weights import load_encoder
from shards.decoding.spectrogram_stream import SpectrogramStream
from shards.errors import UserError
from shards.front_ends import AST_16K, CLAP_48K
from shards.schema import SpectrogramSettings


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is no folder fails at once."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def noise(num_samples: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(0).standard_normal(num_samples)).astype(np.float32)


def values(waveform: np.ndarray, settings: SpectrogramSettings) -> torch.Tensor:
    stream = SpectrogramStream(settings)
    found = np.concatenate([stream.push_values(waveform), stream.finish_values()])
    return torch.from_numpy(found.T).float()[None, None]


def test_ast_has_the_features_of_the_librarys_network_on_its_own_front_end(tmp_path: Path) -> None:
    theirs = save_ast(tmp_path)
    ours = load_encoder("pretrained", backbone=f"transformers:{tmp_path}", channels=(1, 3)).module.eval()
    assert (ours.front_end, ours.sound_mean, ours.sound_std) == ("ast-16k", AST_MEAN, 2 * AST_STD)
    waveform = noise(400 + 255 * 160)
    extract = ASTFeatureExtractor.from_pretrained(tmp_path)
    inputs = extract(waveform, sampling_rate=16_000, max_length=256, return_tensors="pt")["input_values"]
    with torch.no_grad():
        expected = theirs.audio_spectrogram_transformer(inputs[:, :256]).pooler_output
        found = ours((values(waveform, AST_16K) - ours.sound_mean) / ours.sound_std)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_clap_has_the_features_of_the_librarys_audio_tower_on_its_own_front_end(tmp_path: Path) -> None:
    theirs = save_clap(tmp_path)
    ours = load_encoder("pretrained", backbone=f"transformers:{tmp_path}", channels=(1, 3)).module.eval()
    assert (ours.front_end, ours.sound_mean) == ("clap-48k", 0.0)
    waveform = noise(480_000)
    extract = ClapFeatureExtractor(frequency_min=50, truncation="rand_trunc")
    inputs = extract(waveform, sampling_rate=48_000, return_tensors="pt")["input_features"]
    with torch.no_grad():
        expected = theirs.audio_model(input_features=inputs).pooler_output
        found = ours(values(waveform, CLAP_48K) / ours.sound_std)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert ours.sound_std == pytest.approx(math.log(10) / 10)


@pytest.mark.parametrize("kind", ["ast", "clap"])
def test_its_parts_are_stated(kind: str, tmp_path: Path) -> None:
    (save_ast if kind == "ast" else save_clap)(tmp_path)
    encoder = build_encoder(f"transformers:{tmp_path}", channels=1).eval()
    layers = checked_layers(encoder)
    assert len(layers) == (4 if kind == "ast" else 6)
    assert "patch_embed" in layers[0][-1]
    inputs = torch.randn(2, 1, *((128, 256) if kind == "ast" else (64, 500)))
    with torch.no_grad():
        features, maps = encoder(inputs), encoder.feature_map(inputs)
    assert features.shape == (2, encoder.num_features)
    assert maps.shape == (2, encoder.num_features, *((12, 25) if kind == "ast" else (2, 32)))
    if kind == "clap":
        torch.testing.assert_close(maps.mean((2, 3)), features)


def test_a_config_builds_the_same_network_without_its_folder(tmp_path: Path) -> None:
    save_ast(tmp_path)
    name = f"transformers:{tmp_path}"
    first = build_encoder(name, channels=1, input_size=(128, 300))
    config = json.loads(json.dumps(first.config))
    second = build_encoder("transformers:nowhere/at-all", channels=1, input_size=(128, 300), config=config)
    assert {n: p.shape for n, p in first.state_dict().items()} == {n: p.shape for n, p in second.state_dict().items()}
    assert second.config == first.config


@pytest.mark.parametrize("frames", [100, 256, 1000])
def test_position_embeddings_follow_the_number_of_frames(frames: int, tmp_path: Path) -> None:
    save_ast(tmp_path)
    name = f"transformers:{tmp_path}"
    trained = load_encoder("pretrained", backbone=name, channels=(1,)).module
    encoder = build_encoder(name, channels=1, input_size=(128, frames)).eval()
    encoder.load_published(encoder.adapted(trained.published_state()))
    old, new = (e.network.embeddings.position_embeddings.detach() for e in (trained, encoder))
    columns = (frames - 16) // 10 + 1
    assert new.shape == (1, 2 + 12 * columns, 32)
    assert torch.equal(new[:, :2], old[:, :2])
    old, new = (part[0, 2:].reshape(12, -1, 32) for part in (old, new))
    if frames == 100:
        assert torch.equal(new, old[:, 8:17])
    elif frames == 256:
        assert torch.equal(new, old)
    else:
        torch.testing.assert_close(new[:, 0], old[:, 0])
        torch.testing.assert_close(new[:, -1], old[:, -1])
    assert encoder(torch.randn(1, 1, 128, frames)).shape == (1, 32)


def test_towers_load_elsewhere_and_refuse_to_be_completed_from_the_network(tmp_path: Path, offline: None) -> None:
    source, folder = tmp_path / "source", tmp_path / "model"
    save_clap(source)
    name = f"transformers:{source}"
    towers = TwoTower(TwoTowerConfig(sound_encoder=name, spectrogram=CLAP_48K, num_frames=400)).eval()
    towers.save_pretrained(folder)
    for file in source.iterdir():
        file.unlink()
    loaded = TwoTower.from_pretrained(folder)
    sounds = torch.randint(0, 256, (2, 1, 64, 400), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(loaded.encode_sound(sounds), towers.encode_sound(sounds))
    record = json.loads((folder / "config.json").read_text())
    del record["sound_encoder_config"]
    (folder / "config.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"must hold sound_encoder_config for transformers:.*; save the model again"):
        TwoTower.from_pretrained(folder)


def test_what_does_not_fit_is_refused_in_a_sentence(tmp_path: Path, offline: None) -> None:
    ast, clap, fused, empty = (tmp_path / name for name in ("ast", "clap", "fused", "empty"))
    save_ast(ast)
    save_clap(clap)
    save_clap(fused, fuses=True)
    empty.mkdir()
    bert = tmp_path / "bert"
    bert.mkdir()
    (bert / "config.json").write_text('{"model_type": "bert"}')
    cases = [
        (f"transformers:{ast}", {"channels": 3}, "is an encoder for sounds; give it as model.sound_encoder"),
        (f"transformers:{ast}", {"norm": "group"}, "model.norm must be batch or sync"),
        (f"transformers:{clap}", {"input_size": (64, 1025)}, r"takes at most 1024 frames, 10\.24 s, got 1025"),
        (f"transformers:{fused}", {}, "fuses crops of long sounds"),
        (f"transformers:{empty}", {}, "is not a model of transformers"),
        (f"transformers:{bert}", {}, "is a bert; choose an audio-spectrogram-transformer"),
        ("transformers:owner/none", {}, "is not a folder, and can't be fetched by name"),
    ]
    for name, options, words in cases:
        with pytest.raises(UserError, match=words):
            build_encoder(name, **{"channels": 1, **options})
    (ast / "config.json").write_text(
        (ast / "config.json").read_text().replace('"num_mel_bins": 128', '"num_mel_bins": 64')
    )
    copy = tmp_path / "copy"
    ast.rename(copy)
    with pytest.raises(UserError, match="takes 64 mel bands, but ast-16k has 128"):
        build_encoder(f"transformers:{copy}", channels=1)
