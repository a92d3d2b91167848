"""An image and a sound encoder whose concatenated features predict scenes and sound events."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from downstream.running.heads import SceneClassifier
from downstream.transfer.event_tagger import EventTeacher, SpectrogramInput, sound_encoder
from downstream.transfer.settings import TransferSettings
from pretrain.weights.encoder_weights import LoadedEncoder


class SeenAndHeard(nn.Module):
    """f_s(x, N_v+a), and where a loss asks for it f_e(a, N_a) or f_e(x, N_v+a) (Hu et al., ECCV 2020, section 4).

    Args:
        image: the encoder that sees, N_v.
        sound_backbone: of the encoder that hears, N_a.
        teacher: whose weights N_a begins from, and the layer of f_e(a, N_a) too; None: from none.
        statistics: mean and standard deviation of each band's bytes.
        num_scenes: classes.
        settings: which events are told, and what is heard and seen.
    """

    def __init__(
        self,
        image: LoadedEncoder,
        sound_backbone: str,
        teacher: EventTeacher | None,
        statistics: tuple[Tensor, Tensor],
        num_scenes: int,
        settings: TransferSettings,
    ) -> None:
        super().__init__()
        self.modality = settings.modality
        self.events_from = settings.loss.partition("-")[2]
        # "trunk" is part of the weight names of every network on disk.
        self.image_trunk, self.num_seen = image.module, image.num_features
        self.input = SpectrogramInput(*statistics)
        self.sound_trunk = sound_encoder(sound_backbone, settings.sound_stride)
        num_heard = self.sound_trunk.num_features
        self.scene_head = nn.Linear(self.num_seen + num_heard, num_scenes)
        if teacher is not None:
            teacher.load_encoder(self.sound_trunk)
        if self.events_from:
            assert teacher is not None
            heard = 0 if self.events_from == "audio" else self.num_seen
            self.event_head = nn.Linear(heard + num_heard, teacher.num_events)
        if self.events_from == "audio" and teacher is not None:
            teacher.load_head(self.event_head)
        self.rasters = image.rasters
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(image.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(image.std).view(1, 3, 1, 1))

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A batch's "image", (n, 3, side, side) uint8, and "sound", (n, frames, bands) uint8.

        Returns:
            "logits", (n, scenes), and where a loss asks for them "events", pre-activations (n, events).
        """
        images = ((batch["image"].float() / 255 - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        seen = self._features(self.image_trunk, images, "image")
        heard = self.hearing(batch["sound"])
        both = torch.cat([seen, heard], 1)
        outputs = {"logits": self.scene_head(both)}
        if self.events_from:
            outputs["events"] = self.event_head(heard if self.events_from == "audio" else both)
        return outputs

    def hearing(self, sounds: Tensor) -> Tensor:
        """(n, frames, bands) uint8 → (n, features) of the sound encoder."""
        return self._features(self.sound_trunk, self.input(sounds), "sound")

    def _features(self, encoder: nn.Module, inputs: Tensor, sense: str) -> Tensor:
        if self.modality in ("both", sense):
            features: Tensor = encoder(inputs)
            return features
        # The other input is zero in every row; two rows suffice (batch norm needs more than one value).
        silent: Tensor = encoder(torch.zeros_like(inputs[:2]))
        return silent[:1].expand(len(inputs), -1)

    def classifier_beside(self, sound: Tensor) -> SceneClassifier:
        """The image classifier that this network is for a fixed sound, for class activation maps.

        The logits are linear in the features of both encoders, so what the sound adds to them is a bias.

        Args:
            sound: (frames, bands) uint8.
        """
        image = LoadedEncoder(
            self.image_trunk,
            self.num_seen,
            "",
            "",
            mean=tuple(self.mean.flatten().tolist()),
            std=tuple(self.std.flatten().tolist()),
        )
        classifier = SceneClassifier(image, self.scene_head.out_features, on_embedding=False).to(self.mean.device)
        with torch.no_grad():
            of_image, of_sound = self.scene_head.weight.split(
                [self.num_seen, self.scene_head.in_features - self.num_seen], 1
            )
            classifier.head.weight.copy_(of_image)
            classifier.head.bias.copy_(self.scene_head.bias + self.hearing(sound[None])[0] @ of_sound.T)
        return classifier.eval()
