"""Runs frozen encoders over a shard set once: several views of each image and crops of each sound."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pretrain import distributed
from pretrain.data.batches import next_batch, training_loader
from pretrain.data.views import Views
from pretrain.features.inputs import MODALITIES, CentralInputs, EncoderInputs, RandomInputs
from pretrain.features.store import FeatureStore, cannot_write
from pretrain.model import TwoTower
from pretrain.precision import autocast
from pretrain.settings.files import flatten
from pretrain.settings.pretraining import CHANGEABLE_ON_RESUME, Config
from pretrain.training.embedding import PairEmbeddings, mean_of_crops
from shards.atomic_files import write_json
from shards.errors import UserError
from shards.locks import lock
from shards.progress import ProgressLine
from shards.records import holds_json, read_json
from shards.schema import TRAIN_SPLIT
from shards.streaming.reading import ShardSet

FEATURES_FOLDER = "features"
RECORD_NAME = "features.json"
FORMAT_VERSION = 1


class FrozenFeatures:
    """Features of both frozen encoders for the pairs of a shard set, computed on first use.

    For training there are `config.data.feature_views` random views of each pair, drawn as in training without a cache
    but from a seed of their own, so that runs with other seeds can share them. For evaluation there are the central
    view and up to `crops` evenly spaced crops.

    Args:
        towers: the towers, whose encoders are frozen.
        shard_set: where the pairs are.
        config: the run's settings.
        views: makes the random views.
    """

    def __init__(self, towers: TwoTower, shard_set: ShardSet, config: Config, views: Views) -> None:
        self._towers = towers
        self._shard_set = shard_set
        self._config = config
        self._views = views
        self.folder: Path = config.data.features_dir or config.out / FEATURES_FOLDER
        if distributed.is_first():
            self._begin()
        distributed.barrier()

    def training(self) -> FeatureStore:
        """The features of the training split: "image" (n, views, f), "sound" (n, views, g), and other entries."""
        store = FeatureStore(self.folder, TRAIN_SPLIT, self._shard_set.num_samples(TRAIN_SPLIT))
        num_views = self._config.data.feature_views
        others = {name: shape for name, shape in self._views.entries.items() if name not in MODALITIES}
        inputs = RandomInputs(self._shard_set, self._views, num_views)
        self._fill(store, inputs, {**self._shapes(num_views, num_views), **others})
        return store

    def evaluation(self, split: str, crops: int) -> FeatureStore:
        """The features of another split: "image" (n, 1, f), "sound" (n, crops, g) and "crops" (n,), how many count."""
        store = FeatureStore(self.folder, split, self._shard_set.num_samples(split))
        size, frames = self._towers.config.image_size, self._towers.config.num_frames
        inputs = CentralInputs(self._shard_set, split, size, frames, crops)
        self._fill(store, inputs, {**self._shapes(1, crops), "crops": ((), torch.int64)})
        return store

    def _shapes(self, images: int, sounds: int) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        return {
            "image": ((images, self._towers.image_tower.num_features), torch.float32),
            "sound": ((sounds, self._towers.sound_tower.num_features), torch.float32),
        }

    def _begin(self) -> None:
        """Removes features of other weights, views or shards, unless another run uses them.

        Raises:
            UserError: the folder can't be written, or is in use for other features.
        """
        path, record = self.folder / RECORD_NAME, self._identity()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Held until the run ends. Runs with the same features share the folder; what both lack is computed twice,
            # to the same bytes.
            self._lock = os.open(self.folder, os.O_RDONLY)
            if _is_locked_alone(self._lock) and not _holds_record(path, record):
                for split in self._shard_set.manifest.splits:
                    FeatureStore(self.folder, split, 0).clear()
                write_json(path, record)
            lock(self._lock, shared=True, wait=True)  # alone no more; else waits for a run that is alone for a moment
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        if not _holds_record(path, record):
            raise UserError(
                f"data.features_dir {self.folder} is in use by another run, for other features; give another folder or "
                "wait for that run"
            )

    def _identity(self) -> dict[str, Any]:
        """What the features depend on; of the settings of the data, all that a resumed run may not change."""
        config, manifest = self._towers.config, self._shard_set.manifest
        shards = [[shard.name, shard.sha256] for shard in manifest.shards]
        data = {f"data.{name}": value for name, value in flatten(self._config.data).items()}
        return {
            "format_version": FORMAT_VERSION,
            "image_encoder": config.image_encoder,
            "sound_encoder": config.sound_encoder,
            "weights_sha256": _checksum(self._towers),
            "shards_sha256": hashlib.sha256(json.dumps(shards).encode()).hexdigest(),
            "num_frames": config.num_frames,
            "crops": self._config.validation.crops,
            "precision": self._config.precision,
            "entries": sorted(self._views.entries),
            "settings": {name: value for name, value in data.items() if name not in CHANGEABLE_ON_RESUME},
        }

    @torch.inference_mode()
    def _fill(
        self, store: FeatureStore, inputs: EncoderInputs, shapes: dict[str, tuple[tuple[int, ...], torch.dtype]]
    ) -> None:
        # The first process's list, because another's may see blocks that are written meanwhile.
        missing = distributed.from_first(store.missing())
        if not missing:
            return
        if distributed.is_first():
            store.create(shapes)
        distributed.barrier()
        mine = missing[distributed.rank() :: distributed.num_processes()]
        device = self._towers.image_mean.device
        inputs.blocks = [store.rows(block) for block in mine]
        stream = iter(training_loader(inputs, workers=self._config.data.workers, pin_memory=device.type == "cuda"))
        progress = ProgressLine(
            f"features of {store.split}", len(mine) * inputs.num_views, enabled=bool(mine) and distributed.is_first()
        )
        was_training = self._towers.training
        self._towers.eval()
        with progress, autocast(device, self._config.precision):
            for block in mine:
                found: dict[str, list[NDArray[Any]]] = {}
                for _ in range(inputs.num_views):
                    batch = next_batch(stream)
                    for name, rows in self._features(batch["entries"], device).items():
                        found.setdefault(name, []).append(rows)
                    progress.advance(1)
                rows_of_block = {
                    name: np.concatenate(views, axis=1) if name in MODALITIES else views[0]
                    for name, views in found.items()
                }
                store.write(block, rows_of_block, distributed.rank())
        self._towers.train(was_training)
        distributed.barrier()

    def _features(self, entries: dict[str, Tensor], device: torch.device) -> dict[str, NDArray[Any]]:
        """The features of some pairs: (n, k, …) inputs → (n, k, features), of which only the first "crops" count."""
        features = {name: value.numpy() for name, value in entries.items() if name not in MODALITIES}
        for name, compute in (("image", self._towers.image_features), ("sound", self._towers.sound_features)):
            inputs = entries[name]
            shape = inputs.shape[:2]
            counts = entries["crops"] if name == "sound" and "crops" in entries else torch.full(shape[:1], shape[1])
            wanted = torch.arange(shape[1]) < counts[:, None]
            found = compute(inputs[wanted].to(device)).float().cpu()
            features[name] = np.zeros((*shape, found.shape[1]), np.float32)
            features[name][wanted.numpy()] = found.numpy()
        return features


@torch.inference_mode()
def embed_features(towers: TwoTower, store: FeatureStore, precision: str) -> PairEmbeddings:
    """Embeds a split from its stored features, as `pretrain.training.embedding.embed_split` does from its pairs.

    Args:
        towers: the towers, in evaluation mode.
        store: from `FrozenFeatures.evaluation`.
        precision: "bf16" or "fp32".
    """
    device = towers.image_mean.device
    images, sounds = [], []
    with autocast(device, precision):
        for block in range(store.num_blocks):
            rows = slice(store.rows(block).start, store.rows(block).stop)
            image, sound, counts = (np.array(store.read(name)[rows]) for name in ("image", "sound", "crops"))
            images.append(towers.project_image(torch.from_numpy(image[:, 0]).to(device)).float().cpu().numpy())
            crops = sound[np.arange(sound.shape[1]) < counts[:, None]]
            projected = towers.project_sound(torch.from_numpy(crops).to(device)).float().cpu().numpy()
            sounds.append(mean_of_crops(projected, counts.tolist()))
    return PairEmbeddings([], np.concatenate(images), np.concatenate(sounds))


def _holds_record(path: Path, record: dict[str, Any]) -> bool:
    return holds_json(path) and read_json(path) == record


def _is_locked_alone(folder: int) -> bool:
    """Locks a folder for this process alone, unless another holds it."""
    try:
        lock(folder)
    except BlockingIOError:
        return False
    return True


def _checksum(towers: TwoTower) -> str:
    """SHA-256 of the encoders' weights and of how their inputs are normalised."""
    digest = hashlib.sha256()
    config = towers.config
    digest.update(json.dumps([config.image_mean, config.image_std, config.spectrogram_mean]).encode())
    digest.update(json.dumps([config.spectrogram_std, config.sound_pooling]).encode())
    for tower in (towers.image_tower, towers.sound_tower):
        for name, value in tower.trunk.state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
