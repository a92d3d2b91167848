"""The commands of pre-training: a run, the default; show, release, demo-weights and convert."""

from __future__ import annotations

from shards.command_line.verbs import Program, Verb, Verbs

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
        "release": Verb("pretrain.releasing.options:ReleaseOptions", "pretrain.releasing.release:run_release"),
        "demo-weights": Verb(
            "pretrain.releasing.options:DemoWeightsOptions", "pretrain.releasing.demo_weights:make_demo_weights"
        ),
        "convert": Verb("pretrain.weights.options:ConvertOptions", "pretrain.weights.authors_checkpoint:convert"),
    },
    default=TRAIN,
)
