"""The verb `demo-weights`: the weights `demo` of the registry, trained and released by one command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pretrain.model_files import WEIGHTS_NAME
from pretrain.model_registry import model_entry, models_folder
from pretrain.releasing.options import DemoWeightsOptions, ReleaseOptions
from pretrain.releasing.release import release
from pretrain.training.run_folder import CONFIG_NAME, SUMMARY_NAME
from shards.checksums import file_sha256
from shards.errors import UserError

NAME = "demo"
TRAIN = Path(__file__).resolve().parents[1] / "run.py"


def make_demo_weights(options: DemoWeightsOptions) -> Path:
    """Trains the demo where that was not done yet, and releases it in half precision.

    Returns:
        The release.

    Raises:
        UserError: the training failed, or the release can't be written.
    """
    out = out_of(options)
    if (out / WEIGHTS_NAME).is_file():
        print(f"the weights {NAME} are in {out} already; remove that folder to make them again")
        return out
    if not (options.run / SUMMARY_NAME).is_file():
        train_demo(options)
    for line in release(release_of(options)):
        print(line)
    weights = out / WEIGHTS_NAME
    print(
        f"{weights.name}: {weights.stat().st_size / 1e6:.1f} MB, SHA-256 {file_sha256(weights)}; processors "
        "with other instructions give other weights"
    )
    if options.out is None:
        print(f"they load by name: --weights {NAME}")
    return out


def out_of(options: DemoWeightsOptions) -> Path:
    """The folder of the weights."""
    return options.out or models_folder() / NAME


def release_of(options: DemoWeightsOptions) -> ReleaseOptions:
    """How the finished run is released."""
    licence = model_entry(NAME).licence
    return ReleaseOptions(
        options.run, out_of(options), shards=options.shards, licence=licence, half=True, onnx=options.onnx
    )


def train_demo(options: DemoWeightsOptions, *more: str) -> None:
    """Trains the demo, or resumes its run.

    Args:
        options: where the run and its shards are.
        more: options of the run.

    Raises:
        UserError: it failed, and has printed why.
    """
    words = ["demo", "--shards", str(options.shards), "--out", str(options.run), "--tracker", "none"]
    if (options.run / CONFIG_NAME).is_file():
        words = ["--resume", str(options.run)]
    if subprocess.run([sys.executable, str(TRAIN), *words, *more], check=False).returncode:
        raise UserError(f"the demo could not be trained in {options.run}; see above for the reason")
