"""Front ends by name: how sounds become the spectrograms that an encoder takes. To add one, add its settings here."""

from __future__ import annotations

from shards.registry import Registry
from shards.schema import SpectrogramScale, SpectrogramSettings

DEFAULT_FRONT_END = "earshot-16k"

EARSHOT_16K = SpectrogramSettings()
"""SoundingEarth (Heidler et al., arXiv 2108.00688), section IV-A; window and hop, which that paper does not state, from
ADVANCE (Hu et al., arXiv 2005.08449).

A constant signal of 1 has power 1 in the lowest bin, and a full-scale sine 1/4 in its own.
"""

EARSHOT_48K = SpectrogramSettings(
    sample_rate_hz=48_000,
    window_samples=2048,
    hop_samples=512,
    mel_scale="slaney",
    mel_norm="area",
    scale=SpectrogramScale("log-mel", low=-23.03, high=9.0),
    window="hann-periodic",
    is_centred=True,
    smallest_power=1e-10,
)
"""The whole audible band, as Spectrum4Geo has it: 4,096 frames are 43.7 s.

Window, hop, area and floor are librosa's defaults, which that length implies.
"""

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

AST_16K = SpectrogramSettings(
    sample_rate_hz=16_000,
    window_samples=400,
    hop_samples=160,
    mel_scale="kaldi",
    scale=SpectrogramScale("log-mel", low=-15.95, high=12.0),
    fft_samples=512,
    window="hann-symmetric",
    pre_emphasis=0.97,
    pre_emphasis_of="frame",
    low_hz=20.0,
    smallest_power=2.0**-23,
)
"""Audio Spectrogram Transformer (Gong et al., arXiv 2104.01778): Kaldi's filter bank of a waveform within ±1.

The lowest value is ln(2^-23) = -15.94; silence is there.
"""

CLAP_48K = SpectrogramSettings(
    sample_rate_hz=48_000,
    window_samples=1024,
    hop_samples=480,
    mel_bands=64,
    mel_scale="slaney",
    mel_norm="area",
    scale=SpectrogramScale("log-mel", low=-23.03, high=9.0),
    window="hann-periodic",
    low_hz=50.0,
    high_hz=14_000.0,
    is_centred=True,
    smallest_power=1e-10,
)
"""LAION-CLAP (Wu et al., arXiv 2211.06687), HTSAT with inputs of up to 10.24 s; the network takes decibels, which are
10 / ln 10 times these values."""

FRONT_ENDS: Registry[SpectrogramSettings] = Registry(
    "--spectrogram",
    {
        DEFAULT_FRONT_END: "shards.front_ends:EARSHOT_16K",
        "earshot-48k": "shards.front_ends:EARSHOT_48K",
        "audioset-32k": "shards.front_ends:AUDIOSET_32K",
        "ast-16k": "shards.front_ends:AST_16K",
        "clap-48k": "shards.front_ends:CLAP_48K",
    },
)


def front_end_name(settings: SpectrogramSettings) -> str | None:
    """The name of the front end with these settings; None if it has none."""
    return next((name for name in FRONT_ENDS if FRONT_ENDS.load(name) == settings), None)
