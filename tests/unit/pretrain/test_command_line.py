"""The command line of pre-training: presets, files, resumption, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from downstream.command_line import options as downstream_options
from pretrain.command import main
from pretrain.command_line import options, parse
from pretrain.losses.settings import BatchTripletSettings, ContrastiveSettings
from pretrain.methods.settings import AudiovisualConfig, ImageContrastiveConfig, MocoConfig
from pretrain.presets import PRESETS
from pretrain.settings.files import save_settings
from pretrain.settings.short_names import TRAINING_NAMES
from shards.command_line.short_names import full_name
from shards.errors import UserError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_nothing_is_the_demo() -> None:
    assert parse([]).config == PRESETS["demo"]
    assert parse(["train"]).config == PRESETS["demo"]


def test_a_preset_with_settings(tiny_shards: Path) -> None:
    config = parse(
        ["train", "soundingearth-resnet50", "--shards", str(tiny_shards), "--out", "R", "--loss.margin", "0.5"]
    ).config
    assert config.model.image_encoder == "resnet50"
    assert (config.shards, config.out, config.loss) == (tiny_shards, Path("R"), BatchTripletSettings(margin=0.5))


def test_a_file_with_settings_over_it(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("epochs: 7\nbatch_size: 16\n")
    config = parse(["--config", "mine.yaml", "--out", "R", "--epochs", "8"]).config
    assert (config.epochs, config.batch_size) == (8, 16)


def test_resuming_reads_the_run(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    save_settings(AudiovisualConfig(epochs=5, out=Path("elsewhere")), tmp_path / "run" / "config.yaml")
    request = parse(["--resume", "run", "--epochs", "9"])
    assert request.resume
    assert request.config == AudiovisualConfig(epochs=9, out=Path("run"))
    with pytest.raises(UserError, match="seed is 0 in the run that is resumed and can't be changed to 3"):
        parse(["--resume=run", "--seed", "3"])


FORMER_CONFIG = """
method: {method}
loss:
  {{name: contrastive, margin: 5.0, temperature: 0.3, queue_size: 0, direction: both, reduction: mean}}
strong_views: {{blur_probability: 0.25}}
simclr: {{temperature: 0.1}}
moco: {{momentum: 0.9}}
tile2vec: {{margin: 50.0}}
"""


@pytest.mark.parametrize("method", ["audiovisual", "image-contrastive", "moco"])
def test_a_run_of_a_former_version_resumes_with_the_settings_that_had_an_effect(method: str, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(FORMER_CONFIG.format(method=method))
    config = parse(["--resume", "run", "--data.workers", "0"]).config
    if isinstance(config, AudiovisualConfig):
        assert config.loss == ContrastiveSettings(temperature=0.3, direction="both")
    elif isinstance(config, ImageContrastiveConfig):
        assert config.loss.temperature == 0.3
    else:
        assert isinstance(config, MocoConfig)
        assert (config.moco.momentum, config.strong_views.blur_probability) == (0.9, 0.25)
    assert config.method == method


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dmeo"], "unknown preset 'dmeo'; did you mean 'demo'"),
        (["--loss.name", "batch-triplets"], "unknown loss.name 'batch-triplets'; did you mean 'batch-triplet'"),
        (
            ["--model.image-encoder", "vit"],
            "unknown model.image_encoder 'vit'; choose one of: efficientnet-v2-s, mn01, mn02, mn04, mn05",
        ),
        (["batch-triplet", "--loss.margin", "-1"], r"loss.margin must be > 0, got -1\.0"),
        (
            ["--loss.margin", "5", "--loss.name", "contrastive"],
            "loss.name contrastive has no setting loss.margin, which batch-triplet and naive-triplet have; it takes "
            "loss.temperature, loss.direction",
        ),
        (
            ["symmetric-contrastive", "--loss.positives", "place", "--loss.queue-size", "64"],
            "loss.queue_size must be 0 with loss.positives place, got 64",
        ),
        (
            ["symmetric-contrastive", "--loss.label-smoothing", "0.1", "--loss.negatives-from-km", "2"],
            "loss.negatives_from_km must be 0 with loss.label_smoothing, got 2",
        ),
        (
            ["few-pairs", "--data.skip-bad-shards"],
            "data.skip_bad_shards must be False with model.freeze image,sound, whose features are stored for every",
        ),
        (["--model.unfreeze-epochs", "3"], "model.unfreeze_epochs must be 0 with model.freeze none, got 3"),
        (["--moco.momentum", "0.9"], "method audiovisual has no setting moco.momentum, which moco has; it takes "),
        (["simclr", "--loss.margin=2"], "method simclr has no setting loss.margin, which audiovisual has; it takes"),
        (["--method", "mocco"], "unknown method 'mocco'; did you mean 'moco'"),
        (["--tracker", "mlflw"], "unknown tracker 'mlflw'; did you mean 'mlflow'"),
        (["--shards", "nowhere"], "no shards at nowhere: no such folder"),
        (["--model.sound-init", "nowhere.pth"], "model.sound_init must be random, imagenet, .*, got nowhere.pth"),
        (["--resume", "nowhere"], "nothing to resume at nowhere"),
        (["--resume"], "--resume needs a value"),
        (["demo", "--resume", "r"], "not several"),
        (["--config", "nowhere.yaml"], "no settings at nowhere.yaml"),
    ],
)
def test_mistakes_get_a_sentence(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(words)


def test_a_mistyped_setting_is_refused_with_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(["batch-triplet", "--loss.margni", "2"])
    assert stopped.value.code not in (0, None)
    heard = capsys.readouterr()
    assert "--loss.margin" in heard.err + heard.out


@pytest.mark.parametrize(
    "words",
    [
        ["--epochs", "2", "moco"],
        ["-e", "2", "moco"],
        ["--epochs=2", "moco", "--data.flips"],
        ["--data.flips", "moco", "--epochs", "2"],
        ["train", "--epochs", "2", "moco"],
        ["moco", "--epochs", "2", "--out", "demo"],
        ["--out", "demo", "moco", "--epochs", "2"],
        ["--data.features-dir", "None", "moco", "-e=2"],
    ],
)
def test_the_preset_stands_anywhere_and_values_of_settings_are_none(words: list[str]) -> None:
    config = parse(words, checks_inputs=False).config
    assert (config.method, config.epochs) == ("moco", 2)
    assert config.out == (Path("demo") if "--out" in words else PRESETS["moco"].out)


def test_more_than_one_preset_is_refused() -> None:
    with pytest.raises(UserError, match=r"^give one PRESET, got moco and demo; values of settings follow their"):
        parse(["moco", "--epochs", "2", "demo"])


def test_usual_names_mean_settings() -> None:
    usual = "-e 3 --lr 0.5 --wd 0.2 --opt=sgd -b 8 -j 2 --img_size 64 --loss sigmoid --freeze image -o R --bs 16"
    full = (
        "--epochs 3 --optimizer.learning-rate 0.5 --optimizer.weight-decay 0.2 --optimizer.name sgd --batch-size 8 "
        "--data.workers 2 --data.image-size 64 --loss.name sigmoid --model.freeze image --out R --batch-size 16"
    )
    ours, theirs = (parse(words.split(), checks_inputs=False).config for words in (usual, full))
    assert ours == theirs
    assert (ours.optimizer.learning_rate, ours.batch_size, ours.data.workers) == (0.5, 16, 2)


def test_every_usual_name_means_a_setting_of_some_run() -> None:
    for name in TRAINING_NAMES:
        found = [
            full_name(name, TRAINING_NAMES, [name for option in known for name in option.names])
            for known in (options(), downstream_options())
        ]
        assert any(found), name


@pytest.mark.parametrize("preset", PRESETS)
def test_a_printed_preset_is_a_config_file(preset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([preset, "--print-config"], "earshot pretrain")
    (tmp_path / "printed.yaml").write_text(capsys.readouterr().out, encoding="utf-8")
    assert parse(["--config", "printed.yaml"], checks_inputs=False).config == PRESETS[preset]
    assert [path.name for path in tmp_path.iterdir()] == ["printed.yaml"]


def test_printed_settings_are_those_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--print-config", "--lr", "0.25", "few-pairs", "--shards", "nowhere"], "earshot pretrain")
    printed = yaml.safe_load(capsys.readouterr().out)
    assert (printed["optimizer"]["learning_rate"], printed["shards"]) == (0.25, "nowhere")


def test_a_batch_is_fitted_unless_its_size_was_given(tmp_path: Path) -> None:
    (tmp_path / "with.yaml").write_text("batch_size: 16\n")
    (tmp_path / "without.yaml").write_text("epochs: 3\n")
    (tmp_path / "run").mkdir()
    save_settings(AudiovisualConfig(), tmp_path / "run" / "config.yaml")
    for words, fits in (
        ([], True),
        (["--config", "without.yaml"], True),
        (["--config", "with.yaml"], False),
        (["--batch-size", "8"], False),
        (["-b", "8"], False),
        (["--resume", "run"], False),
    ):
        assert parse(words, checks_inputs=False).fits_batch is fits, words


def test_a_folder_that_holds_a_run_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    save_settings(AudiovisualConfig(), tmp_path / "run" / "config.yaml")
    with pytest.raises(UserError, match="already contains a run"):
        parse(["--out", "run"])


def test_help_explains_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    from pretrain.settings.files import flatten

    with pytest.raises(SystemExit):
        parse(["--help"])
    text = capsys.readouterr().out
    for name in flatten(PRESETS["demo"]):
        assert f"--{name.replace('_', '-')}" in text
