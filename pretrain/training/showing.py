"""The verb `show`: a run folder in the terminal, with its state, settings in brief, loss and validation."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrain.settings.files import read_record
from pretrain.training.curves import TRAIN, Panel, panels_of
from pretrain.training.curves_picture import CURVES_NAME
from pretrain.training.metrics_file import MetricsFile
from pretrain.training.run_folder import CONFIG_NAME, SUMMARY_NAME, list_checkpoints, read_summary
from shards.errors import UserError
from shards.locks import lock
from shards.records import as_number
from shards.untrusted_text import as_line, without_controls

BLOCKS = "▁▂▃▄▅▆▇█"
CURVE_WIDTH = 24
MOST_ROWS = 12
MOST_LETTERS = 44
SETTINGS = (
    *("method", "loss.name", "benchmark", "protocol", "weights", "model.image_encoder", "model.sound_encoder"),
    *("model.image_init", "model.sound_init", "model.freeze", "shards", "root", "epochs", "max_seconds", "batch_size"),
    *("optimizer.name", "optimizer.learning_rate", "precision", "seed"),
)
"""The settings that are printed, of those that the run has; values that mean "none" are left out."""
UNSET = (None, 0, 0.0, "none")


@dataclass(frozen=True)
class ShowRunOptions:
    """Prints the state of a training run: settings in brief, loss, validation by epoch, best step and time."""

    run: Path
    """The run folder."""

    def check(self) -> None:
        """Checks that there is a run.

        Raises:
            UserError: there is none.
        """
        if not (self.run / CONFIG_NAME).is_file():
            raise UserError(f"no run at {self.run}: it has no {CONFIG_NAME}; give the --out folder of a run")


def run_show(options: ShowRunOptions) -> None:
    """Prints the state of a run; also while it trains.

    Raises:
        UserError: a file of the run is missing or damaged.
    """
    options.check()
    print("\n".join(lines_of(options.run)))


def lines_of(run_folder: Path) -> list[str]:
    """The lines that `show` prints of a run, of at most 60 columns but for paths.

    Raises:
        UserError: a file of the run is missing or damaged.
    """
    lines = MetricsFile(run_folder).read()
    is_finished = (run_folder / SUMMARY_NAME).is_file()
    summary = read_summary(run_folder, "restore it") if is_finished else {}
    panels = panels_of(lines)
    shown = [f"{run_folder}", f"state        {_state(run_folder, lines, summary)}", *_costs(lines, summary), ""]
    shown += _settings(read_record(run_folder / CONFIG_NAME))
    for panel in panels:
        shown += ["", *_panel(panel)]
    shown += _table(lines, panels, summary.get("best_step"))
    if (run_folder / CURVES_NAME).is_file():
        shown += ["", f"curves: {run_folder / CURVES_NAME}"]
    return shown


def _state(run_folder: Path, lines: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]) -> str:
    if _is_locked(run_folder):
        return f"running, step {lines[-1]['step']:,}" if lines else "running, before its first step"
    if summary:
        return "finished" + (", stopped early" if summary.get("stopped_early") else "")
    checkpoints = list_checkpoints(run_folder)
    if not checkpoints:
        return "ended before its first checkpoint; start it again"
    step = int(checkpoints[-1].name.removeprefix("step-"))
    return f"preempted or killed; --resume from step {step:,}"


def _is_locked(run_folder: Path) -> bool:
    """Whether a process trains in the folder, on this machine or where the file system has locks for all."""
    folder = os.open(run_folder, os.O_RDONLY)
    try:
        lock(folder, shared=True)
    except BlockingIOError:
        return True
    finally:
        os.close(folder)
    return False


def _costs(lines: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]) -> list[str]:
    if not summary:
        rate = next((line.get("pairs_per_second") for line in reversed(lines) if line["split"] == TRAIN), None)
        number = as_number(rate)
        return [] if number is None else [f"speed        {number:,.0f} items/s"]
    seconds = float(summary.get("seconds", 0))
    hardware = ", ".join(
        f"{count} × {_short(str(name))}" for use in summary.get("uses", []) for name, count in use["hardware"].items()
    )
    best = summary.get("best_step")
    error = summary.get("best_error")
    chosen = "" if best is None else f"{best:,}" + ("" if error is None else f", chosen by the score {error:.4g}")
    return [
        f"steps        {summary['step']:,} in {_duration(seconds)}",
        *([f"on           {hardware}"] if hardware else []),
        *([f"best step    {chosen}"] if chosen else []),
    ]


def _settings(record: Mapping[str, Any]) -> list[str]:
    lines = []
    for name in SETTINGS:
        value: Any = record
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value not in UNSET and not isinstance(value, dict | list):
            lines.append(f"{name:<24} {_short(str(value), 60 - 25)}")
    return lines


def _panel(panel: Panel) -> list[str]:
    """A title and a line for each curve: name, first value, curve, last value."""
    chance = "" if panel.chance is None else f" (chance {panel.chance:,.4g})"
    lines = [f"{panel.title}{chance}"]
    for curve in panel.curves:
        drawn = sparkline(curve.values, CURVE_WIDTH)
        lines.append(f"  {curve.name[:16]:<16} {curve.values[0]:>7.4g} {drawn} {curve.values[-1]:.4g}")
    return lines


def sparkline(values: Sequence[float], width: int) -> str:
    """A curve in block characters: the least value as the lowest block, the greatest as the highest.

    Args:
        values: finite.
        width: most characters; where there are more values, each stands for a mean of neighbours.
    """
    n = min(width, len(values))
    greatest = max(map(abs, values)) or 1.0
    values = [value / greatest for value in values]  # sums and differences of any finite values stay finite
    parts = [values[len(values) * i // n : len(values) * (i + 1) // n] for i in range(n)]
    means = [sum(part) / len(part) for part in parts]
    low, high = min(means), max(means)
    if high == low:
        return BLOCKS[0] * n
    return "".join(BLOCKS[min(len(BLOCKS) - 1, int(len(BLOCKS) * (mean - low) / (high - low)))] for mean in means)


def _table(lines: Sequence[Mapping[str, Any]], panels: Sequence[Panel], best_step: int | None) -> list[str]:
    """Median ranks by epoch, at most `MOST_ROWS` of them, the last and the best among them."""
    ranked = next((panel for panel in panels if panel.is_rank), None)
    if ranked is None:
        return []
    epochs = {line["step"]: line["epoch"] + 1 for line in lines if line["split"] != TRAIN}
    values = {curve.name: dict(zip(curve.steps, curve.values, strict=True)) for curve in ranked.curves}
    steps = sorted({step for curve in ranked.curves for step in curve.steps})
    n = min(MOST_ROWS, len(steps))
    kept = {steps[(len(steps) - 1) * i // max(1, n - 1)] for i in range(n)} | {steps[-1]}
    if best_step is not None and best_step in steps:
        kept.add(best_step)
    rows = ["", f"{'epoch':>5} {'step':>8}" + "".join(f"{name:>17}" for name in values)]
    for step in sorted(kept):
        ranks = "".join(f"{of[step]:>17.1f}" if step in of else f"{'–':>17}" for of in values.values())
        rows.append(f"{epochs[step]:>5} {step:>8,}{ranks}" + ("  best" if step == best_step else ""))
    if len(kept) < len(steps):
        rows.append(f"{len(kept)} of {len(steps)} validations")
    return rows


def _short(text: str, most: int = MOST_LETTERS) -> str:
    line = as_line(without_controls(text))
    return line if len(line) <= most else f"…{line[1 - most :]}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 120 * 60 else f"{seconds / 3600:.1f} hours"
