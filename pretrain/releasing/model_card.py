"""The card of `model/`, filled from the run: what the weights are, what they were trained on and their scores."""

from __future__ import annotations

from typing import Any

from pretrain.cards import Usage, card, section, table
from pretrain.model_config import TwoTowerConfig
from pretrain.ranking.scores import INTERVALS
from pretrain.releasing.generated_world import words_on_generated_world
from pretrain.releasing.licence_words import of_whole_corpus
from pretrain.scores import PERCENT, RANK, Score
from pretrain.settings.pretraining import Config, ModelSettings
from shards.manifest import Manifest
from shards.raster_settings import RasterSettings
from shards.records import as_number
from shards.schema import SpectrogramSettings
from shards.untrusted_text import as_code, as_line

KNOWN_INITS = ("random", "imagenet", "pretrained")
"""Initialisation settings that mean something to any reader of the card; the others are paths."""

COLUMNS = {
    "image_to_sound": "image → sound",
    "sound_to_image": "sound → image",
    "view_to_view": "view → other view of the image",
    "chance": "chance",
}

UNTRAINED_SOUND = "The sound tower is untrained, with its initial weights: images and sounds can't be compared."

LIMITS = """Embeddings are meaningful only for images and spectrograms prepared as described in `config.json`.
The weights reflect where and when the sounds of their source were recorded, which is uneven over the world. Check
the licences of the source's recordings and images before passing the weights on."""

FIGURES = {
    "recall_at_1": "recall@1",
    "recall_at_10": "recall@10",
    "recall_at_100": "recall@100",
    "median_rank": "median rank",
}
"""The figures shown for each part, by key."""


def model_card(config: Config, manifest: Manifest, validation: dict[str, Any], *, step: int, epoch: int) -> str:
    """Writes the model card, in Markdown with the hub's metadata, filled from the run.

    Args:
        config: the run's settings.
        manifest: manifest of the shard set trained on.
        validation: scores of the released weights: `image_to_sound` and `sound_to_image` or, where the method
            learns from images alone, `view_to_view`; `chance`; `gallery_size`.
        step: steps trained.
        epoch: epochs trained.
    """
    model = config.model
    spectrogram, rasters = manifest.spectrogram, manifest.rasters.learned
    hours = manifest.statistics.get("seconds_of_sound", 0.0) / 3600
    sound_trained = config.trains_sound
    untrained = "" if sound_trained else f"{UNTRAINED_SOUND} "
    shape = f"(n, 1, {spectrogram.mel_bands}, {config.data.frames_of_crop(spectrogram)})" if sound_trained else ""
    usage = Usage("FOLDER", model.embedding_dim, config.data.image_size, shape, spectrogram.is_published)
    pairs = ", ".join(f"{count} {split}" for split, count in manifest.splits.items())
    rows = {
        "data": f"source {as_code(manifest.source)}: {pairs} pairs",
        **({"licence of the data": of_whole_corpus(manifest.licence)} if manifest.licence else {}),
        "sound": f"{hours:.1f} hours; {spectrogram.scale.name}, {spectrogram.mel_bands} mel bands, "
        f"{stft_words(spectrogram)}",
        **({} if rasters == RasterSettings() else {"rasters": rasters.describe()}),
        "split": f"by {as_code(str(manifest.build.get('split_by', 'unknown')))}",
        **({"warnings": "; ".join(map(as_line, manifest.warnings))} if manifest.warnings else {}),
        "method": config.summary,
        "recipe": f"{config.optimizer.name}, learning rate {config.optimizer.learning_rate:g}, batch "
        f"{config.batch_size}, {epoch} of {config.epochs} epochs ({step} steps), {config.precision}, "
        f"seed {config.seed}",
        "encoders start from": f"image {beginning(model.image_init)}, sound {beginning(model.sound_init)}",
        **({} if model.freeze == "none" else {"frozen encoders": frozen_encoders(model)}),
        "normalisation layers": model.norm,
    }
    gallery = f"Gallery of {validation['gallery_size']} pairs; ranks start at 1. {intervals_words(validation)}".strip()
    return card(
        "Audiovisual towers for overhead images and sound" if sound_trained else "An image tower for overhead images",
        f"{what_they_are(model, sound_trained=sound_trained)}; {how_trained(config, step)}.",
        words_on_generated_world(manifest.source, config, is_trained=step > 0),
        section("Usage", str(usage)),
        section("Results on the validation split", f"{results_table(validation)}\n\n{gallery}"),
        section("Training", table(rows)),
        section("Limits", f"{untrained}{LIMITS}"),
    )


def what_they_are(model: ModelSettings | TwoTowerConfig, *, sound_trained: bool) -> str:
    """Describes the towers and what they embed, in an unfinished sentence that `how_trained` completes."""
    image, sound = f"image tower ({model.image_encoder})", f"sound tower ({model.sound_encoder})"
    space = f"space of {model.embedding_dim} dimensions"
    if sound_trained:
        what = "overhead images and sounds recorded at the same place"
        return f"An {image} and a {sound} that embed {what} into one {space}"
    return f"A {sound} that was never trained, and an {image} that embeds overhead images into a {space}"


def frozen_encoders(model: ModelSettings) -> str:
    """Which encoders were frozen, and for how long."""
    names = model.freeze.replace(",", ", ")
    return f"{names}, for the first {model.unfreeze_epochs} epochs" if model.unfreeze_epochs else names


def how_trained(config: Config, step: int) -> str:
    """Describes in a few words, to follow a semicolon, how the weights after a step were trained."""
    if step == 0:
        return "not trained here: these are the initial weights that training would start from"
    inits = (config.model.image_init, config.model.sound_init)
    used = inits if config.trains_sound else inits[:1]
    if config.model.freeze == "image,sound" and not config.model.unfreeze_epochs:
        return "projections trained without labels on frozen encoders"
    if "imagenet" in used:
        return "trained without labels, from encoders pre-trained on ImageNet's"
    if "pretrained" in used:
        return "trained without labels, from encoders with published weights"
    return "trained without labels"


def stft_words(spectrogram: SpectrogramSettings) -> str:
    """Describes the sampling rate, window and hop of the spectrograms, as far as they are known."""
    if not spectrogram.window_samples:
        return "STFT settings not published with the source"
    return (
        f"{spectrogram.sample_rate_hz} Hz, window {spectrogram.window_samples}, hop {spectrogram.hop_samples} samples"
    )


def beginning(init: str) -> str:
    """Describes what an encoder started from; the path of a file or folder means nothing to other readers."""
    return init if init in KNOWN_INITS else "other weights"


def results_table(validation: dict[str, Any]) -> str:
    """Formats recalls and median ranks as a Markdown table, with their 95 % intervals where they are known.

    Args:
        validation: one or more of `COLUMNS`, each with figures by name; `intervals`, the same with two bounds each.
    """
    parts = {part: label for part, label in COLUMNS.items() if part in validation}
    rows = [f"| | {' | '.join(parts.values())} |", "|---" * (len(parts) + 1) + "|"]
    for name, label in FIGURES.items():
        score = Score(name, label, PERCENT if "recall" in name else RANK)
        heading = f"{label}, %" if score.is_percent else label
        rows.append(f"| {heading} | {' | '.join(_cell(validation, part, score) for part in parts)} |")
    return "\n".join(rows)


def intervals_words(validation: dict[str, Any]) -> str:
    """What the brackets in `results_table` are, in a sentence; "" where there are none."""
    if not any(_interval(validation, part, key) for part in COLUMNS for key in FIGURES):
        return ""
    intervals = validation[INTERVALS]
    count, unit = as_number(intervals.get("num_units")), intervals.get("unit")
    over = "recordings" if unit == "recording" else "queries"
    return f"In brackets 95 % intervals, by bootstrap over {f'{count:,.0f} ' if count else ''}{over}."


def _cell(validation: dict[str, Any], part: str, score: Score) -> str:
    value = score.value_in(validation.get(part))
    if value is None:
        return "–"
    bounds, show = _interval(validation, part, score.key), score.unit.show
    return show(value) + (f" ({show(bounds[0])} – {show(bounds[1])})" if bounds else "")


def _interval(validation: dict[str, Any], part: str, key: str) -> tuple[float, float] | None:
    """Both bounds of a figure; None where the record, which may come from a third party, has no such numbers."""
    found: Any = validation
    for name in (INTERVALS, part, key):
        found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, list) or len(found) != 2:
        return None
    low, high = map(as_number, found)
    return None if low is None or high is None else (low, high)
