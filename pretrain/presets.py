"""Named settings: purpose, command, and published scores of each."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from pretrain.losses.settings import (
    ContrastiveSettings,
    NaiveTripletSettings,
    SigmoidSettings,
    SymmetricContrastiveSettings,
)
from pretrain.methods.settings import (
    AudiovisualConfig,
    ImageContrastiveConfig,
    MocoConfig,
    MocoSettings,
    SimclrConfig,
    SimclrSettings,
    Tile2vecConfig,
)
from pretrain.settings.pretraining import Config, DataSettings, ModelSettings, StrongViewSettings, ValidationSettings
from pretrain.settings.training import CheckpointSettings, OptimizerSettings

DEMO = AudiovisualConfig(
    epochs=12,
    batch_size=32,
    data=DataSettings(
        image_size=64, crop_min=0.7, crop_max=1.0, blur_probability=0.0, hue_degrees=0.0, saturation=0.0, value=0.0
    ),
    model=ModelSettings(image_encoder="narrow-resnet10", sound_encoder="narrow-resnet10", sound_pooling=2),
    loss=SymmetricContrastiveSettings(temperature=0.1),
    optimizer=OptimizerSettings(name="adamw", learning_rate=3e-3, weight_decay=0.01, warmup_epochs=1.0),
    checkpoint=CheckpointSettings(every_epochs=6),
)
"""A small run for 2 CPU cores: 64-pixel images, spectrograms pooled to 64 × 64, ResNets of ten layers and half widths.

    accelerate launch pretrain/run.py demo

In float32, the median rank is 6 of 240 test pairs of the demo world both ways, with each of two seeds.
"""

SOUNDINGEARTH_RESNET18 = AudiovisualConfig(
    shards=Path("data/soundingearth-shards"),
    out=Path("runs/soundingearth-resnet18"),
    epochs=300,
    batch_size=256,
    data=DataSettings(
        workers=8,
        crop_min=192 / 512,
        crop_max=384 / 512,
        rotation_degrees=180.0,
        blur="box",
        blur_probability=0.5,
        colour_probability=0.5,
        hue_degrees=40.0,
        saturation=30 / 255,
        value=20 / 255,
    ),
    optimizer=OptimizerSettings(name="adam", learning_rate=1e-3, warmup_epochs=0.0, final_fraction=1.0),
    validation=ValidationSettings(keep="last"),
)
"""The paper's recipe with ResNet-18 for both towers (SoundingEarth, section IV).

    accelerate launch pretrain/run.py soundingearth-resnet18 --shards SHARDS --out RUN

From the paper: square crops of 192 to 384 of the central 512 pixels, resized to 192; random rotation, blur, hue,
saturation and value; 128 spectrogram frames; the batch triplet loss. It states neither the strengths nor the optimiser,
so these are from the authors' code: rotation by up to 180 degrees, and with probability 1/2 each a blur of 3 × 3 pixels
and shifts of hue by up to 40 degrees, saturation by 30/255 and value by 20/255 (albumentations' defaults); Adam at a
constant 1e-3, batches of 256, 300 epochs, the last model. Different here: the loss is the mean over triplets, as in the
code, where the paper prints the sum (`--loss.reduction sum`); Adam's steps under the two differ only by its epsilon. No
flips, which only the authors' slides name (`--data.flips`).

The paper reports recall@100 of 19.0 % and a median rank of 744 among about 10,000 test pairs (Table VII).
"""

SOUNDINGEARTH_RESNET50 = replace(
    SOUNDINGEARTH_RESNET18,
    out=Path("runs/soundingearth-resnet50"),
    model=ModelSettings(image_encoder="resnet50"),
)
"""As `soundingearth-resnet18`, with ResNet-50 for the images.

    accelerate launch pretrain/run.py soundingearth-resnet50 --shards SHARDS --out RUN

The paper reports recall@100 of 15.3 % and a median rank of 836 (Table VII).
"""

SOUNDINGEARTH_CODE_RESNET18 = replace(
    SOUNDINGEARTH_RESNET18,
    out=Path("runs/soundingearth-code-resnet18"),
    data=replace(
        SOUNDINGEARTH_RESNET18.data, crop_by="area", crop_min=0.5, crop_max=1.0, grid_distortion_probability=0.5
    ),
    model=ModelSettings(image_encoder="soundingearth-resnet18", sound_encoder="soundingearth-resnet18"),
)
"""The recipe of the code that SoundingEarth's authors published, where it differs from their paper.

    accelerate launch pretrain/run.py soundingearth-code-resnet18 --shards SHARDS --out RUN

Unlike `soundingearth-resnet18`: crops have 50 to 100 % of the area of the central 512 pixels and aspect ratios up to
4:3, a grid of 5 × 5 cells is distorted in half of the images, and the ResNets have the widths of the released weights.
Different from the code: sounds enter as standardised log-mel values, where its network gets exp(log-mel / 10); the
triplets of a pair with itself, which add a constant, are not counted; and the last layers start from PyTorch's default
weights.
"""

SOUNDINGEARTH_CODE_RESNET50 = replace(
    SOUNDINGEARTH_CODE_RESNET18,
    out=Path("runs/soundingearth-code-resnet50"),
    model=replace(SOUNDINGEARTH_CODE_RESNET18.model, image_encoder="soundingearth-resnet50"),
)
"""As `soundingearth-code-resnet18`, with ResNet-50 for the images, as in the `config.yml` of the authors' code.

    accelerate launch pretrain/run.py soundingearth-code-resnet50 --shards SHARDS --out RUN
"""

TUNED_RESNET18 = AudiovisualConfig(
    shards=Path("data/soundingearth-shards"),
    out=Path("runs/tuned-resnet18"),
    epochs=300,
    batch_size=256,
    data=DataSettings(workers=8),
    optimizer=OptimizerSettings(learning_rate=1e-3, warmup_epochs=5.0),
)
"""Our recipe in place of the paper's: a warm-up of 5 epochs, then a cosine; weaker augmentation; the best model.

    accelerate launch pretrain/run.py tuned-resnet18 --shards SHARDS --out RUN

Gaussian blur with probability 0.1, and always shifts of hue by up to 6 degrees, saturation and value by 0.1. These
strengths were chosen on the test pairs of another, small corpus, so they say nothing about scores on that corpus. The
best model by validation mean rank is kept. Not run at full size yet.
"""

TUNED_RESNET50 = replace(TUNED_RESNET18, out=Path("runs/tuned-resnet50"), model=ModelSettings(image_encoder="resnet50"))
"""As `tuned-resnet18`, with ResNet-50 for the images.

    accelerate launch pretrain/run.py tuned-resnet50 --shards SHARDS --out RUN
"""


def _compared(name: str, kind: type[Config] = AudiovisualConfig, **changes: Any) -> Config:
    """`soundingearth-resnet18` with another method or loss, so that nothing else differs in the comparison."""
    shared = {field.name for field in fields(Config)} - {"method", "out"}
    same = {name: getattr(SOUNDINGEARTH_RESNET18, name) for name in shared - changes.keys()}
    return kind(out=Path("runs") / name, **same, **changes)


NAIVE_TRIPLET = _compared("naive-triplet", loss=NaiveTripletSettings())
"""One random other sound of the batch as the negative (SoundingEarth, Eq. 2).

    accelerate launch pretrain/run.py naive-triplet --shards SHARDS --out RUN

The paper reports recall@100 of 18.6 % and a median rank of 749 with ResNet-18 (Table VII).
"""

CONTRASTIVE = _compared("contrastive", loss=ContrastiveSettings())
"""One-way InfoNCE (image to sound) at temperature 0.2, as SoundingEarth's authors coded it; `--loss.direction both` is
the symmetric form.

    accelerate launch pretrain/run.py contrastive --shards SHARDS --out RUN

The paper reports recall@100 of 29.1 % and a median rank of 565 with ResNet-18 (Table VII).
"""

SYMMETRIC_CONTRASTIVE = _compared("symmetric-contrastive", loss=SymmetricContrastiveSettings())
"""InfoNCE in both directions at a learned temperature, as in CLIP.

    accelerate launch pretrain/run.py symmetric-contrastive --shards SHARDS --out RUN
"""

SIGMOID = _compared("sigmoid", loss=SigmoidSettings())
"""SigLIP's loss: every image with every sound is a binary classification.

    accelerate launch pretrain/run.py sigmoid --shards SHARDS --out RUN
"""

IMAGE_CONTRASTIVE = _compared("image-contrastive", ImageContrastiveConfig)
"""The contrastive loss between two views of an image, without a projection head.

    accelerate launch pretrain/run.py image-contrastive --shards SHARDS --out RUN
"""

SIMCLR = _compared("simclr", SimclrConfig)
"""SimCLR on the images; larger batches are better (use --optimizer.chunk-size if memory is short).

    accelerate launch pretrain/run.py simclr --shards SHARDS --out RUN
"""

SIMCLR_SOUNDINGEARTH = _compared(
    "simclr-soundingearth",
    SimclrConfig,
    simclr=SimclrSettings(temperature=0.2, loss="one-way", head="projector", head_hidden=512, views="pairs"),
)
"""SimCLR as in the code of SoundingEarth's authors: the pairs' own augmentation, and a projector 128 → 512 → 128 behind
the tower's 128 dimensions, at temperature 0.2; negatives are the other images' first views.

    accelerate launch pretrain/run.py simclr-soundingearth --shards SHARDS --out RUN
"""

MOCO = _compared("moco", MocoConfig)
"""MoCo v2 on the images, with a queue of half the number of training images.

    accelerate launch pretrain/run.py moco --shards SHARDS --out RUN
"""

MOCO_V1 = _compared(
    "moco-v1",
    MocoConfig,
    strong_views=StrongViewSettings(
        jitter_probability=1.0, hue_degrees=144.0, grey_first=True, blur_probability=0.0, vertical_flips=False
    ),
    moco=MocoSettings(temperature=0.07, head="linear"),
)
"""MoCo v1 on the images (He et al., CVPR 2020): a linear head, temperature 0.07, colour jitter always and no blur.

    accelerate launch pretrain/run.py moco-v1 --shards SHARDS --out RUN

Strengths are those of its authors' code. The queue holds half the number of training images, at most their 65,536 keys,
and starts empty; theirs starts with random vectors.
"""

TILE2VEC = _compared("tile2vec", Tile2vecConfig)
"""Tile2Vec on the images: a triplet loss with an overlapping crop as the positive and another tile as the negative.

    accelerate launch pretrain/run.py tile2vec --shards SHARDS --out RUN
"""

BEST_RETRIEVAL = AudiovisualConfig(
    shards=Path("data/soundingearth-48k-shards"),
    out=Path("runs/best-retrieval"),
    epochs=40,
    batch_size=288,
    data=DataSettings(
        workers=8,
        image_size=256,
        crop_min=0.75,
        crop_max=1.0,
        rotation_degrees=0.0,
        right_angles=True,
        flips=True,
        num_frames=4096,
        mask_frames=0.1,
        mask_bands=0.1,
    ),
    model=ModelSettings(
        image_encoder="timm:convnext_base.fb_in22k_ft_in1k_384",
        sound_encoder="timm:convnext_base.fb_in22k_ft_in1k_384",
        embedding_dim=1024,
        image_init="pretrained",
        sound_init="pretrained",
    ),
    loss=SymmetricContrastiveSettings(label_smoothing=0.1),
    optimizer=OptimizerSettings(
        name="adamw", learning_rate=1e-3, weight_decay=0.01, warmup_epochs=1.0, max_gradient_norm=100.0
    ),
    validation=ValidationSettings(every_epochs=4),
)
"""After Spectrum4Geo, which reports recall@100 of 64.2 % and a median rank of 25 of 10,179 pairs from sound to image.

From it, as its authors' code has them: ConvNeXt-B from ImageNet for images of 256 pixels and for spectrograms of 128
bands × 4,096 frames (43.7 s at 48 kHz), symmetric InfoNCE with a learned temperature and a label smoothing of 0.1, a
batch of 288, AdamW at about 1e-3 with a cosine over 40 epochs, flips and right angles, gradients clipped to 100. There
one network embeds both; here each modality has its own, followed by a projection. Masks are SpecAugment's, in place of
dropout of squares; colours change as in `tuned-resnet18`. Queues, which harm small runs here, and hard negatives,
which did not help, are left out.

    python shards/run.py build --source recordings --root DIR --out SHARDS --spectrogram earshot-48k
    accelerate launch pretrain/run.py best-retrieval --shards SHARDS --out RUN
    python retrieval/run.py evaluate --weights RUN --shards SHARDS --split test --crops 10 --out RUN/retrieval

Computed, not measured: a pair takes 1.1 TFLOP forward and backward, and 1.7 GB of activations in bf16. With 80 GB a GPU
holds 36 pairs, so 8 GPUs need 35 minutes for 35,000 pairs at a tenth of an H100's peak; one GPU needs
`--optimizer.chunk-size 32` and 6 hours. It has not been run at this size yet.
"""

FEW_PAIRS = AudiovisualConfig(
    out=Path("runs/few-pairs"),
    precision="fp32",
    epochs=40,
    batch_size=64,
    mixing=1.0,
    data=DataSettings(image_size=224, crop_min=0.7, crop_max=1.0, sound_seconds=10.0, feature_views=4),
    model=ModelSettings(
        image_encoder="timm:tf_efficientnet_lite0",
        sound_encoder="mn04",
        embedding_dim=256,
        freeze="image,sound",
        keep_statistics=True,
        image_init="pretrained",
        sound_init="pretrained",
    ),
    loss=SymmetricContrastiveSettings(),
    optimizer=OptimizerSettings(name="adamw", learning_rate=3e-4, weight_decay=0.1, warmup_epochs=2.0),
    # Rarely, because the best of many ranks among a few dozen pairs is mostly luck.
    validation=ValidationSettings(every_epochs=10),
    checkpoint=CheckpointSettings(every_epochs=10),
)
"""For hundreds to thousands of pairs on a laptop: frozen encoders from ImageNet and AudioSet, a linear layer on each.

Symmetric contrastive with a learned temperature, and FuseMix (Vouitsis et al., arXiv 2312.10144). Each encoder runs
over the pairs once; then training takes seconds. The shards need the sound encoder's front end:

    python shards/run.py build … --spectrogram audioset-32k --out SHARDS
    python pretrain/run.py few-pairs --shards SHARDS --out RUN

The weights are downloaded; without a network, give their files by `--model.image-init FILE` and
`--model.sound-init FILE`.
"""

PRESETS: dict[str, Config] = {
    "demo": DEMO,
    "soundingearth-resnet18": SOUNDINGEARTH_RESNET18,
    "soundingearth-resnet50": SOUNDINGEARTH_RESNET50,
    "soundingearth-code-resnet18": SOUNDINGEARTH_CODE_RESNET18,
    "soundingearth-code-resnet50": SOUNDINGEARTH_CODE_RESNET50,
    "tuned-resnet18": TUNED_RESNET18,
    "tuned-resnet50": TUNED_RESNET50,
    "batch-triplet": _compared("batch-triplet"),
    "naive-triplet": NAIVE_TRIPLET,
    "contrastive": CONTRASTIVE,
    "symmetric-contrastive": SYMMETRIC_CONTRASTIVE,
    "sigmoid": SIGMOID,
    "image-contrastive": IMAGE_CONTRASTIVE,
    "simclr": SIMCLR,
    "simclr-soundingearth": SIMCLR_SOUNDINGEARTH,
    "moco": MOCO,
    "moco-v1": MOCO_V1,
    "tile2vec": TILE2VEC,
    "best-retrieval": BEST_RETRIEVAL,
    "few-pairs": FEW_PAIRS,
}
