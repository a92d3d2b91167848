"""The verb `show` of the console command: a training run, an evaluation, or a folder that is both, in the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pretrain.training.run_folder import CONFIG_NAME
from pretrain.training.showing import ShowRunOptions, run_show
from retrieval.metrics_file import METRICS_NAME, ShowOptions
from retrieval.metrics_file import show as show_evaluation
from shards.errors import UserError


@dataclass(frozen=True)
class ShowAnyOptions:
    """Prints a training run (state, settings, loss and ranks by epoch) or the scores of an evaluation."""

    folder: Path
    """A run folder, or the --out folder of evaluate."""

    def check(self) -> None:
        """Checks that the folder is a run or an evaluation.

        Raises:
            UserError: it is neither.
        """
        if not self.is_run and not self.is_evaluation:
            raise UserError(
                f"nothing to show at {self.folder}: it has neither {CONFIG_NAME}, as a run has, nor {METRICS_NAME}, as "
                "an evaluation has; give the --out folder of one of them"
            )

    @property
    def is_run(self) -> bool:
        """Whether the folder holds a training run."""
        return (self.folder / CONFIG_NAME).is_file()

    @property
    def is_evaluation(self) -> bool:
        """Whether the folder holds an evaluation."""
        return (self.folder / METRICS_NAME).is_file()


def show_any(options: ShowAnyOptions) -> None:
    """Prints what the folder holds.

    Raises:
        UserError: a file is damaged.
    """
    options.check()
    if options.is_run:
        run_show(ShowRunOptions(options.folder))
    if options.is_evaluation:
        show_evaluation(ShowOptions(options.folder))
