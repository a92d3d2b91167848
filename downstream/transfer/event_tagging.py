"""Telling sound events, as a task of the training loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from downstream.running.classifier_files import write_network
from downstream.running.splits import Split
from downstream.running.task import FineTuning
from downstream.scores import classification_scores
from downstream.transfer.event_tagger import HEARD_NAME, EventTagger, tagger_record, torchvision_state
from downstream.transfer.heard_sounds import HeardSounds, event_answers, fingerprint
from downstream.transfer.kind import SoundEventSettings
from pretrain import distributed
from pretrain.data.batches import BatchLayout, DealtBatches
from pretrain.training.task import Evaluation
from pretrain.weights.model_folder import MODEL_FOLDER
from shards.atomic_files import write_text_atomically


class SoundBatches(DealtBatches):
    """The training batches of labelled sounds, from memory; the order is a permutation by seed and epoch."""

    def __init__(self, sounds: HeardSounds, split: Split, layout: BatchLayout, *, seed: int, steps: range) -> None:
        super().__init__(
            len(split.train), layout, rank=distributed.rank(), first_step=steps.start, last_step=steps.stop
        )
        self.sounds = sounds
        self.items = split.train
        self.seed = seed

    @override
    def order(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.items))

    @override
    def make(self, order: NDArray[np.int64], positions: range, epoch: int) -> dict[str, Any]:
        items = [self.items[order[i]] for i in positions]
        keys = [item.key for item in items]
        return {
            "keys": keys,
            "sound": self.sounds.tensor(keys),
            "label": torch.tensor([item.label for item in items]),
        }


class SoundEventTagging(FineTuning):
    """A tagger, trained by binary cross-entropy on one event a sound; the best in validation is kept.

    Each event has a sigmoid of its own, as in a tagger for AudioSet, where several sound at once.

    Args:
        settings: of the seed, with batch size and backbone resolved.
        accelerator: the processes that train together.
        sounds: heard.
        classes: names of the events.
        split: the items.
    """

    settings: SoundEventSettings
    module: EventTagger

    def __init__(
        self,
        settings: SoundEventSettings,
        accelerator: Accelerator,
        sounds: HeardSounds,
        classes: list[str],
        split: Split,
    ) -> None:
        super().__init__(settings, accelerator, len(split.train))
        self.sounds, self.classes, self.split = sounds, classes, split
        set_seed(settings.seed)
        statistics = sounds.statistics([item.key for item in split.train])
        tagger = EventTagger(settings.backbone, len(classes), *statistics, stride=settings.transfer.sound_stride)
        self.module = self.placed(tagger)

    @override
    def announcement(self) -> str:
        return (
            f"{len(self.split.train)} training, {len(self.split.val)} validation and {len(self.split.test)} test "
            f"sounds of {len(self.classes)} events ({self.split.name}); batch {self.layout.batch_size}"
        )

    @override
    def batches(self, first_step: int, last_step: int) -> Iterator[dict[str, Any]]:
        steps = range(first_step, last_step)
        return iter(SoundBatches(self.sounds, self.split, self.layout, seed=self.settings.seed, steps=steps))

    @override
    def loss(self, outputs: dict[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        events = distributed.gather_with_gradient(outputs["events"].float())
        truth = F.one_hot(distributed.gather_with_gradient(batch["label"]), len(self.classes)).float()
        return F.binary_cross_entropy_with_logits(events, truth)

    @override
    def evaluate(self, module: nn.Module) -> Evaluation:
        """Scores the validation part; its mean average precision chooses."""
        _, scores = self.score(module, "val")
        value = scores["mean_average_precision"]
        sentence = f"mean average precision {value:.3f}, accuracy {scores['accuracy']:.3f} on validation sounds"
        return Evaluation("val", scores, 1 - value, sentence)

    def score(self, module: nn.Module, part: str) -> tuple[NDArray[np.float32], dict[str, float]]:
        """Probabilities (n, events) of the sounds of "val" or "test", and scores.

        `mean_average_precision` is the mean over the events that are there of each one's average precision; the other
        scores are of the most probable event.

        Raises:
            FloatingPointError: a probability is not finite.
        """
        items = {"val": self.split.val, "test": self.split.test}[part]
        answers = event_answers(
            module.eval(),
            self.sounds,
            [item.key for item in items],
            batch_size=self.per_process,
            device=self.device,
            precision=self.settings.precision,
        )
        probabilities = torch.from_numpy(answers).sigmoid().numpy()
        truth = np.array([item.label for item in items])
        precisions = [average_precision_score(truth == label, probabilities[:, label]) for label in np.unique(truth)]
        return probabilities, {
            "mean_average_precision": float(np.mean(precisions)),
            **classification_scores(truth, probabilities.argmax(1)),
        }

    @override
    def write_model(self, folder: Path, module: nn.Module, evaluation: Evaluation, *, step: int, epoch: int) -> None:
        """Writes `model/`: a ResNet under torchvision's names, its outputs, and the sounds it was trained on."""
        assert isinstance(module, EventTagger)
        write_network(folder, torchvision_state(module), tagger_record(module, self.settings.backbone, self.classes))
        heard = "".join(f"{fingerprint(item.path)}  {item.key}\n" for item in (*self.split.train, *self.split.val))
        write_text_atomically(folder / MODEL_FOLDER / HEARD_NAME, heard)
