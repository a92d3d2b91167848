"""Towers of SoundingEarth's release on clips of real sounds: under `force` they get the scale they learned from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from downstream.audiovisual.towers import spectrogram_of
from pretrain.model import TwoTower
from pretrain.model_config import TwoTowerConfig
from shards.decoding.audio_decoding import decode_recording
from shards.errors import UserError
from shards.schema import SpectrogramSettings
from shards.sources.soundingearth import RELEASED_SPECTROGRAMS


def towers_of_the_release() -> TwoTower:
    """With a normalisation under which the sound encoder is shown bytes as they are."""
    config = TwoTowerConfig(
        image_size=32, spectrogram=RELEASED_SPECTROGRAMS, spectrogram_mean=0.0, spectrogram_std=1.0, sound_pooling=4
    )
    torch.manual_seed(0)
    return TwoTower(config).eval()


def test_forced_towers_hear_the_scale_that_they_learned_from(real_data: Path) -> None:
    model = towers_of_the_release()
    with pytest.raises(UserError, match="the model was trained with sample_rate_hz None"):
        spectrogram_of(model, "release", force=False)
    settings = spectrogram_of(model, "release", force=True)
    assert settings == SpectrogramSettings()
    sounds = sorted((real_data / "soundscapes" / "audio").iterdir())[:40]
    spectrograms = [decode_recording(path, settings, with_preview=False).spectrogram for path in sounds]
    heard = [model.prepare_sounds(torch.from_numpy(found)[None, None]).mean().item() for found in spectrograms]
    sizes = [found.size for found in spectrograms]
    assert np.average([found.mean() for found in spectrograms], weights=sizes) == pytest.approx(117, abs=1)
    # The release's own mean, by its authors' formula on these sounds.
    low, high = np.exp(-1.5), np.exp(0.5)
    meant = [
        np.clip((np.exp((found.astype(float) * 28 / 255 - 28) / 10) - low) / (high - low), 0, 1).mean()
        for found in spectrograms
    ]
    assert np.average(meant, weights=sizes) * 255 == pytest.approx(10.6, abs=0.2)
    assert np.average(heard, weights=sizes) == pytest.approx(10.6, abs=0.2)


@torch.inference_mode()
def test_towers_go_back_to_their_own_scale() -> None:
    model = towers_of_the_release()
    sounds = torch.randint(0, 256, (2, 1, 128, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    own = model.encode_sound(sounds)
    assert model.take_sounds_of(SpectrogramSettings().scale)
    assert not torch.equal(model.encode_sound(sounds), own)
    assert "own_bytes" not in model.state_dict()
    assert not model.take_sounds_of(RELEASED_SPECTROGRAMS.scale)
    assert torch.equal(model.encode_sound(sounds), own)
