"""Audiovisual scene classification on TAU's clips, from their folder to results, under any strategy."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from accelerate.utils import set_seed
from numpy.typing import NDArray

from downstream.benchmarks import load_run_settings
from downstream.results import RESULTS_NAME, Results, write_predictions
from downstream.running.training import train_to_end
from downstream.scores import confusion
from downstream.settings import how_trained
from downstream.tau.acoustic_features import CLIP_SECONDS
from downstream.tau.benchmark import CLASSES, Clip, TauBenchmark, TauData
from downstream.tau.clip_batches import ClipReader, FixedEmbeddings
from downstream.tau.clip_files import ClipFiles, acoustic_statistics, prepare_clips
from downstream.tau.clip_splits import ClipSplit, split_clips
from downstream.tau.exhibits import shown_clips, write_planes
from downstream.tau.frame_views import CentralSquare, RandomStreetView
from downstream.tau.image_embeddings import embed_pictures
from downstream.tau.joint_network import AcousticEncoder, JointNetwork
from downstream.tau.kind import TauRunSettings
from downstream.tau.network_files import read_acoustic_encoder, read_network
from downstream.tau.task import JointScenes, segment_labels
from downstream.tau.visual_encoder import EFFICIENTNET, VisualEncoder, load_visual_encoder
from pretrain import distributed
from pretrain.data.seeds import derived_seed
from pretrain.preemption import PreemptionWatch
from pretrain.settings.files import flatten, save_settings
from pretrain.training.metrics_file import METRICS_NAME
from pretrain.training.run_folder import CONFIG_NAME
from pretrain.training.tracking import Tracking
from pretrain.weights.encoder_weights import LoadedEncoder
from shards.errors import UserError

BATCH_SIZE = 256
EFFICIENTNET_SIZE, TRUNK_SIZE = 288, 224
"""Sides of the images that EfficientNetV2-S and ResNet-50 see (Chen et al., 2022, Table 1)."""

ACOUSTIC_FOLDER = "acoustic"
DIVIDING = ("seed", "tau.val_fraction", "tau.val_by")
"""The settings that say which clips train and which validate."""
FRAMES_FOLDER = "frames"
EMBEDDINGS_NAME = "image_embeddings.npy"

NO_WEIGHTS = "–"
"""Of strategy audio, as tables show it."""

OWN_BANK = "scalogram by our constant-Q Morlet bank, 290 filters from 20 Hz to 8 kHz: the paper does not define its own"


@dataclass(frozen=True)
class TauJob:
    """A run that is about to train, one network or two in turn.

    Attributes:
        accelerator: the processes that work together.
        preemption: whether the run is preempted.
        files: the clips' frames.
        split: the clips.
        encoder: what sees, as it was loaded; None: nothing sees.
        notes: what readers of the results have to know.
    """

    accelerator: Accelerator
    preemption: PreemptionWatch
    files: ClipFiles
    split: ClipSplit
    encoder: LoadedEncoder | None
    notes: list[str]


def run_tau(
    benchmark: TauBenchmark,
    settings: TauRunSettings,
    accelerator: Accelerator,
    preemption: PreemptionWatch,
    *,
    resume: bool,  # noqa: ARG001  # existing results are found without it
) -> bool:
    """Runs a strategy of Chen et al. (2022) and writes `results.json`, `predictions.csv`, `embeddings_tsne.csv` and
    `model/`.

    A strategy with a pre-trained acoustic encoder trains that first, in `OUT/acoustic`, unless it is given one.

    Returns:
        Whether it came to its end.

    Raises:
        UserError: data, weights and settings don't fit together.
    """
    settings = resolved(settings)
    job = _prepared(benchmark, settings, accelerator, preemption)
    if distributed.is_first():
        save_settings(settings, settings.out / CONFIG_NAME)
    acoustic_run = settings.tau.acoustic_run
    if settings.tau.acoustic_is_pretrained and acoustic_run is None:
        # Runs within this one find its tracker by it.
        Tracking(settings, settings.out).finish()
        acoustic_run = settings.out / ACOUSTIC_FOLDER
        audio = dataclasses.replace(settings, out=acoustic_run, tau=dataclasses.replace(settings.tau, strategy="audio"))
        if not _train_and_score(dataclasses.replace(job, encoder=None), audio, None):
            return False
    return _train_and_score(job, settings, acoustic_run)


def resolved(settings: TauRunSettings) -> TauRunSettings:
    """The settings, with the paper's values where none are given."""
    size = EFFICIENTNET_SIZE if settings.tau.visual == EFFICIENTNET else TRUNK_SIZE
    return dataclasses.replace(
        settings,
        batch_size=settings.batch_size or BATCH_SIZE,
        image_size=settings.image_size or size,
    )


def _prepared(
    benchmark: TauBenchmark, settings: TauRunSettings, accelerator: Accelerator, preemption: PreemptionWatch
) -> TauJob:
    """Reads the pre-trained parts; decodes and splits the clips."""
    tau = settings.tau
    # First, since decoding takes hours: a mistyped path is reported at once.
    encoder = load_visual_encoder(settings) if tau.sees else None
    if encoder is not None:
        distributed.note_once(f"weights: {encoder.report}")
    data = check_tau(benchmark, settings)
    files = ClipFiles(tau.cache or settings.out / FRAMES_FOLDER, tau.features, tau.frame_side)
    data = prepare_clips(files, data, max_corrupt=settings.max_corrupt, threads=max(1, settings.workers))
    notes = [*data.missing, *(f"not used: {fault}" for fault in data.faults)]
    for sentence in notes:
        distributed.print_once(sentence)
    split = split_clips(data.train, data.test, val_fraction=tau.val_fraction, val_by=tau.val_by, seed=settings.seed)
    return TauJob(accelerator, preemption, files, split, encoder, notes)


def check_tau(benchmark: TauBenchmark, settings: TauRunSettings) -> TauData:
    """Finds the data and the pre-trained parts.

    Raises:
        UserError: they are missing or not whole, or don't fit together.
    """
    if settings.tau.acoustic_run is not None:
        check_acoustic_run(settings.tau.acoustic_run, settings)
    return benchmark.load(settings.root, allow_partial=settings.allow_partial)


def check_acoustic_run(run: Path, settings: TauRunSettings) -> None:
    """Makes sure that a run has trained its acoustic encoder to the end, and on none of the clips that validate here.

    Raises:
        UserError: it has not, or divides the clips in another way.
    """
    read_acoustic_encoder(run, settings.tau.features)
    if not (run / RESULTS_NAME).is_file():
        raise UserError(f"tau.acoustic_run {run} has no {RESULTS_NAME} yet; go on with it first, by --resume {run}")
    theirs, ours = flatten(load_run_settings(run / CONFIG_NAME)), flatten(settings)
    for name in DIVIDING:
        if theirs[name] != ours[name]:
            raise UserError(
                f"{name} must be that of tau.acoustic_run {run}, {theirs[name]}, got {ours[name]}: its encoder has "
                "learned from clips that would validate here"
            )


def _train_and_score(job: TauJob, settings: TauRunSettings, acoustic_run: Path | None) -> bool:
    """Trains a network, resumes it, or finds its results; False where it was preempted."""
    if distributed.from_first((settings.out / RESULTS_NAME).is_file()):
        trained = distributed.from_first(Results.read(settings.out).epochs[-1]["epoch"])
        if trained != settings.epochs:
            raise UserError(
                f"epochs is {trained} in {settings.out}, which is finished, and can't be changed to {settings.epochs}; "
                "name another --out"
            )
        return True
    if distributed.is_first():
        settings.out.mkdir(exist_ok=True)
    distributed.barrier()
    task = _build(job, settings, acoustic_run)
    started = distributed.from_first((settings.out / METRICS_NAME).is_file())
    summary = train_to_end(task, job.accelerator, job.preemption, started=started)
    if summary is None:
        return False
    # Built again, since an engine may have taken the trained module apart.
    task = _build(job, settings, acoustic_run)
    network = read_network(settings.out, task.module)
    probabilities, scores = task.score(network, "test")
    clips = shown_clips(job.split.test)
    embeddings = task.embeddings(network, clips)
    if distributed.is_first():
        write_planes(settings.out, clips, embeddings, hears=settings.tau.hears, seed=settings.seed)
        best_epoch = summary["best_step"] // task.steps_per_epoch
        _write(job, settings, probabilities, scores, best_epoch=best_epoch, seconds=summary["seconds"])
    distributed.barrier()
    tracking = Tracking(settings, settings.out)
    tracking.log({f"test/{name}": value for name, value in scores.items()}, step=summary["step"])
    tracking.log_file(settings.out / RESULTS_NAME)
    tracking.finish()
    return True


def _build(job: TauJob, settings: TauRunSettings, acoustic_run: Path | None) -> JointScenes:
    """The task of a strategy."""
    tau, frozen = settings.tau, settings.tau.acoustic_is_pretrained
    acoustic = _acoustic_encoder(job, settings, acoustic_run) if tau.hears else None
    visual = embeddings = view = whole_view = None
    width = 0
    if job.encoder is not None:
        # A copy: engines change modules in place, and the next network needs the encoder as it was loaded.
        visual = VisualEncoder(copy.deepcopy(job.encoder)).to(job.accelerator.device)
        if tau.sees_embeddings:
            embeddings = _image_embeddings(job, settings, visual)
            width, visual = visual.num_features, None
        else:
            view, whole_view = RandomStreetView(settings.image_size), CentralSquare(settings.image_size)
    reader = ClipReader(job.files, tau.hears, view=view, whole_view=whole_view, embeddings=embeddings)
    # Whatever was drawn for the encoders, the classifier begins alike.
    set_seed(derived_seed(settings.seed, "classifier") % 2**32)
    network = JointNetwork(
        len(CLASSES), acoustic=acoustic, visual=visual, embedding_width=width, freeze_acoustic=frozen
    )
    return JointScenes(settings, job.accelerator, network, reader, job.split)


def _image_embeddings(job: TauJob, settings: TauRunSettings, visual: VisualEncoder) -> FixedEmbeddings:
    """Of all clips' pictures, seen as in evaluation."""
    return embed_pictures(
        visual,
        [*job.split.train, *job.split.val, *job.split.test],
        ClipReader(job.files, hears=False, whole_view=CentralSquare(settings.image_size)),
        settings.out / EMBEDDINGS_NAME,
        workers=settings.workers,
        device=job.accelerator.device,
        precision=settings.precision,
    )


def _acoustic_encoder(job: TauJob, settings: TauRunSettings, run: Path | None) -> AcousticEncoder:
    """A run's, or a new one with the training clips' statistics."""
    if settings.tau.acoustic_is_pretrained:
        assert run is not None
        return read_acoustic_encoder(run, settings.tau.features)
    statistics = acoustic_statistics(job.files, job.split.train)
    set_seed(settings.seed)
    return AcousticEncoder(statistics)


def _write(
    job: TauJob,
    settings: TauRunSettings,
    probabilities: NDArray[np.float32],
    scores: dict[str, float],
    *,
    best_epoch: int,
    seconds: float,
) -> None:
    """Writes `results.json` and `predictions.csv`, and tells the scores."""
    split, tau, out = job.split, settings.tau, settings.out
    _write_predictions(out, split.test, probabilities)
    num_labelled = len(split.train) + len(split.val)
    results = Results(
        benchmark=settings.benchmark,
        weights=settings.weights if tau.sees else NO_WEIGHTS,
        weights_sha256=job.encoder.weights_sha256 if job.encoder is not None else None,
        backbone=job.encoder.backbone if job.encoder is not None else "",
        protocol=settings.protocol,
        num_train=num_labelled,
        num_test=len(split.test),
        epochs=[{"epoch": settings.epochs, **scores}],
        seconds=round(seconds, 1),
        head_on="trunk",
        seed=settings.seed,
        split=split.name,
        train_fraction=num_labelled / (num_labelled + len(split.test)),
        notes=[*job.notes, *([OWN_BANK] if tau.hears and tau.features == "scalogram" else [])],
        details=_details(job, settings, probabilities, best_epoch),
    )
    results.write(out)
    distributed.print_once(
        f"{tau.strategy}: log loss {scores['log_loss']:.4f}, accuracy {scores['accuracy']:.3f} over "
        f"{CLIP_SECONDS * len(split.test)} test segments; results: {out / RESULTS_NAME}"
    )


def _details(
    job: TauJob, settings: TauRunSettings, probabilities: NDArray[np.float32], best_epoch: int
) -> dict[str, Any]:
    """Entries of `results.json` beyond those of all benchmarks."""
    split, tau = job.split, settings.tau
    truth, predicted = segment_labels(split.test), probabilities.argmax(2).ravel()
    return {
        "classes": CLASSES,
        "strategy": tau.strategy,
        "features": tau.features if tau.hears else "",
        "image_size": settings.image_size if tau.sees else 0,
        "batch_size": settings.batch_size,
        "num_val": len(split.val),
        "num_segments": len(truth),
        "train_frames": tau.train_frames,
        "best_epoch": best_epoch,
        "acoustic_run": None if tau.acoustic_run is None else str(tau.acoustic_run),
        "training": how_trained(settings),
        "confusion_matrix": confusion(truth, predicted, len(CLASSES)).tolist(),
    }


def _write_predictions(folder: Path, clips: Sequence[Clip], probabilities: NDArray[np.float32]) -> None:
    """`predictions.csv`: of each second of each test clip its class, the predicted one, and the class's probability."""
    rows: list[list[object]] = []
    for clip, of_seconds in zip(clips, probabilities, strict=True):
        for second, row in enumerate(of_seconds):
            rows.append([clip.key, second, CLASSES[clip.label], CLASSES[row.argmax()], f"{row[clip.label]:.6f}"])
    write_predictions(folder, ["clip", "second", "class", "predicted", "probability_of_class"], rows)
