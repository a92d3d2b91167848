"""The training loop: batches → outputs → loss → step, with validation, checkpoints and a run folder."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from pretrain import distributed
from pretrain.data.batches import next_batch, to_device
from pretrain.data.seeds import derived_seed
from pretrain.engines import ENGINES
from pretrain.optimization import learning_rate_at
from pretrain.preemption import CHECK_EVERY_STEPS, PreemptionWatch
from pretrain.ranking.scores import INTERVALS
from pretrain.settings.files import save_settings
from pretrain.training.checkpoints import RunState, load_newest_checkpoint, save_checkpoint
from pretrain.training.curves_picture import CURVES_NAME, write_curves
from pretrain.training.finite import FiniteCheck
from pretrain.training.gradient_cache import backward_part
from pretrain.training.hardware import hardware
from pretrain.training.memory import peak_memory_bytes
from pretrain.training.metrics_file import MetricsFile
from pretrain.training.rate import Rate
from pretrain.training.run_folder import CONFIG_NAME, SUMMARY_NAME
from pretrain.training.task import Evaluation, Task
from pretrain.training.tracking import Tracking
from pretrain.training.validation import as_paths
from pretrain.weights.model_folder import restore_model_folder
from shards.atomic_files import write_text_atomically
from shards.errors import UserError
from shards.progress import ProgressLine


class Loop:
    """One run of a task, from its settings to `RUN/model/`.

    Args:
        task: what is trained, with its settings.
        accelerator: the processes that train together.
        preemption: whether the run is preempted.
        resume: whether to resume from the newest checkpoint in the run folder.
    """

    def __init__(self, task: Task, accelerator: Accelerator, preemption: PreemptionWatch, *, resume: bool) -> None:
        self.task = task
        self.settings = task.settings
        self.accelerator = accelerator
        self.preemption = preemption
        self.resume = resume
        self.folder: Path = self.settings.out
        self.total_steps = self.settings.epochs * task.steps_per_epoch
        self.metrics = MetricsFile(self.folder)
        self.finite = FiniteCheck(self.folder)
        self.state = RunState()
        self._saved_at = time.monotonic()
        self._loss = float("nan")
        self._share_of_time = 0.0
        self._was_stopping = False

    @property
    def epoch(self) -> int:
        """Whole epochs trained."""
        return self.state.step // self.task.steps_per_epoch

    @property
    def is_over(self) -> bool:
        """Whether all steps, or the time limit, of the settings are used up."""
        return self.state.step >= self.total_steps or self._share_of_time >= 1

    @property
    def is_without_improvement(self) -> bool:
        """Whether validation has not improved for as long as the settings are patient."""
        settings = self.settings.validation
        waited = self.state.validations_since_best * settings.every_epochs
        return bool(settings.patience_epochs) and waited >= settings.patience_epochs

    def run(self) -> dict[str, Any]:
        """Trains to the end, or until validation has not improved for long enough.

        Returns:
            The summary that is also written to `RUN/summary.json`.

        Raises:
            UserError: a loss was not finite, or something could not be read or written.
        """
        engine = ENGINES[self.accelerator.distributed_type]
        self.engine = engine(
            self.accelerator,
            self.task.module,
            self.task.optimizer(),
            self.settings,
            per_process=self.task.per_process,
        )
        if self.resume:
            self._load()
        if distributed.is_first():
            save_settings(self.settings, self.folder / CONFIG_NAME)
        distributed.note_once(
            f"{self.task.announcement()}; {self.total_steps} steps in all; {self.accelerator.device}, "
            f"{self.settings.precision}, {', '.join(f'{key} {value}' for key, value in self._world().items())}"
        )
        self.tracking = Tracking(self.settings, self.folder)
        try:
            summary = self._train()
        except BaseException:
            self.tracking.finish(failed=True)
            raise
        for path in (CONFIG_NAME, SUMMARY_NAME, CURVES_NAME, *self.task.files_to_keep()):
            if (self.folder / path).is_file():
                self.tracking.log_file(self.folder / path)
        self.tracking.finish()
        return summary

    def _world(self) -> dict[str, Any]:
        return {"num_processes": distributed.num_processes(), **self.engine.description}

    def _train(self) -> dict[str, Any]:
        self._use = self.state.use(hardware(self.accelerator.device), distributed.num_processes())
        self._clock = time.monotonic()
        stream = self._prepared_batches()
        progress = ProgressLine("training", self._end(), enabled=distributed.is_first(), done=self._done())
        rate = Rate()
        stopped_early, preempted = self._was_stopping, False
        self.engine.module.train()
        with progress:
            if self.total_steps == 0 and self.state.best_step is None:
                self._validate(progress)
                self._save()
            while not (self.is_over or stopped_early or preempted):
                step_started = time.monotonic()
                loss, outputs = self._step(stream, rate)
                self.state.step += 1
                self._spend()
                self.state.training_seconds += time.monotonic() - step_started
                self._see_clock()
                rate.items += self.settings.batch_size
                ends_epoch = self.state.step % self.task.steps_per_epoch == 0
                if (
                    ends_epoch
                    or self.is_over
                    or self.state.step % self.settings.log_every_steps == 0
                    or self.state.step == 1
                ):
                    self._log_step(loss, outputs, rate, progress)
                progress.advance(self._done() - progress.done, self._detail(rate))
                if self.is_over or (ends_epoch and self.epoch % self.settings.validation.every_epochs == 0):
                    stopped_early = self._validate(progress)
                preempted = not (self.is_over or stopped_early) and self.preemption.is_requested(self.state.step)
                if stopped_early or preempted or self._is_checkpoint_due():
                    self._save()
        self.finite.check()
        self._spend()
        return self._finish(stopped_early, preempted)

    def _prepared_batches(self) -> Iterator[dict[str, Any]]:
        """The batches that are left, and the time that it takes before the first of them can be asked for.

        Raises:
            UserError: it took all the time that the settings allow.
        """
        started = time.monotonic()
        stream = self.task.batches(self.state.step, self.total_steps)
        if self.state.step == 0 and self.total_steps:
            self.state.preparing_seconds = time.monotonic() - started
            self.state.training_seconds = self.state.preparing_seconds
        self._see_clock()
        limit = self.settings.max_seconds
        if limit and self.state.step == 0 and distributed.from_first(self.state.preparing_seconds >= limit):
            raise UserError(
                f"max_seconds must be > {self.state.preparing_seconds:.3g}, which preparing the data took (such as "
                f"features of frozen encoders), got {limit:g}; start again with more --max-seconds"
            )
        return stream

    def _spend(self) -> None:
        """Adds the time since it was called last to the run's, and to that of what it is computed on."""
        now = time.monotonic()
        self.state.seconds += now - self._clock
        self._use["seconds"] += now - self._clock
        self._clock = now

    def _load(self) -> None:
        """Goes back to the newest checkpoint."""
        if distributed.is_first():
            restore_model_folder(self.folder)
        self.state = load_newest_checkpoint(self.folder, self.engine.load_state, distributed.print_once)
        self._see_clock()
        # A run that was killed after its last checkpoint still has its end to write.
        is_finished = (self.folder / SUMMARY_NAME).exists()
        if is_finished and self._share_of_time >= 1:
            raise UserError(
                f"max_seconds must be > {self.state.training_seconds:.0f}, which the run in {self.folder} has trained "
                f"already, got {self.settings.max_seconds:g}; give more --max-seconds to train it further"
            )
        if is_finished and self.state.step >= self.total_steps:
            raise UserError(
                f"epochs must be > {self.epoch}, which the run in {self.folder} has trained already, got "
                f"{self.settings.epochs}; give a larger --epochs to train it further"
            )
        self._was_stopping = not is_finished and self.is_without_improvement
        if distributed.is_first():
            self.metrics.drop_after(self.state.step)
            (self.folder / SUMMARY_NAME).unlink(missing_ok=True)
        distributed.note_once(f"resuming {self.folder} at step {self.state.step} of {self.total_steps}")

    def _step(self, stream: Iterator[dict[str, Any]], rate: Rate) -> tuple[Tensor, dict[str, Tensor]]:
        """One optimiser step over one global batch; the loss and the last part's outputs, detached."""
        settings = self.settings.optimizer
        if self.task.before_step(self.state.step):
            self.engine.prepare()
        total = torch.zeros((), device=self.accelerator.device)
        keys: list[str] = []
        for part in range(settings.accumulation):
            asked = time.monotonic()
            batch = next_batch(stream)
            rate.waited_seconds += time.monotonic() - asked
            self.task.observe_batch(batch)
            keys += batch["keys"]
            tensors = to_device(batch, self.accelerator.device)
            self._seed(part)
            loss, outputs = backward_part(
                self.engine,
                tensors,
                partial(self._loss_of_part, tensors),
                is_last=part == settings.accumulation - 1,
                chunk_size=settings.chunk_size,
            )
            total = total + loss
        self.finite.check()
        self.finite.note(self.state.step + 1, keys, total)
        self.engine.update(
            learning_rate_at(
                self.state.step,
                total_steps=self.total_steps,
                steps_per_epoch=self.task.steps_per_epoch,
                settings=settings,
                share_of_time=self._share_of_time,
            )
        )
        self.task.after_step(self.engine.whole_weights)
        return total, outputs

    def _seed(self, part: int) -> None:
        """Seeds dropout, mixing and the like: a resumed run draws what it would have drawn, and nothing is saved.

        It comes after the batch, because a loader that begins draws from the same generator.
        """
        place = f"part {part} of step {self.state.step}, process {distributed.rank()}"
        torch.manual_seed(derived_seed(self.settings.seed, place))

    def _see_clock(self) -> None:
        """Notes how much of the time for steps is over; the processes' clocks differ: the first one's counts."""
        if self.settings.max_seconds:
            before = self.state.preparing_seconds
            left = max(self.settings.max_seconds - before, 1e-9)
            self._share_of_time = distributed.from_first((self.state.training_seconds - before) / left)

    def _loss_of_part(self, batch: dict[str, Tensor], outputs: dict[str, Tensor]) -> Tensor:
        return self.task.loss(outputs, batch) / self.settings.optimizer.accumulation

    def _log_step(self, loss: Tensor, outputs: dict[str, Tensor], rate: Rate, progress: ProgressLine) -> None:
        self.finite.check()
        self._loss = loss.item()
        more, sentences = self.task.step_metrics(self.state.step, self._loss, outputs, first_loss=self.state.first_loss)
        if self.state.first_loss is None:
            self.state.first_loss = self._loss
        values: dict[str, Any] = {
            "loss": self._loss,
            "learning_rate": self.engine.learning_rate,
            "pairs_per_second": rate.per_second,
            "waiting_for_data": rate.waiting_share,
            **more,
        }
        for sentence in sentences:
            progress.write(sentence, warning=True)
        if distributed.is_first():
            epoch = (self.state.step - 1) // self.task.steps_per_epoch
            self.metrics.append(step=self.state.step, epoch=epoch, split="train", **values)
        self.tracking.log({f"train/{name}": value for name, value in values.items()}, step=self.state.step)
        rate.restart()

    def _end(self) -> int:
        """What progress is measured in: steps, or seconds where they end the run."""
        return math.ceil(self.settings.max_seconds) or self.total_steps

    def _done(self) -> int:
        return min(self._end(), int(self.state.training_seconds)) if self.settings.max_seconds else self.state.step

    def _detail(self, rate: Rate) -> str:
        epoch = (self.state.step - 1) // self.task.steps_per_epoch + 1
        loss = "–" if math.isnan(self._loss) else f"{self._loss:.4f}"
        return f"epoch {epoch}/{self.settings.epochs} · loss {loss} · {rate.last_per_second:.0f} items/s"

    def _validate(self, progress: ProgressLine) -> bool:
        """Evaluates the module and writes the model if it is the best so far; whether to stop early."""
        self.finite.check()
        module = self.engine.whole_module()
        try:
            evaluation = self.task.evaluate(module.eval())
        except FloatingPointError as error:
            remedy = "start again with a lower optimizer.learning_rate"
            raise UserError(f"after step {self.state.step} the {error}; {remedy}") from None
        self._report(evaluation, progress)
        new, best = evaluation.error, self.state.best_error
        if new is None or best is None or new < best:
            self.state.best_error, self.state.best_step = new, self.state.step
            self.state.validations_since_best = 0
            if distributed.is_first():
                self.task.write_model(self.folder, module, evaluation, step=self.state.step, epoch=self.epoch)
        else:
            self.state.validations_since_best += 1
        self.engine.module.train()
        return self.is_without_improvement

    def _report(self, evaluation: Evaluation, progress: ProgressLine) -> None:
        if distributed.is_first():
            self.metrics.append(
                step=self.state.step, epoch=max(0, self.epoch - 1), split=evaluation.split, **evaluation.scores
            )
        scores = {name: value for name, value in evaluation.scores.items() if name not in ("chance", INTERVALS)}
        self.tracking.log(as_paths(evaluation.split, scores), step=self.state.step)
        progress.write(f"epoch {self.epoch}: {evaluation.sentence}")

    def _is_checkpoint_due(self) -> bool:
        settings, step = self.settings.checkpoint, self.state.step
        ends_epochs = step % (self.task.steps_per_epoch * settings.every_epochs) == 0
        ends_steps = settings.every_steps > 0 and step % settings.every_steps == 0
        if ends_epochs or ends_steps or self.is_over:
            return True
        if not settings.every_minutes or (distributed.num_processes() > 1 and step % CHECK_EVERY_STEPS):
            return False
        # All processes must save together, so the clock of the first one decides.
        return distributed.from_first((time.monotonic() - self._saved_at) / 60 >= settings.every_minutes)

    def _save(self) -> None:
        self.finite.check()
        self._see_memory()
        state = self.engine.state()
        if distributed.is_first():
            save_checkpoint(self.folder, state, self.state, keep=self.settings.checkpoint.keep)
        self._saved_at = time.monotonic()

    def _see_memory(self) -> None:
        now = distributed.gather_objects(peak_memory_bytes(self.accelerator.device))
        self.state.peak_memory_bytes = max(self.state.peak_memory_bytes, *now)

    def _finish(self, stopped_early: bool, preempted: bool) -> dict[str, Any]:
        summary = {
            **dataclasses.asdict(self.state),
            "epochs": self.epoch,
            "stopped_early": stopped_early,
            "preempted": preempted,
            "device": str(self.accelerator.device),
            **self._world(),
            **self.task.summary(),
        }
        if distributed.is_first() and not preempted:
            write_curves(self.folder, self.state.best_step)
            write_text_atomically(self.folder / SUMMARY_NAME, json.dumps(summary, indent=1) + "\n")
        # A launcher ends the others when one process ends, and the first may still be saving.
        distributed.barrier()
        return summary
