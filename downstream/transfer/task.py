"""Audiovisual scene recognition with transferred sound events, as a task of the training loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from downstream.audiovisual.benchmark import ScenePair
from downstream.audiovisual.splits import PairSplit
from downstream.running.classifier_files import encoder_record, write_network
from downstream.running.images import SceneBatches, WholeImage
from downstream.running.items import SceneItem
from downstream.running.task import FineTuning
from downstream.scores import classification_scores
from downstream.transfer.event_losses import (
    SceneEvents,
    event_distribution,
    events_loss,
    events_of_scenes,
    kl_loss,
    squared_loss,
)
from downstream.transfer.event_tagger import EventTeacher
from downstream.transfer.job import band_statistics
from downstream.transfer.kind import TransferRunSettings
from downstream.transfer.network import SeenAndHeard
from downstream.transfer.pair_batches import FlippedView, Heard, PairReader
from pretrain import distributed
from pretrain.training.task import Evaluation
from pretrain.weights.encoder_weights import LoadedEncoder


class TransferRecognition(FineTuning):
    """A network of two encoders under L = L_s + α L_Ω (Hu et al., ECCV 2020, Eq. 2); the best in validation is kept.

    Args:
        settings: of the seed, with batch size and image size resolved.
        accelerator: the processes that train together.
        image: the encoder that sees.
        sound_backbone: of the encoder that hears.
        teacher: whose answers are learned from, and whose weights the sound encoder begins from; None: without.
        heard: sounds and the teacher's answers.
        classes: names of the scenes.
        split: the pairs.

    Raises:
        UserError: batch size, processes and pairs don't fit together.
    """

    settings: TransferRunSettings
    module: SeenAndHeard

    def __init__(
        self,
        settings: TransferRunSettings,
        accelerator: Accelerator,
        image: LoadedEncoder,
        sound_backbone: str,
        teacher: EventTeacher | None,
        heard: Heard,
        classes: list[str],
        split: PairSplit,
    ) -> None:
        super().__init__(settings, accelerator, len(split.train))
        self.transfer = settings.transfer
        self.heard, self.classes, self.split = heard, classes, split
        set_seed(settings.seed)
        statistics = band_statistics(teacher, heard.sounds, split)
        network = SeenAndHeard(image, sound_backbone, teacher, statistics, len(classes), self.transfer)
        self.module = self.placed(network)
        self.known = self._known() if self.transfer.loss == "events" else None
        self._losses: dict[str, Tensor] = {}

    def _known(self) -> SceneEvents:
        """Sound events of each scene, from the training part alone."""
        assert self.heard.answers is not None
        rows = self.heard.sounds.rows([pair.key for pair in self.split.train])
        labels = torch.tensor([pair.label for pair in self.split.train])
        known = events_of_scenes(torch.from_numpy(self.heard.answers[rows]), labels, len(self.classes))
        return SceneEvents(*(part.to(self.device) for part in (known.log_present, known.log_absent, known.directions)))

    @override
    def announcement(self) -> str:
        split = self.split
        return (
            f"{len(split.train)} training, {len(split.val)} validation and {len(split.test)} test pairs of "
            f"{len(self.classes)} scenes; loss {self.transfer.loss}, modality {self.transfer.modality}; batch "
            f"{self.layout.batch_size}"
        )

    @override
    def batches(self, first_step: int, last_step: int) -> Iterator[dict[str, Any]]:
        """Training images, read by the loader's processes, with their sounds from memory."""
        batches = SceneBatches(
            _images(self.split.train),
            FlippedView(self.settings.image_size),
            self.layout,
            seed=self.settings.seed,
            **self.part(first_step, last_step),
        )
        return self.heard.beside(self.read(batches))

    @override
    def loss(self, outputs: dict[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        """The scene loss and the transfer loss, means over the pairs of all processes."""
        gathered = {name: distributed.gather_with_gradient(rows.float()) for name, rows in outputs.items()}
        labels = distributed.gather_with_gradient(batch["label"])
        # Weights without a loss still take part, since processes wait for the gradients of all.
        total = sum((0 * rows.sum() for rows in gathered.values()), torch.zeros((), device=labels.device))
        if self.transfer.with_scene_loss:
            self._losses["scene_loss"] = F.cross_entropy(gathered["logits"], labels)
            total = total + self._losses["scene_loss"]
        if self.transfer.loss != "none":
            teacher = distributed.gather_with_gradient(batch["answers"])
            self._losses["transfer_loss"] = self._transfer_loss(gathered, teacher, labels).mean()
            weight = self.transfer.alpha if self.transfer.with_scene_loss else 1.0
            total = total + weight * self._losses["transfer_loss"]
        return total

    def _transfer_loss(self, outputs: Mapping[str, Tensor], teacher: Tensor, labels: Tensor) -> Tensor:
        """(n,): L_Ω of each pair."""
        over = self.transfer.over_events
        if self.known is not None:
            beta = self.transfer.beta
            return events_loss(outputs["logits"], teacher, labels, self.known, beta=beta, over_events=over)
        loss = kl_loss if self.transfer.loss.startswith("kl") else squared_loss
        return loss(teacher, outputs["events"], over)

    @override
    def step_metrics(
        self, step: int, loss: float, outputs: dict[str, Tensor], *, first_loss: float | None
    ) -> tuple[dict[str, float], list[str]]:
        """The two losses, of the step's last part."""
        return {name: value.item() for name, value in self._losses.items()}, []

    @override
    def evaluate(self, module: nn.Module) -> Evaluation:
        """Scores the validation part; its F1 chooses."""
        _, _, scores = self.score(module, "val")
        sentence = f"F1 {scores['f1']:.3f}, accuracy {scores['accuracy']:.3f} on {len(self.split.val)} validation pairs"
        return Evaluation("val", scores, 1 - scores["f1"], sentence)

    def score(
        self, module: nn.Module, part: str
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None, dict[str, float]]:
        """Of the pairs of "val" or "test", in their order.

        Returns:
            Probabilities of scenes (n, classes); of sound events (n, events), None where none are predicted; and the
            scores of the most probable scenes.

        Raises:
            FloatingPointError: a probability is not finite.
        """
        module.eval()
        pairs = {"val": self.split.val, "test": self.split.test}[part]
        num_scenes = len(self.classes)
        num_events = 0 if self.heard.answers is None or self.transfer.loss == "none" else self.heard.answers.shape[1]
        both = self.outputs(
            part,
            lambda: PairReader(
                _images(pairs),
                WholeImage(self.settings.image_size),
                self.heard,
                batch_size=self.per_process,
                workers=self.settings.workers,
            ),
            lambda batch: self._probabilities(module(batch)),
            width=num_scenes + num_events,
        )
        truth = np.array([pair.label for pair in pairs])
        scenes, events = both[:, :num_scenes], both[:, num_scenes:]
        return scenes, events if num_events else None, classification_scores(truth, scenes.argmax(1))

    def _probabilities(self, outputs: Mapping[str, Tensor]) -> Tensor:
        """(n, scenes + events): of scenes, and of the events that the loss speaks of."""
        logits = outputs["logits"].float()
        parts = [logits.softmax(1)]
        if self.known is not None:
            parts.append(event_distribution(logits, self.known)[0].exp())
        elif "events" in outputs:
            parts.append(outputs["events"].float().sigmoid())
        return torch.cat(parts, 1)

    @override
    def write_model(self, folder: Path, module: nn.Module, evaluation: Evaluation, *, step: int, epoch: int) -> None:
        """Writes the network's weights and their description."""
        assert isinstance(module, SeenAndHeard)
        rasters = module.rasters.with_bands(self.settings.bands)
        record = {
            "benchmark": self.settings.benchmark,
            "classes": self.classes,
            "image_size": self.settings.image_size,
            "num_frames": self.transfer.num_frames,
            "loss": self.transfer.loss,
            "modality": self.transfer.modality,
            **encoder_record(module.image_trunk.name, module.mean, module.std, rasters),
        }
        write_network(folder, module.state_dict(), record)


def _images(pairs: list[ScenePair]) -> list[SceneItem]:
    return [pair.image_item for pair in pairs]
