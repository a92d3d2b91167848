"""The tracker `tensorboard`: event files in the run folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import yaml

from pretrain.trackers.tracker import PROJECT_NAME, TrackedRun, Tracker


class TensorBoardTracker(Tracker):
    """Writes events to `RUN/earshot/`, for `tensorboard --logdir RUNS`; files stay in the run folder, uncopied."""

    package = "tensorboard"

    def __init__(self, run: TrackedRun) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = run.folder / PROJECT_NAME
        self._writer: Any = SummaryWriter(str(folder))
        if run.run_id is None and not any(folder.glob("*/hparams.yml")):
            plain = {
                name: value if isinstance(value, bool | int | float) else str(value)
                for name, value in run.settings.items()
            }
            self._writer.add_hparams(plain, metric_dict={})
            place = folder / str(time.time())
            place.mkdir(parents=True, exist_ok=True)
            (place / "hparams.yml").write_text(yaml.safe_dump(plain), encoding="utf-8")
        self._writer.flush()

    def log(self, values: dict[str, float], *, step: int) -> None:
        """Records metrics by path, and flushes them to disk."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, global_step=step)
        self._writer.flush()

    def log_file(self, path: Path) -> None:
        """Does nothing: the file is in the run folder already, next to the events."""

    def finish(self, *, failed: bool) -> None:  # noqa: ARG002
        """Closes the event file."""
        self._writer.close()
