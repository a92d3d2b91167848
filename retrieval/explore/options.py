"""The options of `explore` and the registry of layouts; options are checked before torch is imported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pretrain.model_files import check_model_folder
from retrieval.options import check_at_least
from shards.command_line.verbs import one_of
from shards.manifest import check_shard_folder
from shards.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LAYOUTS: Registry[Callable[[NDArray[np.float32]], NDArray[np.float32]]] = Registry(
    "layout",
    {"umap": "retrieval.explore.layout:umap_plane", "tsne": "retrieval.explore.layout:tsne_plane"},
)
"""Functions from embeddings (k, d) to points on a plane (k, 2)."""


@dataclass(frozen=True)
class ExploreOptions:
    """Opens a local page to search a shard set by image or sound, with maps of the world and of the embedding."""

    weights: Path
    """A run folder, a model folder, or a model on the hub (OWNER/NAME)."""
    shards: Path
    """The shard set."""
    split: Literal["test", "val", "train", "all"] = "test"
    """The split to search; the model was not trained on test pairs."""
    crops: int = 10
    """Number of evenly spaced sound crops whose embeddings are averaged."""
    layout: Annotated[str, one_of(LAYOUTS)] = "umap"
    """Method that projects the embedding to two dimensions."""
    cache: Path | None = None
    """Folder for embeddings, indexes and layouts; by default explore/ in the folder of the weights or, for weights by
    name, where downloaded weights are kept."""
    host: str = "127.0.0.1"
    """Address to serve on; any other than 127.0.0.1 admits other machines, with a token that the command prints."""
    port: int = 7860
    """Port to serve on; 0 selects a free one."""
    batch_size: int = 16
    """Pairs embedded at once, the first time these weights and shards are opened."""
    device: str = "auto"
    """cpu, cuda, or auto (the GPU if there is one)."""
    force: bool = False
    """Accept spectrograms computed with settings other than those the model learned from; their scale is converted."""

    def check(self) -> None:
        """Checks rules, choices and folders.

        Raises:
            UserError: an option is invalid; the message names it, its value and the rule.
        """
        check_at_least(1, crops=self.crops, batch_size=self.batch_size)
        LAYOUTS.check(self.layout)
        check_model_folder(self.weights)
        check_shard_folder(self.shards)
