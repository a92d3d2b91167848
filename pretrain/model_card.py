"""The card of `model/`: what the weights are, what they were trained on and how they scored, filled from the run."""

from __future__ import annotations

from typing import Any

from pretrain.config import Config
from shards.manifest import Manifest

COLUMNS = {
    "image_to_sound": "image → sound",
    "sound_to_image": "sound → image",
    "view_to_view": "view → other view of the image",
    "chance": "chance",
}

FIGURES = {
    "recall_at_1": "recall@1",
    "recall_at_10": "recall@10",
    "recall_at_100": "recall@100",
    "median_rank": "median rank",
}
"""What a card shows of each part."""


def model_card(config: Config, manifest: Manifest, validation: dict[str, Any], *, step: int, epoch: int) -> str:
    """The model card, in Markdown with the hub's metadata, filled from the run.

    Args:
        config: the run's settings.
        manifest: of the shard set trained on.
        validation: scores of the released weights: `image_to_sound` and `sound_to_image` or, where the method
            learns from images alone, `view_to_view`; `chance`; `gallery_size`.
        step: steps trained.
        epoch: epochs trained.
    """
    model, counts = config.model, manifest.splits
    spectrogram = manifest.spectrogram
    stft = (
        f"{spectrogram.sample_rate_hz} Hz, window {spectrogram.window_samples}, hop {spectrogram.hop_samples} samples"
        if spectrogram.window_samples
        else "STFT settings not published with the source"
    )
    hours = manifest.statistics.get("seconds_of_sound", 0.0) / 3600
    return f"""---
library_name: earshot
tags: [remote-sensing, audiovisual, self-supervised, cross-modal-retrieval]
---
# Audiovisual towers for overhead images and sound

An image tower ({model.image_encoder}) and a sound tower ({model.sound_encoder}) that embed overhead images and sounds
recorded at the same place into one space of {model.embedding_dim} dimensions; {how_trained(config)}.

```python
from pretrain.model import TwoTower
model = TwoTower.from_pretrained("FOLDER")
```

`model.encode_image` takes (n, 3, {config.data.image_size}, {config.data.image_size}) uint8 pixels,
`model.encode_sound` (n, 1, {spectrogram.mel_bands}, {config.data.num_frames}) uint8 spectrogram bytes; compare the
results by Euclidean distance.

## Results on the validation split

{results_table(validation)}

Gallery of {validation["gallery_size"]} pairs; ranks start at 1.

## Training

| | |
|---|---|
| data | source `{manifest.source}`: {", ".join(f"{count} {split}" for split, count in counts.items())} pairs |
| sound | {hours:.1f} hours; {spectrogram.scale.name}, {spectrogram.mel_bands} mel bands, {stft} |
| split | by {manifest.build.get("split_by", "unknown")} |
| method | {method_words(config)} |
| recipe | {config.optimizer.name}, learning rate {config.optimizer.learning_rate:g}, batch {config.batch_size}, \
{epoch} of {config.epochs} epochs ({step} steps), {config.precision}, seed {config.seed} |
| trunks begin at | image {model.image_init}, sound {model.sound_init} |
| normalisation layers | {model.norm} |

## Limits

{_limits(validation)}Embeddings mean something only for images and spectrograms prepared as `config.json` says.
The weights reflect where and when the sounds of their source were recorded, which is uneven over the world. Check
the licences of the source's recordings and images before passing the weights on.
"""


def how_trained(config: Config) -> str:
    """How the weights came about, in a few words that follow a semicolon."""
    if config.epochs == 0:
        return "not trained here: the weights are those that training would begin from"
    if "imagenet" in (config.model.image_init, config.model.sound_init):
        return "trained without labels, from trunks that learned ImageNet's"
    return "trained without labels"


def method_words(config: Config) -> str:
    """The method, its loss and margin, as a cell of a table."""
    if config.method != "audiovisual":
        return f"{config.method}, on the images alone"
    margin = f", margin {config.loss.margin:g}" if "triplet" in config.loss.name else ""
    return f"{config.method}, loss `{config.loss.name}`{margin}"


def _limits(validation: dict[str, Any]) -> str:
    if "image_to_sound" in validation:
        return ""
    return "The sound tower was not trained and is as it was initialised: images and sounds can't be compared. "


def results_table(validation: dict[str, Any]) -> str:
    """Recalls and median ranks as a Markdown table.

    Args:
        validation: one or more of `COLUMNS`, each with figures by name.
    """
    parts = {part: label for part, label in COLUMNS.items() if part in validation}
    rows = [f"| | {' | '.join(parts.values())} |", "|---" * (len(parts) + 1) + "|"]
    for name, label in FIGURES.items():
        values = [validation[part][name] for part in parts]
        cells = ("–" if value is None else f"{value:.3f}" if "recall" in name else f"{value:.1f}" for value in values)
        rows.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(rows)
