"""EfficientAT's MobileNets: against a literal forward pass with the released weights on real sounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from conftest import REPOSITORY, missing
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from pretrain.encoders.building import build_encoder
from pretrain.encoders.efficientat import AUDIOSET_FILES
from pretrain.weights.encoder_weights import load_encoder
from shards.decoding.spectrogram_stream import SpectrogramStream
from shards.errors import UserError
from shards.front_ends import AUDIOSET_32K

MN04 = REPOSITORY.parent / "shared" / "weights" / "efficientat-mn04-audioset.safetensors"

STRIDES = {2: 2, 4: 2, 7: 2, 13: 2}
"""Of MobileNetV3-Large's blocks, counted from 1 (Howard et al., ICCV 2019, Table 1); all others have stride 1."""


def literal_features(state: dict[str, Tensor], values: Tensor) -> Tensor:
    """The released network's features of normalised log-mel, (n, 1, 128, t) → (n, 384), one operation a line."""

    def convolve(x: Tensor, name: str, *, stride: int = 1, groups: int = 1) -> Tensor:
        weight = state[f"{name}.0.weight"]
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2, groups=groups)
        parts = (state[f"{name}.1.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *parts, eps=1e-3)

    x = F.hardswish(convolve(values, "features.0", stride=2))
    for number in range(1, 16):
        block, activation = f"features.{number}.block", F.relu if number < 7 else F.hardswish
        before, layer = x, 0
        if number > 1:
            x = activation(convolve(x, f"{block}.0"))
            layer = 1
        x = activation(convolve(x, f"{block}.{layer}", stride=STRIDES.get(number, 1), groups=x.shape[1]))
        attention = f"{block}.{layer + 1}.conc_se_layers.0"
        if f"{attention}.fc1.weight" in state:
            squeezed = F.linear(x.mean((2, 3)), state[f"{attention}.fc1.weight"], state[f"{attention}.fc1.bias"])
            scale = F.linear(squeezed.relu(), state[f"{attention}.fc2.weight"], state[f"{attention}.fc2.bias"])
            x = x * scale.sigmoid()[:, :, None, None]
            layer += 1
        x = convolve(x, f"{block}.{layer + 1}")
        if x.shape == before.shape:
            x = x + before
    return F.hardswish(convolve(x, "features.16")).mean((2, 3))


def real_sounds(real_data: Path) -> list[np.ndarray]:
    """Five recordings, mono at 32 kHz."""
    sounds = []
    for path in sorted((real_data / "soundscapes" / "audio").iterdir())[::120][:5]:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        sounds.append(soxr.resample(samples.mean(1), rate, 32_000).astype(np.float32))
    return sounds


def log_mel(waveform: np.ndarray) -> Tensor:
    stream = SpectrogramStream(AUDIOSET_32K)
    return torch.from_numpy(np.concatenate([stream.push_values(waveform), stream.finish_values()]).T).float()[
        None, None
    ]


def test_features_of_real_sounds_are_those_of_the_released_network(real_data: Path) -> None:
    if not MN04.is_file():
        missing("weights", "released weights are not at ../shared/weights")
    state = load_file(MN04)
    loaded = load_encoder(str(MN04), channels=(1,))
    encoder = loaded.module.eval()
    assert (loaded.backbone, loaded.num_features) == ("mn04", 384)
    assert loaded.unused == [f"classifier.{layer}.{kind}" for layer in (2, 5) for kind in ("bias", "weight")]
    sounds = real_sounds(real_data)
    assert len(sounds) == 5
    scale = AUDIOSET_32K.scale
    for waveform in sounds:
        values = log_mel(waveform)
        normalised = (values - encoder.sound_mean) / encoder.sound_std
        torch.testing.assert_close(normalised, (values + 4.5) / 5)
        with torch.no_grad():
            expected = literal_features(state, (values + 4.5) / 5)
            found = encoder(normalised)
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
            # With 8 bits a value, as in shards, the features turn by at most two degrees.
            step = (scale.high - scale.low) / 255
            stored = ((values - scale.low) / step).round().clamp(0, 255)
            rounded = encoder((stored * step + scale.low + 4.5) / 5)
            assert float(F.cosine_similarity(rounded, expected)) > np.cos(np.radians(2.0))
            # Another hop, that is time pressed together, is not close.
            assert not torch.allclose(encoder(normalised[..., ::2]), expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(("name", "features"), [("mn01", 96), ("mn02", 192), ("mn04", 384), ("mn10", 960)])
def test_widths_give_the_published_sizes(name: str, features: int) -> None:
    encoder = build_encoder(name, channels=1).eval()
    assert encoder.num_features == features
    with torch.no_grad():
        assert encoder(torch.randn(2, 1, 128, 100)).shape == (2, features)
        assert encoder.feature_map(torch.randn(2, 1, 128, 100)).shape == (2, features, 4, 4)
    assert encoder.front_end == "audioset-32k"
    assert name in AUDIOSET_FILES


def test_the_released_file_is_taken_from_torchs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = build_encoder("mn04", channels=1)
    released = {**source.state_dict(), "classifier.2.weight": torch.zeros(512, 384)}
    (tmp_path / "checkpoints").mkdir()
    torch.save(released, tmp_path / "checkpoints" / AUDIOSET_FILES["mn04"])
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    loaded = load_encoder("pretrained", backbone="mn04", channels=(1, 3))
    assert all(torch.equal(value, released[name]) for name, value in loaded.module.state_dict().items())
    # For images it has no published weights.
    with pytest.raises(UserError, match=r"features\.0\.0\.weight has shape \(8, 1, 3, 3\), mn04 needs \(8, 3, 3, 3\)"):
        load_encoder("pretrained", backbone="mn04")
