"""Earshot from Python, `earshot.load(FOLDER).embed_images(FILES)`, and from the command line; imports on first use."""

from __future__ import annotations

from importlib import import_module as _import_module
from importlib.util import find_spec as _find_spec
from pathlib import Path as _Path
from typing import TYPE_CHECKING
from typing import Any as _Any

if TYPE_CHECKING:
    from pretrain.data.shard_dataset import ShardDataset as ShardDataset
    from pretrain.model import TwoTower as TwoTower
    from pretrain.model_registry import list_models as list_models
    from pretrain.weights.weights_enum import get_weight as get_weight
    from retrieval.audiovisual_model import AudiovisualModel as AudiovisualModel
    from retrieval.evaluation import evaluate_weights as evaluate
    from retrieval.loading import load as load
    from retrieval.pair_search import search as search
    from shards import __version__ as __version__
    from shards.data_files import image_files as image_files
    from shards.data_files import sound_files as sound_files
    from shards.errors import UserError as UserError

_HOMES = {
    "AudiovisualModel": "retrieval.audiovisual_model:AudiovisualModel",
    "ShardDataset": "pretrain.data.shard_dataset:ShardDataset",
    "TwoTower": "pretrain.model:TwoTower",
    "UserError": "shards.errors:UserError",
    "__version__": "shards:__version__",
    "evaluate": "retrieval.evaluation:evaluate_weights",
    "get_weight": "pretrain.weights.weights_enum:get_weight",
    "image_files": "shards.data_files:image_files",
    "list_models": "pretrain.model_registry:list_models",
    "load": "retrieval.loading:load",
    "search": "retrieval.pair_search:search",
    "sound_files": "shards.data_files:sound_files",
}
"""Name here → module and object."""

__all__ = [
    "AudiovisualModel",
    "ShardDataset",
    "TwoTower",
    "UserError",
    "__version__",
    "evaluate",
    "get_weight",
    "image_files",
    "list_models",
    "load",
    "main",
    "search",
    "sound_files",
]


def __getattr__(name: str) -> _Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'earshot' has no attribute {name!r}")
    module, _, home = _HOMES[name].partition(":")
    found = globals()[name] = getattr(_import_module(module), home)
    return found


def main() -> None:
    """Runs the console command `earshot`."""
    from shards.loading import Loading

    with Loading():
        from launch.console import main as run

    run()


def __dir__() -> list[str]:
    return sorted(__all__)


def _refuse_hidden_packages() -> None:
    """Checks that Python finds Earshot's packages, which have everyday names, and not others that come before them."""
    here = _Path(__file__).resolve().parent
    for package in ("shards", "pretrain", "retrieval", "downstream", "launch"):
        spec = _find_spec(package)
        places = [] if spec is None else [spec.origin, *(spec.submodule_search_locations or [])]
        found = [_Path(place).resolve() for place in places if place is not None]
        if not found:
            raise ImportError(f"Earshot's package {package} is not beside {__file__}; install Earshot again")
        if found[-1] not in (here / package, here / package / "__init__.py"):
            raise ImportError(
                f"{found[-1]} hides Earshot's own package {package} ({here / package}), because Python looks there "
                "first: rename it, or start Python in another folder"
            )


_refuse_hidden_packages()
