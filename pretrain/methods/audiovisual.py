"""Learning from which image and which sound belong together."""

from __future__ import annotations

from torch import Tensor, nn

from pretrain.config import Config
from pretrain.losses import LOSSES
from pretrain.methods.interface import Method
from pretrain.model import TwoTower, TwoTowerConfig
from shards.manifest import Manifest


class Audiovisual(Method):
    """Both towers under a loss on paired embeddings (SoundingEarth, section IV).

    Args:
        towers: the two towers.
        pair_loss: a module from (n, d) image and (n, d) sound embeddings to a scalar.
    """

    def __init__(self, towers: TwoTower, pair_loss: nn.Module) -> None:
        super().__init__()
        self.towers = towers
        self.pair_loss = pair_loss

    @classmethod
    def from_config(cls, config: Config, manifest: Manifest) -> Audiovisual:
        """The method as set, with towers for the spectrograms of the shard set."""
        pair_loss = LOSSES[config.loss.name](config.loss)
        towers = TwoTower(
            TwoTowerConfig(
                image_encoder=config.model.image_encoder,
                sound_encoder=config.model.sound_encoder,
                embedding_dim=config.model.embedding_dim,
                norm=config.model.norm,
                on_sphere=bool(pair_loss.on_sphere),
                image_size=config.data.image_size,
                num_frames=config.data.num_frames,
                sound_pooling=config.model.sound_pooling,
                spectrogram_mean=manifest.statistics["spectrogram_mean"],
                spectrogram_std=manifest.statistics["spectrogram_std"],
                spectrogram=manifest.spectrogram,
            )
        )
        return cls(towers, pair_loss)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Embeds a batch's "image" (n, 3, s, s) uint8 and "sound" (n, 1, 128, t) uint8."""
        return {
            "image": self.towers.encode_image(batch["image"]),
            "sound": self.towers.encode_sound(batch["sound"]),
        }

    def loss(self, embeddings: dict[str, Tensor]) -> Tensor:
        """The pair loss of the global batch."""
        return self.pair_loss(embeddings["image"], embeddings["sound"])
