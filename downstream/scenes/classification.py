"""Scene recognition by fine-tuning, as a task of the training loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from accelerate.utils import set_seed
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from downstream.running.classifier_files import encoder_record, write_network
from downstream.running.heads import SceneClassifier
from downstream.running.images import ImageView, SceneBatches
from downstream.running.inference import ImageReader
from downstream.running.splits import Split
from downstream.running.task import FineTuning
from downstream.scenes.kind import SceneSettings
from downstream.scores import classification_scores
from pretrain import distributed
from pretrain.training.task import Evaluation
from pretrain.weights.encoder_weights import LoadedEncoder


class SceneRecognition(FineTuning):
    """Fine-tuning of a classifier; the test split is scored after each epoch.

    Args:
        settings: checked settings, with the batch size resolved.
        accelerator: the processes that train together.
        encoder: the encoder to fine-tune.
        classes: class names.
        split: the split.
        training_view: preprocessing of an image for training.
        evaluation_view: preprocessing for evaluation.

    Raises:
        UserError: batch size, processes and number of items don't match.
    """

    settings: SceneSettings
    module: SceneClassifier
    label_smoothing = 0.0

    def __init__(
        self,
        settings: SceneSettings,
        accelerator: Accelerator,
        encoder: LoadedEncoder,
        classes: list[str],
        split: Split,
        *,
        training_view: ImageView,
        evaluation_view: ImageView,
    ) -> None:
        super().__init__(settings, accelerator, len(split.train))
        self.classes = classes
        self.split = split
        self.training_view = training_view
        self.evaluation_view = evaluation_view
        set_seed(settings.seed)
        self.module = self.placed(SceneClassifier(encoder, len(classes), on_embedding=settings.head_on == "embedding"))
        self.probabilities: NDArray[np.float32] | None = None

    @override
    def announcement(self) -> str:
        """Number of items and classes, and the division of a batch."""
        val = f", {len(self.split.val)} validation" if self.split.val else ""
        return (
            f"{len(self.split.train)} training{val} and {len(self.split.test)} test images of {len(self.classes)} "
            f"classes ({self.split.name}); batch {self.layout.batch_size} = {self.layout.num_processes} processes x "
            f"{self.per_process} images x {self.layout.accumulation} accumulation steps"
        )

    @override
    def batches(self, first_step: int, last_step: int) -> Iterator[dict[str, Any]]:
        """Training images, read by worker processes."""
        batches = SceneBatches(
            self.split.train,
            self.training_view,
            self.layout,
            seed=self.settings.seed,
            **self.part(first_step, last_step),
        )
        return self.read(batches)

    @override
    def loss(self, outputs: dict[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy over the images of all processes."""
        logits = distributed.gather_with_gradient(outputs["logits"])
        labels = distributed.gather_with_gradient(batch["label"])
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)

    @override
    def evaluate(self, module: nn.Module) -> Evaluation:
        """Scores the test split and stores its class probabilities."""
        self.probabilities, scores = self.score(module, "test")
        # No error for model selection: the last model is kept, because selecting on the test split would be cheating.
        return Evaluation("test", scores, None, _sentence(scores, len(self.split.test), "test"))

    def score(self, module: nn.Module, part: str) -> tuple[NDArray[np.float32], dict[str, float]]:
        """Class probabilities (n, classes) of a split's items in order, and the scores of the predictions.

        Args:
            module: the classifier.
            part: "test" or "val".

        Raises:
            FloatingPointError: a probability is not finite.
        """
        assert isinstance(module, SceneClassifier)
        module.eval()
        items = {"test": self.split.test, "val": self.split.val}[part]
        probabilities = self.outputs(
            part,
            lambda: ImageReader(
                items, self.evaluation_view, batch_size=self.per_process, workers=self.settings.workers
            ),
            lambda batch: module(dict(batch))["logits"].float().softmax(1),
            width=len(self.classes),
        )
        truth = np.array([item.label for item in items])
        return probabilities, classification_scores(truth, probabilities.argmax(1))

    @override
    def write_model(self, folder: Path, module: nn.Module, evaluation: Evaluation, *, step: int, epoch: int) -> None:
        """Writes the classifier's weights and their description."""
        assert isinstance(module, SceneClassifier)
        write_classifier(folder, module, self.classes, self.settings)


class ValidatedSceneRecognition(SceneRecognition):
    """As `SceneRecognition`, but the model is selected on a validation split, which is scored after each epoch."""

    @override
    def evaluate(self, module: nn.Module) -> Evaluation:
        """Scores the validation split."""
        _, scores = self.score(module, "val")
        error = 1 - scores["accuracy"]
        return Evaluation("val", scores, error, _sentence(scores, len(self.split.val), "validation"))


def write_classifier(run_folder: Path, module: SceneClassifier, classes: list[str], settings: SceneSettings) -> None:
    """Writes `model/`: `model.safetensors` (trunk, projection and head by name) and `config.json` (their description).

    Raises:
        UserError: it can't be written; the former ones stay.
    """
    record = {
        "benchmark": settings.benchmark,
        "classes": classes,
        "head_on": settings.head_on,
        "weights": settings.weights,
        "image_size": settings.image_size,
        "on_sphere": module.on_sphere,
        **encoder_record(module.trunk.name, module.mean, module.std, module.rasters.with_bands(settings.bands)),
    }
    write_network(run_folder, module.state_dict(), record)


def _sentence(scores: dict[str, float], num_items: int, part: str) -> str:
    return f"accuracy {scores['accuracy']:.3f} on {num_items} {part} images"
