"""What the towers are shown of a pair: central crops under `tuned`, all of it under `paper`, of any length."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from torch.nn import functional as F

from downstream.audiovisual.benchmark import ScenePair
from downstream.audiovisual.pair_embeddings import embed_pairs
from downstream.audiovisual.pair_views import CentralView, PairView, WholeView
from downstream.audiovisual.towers import prepare_for_whole_inputs
from pretrain.data.image_transforms import evaluation_image
from pretrain.model import TwoTower
from pretrain.model_config import TwoTowerConfig
from shards.decoding.audio_decoding import decode_recording
from shards.errors import UserError
from shards.schema import SpectrogramSettings

SPECTROGRAM = SpectrogramSettings()
SECONDS = (10.0, 10.0, 4.0, 0.2)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[ScenePair]:
    """Four pairs of ADVANCE's image size, two with sounds of ADVANCE's length."""
    folder, generator = tmp_path_factory.mktemp("pairs"), np.random.default_rng(0)
    found = []
    for number, seconds in enumerate(SECONDS):
        image, sound = folder / f"{number}.png", folder / f"{number}.wav"
        Image.fromarray(generator.integers(0, 256, (512, 512, 3), dtype=np.uint8)).save(image)
        soundfile.write(sound, generator.normal(0, 0.1, int(seconds * 22_050)), 22_050)
        found.append(ScenePair(str(number), image, sound, 0, str(number)))
    return found


def test_the_whole_image_is_averaged_over_squares_of_two(pairs: list[ScenePair]) -> None:
    seen = WholeView(256, SPECTROGRAM, 128).image(pairs[0])
    whole = torch.from_numpy(np.array(Image.open(pairs[0].image))).permute(2, 0, 1).float()
    expected = F.avg_pool2d(whole[None], 2)[0]
    assert seen.shape == (3, 256, 256)
    assert (torch.from_numpy(seen).float() - expected).abs().max() <= 0.5


def test_the_whole_spectrogram_is_heard(pairs: list[ScenePair]) -> None:
    view = WholeView(256, SPECTROGRAM, 128)
    for pair, seconds in zip(pairs[:3], SECONDS, strict=False):
        decoded = decode_recording(pair.sound, SPECTROGRAM, with_preview=False).spectrogram
        heard = view.sound(pair.sound)
        assert heard.shape == (1, 1, 128, decoded.shape[1])
        assert heard.shape[3] >= 0.9 * seconds * SPECTROGRAM.sample_rate_hz / SPECTROGRAM.hop_samples  # type: ignore[operator]
        assert (heard[0, 0] == decoded).all()
    # Shorter than a crop: repeated, as in training.
    assert view.sound(pairs[3].sound).shape == (1, 1, 128, 128)


def test_tuned_sees_the_central_part_and_hears_five_crops(pairs: list[ScenePair]) -> None:
    view = CentralView(96, SPECTROGRAM, 128)
    whole = np.array(Image.open(pairs[0].image))
    assert (view.image(pairs[0]) == evaluation_image(whole, 96)).all()
    assert view.sound(pairs[0].sound).shape == (5, 1, 128, 128)


@torch.inference_mode()
@pytest.mark.parametrize("view", [WholeView(64, SPECTROGRAM, 32), CentralView(64, SPECTROGRAM, 32)])
def test_embeddings_are_those_of_one_pair_at_a_time(view: PairView, pairs: list[ScenePair]) -> None:
    torch.manual_seed(0)
    model = TwoTower(TwoTowerConfig(image_size=64, num_frames=32, on_sphere=True)).eval()
    prepare_for_whole_inputs(model, 64)
    found = embed_pairs(model, pairs, view, batch_size=4, workers=0, precision="fp32", max_corrupt=0)
    assert found is not None
    embeddings, faults = found
    assert (embeddings.keys, faults) == (["0", "1", "2", "3"], [])
    for row, pair in enumerate(pairs):
        image = model.encode_image(torch.from_numpy(view.image(pair))[None])[0]
        sound = model.encode_sound(torch.from_numpy(view.sound(pair.sound))).mean(0)
        torch.testing.assert_close(torch.from_numpy(embeddings.image[row]), image, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(torch.from_numpy(embeddings.sound[row]), sound, rtol=1e-4, atol=1e-5)
        assert image.norm().item() == pytest.approx(1, abs=1e-5)


def test_encoders_of_one_length_are_refused() -> None:
    model = TwoTower(TwoTowerConfig(image_size=64, num_frames=128, sound_encoder="timm:vit_tiny_patch16_224"))
    with pytest.raises(UserError, match="takes 128 frames only; use --protocol tuned"):
        prepare_for_whole_inputs(model.eval(), 64)
