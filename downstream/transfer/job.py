"""An advance-transfer run about to begin: its pairs and sounds, and the weights that its networks begin from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from accelerate import Accelerator
from torch import Tensor

from downstream.audiovisual.benchmark import AudiovisualData, ScenePair
from downstream.audiovisual.splits import SPLITS, PairSplit
from downstream.running.images import check_images
from downstream.running.seeded_runs import seed_settings
from downstream.transfer.benchmark import TransferBenchmark
from downstream.transfer.event_tagger import EventTeacher, read_teacher
from downstream.transfer.heard_sounds import HeardSounds, fingerprint, hear
from downstream.transfer.kind import TransferRunSettings
from downstream.transfer.settings import SOUND_STRIDE
from pretrain import distributed
from pretrain.model_files import PUBLISHED
from pretrain.preemption import PreemptionWatch
from pretrain.weights.encoder_weights import LoadedEncoder, load_encoder, rasters_of_weights
from shards.errors import UserError

IMAGE_SIZE = 256
IMAGE_BACKBONE: Literal["resnet101"] = "resnet101"
SOUND_BACKBONE = "resnet50"


@dataclass(frozen=True)
class TransferJob:
    """Input of every seed's run.

    Attributes:
        settings: with image size and backbones resolved.
        accelerator: the processes that work together.
        preemption: whether the run is preempted.
        classes: names of the scenes.
        pairs: all of them: splits are drawn from these.
        usable: keys of those whose image and sound can be read.
        sounds: heard.
        notes: what readers of the results have to know.
    """

    settings: TransferRunSettings
    accelerator: Accelerator
    preemption: PreemptionWatch
    classes: list[str]
    pairs: list[ScenePair]
    usable: frozenset[str]
    sounds: HeardSounds
    notes: list[str]

    def split(self, seed: int) -> PairSplit:
        """The usable pairs by part; unusable pairs do not change the assignment of others.

        Raises:
            UserError: a split has no pair of a scene.
        """
        drawn = SPLITS[self.settings.split](self.pairs, seed)
        parts = {"training": drawn.train, "validation": drawn.val, "test": drawn.test}
        usable = {name: [pair for pair in part if pair.key in self.usable] for name, part in parts.items()}
        for name, part in usable.items():
            lost = set(range(len(self.classes))) - {pair.label for pair in part}
            if lost:
                raise UserError(
                    f"the {name} split of seed {seed} has no usable pair of {self.classes[min(lost)]}, but "
                    "each split needs one of every scene; add or repair images and sounds, or choose another --seed"
                )
        return PairSplit(*usable.values())


def resolved(settings: TransferRunSettings) -> TransferRunSettings:
    """With the published image size and backbone, and the teacher's stride, where the settings leave them open.

    Raises:
        UserError: the teacher is missing, or of another shape.
    """
    backbone = settings.backbone
    if backbone == "auto" and settings.weights in ("random", *PUBLISHED):
        backbone = IMAGE_BACKBONE
    image_size = settings.image_size or IMAGE_SIZE
    teacher, transfer = teacher_of(settings), settings.transfer
    stride = transfer.sound_stride or (teacher.stride if teacher is not None else 0) or SOUND_STRIDE
    transfer = dataclasses.replace(transfer, sound_stride=stride)
    return dataclasses.replace(settings, backbone=backbone, image_size=image_size, transfer=transfer)


def check_transfer(
    benchmark: TransferBenchmark, settings: TransferRunSettings
) -> tuple[TransferRunSettings, AudiovisualData, list[str]]:
    """Finds the data and the teachers.

    Returns:
        The settings, resolved; the pairs; and what `check_seeds` found.

    Raises:
        UserError: they are missing or not whole, or don't fit together.
    """
    settings = resolved(settings)
    data = benchmark.load(settings.root, settings.transfer, allow_partial=settings.allow_partial)
    return settings, data, check_seeds(settings, data.pairs)


def check_seeds(settings: TransferRunSettings, pairs: Sequence[ScenePair]) -> list[str]:
    """Makes the checks that need no sound: teachers that don't fit, pairs that can't be split.

    Args:
        settings: resolved, of all seeds.
        pairs: all of them.

    Returns:
        A sentence for each seed whose teacher learned from sounds of its test part, told by the bytes of their files.

    Raises:
        UserError: there is one and `force` is not set; or a teacher or the pairs don't fit the settings.
    """
    found = []
    for own in seed_settings(settings):
        teacher, test = teacher_of(own), SPLITS[own.split](pairs, own.seed).test
        if teacher is None:
            continue
        sound_backbone(own, teacher)
        if teacher.stride not in (0, own.transfer.sound_stride):
            raise UserError(
                f"transfer.sound_stride must be 0 or the teacher's, {teacher.stride}, got {own.transfer.sound_stride}"
            )
        known = [pair.key for pair in test if teacher.trained_on and fingerprint(pair.sound) in teacher.trained_on]
        if known:
            found.append(
                f"transfer.teacher {own.transfer.teacher} learned from {len(known)} of the {len(test)} test sounds of "
                f"seed {own.seed}, such as {known[0]}"
            )
    if found and not settings.force:
        raise UserError(
            f"{found[0]}; train a teacher of each seed by sound-events --seed {settings.seed} --num-seeds "
            f"{settings.num_seeds} with this --root and --split, or go on with this one by --force"
        )
    return found


def image_encoder(settings: TransferRunSettings) -> LoadedEncoder:
    """A new encoder of the settings' weights; random ones are drawn by the seed."""
    weights, file = settings.weights, settings.imagenet_file
    size = settings.image_size
    return load_encoder(weights, backbone=settings.backbone, imagenet_file=file, seed=settings.seed, image_size=size)


def teacher_of(settings: TransferRunSettings) -> EventTeacher | None:
    """The teacher of one seed's run; None where the settings name none.

    Raises:
        UserError: it is missing, or of another shape.
    """
    transfer = settings.transfer
    if transfer.teacher is None:
        return None
    return read_teacher(transfer.teacher, seed=settings.seed, num_events=transfer.num_events)


def sound_backbone(settings: TransferRunSettings, teacher: EventTeacher | None) -> str:
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


def band_statistics(teacher: EventTeacher | None, sounds: HeardSounds, split: PairSplit) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation that normalise the bands: the teacher's, or those of the training part."""
    if teacher is not None and teacher.bands is not None:
        return teacher.bands
    return sounds.statistics([pair.key for pair in split.train])


def sound_weights(settings: TransferRunSettings, teacher: EventTeacher | None) -> str:
    """Describes the initial weights of the sound encoder."""
    backbone = sound_backbone(settings, teacher)
    return f"random {backbone}" if teacher is None else f"{backbone} that begins from its teacher's weights"


def open_job(
    settings: TransferRunSettings,
    accelerator: Accelerator,
    preemption: PreemptionWatch,
    data: AudiovisualData,
    known: Sequence[str],
) -> TransferJob:
    """Reads every image once, and caches every sound; unreadable files are named and counted.

    Args:
        settings: resolved.
        accelerator: the processes that work together.
        preemption: whether the run is preempted.
        data: what was found.
        known: what `check_seeds` found.
    """
    threads, max_corrupt = max(1, settings.workers), settings.max_corrupt
    rasters = rasters_of_weights(settings.weights).with_bands(settings.bands)
    pairs = [dataclasses.replace(pair, rasters=rasters) for pair in data.pairs]
    images = [pair.image_item for pair in pairs]
    seen, unseen = check_images(images, max_corrupt=max_corrupt, threads=threads)
    sounds, unheard = hear(
        [(pair.key, pair.sound) for pair in data.pairs],
        settings.transfer.num_frames,
        threads=threads,
        max_corrupt=max_corrupt,
    )
    notes = [*data.missing, *known, *(f"not used: {fault}" for fault in (*unseen, *unheard))]
    for sentence in notes:
        distributed.print_once(sentence)
    usable = frozenset(item.key for item in seen) & sounds.row.keys()
    return TransferJob(settings, accelerator, preemption, data.classes, pairs, usable, sounds, notes)
