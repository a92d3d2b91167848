"""Front ends by name: how sounds become the spectrograms that an encoder takes. To add one, add its settings here."""

from __future__ import annotations

from shards.registry import Registry
from shards.schema import SpectrogramScale, SpectrogramSettings

DEFAULT_FRONT_END = "earshot-16k"

EARSHOT_16K = SpectrogramSettings()

AUDIOSET_32K = SpectrogramSettings(
    sample_rate_hz=32_000,
    window_samples=800,
    hop_samples=320,
    mel_scale="kaldi",
    scale=SpectrogramScale("log-mel", low=-11.52, high=12.0),
    fft_samples=1024,
    window="hann-symmetric",
    pre_emphasis=0.97,
    high_hz=15_000.0,
    is_centred=True,
    added_power=1e-5,
)
"""EfficientAT (Schmid et al., arXiv 2211.04772), models/preprocess.py in evaluation mode.

The lowest value is ln(1e-5), and a full-scale sine reaches about 12 after pre-emphasis. A byte is 0.092, which is 0.018
after the network's normalisation.
"""

FRONT_ENDS: Registry[SpectrogramSettings] = Registry(
    "--spectrogram",
    {
        DEFAULT_FRONT_END: "shards.front_ends:EARSHOT_16K",
        "audioset-32k": "shards.front_ends:AUDIOSET_32K",
    },
)


def front_end_name(settings: SpectrogramSettings) -> str | None:
    """The name of the front end with these settings; None if it has none."""
    return next((name for name in FRONT_ENDS if FRONT_ENDS.load(name) == settings), None)
