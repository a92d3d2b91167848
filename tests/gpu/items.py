"""What is checked and timed: each item's function, what it needs, and about how long it takes on a GPU."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

CUDA, COMPILER = "a CUDA GPU", "a C compiler (gcc, or the one that CC names)"
"""What an item may need beside packages; Triton and torch.compile build their launchers with a C compiler."""


class Skipped(Exception):
    """An item finds that it can't be carried out here; the message says why."""


@dataclass(frozen=True)
class Place:
    """Where an item is carried out.

    Attributes:
        device: "cuda" or "cpu"; on the CPU all sizes are tiny, and figures mean nothing.
        folder: for files; shared by all items of a run.
    """

    device: str
    folder: Path

    @property
    def is_gpu(self) -> bool:
        """Whether this is the real thing."""
        return self.device == "cuda"

    @property
    def cores(self) -> int:
        """Of the processor, which this process may use."""
        return len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Item:
    """A check or a timing.

    Attributes:
        name: in words; no two alike.
        function: "module:name", takes a `Place` and returns figures by name.
        packages: imported by it, beside torch and NumPy.
        needs: `CUDA` and `COMPILER`.
        seconds: about as long as it takes on a GPU; it is not begun when less is left, and is ended after
            `PATIENCE` times that.
    """

    name: str
    function: str
    packages: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    seconds: float = 15.0


PATIENCE = 4.0
SETTINGS = ("pydantic", "tyro", "typing_extensions")
TOWERS = (*SETTINGS, "torchvision", "huggingface_hub", "safetensors", "yaml")
TRAINING = (*TOWERS, "accelerate", "webdataset", "albumentations", "cv2", "rich")
STAGES = (*TRAINING, "torchaudio", "soundfile", "PIL")
CONVNEXT = (*TOWERS, "timm")

CHECKS = (
    Item("fused loss kernel", "gpu.kernel_checks:equals_the_tiled_form", ("triton",), (COMPILER,), 45),
    Item("losses", "gpu.loss_checks:every_loss_equals_the_cpu", SETTINGS, (), 20),
    Item("autocast", "gpu.network_checks:autocast_stays_near_float32", TOWERS),
    Item("embedding cache", "gpu.network_checks:chunks_equal_the_whole", (*SETTINGS, "accelerate")),
    Item("SyncBatchNorm", "gpu.synced_norm_check:two_processes_equal_one", TOWERS, (CUDA,), 40),
    Item("torch.compile", "gpu.network_checks:compiled_equals_eager", TOWERS, (CUDA, COMPILER), 60),
    Item("pinned copies", "gpu.pinned_copies_check:batches_arrive_unchanged", TRAINING, (CUDA,), 30),
    Item("front ends", "gpu.front_end_checks:every_front_end_equals_the_cpu", (*SETTINGS, "torchaudio")),
    Item("augmentation", "gpu.augmentation:rotation_equals_ours", ("albumentations", "cv2", *SETTINGS)),
    Item("FAISS is exact", "gpu.index_checks:ours_is_exact", ("faiss",)),
    Item("FAISS on the GPU", "gpu.index_checks:gpu_equals_cpu", ("faiss",), (CUDA,)),
    Item("exact resume", "gpu.resume_check:killed_run_ends_in_the_same_bits", TRAINING, (), 50),
)

TIMINGS = (
    Item("loss", "gpu.loss_timing:time_forms", (), (), 40),
    Item("step, soundingearth-resnet18", "gpu.step_timing:resnet18", TOWERS, (), 25),
    Item("step, soundingearth-resnet50", "gpu.step_timing:resnet50", TOWERS, (), 25),
    Item("loader", "gpu.loop_timing:time_loader", TRAINING, (), 40),
    Item("loader's stages", "gpu.loop_timing:time_stages", STAGES, (), 10),
    Item("loop, soundingearth-resnet18", "gpu.loop_timing:resnet18", TRAINING, (), 40),
    Item("loop, soundingearth-resnet50", "gpu.loop_timing:resnet50", TRAINING, (), 40),
    Item("step, best-retrieval", "gpu.step_timing:convnext", CONVNEXT, (CUDA,), 35),
    Item("step, soundingearth-resnet50, compiled", "gpu.step_timing:resnet50_compiled", TOWERS, (CUDA, COMPILER), 70),
    Item("decoding and augmentation", "gpu.augmentation:time_on_the_device", ("torchvision",), (CUDA,), 15),
    Item("kernel's blocks", "gpu.loss_timing:time_blocks", ("triton",), (CUDA, COMPILER), 30),
    Item("step, soundingearth-resnet18, compiled", "gpu.step_timing:resnet18_compiled", TOWERS, (CUDA, COMPILER), 60),
    Item(
        "step, best-retrieval, compiled", "gpu.step_timing:convnext_compiled", (*TOWERS, "timm"), (CUDA, COMPILER), 90
    ),
)
"""The most important ones first: what does not fit into the time is left out from the end."""
