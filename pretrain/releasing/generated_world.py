"""What cards say of weights whose training pairs are all generated: shard sets built from the source `demo`."""

from __future__ import annotations

from pretrain.settings.pretraining import Config

GENERATED_SOURCE = "demo"
"""A shard set has one source, so all of its pairs are generated."""

WORLD = """**Trained on a generated world.** All training pairs are of Earshot's demo world (source `demo` of the shard
set): drawn images and synthetic sounds of places that do not exist."""

OF_NO_USE = "The weights are for trying the software; they are of no use on real images or recordings."

LEARNED_NOTHING_REAL = """What the weights learned from them is of no use on real images or recordings; what is left of
the weights that the encoders started from was not examined."""

GENERATED_USE = """To try Earshot: its commands, pages and file formats. Not for any task on real images or recordings,
and not as a starting point for one."""


def words_on_generated_world(source: str, config: Config | None, *, is_trained: bool) -> str:
    """Says that weights were trained on a generated world alone; "" of all others.

    Args:
        source: of the shard set, from its manifest.
        config: settings of the run; None if they are not known.
        is_trained: whether the weights were trained for a step.
    """
    if source != GENERATED_SOURCE or not is_trained:
        return ""
    if config is None:
        return f"{WORLD} {LEARNED_NOTHING_REAL}"
    inits = (config.model.image_init, config.model.sound_init)
    used = inits if config.trains_sound else inits[:1]
    return f"{WORLD} {OF_NO_USE if set(used) == {'random'} else LEARNED_NOTHING_REAL}"
