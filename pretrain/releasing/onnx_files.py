"""Both towers as ONNX, from uint8 inputs to embeddings, checked by onnxruntime; needs the extra `earshot[onnx]`."""

from __future__ import annotations

import importlib.util
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pretrain.model import TwoTower
from pretrain.releasing.standalone_files import SOURCES
from pretrain.weights.same_embeddings import Probe, require_close
from shards.errors import UserError

OPSET = 18
"""The lowest that torch's exporter writes: asked for an older one it writes this, and only its log says so."""

TOLERANCE = 1e-4
"""Of onnxruntime's embeddings, as a fraction of the largest value."""

PACKAGES = ("onnx", "onnxscript", "onnxruntime")

ONNX_NAMES = {"image": "image_tower.onnx", "sound": "sound_tower.onnx"}

INPUTS_NAME = "earshot_inputs.py"
"""Prepares their inputs from files, without torch."""

INPUT, OUTPUT, BATCH = "inputs", "embeddings", "batch"


def require_onnx() -> None:
    """Checks that the packages are installed.

    Raises:
        UserError: one is not.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"--onnx needs the package{'s' if len(missing) > 1 else ''} {', '.join(missing)}; install with: "
            "pip install 'earshot[onnx]'"
        )


class _OneTower(nn.Module):
    """uint8 inputs → embeddings of one tower."""

    def __init__(self, towers: TwoTower, modality: str) -> None:
        super().__init__()
        self.towers = towers
        self.modality = modality

    def forward(self, inputs: Tensor) -> Tensor:
        embeddings = self.towers.encode_image(inputs) if self.modality == "image" else self.towers.encode_sound(inputs)
        return embeddings.float()


def write_onnx(release: Path, towers: TwoTower, probe: Probe) -> None:
    """Writes both towers into a release, with the normalisation of their inputs and any number of inputs at once, and
    what prepares these inputs.

    Args:
        release: the folder.
        towers: in evaluation mode, on the CPU.
        probe: inputs of the right shapes.

    Raises:
        UserError: a network can't be exported, or the file has another opset than `OPSET`.
    """
    require_onnx()
    shutil.copyfile(SOURCES / INPUTS_NAME, release / INPUTS_NAME)
    for modality, name in ONNX_NAMES.items():
        inputs = probe.images if modality == "image" else probe.sounds
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                torch.onnx.export(
                    _OneTower(towers, modality).eval(),
                    (inputs,),
                    release / name,
                    input_names=[INPUT],
                    output_names=[OUTPUT],
                    dynamic_shapes={INPUT: {0: torch.export.Dim(BATCH, min=1)}},
                    opset_version=OPSET,
                    dynamo=True,
                    external_data=False,
                    optimize=True,
                    verbose=False,
                )
        except OSError:
            raise
        except Exception as error:  # the exporter raises errors of many kinds, of torch, onnx and onnxscript
            message = " ".join(str(error).split())[:200]
            raise UserError(
                f"the {modality} tower can't be exported as ONNX ({type(error).__name__}: {message}); release without "
                "--onnx"
            ) from error
        written = opset_of(release / name)
        if written != OPSET:
            raise UserError(f"{name} was written with opset {written}, not {OPSET}; use another version of torch")


def opset_of(path: Path) -> int:
    """Returns the version of ONNX's own operators that a file needs."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    return max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


@torch.inference_mode()
def check_onnx(release: Path, towers: TwoTower, probes: list[Probe]) -> str:
    """Embeds the probes, whole and one by one, by onnxruntime, and compares them with the towers' own embeddings.

    Returns:
        What was checked, in words.

    Raises:
        UserError: an embedding differs by more than `TOLERANCE`.
    """
    import onnxruntime

    most = 0.0
    for modality, name in ONNX_NAMES.items():
        session: Any = onnxruntime.InferenceSession(str(release / name), providers=["CPUExecutionProvider"])
        for probe in probes:
            inputs = probe.images if modality == "image" else probe.sounds
            ours = towers.encode_image(inputs) if modality == "image" else towers.encode_sound(inputs)
            for part in (slice(None), slice(0, 1)):
                (found,) = session.run([OUTPUT], {INPUT: inputs[part].numpy()})
                what = f"{modality} embeddings of {probe.name} by onnxruntime"
                most = max(most, require_close(ours[part], torch.from_numpy(found), TOLERANCE, what))
    names = " and ".join(ONNX_NAMES.values())
    return f"{names} (opset {OPSET}) by onnxruntime, within {TOLERANCE:g} of the largest value (found {most:.1e})"
