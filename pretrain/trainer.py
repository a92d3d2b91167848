"""The training loop: batches → embeddings → loss → step, with validation, checkpoints and a run folder."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn

from pretrain import distributed
from pretrain.batches import (
    TRAIN_SPLIT,
    BatchLayout,
    TrainingBatches,
    next_batch,
    open_training_shards,
    to_device,
    training_loader,
)
from pretrain.checkpoints import RunState, load_newest_checkpoint, save_checkpoint
from pretrain.collapse import MIN_ROWS, CollapseWatch, embedding_health
from pretrain.config import Config, save_config
from pretrain.methods import METHODS
from pretrain.metrics_file import MetricsFile
from pretrain.optimization import build_optimizer, learning_rate_at, set_learning_rate
from pretrain.preemption import PreemptionWatch
from pretrain.release import CARD_NAME, MODEL_FOLDER, model_card, restore_model_folder, write_model_folder
from pretrain.skipped_shards import SkippedShards
from pretrain.tracking import Tracking
from pretrain.validation import VALIDATION_SPLIT, as_paths, validate
from shards.errors import UserError
from shards.progress import ProgressLine

CONFIG_NAME = "config.yaml"
SUMMARY_NAME = "summary.json"
KEYS_IN_MESSAGE = 8


class Trainer:
    """One run, from its settings to `RUN/model/`.

    Args:
        config: the settings, checked.
        accelerator: the processes that train together.
        preemption: whether a scheduler asked to make room.
        resume: whether to go on from the newest checkpoint in `config.out`.

    Raises:
        UserError: shards, batch size and processes don't fit together.
    """

    def __init__(self, config: Config, accelerator: Accelerator, preemption: PreemptionWatch, *, resume: bool) -> None:
        self.config = config
        self.preemption = preemption
        self.accelerator = accelerator
        self.folder = config.out
        self.shard_set = open_training_shards(config)
        self.shard_set.check_files(VALIDATION_SPLIT)
        if self.shard_set.num_samples(VALIDATION_SPLIT) < 2:
            raise UserError(
                f"{config.shards} has {self.shard_set.num_samples(VALIDATION_SPLIT)} validation pairs, ranking needs "
                "at least 2; build the shards with another --split-by"
            )
        self.layout = BatchLayout(config.batch_size, distributed.num_processes(), config.optimizer.accumulation)
        self.steps_per_epoch = self.layout.steps_per_epoch(self.shard_set.num_samples(TRAIN_SPLIT))
        self.total_steps = config.epochs * self.steps_per_epoch

        set_seed(config.seed)
        self.method = METHODS[config.method](config, self.shard_set.manifest)
        if config.model.norm == "sync":
            self.method = nn.SyncBatchNorm.convert_sync_batchnorm(self.method)
        self.method.to(accelerator.device)
        self.method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's stubs
        self.optimizer = build_optimizer(self.method, config.optimizer)
        self.metrics = MetricsFile(self.folder)
        self.skipped = SkippedShards()
        self.state = RunState()
        self.resume = resume
        self._saved_at = time.monotonic()
        self._unchecked: tuple[int, list[str], Tensor] | None = None

    @property
    def epoch(self) -> int:
        """Whole epochs trained."""
        return self.state.step // self.steps_per_epoch

    def run(self) -> dict[str, Any]:
        """Trains to the end, or until validation has not improved for long enough.

        Returns:
            The summary that is also written to `RUN/summary.json`.

        Raises:
            UserError: a loss was not finite, or something could not be read or written.
        """
        if self.resume:
            self._load()
        if distributed.is_first():
            save_config(self.config, self.folder / CONFIG_NAME)
        self.collapse = CollapseWatch(self.state.first_loss)
        self.prepared, self.prepared_optimizer = self.accelerator.prepare(self.method, self.optimizer)
        self._announce()
        self.tracking = Tracking(self.accelerator, self.config, self.folder)
        try:
            summary = self._train()
        except BaseException:
            self.tracking.finish(failed=True)
            raise
        self._log_files()
        self.tracking.finish()
        return summary

    def _train(self) -> dict[str, Any]:
        config, started, before = self.config, time.monotonic(), self.state.seconds
        batches = TrainingBatches(
            self.shard_set,
            config,
            self.layout,
            rank=distributed.rank(),
            first_step=self.state.step,
            last_step=self.total_steps,
        )
        loader = training_loader(
            batches, workers=config.data.workers, pin_memory=self.accelerator.device.type == "cuda"
        )
        stream: Iterator[dict[str, Any]] = iter(loader)
        progress = ProgressLine("pre-training", self.total_steps, enabled=distributed.is_first(), done=self.state.step)
        rate = _Rate()
        stopped_early = preempted = False
        with progress:
            while self.state.step < self.total_steps and not stopped_early and not preempted:
                loss, embeddings = self._step(stream, rate)
                self.state.step += 1
                self.state.seconds = before + time.monotonic() - started
                rate.pairs += config.batch_size
                ends_epoch = self.state.step % self.steps_per_epoch == 0
                if ends_epoch or self.state.step % config.log_every_steps == 0 or self.state.step == 1:
                    self._log_step(loss, embeddings, rate, progress)
                progress.advance(1, self._detail(rate))
                if ends_epoch:
                    stopped_early = self._end_epoch(progress)
                preempted = self.state.step < self.total_steps and self.preemption.is_requested(self.state.step)
                if stopped_early or preempted or self._is_checkpoint_due():
                    self._save()
        self._check_finite()
        return self._finish(stopped_early, preempted)

    def _load(self) -> None:
        """Goes back to the newest checkpoint."""
        if distributed.is_first():
            restore_model_folder(self.folder)
        self.state = load_newest_checkpoint(self.folder, self.method, self.optimizer, self.accelerator.print)
        if self.state.step >= self.total_steps:
            raise UserError(
                f"epochs must be > {self.epoch}, which the run in {self.folder} has trained already, got "
                f"{self.config.epochs}; give a larger --epochs to train it further"
            )
        if distributed.is_first():
            self.metrics.drop_after(self.state.step)
        self.accelerator.print(f"resuming {self.folder} at step {self.state.step} of {self.total_steps}")

    def _announce(self) -> None:
        self.accelerator.print(
            f"{self.shard_set.num_samples(TRAIN_SPLIT)} training pairs, {self.steps_per_epoch} steps an epoch, "
            f"{self.total_steps} in all; batch {self.config.batch_size} = {self.layout.num_processes} processes x "
            f"{self.layout.per_process} pairs x {self.layout.accumulation} accumulation steps; "
            f"{self.accelerator.device}, {self.config.precision}"
        )

    def _step(self, stream: Iterator[dict[str, Any]], rate: _Rate) -> tuple[Tensor, dict[str, Tensor]]:
        """One optimiser step over one global batch; the loss and the last part's embeddings, detached."""
        settings = self.config.optimizer
        set_learning_rate(
            self.optimizer,
            learning_rate_at(
                self.state.step, total_steps=self.total_steps, steps_per_epoch=self.steps_per_epoch, settings=settings
            ),
        )
        total = torch.zeros((), device=self.accelerator.device)
        keys: list[str] = []
        for part in range(settings.accumulation):
            asked = time.monotonic()
            batch = next_batch(stream)
            self.skipped.observe(batch)
            rate.waited_seconds += time.monotonic() - asked
            keys += batch["keys"]
            is_last = part == settings.accumulation - 1
            with nullcontext() if is_last else self.accelerator.no_sync(self.prepared):
                local = self.prepared(to_device(batch, self.accelerator.device))
                embeddings = {name: distributed.gather_with_gradient(rows) for name, rows in local.items()}
                loss = self.method.loss(embeddings) / settings.accumulation
                self.accelerator.backward(loss)
            total = total + loss.detach()
        if settings.max_gradient_norm:
            self.accelerator.clip_grad_norm_(self.prepared.parameters(), settings.max_gradient_norm)
        self._check_finite()
        self._unchecked = (self.state.step + 1, keys, total)
        self.prepared_optimizer.step()
        self.prepared_optimizer.zero_grad(set_to_none=True)
        return total, {name: rows.detach() for name, rows in embeddings.items()}

    def _check_finite(self) -> None:
        """Stops the run if the last step's loss was not finite; a step late, so that no device is waited for."""
        if self._unchecked is None:
            return
        step, local_keys, loss = self._unchecked
        self._unchecked = None
        if torch.isfinite(loss):
            return
        keys = [key for part in distributed.gather_objects(local_keys) for key in part]
        path = self.folder / "non_finite_batch.json"
        if distributed.is_first():
            path.write_text(json.dumps({"step": step, "loss": str(loss.item()), "keys": keys}, indent=1) + "\n")
        shown = ", ".join(keys[:KEYS_IN_MESSAGE]) + (", …" if len(keys) > KEYS_IN_MESSAGE else "")
        raise UserError(
            f"the loss of step {step} is {loss.item()}, it must be finite; the batch held the keys {shown} (all "
            f"{len(keys)} in {path}); look at those pairs, or start again with a lower optimizer.learning_rate, "
            "a longer optimizer.warmup_epochs, or optimizer.max_gradient_norm 1"
        )

    def _log_step(self, loss: Tensor, embeddings: dict[str, Tensor], rate: _Rate, progress: ProgressLine) -> None:
        self._check_finite()
        health = {name: embedding_health(rows) for name, rows in embeddings.items() if len(rows) >= MIN_ROWS}
        values: dict[str, Any] = {
            "loss": loss.item(),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "pairs_per_second": rate.pairs_per_second,
            "waiting_for_data": rate.waiting_share,
            **{f"{name}_relative_spread": value.relative_spread for name, value in health.items()},
            **{f"{name}_effective_rank": value.effective_rank for name, value in health.items()},
        }
        if self.config.data.skip_bad_shards:
            for sentence in self.skipped.news():
                progress.write(sentence)
            values["replaced_pairs"] = self.skipped.replaced_pairs
        rate.loss = values["loss"]
        self.state.first_loss = self.state.first_loss or values["loss"]
        warning = self.collapse.observe(self.state.step, values["loss"], health)
        if warning:
            progress.write(warning)
        if distributed.is_first():
            self.metrics.append(
                step=self.state.step, epoch=(self.state.step - 1) // self.steps_per_epoch, split="train", **values
            )
        self.tracking.log({f"train/{name}": value for name, value in values.items()}, step=self.state.step)
        rate.restart()

    def _detail(self, rate: _Rate) -> str:
        epoch = (self.state.step - 1) // self.steps_per_epoch + 1
        return f"epoch {epoch}/{self.config.epochs} · loss {rate.loss:.4f} · {rate.last_pairs_per_second:.0f} pairs/s"

    def _end_epoch(self, progress: ProgressLine) -> bool:
        """Validates where it is due; whether to stop early."""
        self._check_finite()
        settings = self.config.validation
        is_last = self.state.step == self.total_steps
        if self.epoch % settings.every_epochs and not is_last:
            return False
        try:
            scores = validate(self.method.towers, self.shard_set, self.accelerator, crops=settings.crops)
        except FloatingPointError as error:
            remedy = "start again with a lower optimizer.learning_rate"
            raise UserError(f"after step {self.state.step} the {error}; {remedy}") from None
        finally:
            self.method.train()
        if distributed.is_first():
            self.metrics.append(step=self.state.step, epoch=self.epoch - 1, split="val", **scores)
        self.tracking.log(as_paths("val", {k: v for k, v in scores.items() if k != "chance"}), step=self.state.step)
        self._report_scores(scores, progress)
        best = self.state.best_mean_rank
        if best is None or scores["mean_rank"] < best:
            self.state.best_mean_rank, self.state.best_step = scores["mean_rank"], self.state.step
            self.state.validations_since_best = 0
            self._write_model(scores)
        else:
            self.state.validations_since_best += 1
        waited = self.state.validations_since_best * settings.every_epochs
        return bool(settings.patience_epochs) and waited >= settings.patience_epochs

    def _report_scores(self, scores: dict[str, Any], progress: ProgressLine) -> None:
        there, back, chance = scores["image_to_sound"], scores["sound_to_image"], scores["chance"]
        progress.write(
            f"epoch {self.epoch}: median rank {there['median_rank']:.1f} image→sound, {back['median_rank']:.1f} "
            f"sound→image (chance {chance['median_rank']:.1f} of {scores['gallery_size']})"
        )

    def _write_model(self, scores: dict[str, Any]) -> None:
        if distributed.is_first():
            card = model_card(self.config, self.shard_set.manifest, scores, step=self.state.step, epoch=self.epoch)
            write_model_folder(self.folder, self.method.towers, card)

    def _is_checkpoint_due(self) -> bool:
        settings, step = self.config.checkpoint, self.state.step
        ends_epochs = step % (self.steps_per_epoch * settings.every_epochs) == 0
        ends_steps = settings.every_steps > 0 and step % settings.every_steps == 0
        # Only the first process saves, so only its clock counts.
        waited_minutes = (time.monotonic() - self._saved_at) / 60
        ends_minutes = settings.every_minutes > 0 and waited_minutes >= settings.every_minutes
        return ends_epochs or ends_steps or ends_minutes or step == self.total_steps

    def _save(self) -> None:
        self._check_finite()
        if distributed.is_first():
            save_checkpoint(self.folder, self.method, self.optimizer, self.state, keep=self.config.checkpoint.keep)
        self._saved_at = time.monotonic()

    def _finish(self, stopped_early: bool, preempted: bool) -> dict[str, Any]:
        summary = {
            **dataclasses.asdict(self.state),
            "epochs": self.epoch,
            "stopped_early": stopped_early,
            "preempted": preempted,
            "replaced_pairs": self.skipped.replaced_pairs,
            "num_processes": distributed.num_processes(),
            "device": str(self.accelerator.device),
        }
        if distributed.is_first() and not preempted:
            (self.folder / SUMMARY_NAME).write_text(json.dumps(summary, indent=1) + "\n")
        return summary

    def _log_files(self) -> None:
        for path in (CONFIG_NAME, SUMMARY_NAME, f"{MODEL_FOLDER}/{CARD_NAME}"):
            if (self.folder / path).is_file():
                self.tracking.log_file(self.folder / path)


class _Rate:
    """Pairs a second and the share of time spent waiting for data, since the last line was logged."""

    def __init__(self) -> None:
        self.loss = float("nan")
        self.last_pairs_per_second = 0.0
        self.restart()

    def restart(self) -> None:
        self.pairs = 0
        self.waited_seconds = 0.0
        self._since = time.monotonic()

    @property
    def pairs_per_second(self) -> float:
        self.last_pairs_per_second = self.pairs / max(1e-9, time.monotonic() - self._since)
        return self.last_pairs_per_second

    @property
    def waiting_share(self) -> float:
        return self.waited_seconds / max(1e-9, time.monotonic() - self._since)
