"""TorchGeo's classification trainer on a released image trunk: `python torchgeo_classification.py TRUNK ROOT`.

Needs torchgeo but not Earshot (`pip install torchgeo`; written for 0.8). TRUNK is `image_trunk.safetensors` of a
release, ROOT a folder of class folders. Every fifth image is held out for testing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from safetensors.torch import load_file
from torch.utils.data import DataLoader, Dataset, Subset
from torchgeo.trainers import ClassificationTask
from torchgeo.trainers.utils import load_state_dict
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

EPOCHS = 5


class CentralPart:
    """Crops the central square whose side is a fraction of the image's shorter side."""

    def __init__(self, fraction: float) -> None:
        self.fraction = fraction

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """(3, height, width) → (3, side, side)."""
        part: torch.Tensor = v2.functional.center_crop(image, [round(self.fraction * min(image.shape[-2:]))] * 2)
        return part


class Scenes(Dataset[dict[str, Any]]):
    """Images of class folders in TorchGeo's sample format, preprocessed according to a release's `config.json`."""

    def __init__(self, root: Path, image: dict[str, Any]) -> None:
        central = CentralPart(image["central_fraction_of_shorter_side"])
        steps = [v2.ToImage(), central, v2.Resize(image["resize_to_pixels"]), v2.ToDtype(torch.float32, scale=True)]
        self.folder = ImageFolder(root, v2.Compose([*steps, v2.Normalize(image["mean"], image["std"])]))

    def __len__(self) -> int:
        return len(self.folder)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image, label = self.folder[index]
        return {"image": image, "label": label}


def main(trunk: Path, root: Path) -> None:
    """Fine-tunes the trunk with a new classifier, and prints the scores on the held-out images."""
    config = json.loads((trunk.parent / "config.json").read_text())
    if config["norm"] == "group":
        sys.exit(
            f"{trunk} has group norm, but TorchGeo's trainer builds batch norm: load the network with timm as shown in "
            "the release's model card, and use your own trainer"
        )
    scenes = Scenes(root, config["preprocessing"]["image"])
    # The trainer's `weights` argument accepts only its own checkpoints and weights; this function loads tensors.
    task = ClassificationTask(model=config["image_encoder"], num_classes=len(scenes.folder.classes), lr=1e-4)
    missing, unexpected = load_state_dict(task.model, load_file(trunk))
    assert (missing, unexpected) == (["fc.weight", "fc.bias"], [])  # the release has zeros there; the new layer is kept
    held_out = range(0, len(scenes), 5)
    rest = sorted(set(range(len(scenes))) - set(held_out))
    train = DataLoader(Subset(scenes, rest), batch_size=32, shuffle=True)
    test = DataLoader(Subset(scenes, held_out), batch_size=32)
    trainer = Trainer(max_epochs=EPOCHS, logger=False, enable_checkpointing=False)
    trainer.fit(task, train, test)
    trainer.test(task, test)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
