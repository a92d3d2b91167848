"""Audiovisual scene classification as a task of the training loop, whatever its strategy trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from downstream.running.task import FineTuning
from downstream.tau.acoustic_features import CLIP_SECONDS, FRAMES_OF_CLIP
from downstream.tau.benchmark import CLASSES, Clip
from downstream.tau.clip_batches import ClipReader, FrameBatches, WholeClips
from downstream.tau.clip_splits import ClipSplit
from downstream.tau.joint_network import JointNetwork
from downstream.tau.kind import TauRunSettings
from downstream.tau.network_files import write_joint_network
from downstream.tau.segment_scores import class_wise_scores
from pretrain import distributed
from pretrain.training.task import Evaluation

CLIPS_AT_ONCE = 8
"""In evaluation; of each, 30 acoustic frames and 10 images."""


class JointScenes(FineTuning):
    """A network on frames of clips; the model with the smallest log loss on the validation segments is kept.

    Args:
        settings: checked, with batch size and image size resolved.
        accelerator: the processes that train together.
        network: what is trained.
        reader: what it takes in.
        split: the clips.

    Raises:
        UserError: batch size, processes and clips don't fit together.
    """

    settings: TauRunSettings
    module: JointNetwork

    def __init__(
        self,
        settings: TauRunSettings,
        accelerator: Accelerator,
        network: JointNetwork,
        reader: ClipReader,
        split: ClipSplit,
    ) -> None:
        self.reader = reader
        self.split = split
        self.num_frames = len(split.train) * min(settings.tau.train_frames or FRAMES_OF_CLIP, FRAMES_OF_CLIP)
        super().__init__(settings, accelerator, self.num_frames)
        self.module = self.placed(network)

    @override
    def announcement(self) -> str:
        """Clips, frames and how a batch is dealt."""
        split, layout = self.split, self.layout
        return (
            f"strategy {self.settings.tau.strategy}: {self.num_frames} frames an epoch of {len(split.train)} training "
            f"clips, {len(split.val)} validation, {len(split.test)} test clips; batch {layout.batch_size} = "
            f"{layout.num_processes} processes x {self.per_process} frames x {layout.accumulation} accumulation steps"
        )

    @override
    def batches(self, first_step: int, last_step: int) -> Iterator[dict[str, Any]]:
        """Frames of the training clips, read by the loader's processes."""
        batches = FrameBatches(
            self.split.train,
            self.reader,
            self.layout,
            frames_of_clip=self.settings.tau.train_frames,
            seed=self.settings.seed,
            **self.part(first_step, last_step),
        )
        return self.read(batches)

    @override
    def loss(self, outputs: dict[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy over the frames of all processes (Eq. 2, as a mean)."""
        logits = distributed.gather_with_gradient(outputs["logits"])
        return F.cross_entropy(logits, distributed.gather_with_gradient(batch["label"]))

    @override
    def evaluate(self, module: nn.Module) -> Evaluation:
        """Scores the segments of the validation clips."""
        _, scores = self.score(module, "val")
        sentence = f"log loss {scores['log_loss']:.4f}, accuracy {scores['accuracy']:.3f} on the validation segments"
        return Evaluation("val", scores, scores["log_loss"], sentence)

    def score(self, module: nn.Module, part: str) -> tuple[NDArray[np.float32], dict[str, float]]:
        """Class probabilities (clips, 10, classes) of a part's segments, and the scores of all segments.

        Args:
            module: the network.
            part: "test" or "val".

        Raises:
            FloatingPointError: a probability is not finite.
        """
        assert isinstance(module, JointNetwork)
        module.eval()
        clips = {"test": self.split.test, "val": self.split.val}[part]
        rows = self.outputs(
            part,
            lambda: WholeClips(clips, self.reader, batch_size=CLIPS_AT_ONCE, workers=self.settings.workers),
            lambda batch: module.segment_probabilities(batch).flatten(1),
            width=CLIP_SECONDS * len(CLASSES),
        )
        probabilities = rows.reshape(len(clips), CLIP_SECONDS, len(CLASSES))
        return probabilities, class_wise_scores(segment_labels(clips), probabilities.reshape(-1, len(CLASSES)))

    def embeddings(self, module: nn.Module, clips: Sequence[Clip]) -> NDArray[np.float32]:
        """The joint embeddings of the segments of clips, (10 · clips, embedding_dim).

        Raises:
            FloatingPointError: an embedding is not finite.
        """
        assert isinstance(module, JointNetwork)
        module.eval()
        rows = self.outputs(
            "shown",
            lambda: WholeClips(clips, self.reader, batch_size=CLIPS_AT_ONCE, workers=self.settings.workers),
            lambda batch: module.segment_embeddings(batch).flatten(1),
            width=CLIP_SECONDS * module.embedding_dim,
        )
        return rows.reshape(-1, module.embedding_dim)

    @override
    def write_model(self, folder: Path, module: nn.Module, evaluation: Evaluation, *, step: int, epoch: int) -> None:
        """Writes the network's weights and their description."""
        assert isinstance(module, JointNetwork)
        write_joint_network(folder, module, self.settings)


def segment_labels(clips: Sequence[Clip]) -> NDArray[np.int64]:
    """(10 · clips,): the label of each second of each clip."""
    return np.repeat(np.array([clip.label for clip in clips], dtype=np.int64), CLIP_SECONDS)
