"""The presets of the paper, of its authors' code, and ours: their values, typed from the sources."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pretrain.optimization import learning_rate_at
from pretrain.presets import PRESETS
from pretrain.settings.files import flatten
from pretrain.settings.pretraining import Config

SHARED: dict[str, Any] = {
    # config.yml of khdlr/SoundingEarth; the paper gives none of them.
    "epochs": 300,
    "batch_size": 256,
    "loss.name": "batch-triplet",
    # config.py: Adam, LearningRate 1e-3; train.py has no schedule, and evaluates checkpoints/latest.pt.
    "optimizer.name": "adam",
    "optimizer.learning_rate": 0.001,
    "optimizer.weight_decay": 0.0,
    "optimizer.max_gradient_norm": 0.0,
    "validation.keep": "last",
    "validation.patience_epochs": 0,
    # config.py: LatentDim 128.
    "model.embedding_dim": 128,
    "model.head_hidden": 0,
    "model.norm": "batch",
    "model.image_init": "random",
    "model.sound_init": "random",
    # Eq. 2 of the paper.
    "loss.margin": 1.0,
    # Section IV-A: 128 consecutive frames, no other change of the sound.
    "data.num_frames": 128,
    "data.sound_seconds": None,
    "data.mask_frames": 0.0,
    "data.mask_bands": 0.0,
    "data.level_db": 0.0,
    "mixing": 0.0,
    # Section IV-A: scaled to 192 pixels.
    "data.image_size": 192,
    # data_loading.py: A.Rotate(limit=180, p=1.0), A.Blur(blur_limit=3), A.HueSaturationValue().
    "data.rotation_degrees": 180.0,
    "data.blur": "box",
    "data.blur_probability": 0.5,
    "data.colour_probability": 0.5,
    "data.hue_degrees": 40.0,
    "data.saturation": 0.11764705882352941,
    "data.value": 0.0784313725490196,
    "data.flips": False,
    "data.right_angles": False,
}
PAPER = SHARED | {
    # Section IV-A: a square crop of 192 to 384 pixels of the central half of 1,024.
    "data.crop_by": "side",
    "data.crop_min": 0.375,
    "data.crop_max": 0.75,
    # Section IV-A lists rotation, blur, hue, saturation and value, and no distortion.
    "data.grid_distortion_probability": 0.0,
    # Section IV-B: ResNet-18 for sounds.
    "model.sound_encoder": "resnet18",
}
CODE = SHARED | {
    # data_loading.py: A.CenterCrop(512, 512), A.RandomResizedCrop(192, 192, scale=[0.5, 1.0]), A.GridDistortion().
    "data.crop_by": "area",
    "data.crop_min": 0.5,
    "data.crop_max": 1.0,
    "data.grid_distortion_probability": 0.5,
    # lib/models/resnet.py: 32 channels in the stem, 64, 182, 256 and 512 in the stages.
    "model.sound_encoder": "soundingearth-resnet18",
}
OF_SOURCES = {
    "soundingearth-resnet18": PAPER | {"model.image_encoder": "resnet18"},
    "soundingearth-resnet50": PAPER | {"model.image_encoder": "resnet50"},
    "soundingearth-code-resnet18": CODE | {"model.image_encoder": "soundingearth-resnet18"},
    "soundingearth-code-resnet50": CODE | {"model.image_encoder": "soundingearth-resnet50"},
}
COMPARED = (
    *("batch-triplet", "naive-triplet", "contrastive", "symmetric-contrastive", "sigmoid"),
    *("image-contrastive", "simclr", "simclr-soundingearth", "moco", "moco-v1", "tile2vec"),
)


def rates(config: Config) -> list[float]:
    """The learning rate at every tenth step of 300 epochs of 10 steps."""
    return [
        learning_rate_at(step, total_steps=3000, steps_per_epoch=10, settings=config.optimizer)
        for step in range(0, 3000, 10)
    ]


@pytest.mark.parametrize("name", OF_SOURCES)
def test_presets_have_the_values_of_the_paper_and_of_the_code(name: str) -> None:
    values = flatten(PRESETS[name])
    assert {setting: values[setting] for setting in OF_SOURCES[name]} == OF_SOURCES[name]
    assert set(rates(PRESETS[name])) == {0.001}


@pytest.mark.parametrize("depth", [18, 50])
def test_ours_differs_from_the_papers_in_strengths_schedule_and_the_model_that_is_kept(depth: int) -> None:
    paper, ours = (flatten(PRESETS[f"{name}-resnet{depth}"]) for name in ("soundingearth", "tuned"))
    assert {name: value for name, value in ours.items() if value != paper[name]} == {
        "out": f"runs/tuned-resnet{depth}",
        "data.blur": "gaussian",
        "data.blur_probability": 0.1,
        "data.colour_probability": 1.0,
        "data.hue_degrees": 6.0,
        "data.saturation": 0.1,
        "data.value": 0.1,
        "optimizer.warmup_epochs": 5.0,
        "optimizer.final_fraction": 0.0,
        "validation.keep": "best",
    }
    slow = rates(PRESETS[f"tuned-resnet{depth}"])
    assert slow[0] < 1e-4
    assert max(slow) == pytest.approx(1e-3)
    assert slow[-1] < 1e-5


@pytest.mark.parametrize("name", COMPARED)
def test_compared_methods_differ_from_the_papers_recipe_in_the_method_alone(name: str) -> None:
    paper, other = flatten(PRESETS["soundingearth-resnet18"]), flatten(PRESETS[name])
    own = {"loss", "strong_views", "simclr", "moco", "tile2vec"}
    shared = {setting for setting in paper if setting.split(".")[0] not in own} - {"out", "method", "mixing"}
    assert len(shared) > 60
    assert {setting: other[setting] for setting in shared} == {setting: paper[setting] for setting in shared}
    assert (
        replace(PRESETS["batch-triplet"], out=PRESETS["soundingearth-resnet18"].out)
        == (PRESETS["soundingearth-resnet18"])
    )


METHODS: dict[str, dict[str, Any]] = {
    # lib/loss_functions.py of khdlr/SoundingEarth, SimCLRLoss: tau 0.2, Linear(128, 512), ReLU, Linear(512, 128), a
    # softmax over one axis; img_data_loading.py: two views by the transforms of the pairs; config.py: LatentDim 128.
    "simclr-soundingearth": {
        "simclr.temperature": 0.2,
        "simclr.head": "projector",
        "simclr.head_hidden": 512,
        "simclr.head_dim": 0,
        "simclr.views": "pairs",
        "simclr.loss": "one-way",
        "model.embedding_dim": 128,
    },
    # He et al., CVPR 2020, sections 3.2 (momentum 0.999) and 3.3 (tau 0.07, a linear layer of 128); strengths and order
    # as in main_moco.py of facebookresearch/moco: RandomResizedCrop(scale=(0.2, 1.0)), RandomGrayscale(p=0.2),
    # ColorJitter(0.4, 0.4, 0.4, 0.4), RandomHorizontalFlip().
    "moco-v1": {
        "moco.temperature": 0.07,
        "moco.momentum": 0.999,
        "moco.head": "linear",
        "moco.head_dim": 0,
        "moco.views": "strong",
        "model.embedding_dim": 128,
        "strong_views.crop_area_min": 0.2,
        "strong_views.jitter_probability": 1.0,
        "strong_views.brightness": 0.4,
        "strong_views.contrast": 0.4,
        "strong_views.saturation": 0.4,
        "strong_views.hue_degrees": 144.0,
        "strong_views.grey_probability": 0.2,
        "strong_views.grey_first": True,
        "strong_views.blur_probability": 0.0,
        "strong_views.vertical_flips": False,
    },
    # Chen et al., arXiv 2003.04297; the same file under --aug-plus, and --moco-t 0.2.
    "moco": {
        "moco.temperature": 0.2,
        "moco.momentum": 0.999,
        "moco.head": "mlp",
        "strong_views.crop_area_min": 0.2,
        "strong_views.jitter_probability": 0.8,
        "strong_views.brightness": 0.4,
        "strong_views.contrast": 0.4,
        "strong_views.saturation": 0.4,
        "strong_views.hue_degrees": 36.0,
        "strong_views.grey_probability": 0.2,
        "strong_views.grey_first": False,
        "strong_views.blur_probability": 0.5,
    },
}


@pytest.mark.parametrize("name", METHODS)
def test_methods_have_the_values_of_their_papers_and_code(name: str) -> None:
    values = flatten(PRESETS[name])
    assert {setting: values[setting] for setting in METHODS[name]} == METHODS[name]
