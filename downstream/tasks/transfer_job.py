"""An advance-transfer run about to begin: its pairs and sounds, and the weights that its networks begin from."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from accelerate import Accelerator

from downstream.audiovisual_splits import SPLITS, PairSplit
from downstream.benchmarks.audiovisual_benchmark import AudiovisualData, ScenePair
from downstream.benchmarks.scene_benchmark import SceneItem
from downstream.event_tagger import EventTeacher, read_teacher
from downstream.heard_sounds import HeardSounds, hear
from downstream.scene_images import check_images
from downstream.settings import DownstreamSettings
from pretrain import distributed
from pretrain.preemption import PreemptionWatch
from pretrain.trunk_weights import Trunk, load_trunk
from shards.errors import UserError

IMAGE_SIZE = 256
IMAGE_BACKBONE: Literal["resnet101"] = "resnet101"
SOUND_BACKBONE = "resnet50"


@dataclass(frozen=True)
class TransferJob:
    """What every seed gets.

    Attributes:
        settings: with image size and backbones resolved.
        accelerator: the processes that work together.
        preemption: whether a scheduler asked to make room.
        classes: names of the scenes.
        pairs: all of them: splits are drawn from these.
        usable: keys of those whose image and sound can be read.
        sounds: heard.
        notes: what readers of the results have to know.
    """

    settings: DownstreamSettings
    accelerator: Accelerator
    preemption: PreemptionWatch
    classes: list[str]
    pairs: list[ScenePair]
    usable: frozenset[str]
    sounds: HeardSounds
    notes: list[str]

    def split(self, seed: int) -> PairSplit:
        """The usable pairs by their use; what is not usable moves no other pair."""
        drawn = SPLITS[self.settings.split](self.pairs, seed)
        parts = (drawn.train, drawn.val, drawn.test)
        return PairSplit(*([pair for pair in part if pair.key in self.usable] for part in parts))


def resolved(settings: DownstreamSettings) -> DownstreamSettings:
    """With the published image size and backbone where the settings leave them open."""
    backbone = settings.backbone
    if backbone == "auto" and settings.weights in ("random", "imagenet"):
        backbone = IMAGE_BACKBONE
    image_size = settings.image_size or IMAGE_SIZE
    return dataclasses.replace(settings, backbone=backbone, image_size=image_size, head_on="trunk")


def image_trunk(settings: DownstreamSettings) -> Trunk:
    """A new trunk of the settings' weights; random ones are drawn by the seed."""
    weights, file = settings.weights, settings.imagenet_file
    return load_trunk(weights, backbone=settings.backbone, imagenet_file=file, seed=settings.seed)


def teacher_of(settings: DownstreamSettings) -> EventTeacher | None:
    """The teacher of one seed's run; None where the settings name none.

    Raises:
        UserError: it is missing, or of another shape.
    """
    transfer = settings.transfer
    if transfer.teacher is None:
        return None
    return read_teacher(transfer.teacher, seed=settings.seed, num_events=transfer.num_events)


def sound_backbone(settings: DownstreamSettings, teacher: EventTeacher | None) -> str:
    """The teacher's, or without one that of the settings.

    Raises:
        UserError: the settings name another than the teacher's.
    """
    chosen = settings.transfer.sound_backbone
    if teacher is None:
        return SOUND_BACKBONE if chosen == "auto" else chosen
    if chosen not in ("auto", teacher.backbone):
        raise UserError(f"transfer.sound_backbone must be auto or the teacher's, {teacher.backbone}, got {chosen}")
    return teacher.backbone


def sound_weights(settings: DownstreamSettings, teacher: EventTeacher | None) -> str:
    """What the sound trunk begins from, in words."""
    backbone = sound_backbone(settings, teacher)
    return f"random {backbone}" if teacher is None else f"{backbone} that begins from its teacher's weights"


def open_job(
    settings: DownstreamSettings,
    accelerator: Accelerator,
    preemption: PreemptionWatch,
    data: AudiovisualData,
) -> TransferJob:
    """Reads every image once, and every sound for good; what can't be read is named and counted."""
    threads, max_corrupt = max(1, settings.workers), settings.max_corrupt
    images = [SceneItem(pair.key, pair.image, pair.label) for pair in data.pairs]
    seen, unseen = check_images(images, max_corrupt=max_corrupt, threads=threads)
    sounds, unheard = hear(
        [(pair.key, pair.sound) for pair in data.pairs],
        settings.transfer.num_frames,
        threads=threads,
        max_corrupt=max_corrupt,
    )
    notes = [*data.missing, *(f"not used: {fault}" for fault in (*unseen, *unheard))]
    for sentence in notes:
        distributed.print_once(sentence)
    usable = frozenset(item.key for item in seen) & sounds.row.keys()
    return TransferJob(settings, accelerator, preemption, data.classes, data.pairs, usable, sounds, notes)
