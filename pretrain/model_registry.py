"""Models by name: a file in the repository says where each comes from and what it is; a lab can add its own.

`EARSHOT_REGISTRY` names a further file of the same form, whose entries come first; `EARSHOT_MODELS` the folder for
weights that are downloaded or made, by default `~/.cache/earshot/models`.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from pretrain.model_config import IMAGENET_MEAN, IMAGENET_STD
from shards.atomic_files import temporary_beside
from shards.checksums import file_sha256
from shards.errors import UserError
from shards.records import record_as

REGISTRY_FILE = Path(__file__).with_suffix(".yaml")
OWN_REGISTRY = "EARSHOT_REGISTRY"
MODELS_FOLDER = "EARSHOT_MODELS"

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
RESERVED = ("random", "imagenet", "pretrained")
"""Words that settings of weights take, so they can't be names of models."""

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]


@dataclass(frozen=True)
class ModelEntry:
    """A model of the registry.

    Attributes:
        name: by which it is loaded.
        summary: what it is, in a sentence.
        image_encoder, sound_encoder: names in `ENCODERS`.
        embedding_dim: dimensions of the embeddings.
        image_size: side of the images, in pixels.
        training_set: what it was trained on.
        licence: of the weights, as the hub names it.
        hub: source: `owner/name` on the Hugging Face hub.
        revision: branch, tag or commit there; None: the newest.
        url: source: the address of a folder with the files of a release.
        sha256: by file name, checksums of the files that are fetched from `url`.
        command: source: the command that makes the weights, for those that nobody publishes.
        minutes: about how long that takes on 2 cores.
        image_mean, image_std: normalisation of images in [0, 1].
        scores: what was measured: split, protocol, size of the gallery, and figures by direction.
    """

    summary: str
    image_encoder: str
    sound_encoder: str
    embedding_dim: Annotated[int, Field(ge=1)]
    image_size: Annotated[int, Field(ge=1)]
    training_set: str
    licence: str
    name: str = ""
    hub: str | None = None
    revision: str | None = None
    url: str | None = None
    sha256: dict[FileName, Sha256] = field(default_factory=dict)
    command: str | None = None
    minutes: float | None = None
    image_mean: tuple[float, float, float] = IMAGENET_MEAN
    image_std: tuple[float, float, float] = IMAGENET_STD
    scores: dict[str, Any] = field(default_factory=dict)


def list_models(filter: str = "*") -> list[str]:
    """Names of all models that can be loaded by name, sorted.

    Args:
        filter: only names that match this pattern with *, ? or [letters], as in timm.

    Raises:
        TypeError: the filter is no str.
        UserError: the file that `EARSHOT_REGISTRY` names can't be read.
    """
    if not isinstance(filter, str):
        raise TypeError(f"filter must be a pattern such as 'd*', got {filter!r}")
    return sorted(fnmatch.filter(read_registry(), filter))


def model_entry(name: str) -> ModelEntry:
    """What is known about the model with a name.

    Raises:
        UserError: there is none.
    """
    entries = read_registry()
    if name not in entries:
        raise UserError(f"unknown model {name!r}; choose one of: {', '.join(sorted(entries))}")
    return entries[name]


def is_registered(words: str | Path) -> bool:
    """Whether `words` name a model of the registry, and there is nothing at that path."""
    name = str(words)
    return NAME.fullmatch(name) is not None and not Path(name).exists() and name in read_registry()


def read_registry() -> dict[str, ModelEntry]:
    """All models by name: those of `EARSHOT_REGISTRY`, then those of the repository.

    Raises:
        UserError: a file can't be read or an entry is invalid.
    """
    return registry_with(os.environ.get(OWN_REGISTRY))


def registry_with(own: str | None) -> dict[str, ModelEntry]:
    """The repository's models and those of a further file, which come first; see `read_registry`."""
    return {**_entries_in(REGISTRY_FILE), **(_entries_in(Path(own)) if own else {})}


def _entries_in(path: Path) -> dict[str, ModelEntry]:
    from shards.yaml_text import read_yaml  # torch.hub loads towers where PyYAML may be missing

    record = read_yaml(path)
    models = record.get("models") if isinstance(record, dict) else None
    if not isinstance(models, Mapping):
        raise UserError(f"{path} must hold 'models', with an entry for each name")
    return {str(name): _entry(str(name), values, path) for name, values in models.items()}


def _entry(name: str, values: Any, path: Path) -> ModelEntry:
    if not NAME.fullmatch(name) or name in RESERVED:
        raise UserError(f"{path}: a model's name is in small letters, digits and '._-', and none of "
                        f"{', '.join(RESERVED)}, got {name!r}")  # fmt: skip
    if not isinstance(values, dict):
        raise UserError(f"{path}: {name} must be a mapping of settings")
    unknown = sorted(values.keys() - {each.name for each in fields(ModelEntry)})
    if unknown:
        raise UserError(f"{path}: {name} has no setting {unknown[0]!r}")
    entry = record_as(ModelEntry, {**values, "name": name}, f"{path}, {name}")
    if sum(source is not None for source in (entry.hub, entry.url, entry.command)) != 1:
        raise UserError(f"{path}: {name} must have exactly one source of hub, url and command")
    if entry.url is not None and not {"config.json", "model.safetensors"} <= entry.sha256.keys():
        raise UserError(f"{path}: {name} has a url, so sha256 must hold config.json and model.safetensors")
    return entry


def models_folder() -> Path:
    """Where weights that are downloaded or made are kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get(MODELS_FOLDER) or cache / "earshot" / "models")


def fetched_folder(entry: ModelEntry) -> Path:
    """The folder with the files of a model whose source is a URL or a command; missing ones are downloaded.

    Raises:
        UserError: they can't be downloaded, have other checksums, or the command was not run yet.
    """
    folder = models_folder() / entry.name
    if entry.command is not None:
        if not (folder / "model.safetensors").is_file():
            time = f", about {entry.minutes:g} minutes on 2 cores" if entry.minutes else ""
            raise UserError(
                f"the weights {entry.name} are not published and not in {folder} yet; make them with: "
                f"{entry.command}{time}"
            )
        return folder
    assert entry.url is not None
    for name, checksum in entry.sha256.items():
        if not (folder / name).is_file() or file_sha256(folder / name) != checksum:
            _download(f"{entry.url.rstrip('/')}/{name}", folder / name, checksum)
    return folder


def _download(url: str, path: Path, checksum: str) -> None:
    from shards.streaming.downloads import open_download, shown_url
    from shards.streaming.fetching import UnfetchableError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary_beside(path) as partial:
            with open_download(url) as source, partial.open("wb") as file:
                while block := source.read(1 << 20):
                    file.write(block)
            found = file_sha256(partial)
            if found != checksum:
                raise UserError(
                    f"{shown_url(url)} has the SHA-256 {found[:12]}…, not {checksum[:12]}… as the registry states; it "
                    "was not kept: ask whoever publishes it"
                )
            os.replace(partial, path)
    except UnfetchableError as error:
        raise UserError(f"{shown_url(url)} can't be downloaded: {error}") from error
    except OSError as error:
        raise UserError(f"{path} can't be written: {error.strerror or error}; set {MODELS_FOLDER}") from error
