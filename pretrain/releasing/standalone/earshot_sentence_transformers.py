"""A release as a model of sentence-transformers: `SentenceTransformer(FOLDER, trust_remote_code=True)`.

Inputs of `encode` are images (PIL, uint8 arrays (height, width, 3), paths) and sounds (`{"array": …, "sampling_rate":
…}`, paths), one kind a call; `similarity` is the negative Euclidean distance.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers.base.modality import infer_modality
from sentence_transformers.base.modules import InputModule
from torch import Tensor

from .earshot_towers import Towers

FILES = ("config.json", "earshot_towers.py", "earshot_sentence_transformers.py", "earshot_mteb.py", "NOTICE.md")


class EarshotTowers(InputModule):
    """The two towers; each input goes through the one of its kind.

    Args:
        folder: the release.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.towers = Towers(folder)

    @classmethod
    def load(cls, model_name_or_path: str, subfolder: str = "", **options: Any) -> EarshotTowers:
        """Loads a folder, or downloads a model on the hub."""
        names = ("token", "cache_folder", "revision", "local_files_only")
        given = {name: options[name] for name in names if name in options}
        return cls(cls.load_dir_path(model_name_or_path, subfolder=subfolder, **given))

    @property
    def modalities(self) -> list[Any]:
        """What can be embedded."""
        return ["image", "audio"]

    def get_embedding_dimension(self) -> int:
        """Dimensions of the embeddings."""
        return int(self.towers.embedding["dimensions"])

    def preprocess(self, inputs: Sequence[Any], **_: Any) -> dict[str, Any]:
        """Prepares images or sounds; sentence-transformers refuses both in one call."""
        kind = infer_modality(inputs[0])
        values = [item[kind] if isinstance(item, dict) and kind in item else item for item in inputs]
        if kind == "image":
            return {"pixels": torch.stack([self.towers.image_pixels(image) for image in values])}
        crops = [self._crops(sound) for sound in values]
        return {"crops": torch.cat(crops), "counts": torch.tensor([len(crop) for crop in crops])}

    def _crops(self, sound: Any) -> Tensor:
        if isinstance(sound, dict):
            return self.towers.sound_crops(sound["array"], int(sound["sampling_rate"]))
        if isinstance(sound, str):
            import soundfile

            samples, rate = soundfile.read(sound, dtype="float32", always_2d=True)
            return self.towers.sound_crops(samples.T, rate)
        raise TypeError('a sound must be {"array": waveform, "sampling_rate": hertz} or a path')

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Adds `sentence_embedding`, (n, d)."""
        if "pixels" in features:
            embeddings = self.towers.encode_image(features["pixels"])
        else:
            embeddings = self.towers.encode_sound(features["crops"])
            embeddings = self.towers.mean_of_crops(embeddings, features["counts"].tolist())
        return features | {"sentence_embedding": embeddings}

    def save(self, output_path: str, *_: Any, **__: Any) -> None:
        """Saves the current weights and all that sentence-transformers needs to load them."""
        out = Path(output_path)
        for name in FILES:
            if (self.folder / name).exists() and (self.folder / name).resolve() != (out / name).resolve():
                shutil.copyfile(self.folder / name, out / name)
        weights = load_file(self.folder / "model.safetensors")
        for modality in ("image", "sound"):
            name = f"{modality}-encoder-timm"
            (out / name).mkdir(exist_ok=True)
            if self.folder.resolve() != out.resolve():
                shutil.copyfile(self.folder / name / "config.json", out / name / "config.json")
            encoder = self.towers.get_submodule(f"{modality}_encoder").state_dict()
            save_file(_on_cpu(encoder), out / name / "model.safetensors")
            projection = self.towers.get_submodule(f"{modality}_projection").state_dict()
            # Only what `Towers` reads: the encoders are in their own folders.
            weights = {key: value for key, value in weights.items() if not key.startswith(f"{modality}_tower.")}
            weights |= _on_cpu({f"{modality}_tower.projection.{key}": value for key, value in projection.items()})
        save_file(weights, out / "model.safetensors")


def _on_cpu(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in state.items()}
