"""The files with which sentence-transformers, mteb or plain Python embed images and sounds, without Earshot."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch

from pretrain.model import TwoTower
from pretrain.releasing.timm_folders import ROUNDING, has_timm
from pretrain.weights.same_embeddings import Probe, require_close
from shards.schema import SpectrogramSettings

SOURCES = Path(__file__).parent / "standalone"
TOWERS_NAME = "earshot_towers.py"
SENTENCE_TRANSFORMERS_NAME = "earshot_sentence_transformers.py"
MTEB_NAME = "earshot_mteb.py"
MODULES_NAME = "modules.json"
SETTINGS_NAME = "config_sentence_transformers.json"

STANDALONE_NAMES = (TOWERS_NAME, SENTENCE_TRANSFORMERS_NAME, MTEB_NAME, MODULES_NAME, SETTINGS_NAME)

MODULES = [
    {
        "idx": 0,
        "name": "0",
        "path": "",
        "type": f"{SENTENCE_TRANSFORMERS_NAME.removesuffix('.py')}.EarshotTowers",
    }
]
SETTINGS = {"model_type": "SentenceTransformer", "prompts": {}, "similarity_fn_name": "euclidean"}


def why_no_standalone(towers: TwoTower) -> str | None:
    """Says why these towers embed files with Earshot alone; None if the standalone files serve them."""
    if not has_timm():
        return "they build on timm, which is not installed, so they could not be checked"
    for name, tower in (("image", towers.image_tower), ("sound", towers.sound_tower)):
        if tower.trunk.timm_form() is None:
            return f"they build on timm, which has no network for the {name} encoder {tower.trunk.name}"
    if not is_plain(towers.config.spectrogram):
        return "they compute only spectrograms on Slaney's mel scale without pre-emphasis"
    return None


def is_plain(spectrogram: SpectrogramSettings) -> bool:
    """Whether `earshot_towers.py` computes these spectrograms from sounds."""
    return (
        spectrogram.is_published
        and spectrogram.mel_scale == "slaney"
        and not spectrogram.pre_emphasis
        and spectrogram.window in ("hann-normalised", "hann-periodic")
    )


def write_standalone(release: Path) -> None:
    """Copies the files into a release."""
    for name in (TOWERS_NAME, SENTENCE_TRANSFORMERS_NAME, MTEB_NAME):
        shutil.copyfile(SOURCES / name, release / name)
    (release / MODULES_NAME).write_text(json.dumps(MODULES, indent=1) + "\n", encoding="utf-8")
    (release / SETTINGS_NAME).write_text(json.dumps(SETTINGS, indent=1) + "\n", encoding="utf-8")


@torch.inference_mode()
def check_standalone(release: Path, towers: TwoTower, probes: list[Probe]) -> str:
    """Embeds the probes by `earshot_towers.py` from a release's files, and compares with the towers' own embeddings.

    Returns:
        What was checked, in words.

    Raises:
        UserError: an embedding differs by more than rounding.
    """
    from pretrain.releasing.standalone.earshot_towers import Towers

    theirs = Towers(release)
    for probe in probes:
        for what, ours, other in (
            ("image", towers.encode_image(probe.images), theirs.encode_image(probe.images)),
            ("sound", towers.encode_sound(probe.sounds), theirs.encode_sound(probe.sounds)),
        ):
            require_close(ours, other, ROUNDING, f"{what} embeddings of {probe.name} by {TOWERS_NAME}")
    return f"{TOWERS_NAME}, within {ROUNDING:g} of the largest value"
