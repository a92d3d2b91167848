"""Pre-training as a task of the loop: a method on the pairs of a shard set, judged by retrieval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn
from typing_extensions import override

from pretrain import distributed
from pretrain.data.batches import BatchLayout, Part, open_training_shards
from pretrain.data.fitted_batch import with_fitted_batch
from pretrain.data.kept_images import keep_images
from pretrain.data.skipped_shards import SkippedShards
from pretrain.encoders.building import synced
from pretrain.methods.interface import Method
from pretrain.model_files import CARD_NAME
from pretrain.optimization import build_optimizer, layer_lr_scales
from pretrain.releasing.model_card import model_card
from pretrain.releasing.training_data import outline
from pretrain.settings.pretraining import Config
from pretrain.training.collapse import MIN_ROWS, CollapseWatch, embedding_health
from pretrain.training.task import Evaluation, Task, WholeWeights
from pretrain.weights.model_folder import MODEL_FOLDER, write_model_folder
from shards.errors import UserError
from shards.schema import TRAIN_SPLIT, VALIDATION_SPLIT
from shards.streaming.decoded_images import DecodedImages


def check_norm(config: Config, device_type: str) -> None:
    """Checks that processes on a type of device, such as "cuda", can have the norm that the settings ask for.

    Raises:
        UserError: they can't.
    """
    if config.model.norm == "sync" and device_type != "cuda":
        raise UserError("model.norm sync needs CUDA devices, this run is on the CPU; choose batch or group")


class PreTraining(Task):
    """A pre-training method on a shard set.

    Args:
        config: the settings, checked.
        accelerator: the processes that train together.
        decoded: where decoded images are kept; None: they are not.
        fits_batch: whether a batch larger than the training split is fitted to it; else it is an error.

    Raises:
        UserError: shards, batch size, frozen encoders and processes don't fit together.
    """

    settings: Config
    module: Method

    def __init__(
        self,
        config: Config,
        accelerator: Accelerator,
        decoded: DecodedImages | None = None,
        *,
        fits_batch: bool = False,
    ) -> None:
        self.device = accelerator.device
        self.shard_set = open_training_shards(config)
        if fits_batch:
            num_pairs = self.shard_set.num_samples(TRAIN_SPLIT)
            config, fitted = with_fitted_batch(config, num_pairs, distributed.num_processes())
            if fitted:
                distributed.note_once(fitted)
        self.settings = config
        self.shard_set.check_files(VALIDATION_SPLIT)
        if self.shard_set.num_samples(VALIDATION_SPLIT) < 2:
            raise UserError(
                f"{config.shards} has {self.shard_set.num_samples(VALIDATION_SPLIT)} validation pairs, ranking needs "
                "at least 2; build the shards with another --split-by"
            )
        if decoded:
            keep_images(self.shard_set, decoded, config.data)
        self.layout = BatchLayout(config.batch_size, distributed.num_processes(), config.optimizer.accumulation)
        self.per_process = self.layout.per_process
        self.steps_per_epoch = self.layout.steps_per_epoch(self.shard_set.num_samples(TRAIN_SPLIT))

        check_norm(config, self.device.type)
        set_seed(config.seed)
        method: Any = config.build(self.shard_set.manifest)
        if not isinstance(method, Method):
            raise UserError(
                f"method {config.method} must build a pretrain.methods.interface.Method, it built a "
                f"{type(method).__name__}"
            )
        plugin = accelerator.state.deepspeed_plugin
        if method.towers.is_frozen and plugin is not None and plugin.zero_stage == 3:
            raise UserError(
                f"model.freeze {config.model.freeze} runs the encoders whole, but ZeRO-3 splits them over processes; "
                "launch with launch/accelerate/deepspeed_zero2.yaml, or without DeepSpeed"
            )
        if config.model.unfreeze_epochs and plugin is not None:
            raise UserError(
                f"model.unfreeze_epochs must be 0 with DeepSpeed, got {config.model.unfreeze_epochs}; launch without it"
            )
        if config.model.norm == "sync":
            method = synced(method)
        self.module = method.to(self.device)
        self.skipped = SkippedShards()
        self.collapse = CollapseWatch()

    @override
    def optimizer(self) -> torch.optim.Optimizer:
        """With lower rates for the lower layers of the encoders, and with frozen ones, if the settings say so."""
        decay, towers = self.settings.model.layer_decay, self.module.towers
        trunks = {"image_tower": towers.image_tower.trunk, "sound_tower": towers.sound_tower.trunk}
        scales = {
            f"towers.{name}.trunk.{parameter}": scale
            for name, trunk in (trunks if decay != 1 else {}).items()
            for parameter, scale in layer_lr_scales(trunk, decay).items()
        }
        return build_optimizer(
            self.module,
            self.settings.optimizer,
            lambda name: scales.get(name, 1.0),
            with_frozen=self.settings.model.unfreeze_epochs > 0,
        )

    @override
    def announcement(self) -> str:
        """Pairs, steps and how a batch is dealt."""
        layout = self.layout
        return (
            f"{self.shard_set.num_samples(TRAIN_SPLIT)} training pairs, {self.steps_per_epoch} steps an epoch; "
            f"batch {layout.batch_size} = {layout.num_processes} processes x {layout.per_process} pairs x "
            f"{layout.accumulation} accumulation steps"
        )

    @override
    def batches(self, first_step: int, last_step: int) -> Iterator[dict[str, Any]]:
        """The method's batches."""
        part = Part(rank=distributed.rank(), first_step=first_step, last_step=last_step)
        return self.module.training_batches(self.shard_set, self.settings, self.layout, **part)

    @override
    def loss(self, outputs: dict[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        """The method's loss of the embeddings of all processes."""
        inputs = {name: distributed.gather_with_gradient(batch[name]) for name in self.module.loss_inputs}
        return self.module.loss(
            {name: distributed.gather_with_gradient(rows) for name, rows in outputs.items()}, inputs
        )

    @override
    def before_step(self, step: int) -> bool:
        """Trains frozen encoders from the epoch on that the settings name."""
        epochs = self.settings.model.unfreeze_epochs
        return bool(epochs) and step >= epochs * self.steps_per_epoch and self.module.towers.unfreeze()

    @override
    def after_step(self, whole_weights: WholeWeights) -> None:
        """What the method does between steps."""
        self.module.after_step(whole_weights)

    @override
    def observe_batch(self, batch: Mapping[str, Any]) -> None:
        """Counts the pairs that replace unreadable ones."""
        self.skipped.observe(batch)

    @override
    def step_metrics(
        self, step: int, loss: float, outputs: dict[str, Tensor], *, first_loss: float | None
    ) -> tuple[dict[str, float], list[str]]:
        """How varied the embeddings are, and the warning when they collapse."""
        gathered = {name: distributed.gather_with_gradient(rows) for name, rows in outputs.items()}
        health = {name: embedding_health(rows) for name, rows in gathered.items() if len(rows) >= MIN_ROWS}
        values: dict[str, float] = {
            **{f"{name}_relative_spread": value.relative_spread for name, value in health.items()},
            **{f"{name}_effective_rank": value.effective_rank for name, value in health.items()},
        }
        sentences = []
        if self.settings.data.skip_bad_shards:
            sentences += self.skipped.news()
            values["replaced_pairs"] = self.skipped.replaced_pairs
        warning = self.collapse.observe(step, loss, health, first_loss=first_loss)
        return values, [*sentences, *([warning] if warning else [])]

    @override
    def evaluate(self, module: nn.Module) -> Evaluation:
        """The method's own validation."""
        assert isinstance(module, Method)
        return module.validate(self.shard_set, self.settings)

    @override
    def write_model(self, folder: Path, module: nn.Module, evaluation: Evaluation, *, step: int, epoch: int) -> None:
        """Writes the towers and their card."""
        assert isinstance(module, Method)
        card = model_card(self.settings, self.shard_set.manifest, evaluation.scores, step=step, epoch=epoch)
        write_model_folder(folder, module.towers, card)

    @override
    def summary(self) -> dict[str, Any]:
        """How many pairs stood in for others, and what was learned from."""
        return {"replaced_pairs": self.skipped.replaced_pairs, "data": outline(self.shard_set.manifest)}

    @override
    def files_to_keep(self) -> list[str]:
        """The model card."""
        return [f"{MODEL_FOLDER}/{CARD_NAME}"]
