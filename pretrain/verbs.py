"""The commands of pre-training: a run, the default; show, release, demo-weights and convert."""

from __future__ import annotations

from shards.command_line.verbs import Program, Verb, Verbs

_RELEASING = "pretrain.releasing"

TRAIN = Program(
    "Pre-trains an image tower and a sound tower on a shard set.",
    main="pretrain.command:main",
    choices="pretrain.command_line:completions",
    positional="pretrain.presets:PRESETS",
)

PRETRAIN = Verbs(
    TRAIN.description,
    {
        "train": TRAIN,
        "show": Verb("pretrain.training.showing:ShowRunOptions", "pretrain.training.showing:run_show", positional=True),
        "release": Verb(
            f"{_RELEASING}.options:ReleaseOptions",
            f"{_RELEASING}.release:run_release",
            dry_run=f"{_RELEASING}.dry_run:dry_run_release",
        ),
        "demo-weights": Verb(
            f"{_RELEASING}.options:DemoWeightsOptions",
            f"{_RELEASING}.demo_weights:make_demo_weights",
            dry_run=f"{_RELEASING}.dry_run:dry_run_demo_weights",
        ),
        "convert": Verb(
            "pretrain.weights.options:ConvertOptions",
            "pretrain.weights.authors_checkpoint:convert",
            dry_run=f"{_RELEASING}.dry_run:dry_run_convert",
        ),
    },
    default=TRAIN,
)
