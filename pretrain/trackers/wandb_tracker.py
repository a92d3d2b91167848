"""The tracker `wandb`: Weights & Biases, an optional dependency."""

from __future__ import annotations

from pathlib import Path

from pretrain.trackers.tracker import PROJECT_NAME, TrackedRun, Tracker


class WandbTracker(Tracker):
    """Records a run of the project `earshot`; its local files are in the run folder."""

    package = "wandb"

    def __init__(self, run: TrackedRun) -> None:
        import wandb

        options = {"id": run.run_id, "resume": "allow"}
        self._run = wandb.init(project=PROJECT_NAME, name=run.name, dir=str(run.folder), **options)
        self.run_id = str(self._run.id)
        if run.run_id is None:
            self._run.config.update(run.settings, allow_val_change=True)

    def log(self, values: dict[str, float], *, step: int) -> None:
        """Records metrics by path."""
        self._run.log(values, step=step)

    def log_file(self, path: Path) -> None:
        """Uploads the file."""
        self._run.save(str(path), base_path=str(path.parent))

    def finish(self, *, failed: bool) -> None:
        """Closes the run, with exit code 1 if it failed."""
        self._run.finish(exit_code=int(failed))
