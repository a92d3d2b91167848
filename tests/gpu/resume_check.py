"""Exact resume on the device: a run that was killed after a checkpoint ends in the bits of one that never stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gpu.items import Place
from gpu.pretrain_runs import run_pretraining

KILLED, KILLED_AFTER_SAVES = 7, 2
EPOCHS, BATCH_SIZE, PAIRS = 3, 16, 64

DETERMINISTIC = f"""
import os, runpy, sys, torch
torch.use_deterministic_algorithms(True, warn_only=True)
torch.backends.cudnn.benchmark = False
saves_left = int(sys.argv.pop(1))
from pretrain.training import loop
save = loop.save_checkpoint
def save_and_end(*words, **more):
    global saves_left
    save(*words, **more)
    saves_left -= 1
    if saves_left == 0:
        os._exit({KILLED})
loop.save_checkpoint = save_and_end
script = sys.argv.pop(1)
sys.argv[0] = script
runpy.run_path(script, run_name="__main__")
"""
"""Runs a script of Earshot's under torch's deterministic algorithms, and ends it at once after some checkpoints."""


def killed_run_ends_in_the_same_bits(place: Place) -> dict[str, Any]:
    """The last checkpoint's weights and optimiser of two runs, one of them killed and resumed.

    Raises:
        AssertionError: they differ; the message says whether two runs that were never stopped do, too.
    """
    from tiny_shards import write_tiny_shards

    shards = write_tiny_shards(place.folder / "resume-shards", {"train": PAIRS, "val": 8})
    whole, stopped = place.folder / "resume-whole", place.folder / "resume-stopped"
    warnings = _train(_new_run(place, shards, whole))
    _train(_new_run(place, shards, stopped), saves=KILLED_AFTER_SAVES)
    _train(["--resume", str(stopped)])
    expected = _state(whole)
    if _state(stopped) != expected:
        again = place.folder / "resume-again"
        _train(_new_run(place, shards, again))
        repeats = _state(again) == expected
        raise AssertionError(
            "the resumed run ended in other bits; two runs that were never stopped end in "
            f"{'the same: resuming is at fault' if repeats else 'different ones, too: the arithmetic is at fault'}"
        )
    return {"bytes": sum(map(len, expected)), "operations without a deterministic form": warnings}


def _new_run(place: Place, shards: Path, out: Path) -> list[str]:
    words = ["demo", "--shards", str(shards), "--out", str(out), "--epochs", str(EPOCHS), "--tracker", "none"]
    words += ["--batch-size", str(BATCH_SIZE), "--data.image-size", "32", "--model.sound-pooling", "4"]
    words += ["--data.workers", "0", "--validation.crops", "1", "--checkpoint.every-steps", "2"]
    return [*words, "--precision", "bf16" if place.is_gpu else "fp32", "--threads", "1"]


def _train(words: list[str], *, saves: int = 0) -> list[str]:
    """Trains, or until the process is killed after some checkpoints; what torch warned of, which ends in other bits."""
    printed = run_pretraining(
        words,
        wrapper=("-c", DETERMINISTIC, str(saves)),
        expected_status=KILLED if saves else 0,
        CUBLAS_WORKSPACE_CONFIG=":4096:8",
    )
    sentences = (line.partition("Warning: ")[2] for line in printed.splitlines())
    return sorted({sentence.split(" ")[0] for sentence in sentences if "deterministic" in sentence})


def _state(run: Path) -> list[bytes]:
    """Weights and optimiser of a run's last checkpoint."""
    from pretrain.training.run_folder import list_checkpoints

    last = list_checkpoints(run)[-1]
    assert last.name == f"step-{EPOCHS * PAIRS // BATCH_SIZE:08d}", f"{run.name} ended at {last.name}"
    return [(last / name).read_bytes() for name in ("weights.safetensors", "optimizer.safetensors")]
