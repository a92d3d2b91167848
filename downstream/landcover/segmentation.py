"""Land-cover mapping by fine-tuning DeepLabv3+, as a task of the training loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from downstream.landcover.decoded_tiles import DecodedTiles
from downstream.landcover.deeplab import OUTPUT_STRIDE, DeepLab, atrous_rates
from downstream.landcover.kind import LandCoverSettings
from downstream.landcover.maps import MappedTile, map_tiles
from downstream.landcover.patches import PatchBatches, PatchIndex
from downstream.landcover.scores import landcover_scores
from downstream.landcover.tiles import UNKNOWN, SurveyedTile
from downstream.running.classifier_files import encoder_record, write_network
from downstream.running.task import FineTuning
from pretrain import distributed
from pretrain.training.task import Evaluation
from pretrain.weights.encoder_weights import LoadedEncoder
from shards.errors import UserError


def pixel_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy, the mean over the known pixels of all processes; the same on every process.

    Sums and counts are shared, not means: a process whose patches are mostly unknown counts for what it knows.

    Args:
        logits: (n, classes, height, width).
        labels: (n, height, width) integers, `UNKNOWN` where a pixel counts nowhere.

    Returns:
        A scalar; 0 where no pixel is known.
    """
    total = F.cross_entropy(logits.float(), labels.long(), ignore_index=UNKNOWN, reduction="sum")
    totals = distributed.gather_with_gradient(total.view(1))
    counts = distributed.gather_with_gradient((labels != UNKNOWN).sum().view(1))
    return totals.sum() / counts.sum().clamp(min=1)


class LandCoverMapping(FineTuning):
    """DeepLabv3+ on an encoder, trained on patches and scored on whole tiles after each epoch.

    Args:
        settings: checked, with batch size, patch size and stride resolved.
        accelerator: the processes that train together.
        encoder: what is fine-tuned.
        tiles: reads tiles, whose classes it knows.
        train: tiles to cut patches from.
        val: tiles to score on.

    Raises:
        UserError: batch size, processes and patches don't fit together, or the encoder is no ResNet.
    """

    settings: LandCoverSettings
    module: DeepLab

    def __init__(
        self,
        settings: LandCoverSettings,
        accelerator: Accelerator,
        encoder: LoadedEncoder,
        tiles: DecodedTiles,
        train: list[SurveyedTile],
        val: list[SurveyedTile],
    ) -> None:
        self.tiles = tiles
        self.classes = tiles.classes
        self.encoder = encoder
        self.patches = PatchIndex(train, settings.image_size, settings.patch_stride)
        self.num_train_tiles = len(train)
        self.val = [surveyed.tile for surveyed in val]
        if len(self.patches) < settings.batch_size:
            raise UserError(
                f"batch_size must be at most the {len(self.patches)} training patches, got {settings.batch_size}; take "
                "a smaller --batch-size, a smaller --patch-stride, or more tiles"
            )
        super().__init__(settings, accelerator, len(self.patches))
        check_patches_at_once(self.per_process, settings.optimizer.chunk_size)
        set_seed(settings.seed)
        self.module = DeepLab(encoder, len(self.classes), settings.image_size).to(self.device)
        self.mapped: list[MappedTile] = []
        """Results of the last evaluation, in the order of the validation tiles."""

    @override
    def announcement(self) -> str:
        """Tiles, patches, and how a batch is dealt."""
        return (
            f"{len(self.patches)} patches of {self.settings.image_size} px from {self.num_train_tiles} training tiles, "
            f"{len(self.val)} validation tiles, {len(self.classes)} classes; batch {self.layout.batch_size} = "
            f"{self.layout.num_processes} processes x {self.per_process} patches x {self.layout.accumulation} "
            "accumulation steps"
        )

    @override
    def batches(self, first_step: int, last_step: int) -> Iterator[dict[str, Any]]:
        """Training patches, cut by the loader's processes."""
        batches = PatchBatches(
            self.patches,
            self.tiles,
            self.layout,
            seed=self.settings.seed,
            **self.part(first_step, last_step),
        )
        return self.read(batches)

    @override
    def loss(self, outputs: dict[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy over the known pixels of all processes."""
        return pixel_cross_entropy(outputs["logits"], batch["labels"])

    @override
    def evaluate(self, module: nn.Module) -> Evaluation:
        """Maps the validation tiles; processes share them."""
        assert isinstance(module, DeepLab)
        self.mapped = map_tiles(
            module,
            self.val,
            self.classes,
            window=self.settings.window,
            device=self.device,
            precision=self.settings.precision,
            threads=max(1, self.settings.workers),
        )
        scores = landcover_scores([mapped.confusion for mapped in self.mapped], list(self.classes))
        sentence = (
            f"overall accuracy {scores['overall_accuracy']:.3f}, mean IoU {scores['mean_iou']:.3f} on {len(self.val)} "
            "validation tiles"
            if scores["overall_accuracy"] is not None
            else "no validation tile has a known pixel"
        )
        # The last model is kept: to choose by these tiles would be to fit on them.
        return Evaluation("test", scores, None, sentence)

    @override
    def write_model(self, folder: Path, module: nn.Module, evaluation: Evaluation, *, step: int, epoch: int) -> None:
        """Writes the network's weights, those of the encoder under its published names, and their description."""
        rasters = self.encoder.rasters.with_bands(self.settings.bands)
        record = {
            "network": "deeplabv3+",
            "classes": self.classes,
            **encoder_record(self.encoder.backbone, self.encoder.mean, self.encoder.std, rasters),
            "patch_size": self.settings.image_size,
            "output_stride": OUTPUT_STRIDE,
            "atrous_rates": list(atrous_rates(self.settings.image_size)),
        }
        write_network(folder, module.state_dict(), record)


def check_patches_at_once(per_process: int, chunk_size: int) -> None:
    """DeepLabv3+ pools a patch to a single pixel and normalises that over the patches: one alone has no variance."""
    at_once = min(chunk_size or per_process, per_process)
    if at_once < 2 or per_process % at_once == 1:
        raise UserError(
            f"a process must take at least 2 patches at once, for batch norm, got {per_process} a process in chunks of "
            f"{at_once}; take a larger --batch-size, fewer processes, or another --optimizer.chunk-size"
        )
