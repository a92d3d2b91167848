"""The tracker `tensorboard`: event files in the run folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import yaml

from pretrain.trackers.tracker import PROJECT_NAME, TrackedRun, Tracker


class TensorBoardTracker(Tracker):
    """Writes to `RUN/earshot/`, for `tensorboard --logdir RUNS`; files are not kept, they lie in the run folder."""

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
        """Records metrics by path, and brings them to the disk."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, global_step=step)
        self._writer.flush()

    def log_file(self, path: Path) -> None:
        """Does nothing: the file lies in the run folder, as the events do."""

    def finish(self, *, failed: bool) -> None:  # noqa: ARG002
        """Closes the event file."""
        self._writer.close()
