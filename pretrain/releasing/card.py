"""The model card of a release: what its weights are, how to load them, what they learned from and how they scored."""

from __future__ import annotations

from typing import Any

from huggingface_hub import ModelCardData

from pretrain.model import TAGS
from pretrain.model_card import how_trained, method_words, results_table
from pretrain.releasing.citation import CITATION
from pretrain.releasing.energy import Energy
from pretrain.releasing.facts import Facts
from pretrain.releasing.notice import as_code, recordings
from pretrain.releasing.results import scores_of
from pretrain.releasing.trunk_files import TrunkFile, trunk_files

OWN_LICENCE = "see-notice"
"""What the hub shows where nobody named a licence for the weights."""

INTENDED_USE = """For research: as a start for scene recognition and land cover from overhead images, for retrieval
between images and sounds of places, and for studying what sounds tell of places. Not for decisions about people or
single plots of land, not for finding out where a private recording was made, nor for watching places by their sound."""

LIMITS = """Images and sounds must be prepared as `config.json` says under `preprocessing`; spectrograms computed
otherwise are other inputs. The weights reflect where and when the sounds of their source were recorded. Nothing was
done to find or remove biases. What a sound tower hears beyond places, such as speech, was not examined."""


def release_card(facts: Facts, *, name: str, licence: str | None) -> str:
    """The card, in Markdown with the hub's metadata.

    Args:
        facts: what is known of the weights.
        name: by which they load, a folder or `owner/name`.
        licence: of the weights, as the hub names it; None: left to `NOTICE.md`.
    """
    data = ModelCardData(
        license=licence or "other",
        license_name=None if licence else OWN_LICENCE,
        license_link=None if licence else "NOTICE.md",
        library_name="earshot",
        pipeline_tag="feature-extraction",
        tags=[*TAGS, "pytorch_model_hub_mixin", "model_hub_mixin"],
    )
    sections = {
        "Loading": _loading(facts, name),
        "Training": _training(facts),
        "Data and licences": _data(facts),
        "Results": _results(facts),
        "Intended use": INTENDED_USE,
        "Limits": _limits(facts),
        "What this card can't tell": "\n".join(f"- {gap}" for gap in facts.gaps),
        "Citation": CITATION,
    }
    body = "\n\n".join(f"## {heading}\n\n{text}" for heading, text in sections.items() if text)
    return f"---\n{data.to_yaml()}\n---\n# {name}\n\n{_summary(facts)}\n\n{body}\n"


def _summary(facts: Facts) -> str:
    model = facts.model
    trained = f"; {how_trained(facts.config)}" if facts.config else ""
    return (
        f"An image tower ({model.image_encoder}) and a sound tower ({model.sound_encoder}) that embed overhead images "
        f"and sounds recorded at the same place into one space of {model.embedding_dim} dimensions"
        f"{' on the unit sphere' if model.on_sphere else ''}, compared by Euclidean distance{trained}. Made with "
        "Earshot, after SoundingEarth (Heidler et al., arXiv 2108.00688). Rights: see `NOTICE.md`."
    )


def _loading(facts: Facts, name: str) -> str:
    model = facts.model
    shape = f"(n, 1, {model.spectrogram.mel_bands}, {model.num_frames})"
    parts = [
        f"""Both towers, with Earshot installed:

```python
from pretrain.model import TwoTower
model = TwoTower.from_pretrained("{name}")   # a folder or a name on the hub
images = model.encode_image(pixels)          # (n, 3, {model.image_size}, {model.image_size}) uint8
sounds = model.encode_sound(spectrograms)    # {shape} uint8
```

or, from a copy of Earshot's repository, `torch.hub.load(REPOSITORY, "image_tower", source="local", weights="{name}")`
and `"sound_tower"`."""
    ]
    parts += [_trunk_loading(file) for file in trunk_files(model)]
    return "\n\n".join(parts)


def _trunk_loading(file: TrunkFile) -> str:
    if not file.is_of_torchvision:
        return (
            f"**`{file.name}`**: the {file.modality} trunk alone, {file.encoder}. Neither torchvision nor timm has a "
            "network of these widths, so it loads only into `pretrain.encoders.ENCODERS`; its names are theirs."
        )
    return f"""**`{file.name}`**: the {file.modality} trunk alone, {file.encoder}, without Earshot; torchvision, timm,
and timm with a classifier of your own:

```python
{file.torchvision_code}
```

```python
{file.timm_code}
```

```python
{file.timm_code_for_other_classes}
```

The first two give features before the projection. The file holds a classifier of 1,000 classes, `fc`, because both
libraries ask for one: it is all zeros and was not trained; take it off, as here, or train your own in its place."""


def _training(facts: Facts) -> str:
    config, summary = facts.config, facts.summary
    if config is None:
        return f"Not known to this release. The model folder's own card says:\n\n{facts.former_card}".strip()
    hardware = ", ".join(f"{count} × {name}" for name, count in summary.get("hardware", {}).items())
    best_step = summary["best_step"]
    trained = facts.validation["epoch"] + 1 if facts.validation and best_step else 0 if not best_step else "unknown"
    rows = {
        "method": method_words(config),
        "optimiser": f"{config.optimizer.name}, learning rate {config.optimizer.learning_rate:g}, weight decay "
        f"{config.optimizer.weight_decay:g}, {config.optimizer.warmup_epochs:g} epochs of warm-up",
        "batch": f"{config.batch_size} over all processes",
        "length": f"these weights are those after step {best_step}, epochs: {trained}; steps trained in all: "
        f"{summary.get('step', 'unknown')}",
        "precision": config.precision,
        "seed": str(config.seed),
        "trunks begin at": f"image {as_code(config.model.image_init)}, sound {as_code(config.model.sound_init)}",
        "normalisation layers": config.model.norm,
        "hardware": hardware or f"not recorded by name; device {summary.get('device', 'unknown')}",
        "processes": str(summary.get("num_processes", "unknown")),
        "hours": f"{hours_text(facts.hours)} by the clock, validation included",
        "energy": _energy(facts.energy),
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def _energy(energy: Energy | None) -> str:
    if energy is None or energy.kilowatt_hours is None:
        return energy.assumption if energy else "not known"
    return f"estimated: about {energy.kilowatt_hours:.2g} kWh: {energy.assumption}"


def _data(facts: Facts) -> str:
    if not facts.data:
        return f"What the weights learned from is not known to this release.\n\n{recordings(facts)}"
    data = facts.data
    spectrogram = facts.model.spectrogram
    stft = (
        f"{spectrogram.sample_rate_hz} Hz, window {spectrogram.window_samples}, hop {spectrogram.hop_samples} samples"
        if spectrogram.window_samples
        else "STFT settings not published with the source"
    )
    pairs = ", ".join(f"{count:,} {split}" for split, count in data["pairs"].items())
    rows = [
        f"| source | `{data['source']}` |",
        f"| pairs | {pairs}; {data['num_rejected']:,} rejected |",
        f"| split | by {data['split_by']} |",
        f"| sound | {hours_text(data['seconds_of_sound'] / 3600)} hours; {spectrogram.scale.name}, "
        f"{spectrogram.mel_bands} mel bands, {stft} |",
    ]
    return "\n".join(["| | |", "|---|---|", *rows]) + f"\n\n{recordings(facts)}"


def _results(facts: Facts) -> str:
    parts = []
    if facts.validation:
        size = facts.validation.get("gallery_size", "unknown")
        is_chosen = facts.config is not None and facts.config.method == "audiovisual"
        chosen = ", by which the weights were chosen" if is_chosen else ""
        parts.append(f"Validation split{chosen}, gallery of {size} pairs:")
        parts.append(results_table(facts.validation))
    for record in facts.results.retrieval:
        parts.append(
            f"Retrieval, {as_code(str(record.get('split', 'test')))} split, protocol {as_code(record['protocol'])}, "
            f"gallery of {record['gallery_size']} pairs (ranks start at 1):"
        )
        parts.append(results_table(record))
    if facts.results.downstream:
        parts.append("Downstream:")
        parts.append(_downstream(facts.results.downstream))
    return "\n\n".join(parts) or "None were given to this release."


def _downstream(records: list[dict[str, Any]]) -> str:
    rows = ["| benchmark | protocol | trained on · tested on | scores |", "|---|---|---|---|"]
    for record in records:
        scores = ", ".join(f"{as_text(name)} {value}" for name, value in scores_of(record).items())
        cells = (as_code(record["benchmark"]), as_code(record["protocol"]))
        rows.append(f"| {cells[0]} | {cells[1]} | {record['num_train']:,} · {record['num_test']:,} | {scores} |")
    return "\n".join(rows)


def hours_text(hours: float) -> str:
    """Hours with as many digits as say something."""
    return f"{hours:,.1f}" if hours >= 10 else f"{hours:.2g}"


def as_text(words: str) -> str:
    """A name from a file as a few words that hold no markup."""
    return "".join(letter for letter in words if letter.isalnum() or letter in " -_@%.")


def _limits(facts: Facts) -> str:
    if facts.config is not None and facts.config.method != "audiovisual":
        return (
            "The sound tower was not trained and is as it was initialised: images and sounds can't be compared.\n"
            f"{LIMITS}"
        )
    return LIMITS
