"""The model card of a release: what its weights are, how to load them, their training data and their scores."""

from __future__ import annotations

from typing import Any

from huggingface_hub import ModelCardData

from pretrain.cards import TAGS, card, section, table
from pretrain.model_files import NOTICE_NAME
from pretrain.releasing.card_loading import loading_section
from pretrain.releasing.citation import CITATION
from pretrain.releasing.energy import Energy
from pretrain.releasing.facts import Facts
from pretrain.releasing.generated_world import GENERATED_USE
from pretrain.releasing.model_card import (
    UNTRAINED_SOUND,
    beginning,
    how_trained,
    intervals_words,
    results_table,
    stft_words,
    what_they_are,
)
from pretrain.releasing.notice import corpus_licence, recordings
from pretrain.releasing.results import scores_of
from pretrain.training.curves_picture import CURVES_NAME
from shards.untrusted_text import as_code, as_line, as_quote, as_text

OWN_LICENCE = "see-notice"
"""What the hub shows if no licence was named for the weights."""

UNTRAINED_USE = """For comparison only: the same networks before any training on images and sounds of places. They are
not useful by themselves."""

IMAGE_USE = """For research: as a starting point for scene recognition and land-cover mapping from overhead images. Not
for any task that needs sounds, nor for decisions about people or single plots of land."""

AUDIOVISUAL_USE = """For research: as a starting point for scene recognition and land-cover mapping from overhead
images, for retrieval between images and sounds of places, and for studying what sounds reveal about places. Not for
decisions about people or single plots of land, for finding out where a private recording was made, or for monitoring
places by their sound."""

PREPARATION = """Images and sounds must be prepared as described in `config.json` under `preprocessing`; spectrograms
computed differently are not valid inputs. Nothing was done to find or remove biases."""

IMAGE_LIMITS = "The weights reflect where the images of their source were taken."

CURVES = f"""![Training loss, validation scores and spread of the embeddings over the epochs]({CURVES_NAME})

The curves of the run: loss, scores on the validation split, and spread of the embeddings of a batch, which falls to 0
where they collapse. The dotted line is where these weights are from."""

AUDIOVISUAL_LIMITS = """The weights reflect where and when the sounds of their source were recorded. What else a
sound tower responds to, such as speech, was not examined."""


def release_card(facts: Facts, *, name: str, licence: str | None, has_onnx: bool = False, on_hub: bool = False) -> str:
    """Writes the card, in Markdown with the hub's metadata.

    Args:
        facts: what is known about the weights.
        name: what they are loaded by, a folder or `owner/name`.
        licence: licence of the weights, as the hub names it; None: the previous card's, else see `NOTICE.md`.
        has_onnx: whether the release holds ONNX files.
        on_hub: whether each encoder is also on the hub, beside `name`.
    """
    data = ModelCardData(
        **licence_record(facts, licence),
        library_name="earshot",
        pipeline_tag="feature-extraction",
        tags=[*TAGS, "pytorch_model_hub_mixin", "model_hub_mixin"],
    )
    sections = {
        "Usage": loading_section(facts, name, has_onnx=has_onnx, on_hub=on_hub),
        "Training": _training(facts),
        "Data and licences": _data(facts),
        "Results": _results(facts),
        "Intended use": _intended_use(facts),
        "Limits": _limits(facts),
        "Missing information": "\n".join(f"- {as_line(gap.words)}" for gap in facts.gaps),
        "Citation": CITATION,
    }
    paragraphs = [section(heading, text) for heading, text in sections.items()]
    return card(as_line(name), _summary(facts), facts.generated_world, *paragraphs, front_matter=data.to_yaml())


def licence_record(facts: Facts, licence: str | None) -> dict[str, Any]:
    """The licence in the metadata of a card, by the hub's names."""
    if licence:
        return {"license": licence}
    former = facts.former_licence
    if former.get("license", "other") != "other":
        return former
    link = former.get("license_link", "")
    # A file that the previous link named is not in the release; the notice, which quotes the previous one, is.
    return {
        "license": "other",
        "license_name": former.get("license_name", OWN_LICENCE),
        "license_link": link if link.startswith("https://") else NOTICE_NAME,
    }


def _summary(facts: Facts) -> str:
    model = facts.model
    trained = f"; {how_trained(facts.config, facts.summary['best_step'])}" if facts.config else ""
    return (
        f"{what_they_are(model, sound_trained=model.sound_trained)}"
        f"{' on the unit sphere' if model.on_sphere else ''}, compared by Euclidean distance{trained}. Made with "
        "Earshot, after SoundingEarth (Heidler et al., arXiv 2108.00688). Rights: see `NOTICE.md`."
    )


def _training(facts: Facts) -> str:
    config, summary = facts.config, facts.summary
    if config is None:
        own = f" The weights' own card says:\n\n{as_quote(facts.former_card)}" if facts.former_card else ""
        return f"Not known for this release.{own}"
    best_step = summary["best_step"]
    trained = facts.validation["epoch"] + 1 if facts.validation and best_step else 0 if not best_step else "unknown"
    rows = {
        "method": config.summary,
        "optimiser": f"{config.optimizer.name}, learning rate {config.optimizer.learning_rate:g}, weight decay "
        f"{config.optimizer.weight_decay:g}, {config.optimizer.warmup_epochs:g} epochs of warm-up",
        "batch": f"{config.batch_size} over all processes",
        "length": f"weights after step {best_step}, epochs: {trained}; total steps trained: "
        f"{summary.get('step', 'unknown')}",
        "precision": config.precision,
        "seed": str(config.seed),
        "encoders start from": (
            f"image {beginning(config.model.image_init)}, sound {beginning(config.model.sound_init)}"
        ),
        "normalisation layers": config.model.norm,
        "hardware": _hardware(facts)
        or f"not recorded by name; device {as_line(str(summary.get('device', 'unknown')))}",
        "processes": ", then ".join(str(processes) for _, processes, _ in facts.uses) or "not recorded",
        "hours": f"{hours_text(facts.hours)} of wall-clock time, validation included",
        "energy": _energy(facts.energy),
    }
    return table(rows) + (f"\n\n{CURVES}" if facts.curves else "")


def _hardware(facts: Facts) -> str:
    names = [", ".join(f"{count} × {as_line(name)}" for name, count in devices.items()) for devices, _, _ in facts.uses]
    if len(names) == 1:
        return names[0]
    return "; ".join(f"{name} for {hours_text(use[2])} hours" for name, use in zip(names, facts.uses, strict=True))


def _energy(energy: Energy | None) -> str:
    if energy is None or energy.kilowatt_hours is None:
        return energy.assumption if energy else "not known"
    return f"estimated: about {energy.kilowatt_hours:.2g} kWh: {energy.assumption}"


def _data(facts: Facts) -> str:
    if not facts.data:
        return f"The training data of these weights is not known for this release.\n\n{recordings(facts)}"
    data = facts.data
    spectrogram = facts.model.spectrogram
    pairs = ", ".join(f"{count:,} {as_line(split)}" for split, count in data["pairs"].items())
    rows = {
        "source": as_code(str(data["source"])),
        "pairs": f"{pairs}; {data['num_rejected']:,} rejected",
        "split": f"by {as_code(str(data['split_by']))}",
        # Runs of earlier versions did not record them.
        **({"warnings": "; ".join(as_line(str(words)) for words in data["warnings"])} if data.get("warnings") else {}),
        "sound": f"{hours_text(data['seconds_of_sound'] / 3600)} hours; {as_line(spectrogram.scale.name)}, "
        f"{spectrogram.mel_bands} mel bands, {stft_words(spectrogram)}",
    }
    return f"{table(rows)}\n\n{corpus_licence(facts)}{recordings(facts)}"


def _results(facts: Facts) -> str:
    parts = []
    if facts.validation:
        size = facts.validation.get("gallery_size", "unknown")
        chosen = ", by which the weights were chosen" if facts.is_chosen else ""
        parts.append(f"Validation split{chosen}, gallery of {size} pairs:")
        parts += [results_table(facts.validation), intervals_words(facts.validation)]
    for record in facts.results.retrieval:
        parts.append(
            f"Retrieval, {as_code(str(record.get('split', 'test')))} split, protocol {as_code(record['protocol'])}, "
            f"gallery of {record['gallery_size']} pairs (ranks start at 1):"
        )
        parts += [results_table(record), intervals_words(record)]
    if facts.results.downstream:
        parts.append("Downstream:")
        parts.append(_downstream(facts.results.downstream))
    return "\n\n".join(filter(None, parts)) or "No results were provided for this release."


def _downstream(records: list[dict[str, Any]]) -> str:
    rows = ["| benchmark | protocol | trained on · tested on | scores |", "|---|---|---|---|"]
    for record in records:
        scores = ", ".join(f"{as_text(name)} {value}" for name, value in scores_of(record).items())
        cells = (as_code(record["benchmark"]), as_code(record["protocol"]))
        rows.append(f"| {cells[0]} | {cells[1]} | {record['num_train']:,} · {record['num_test']:,} | {scores} |")
    return "\n".join(rows)


def hours_text(hours: float) -> str:
    """Formats hours with a sensible number of digits."""
    return f"{hours:,.1f}" if hours >= 10 else f"{hours:.2g}"


def _intended_use(facts: Facts) -> str:
    if not facts.is_trained:
        return UNTRAINED_USE
    if facts.generated_world:
        return GENERATED_USE
    return AUDIOVISUAL_USE if facts.model.sound_trained else IMAGE_USE


def _limits(facts: Facts) -> str:
    if not facts.is_trained:
        return PREPARATION
    if not facts.model.sound_trained:
        return f"{UNTRAINED_SOUND}\n{PREPARATION}\n{IMAGE_LIMITS}"
    return f"{PREPARATION}\n{AUDIOVISUAL_LIMITS}"
