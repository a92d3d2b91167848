"""The command line of pre-training: presets, files, resumption, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from pretrain.command_line import parse
from pretrain.settings.files import save_settings
from pretrain.settings.presets import PRESETS
from pretrain.settings.pretraining import Config
from shards.errors import UserError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_nothing_is_the_demo() -> None:
    assert parse([]).config == PRESETS["demo"]
    assert parse(["train"]).config == PRESETS["demo"]


def test_a_preset_with_settings() -> None:
    config = parse(
        ["train", "soundingearth-resnet50", "--shards", "S", "--out", "R", "--batch-size", "32", "--loss.margin", "0.5"]
    ).config
    assert config.model.image_encoder == "resnet50"
    assert (config.shards, config.out, config.batch_size, config.loss.margin) == (Path("S"), Path("R"), 32, 0.5)


def test_a_file_with_settings_over_it(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("epochs: 7\nbatch_size: 16\n")
    config = parse(["--config", "mine.yaml", "--out", "R", "--epochs", "8"]).config
    assert (config.epochs, config.batch_size) == (8, 16)


def test_resuming_reads_the_run(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    save_settings(Config(epochs=5, out=Path("elsewhere")), tmp_path / "run" / "config.yaml")
    request = parse(["--resume", "run", "--epochs", "9"])
    assert request.resume
    assert request.config == Config(epochs=9, out=Path("run"))
    with pytest.raises(UserError, match="seed is 0 in the run that is resumed and can't become 3"):
        parse(["--resume=run", "--seed", "3"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dmeo"], "unknown preset 'dmeo'; did you mean 'demo'"),
        (["--loss.name", "batch-triplets"], "unknown loss.name 'batch-triplets'; did you mean 'batch-triplet'"),
        (
            ["--model.image-encoder", "vit"],
            "unknown model.image_encoder 'vit'; choose one of: efficientnet-v2-s, resnet101, resnet18",
        ),
        (["--loss.margin", "-1"], r"loss.margin must be > 0, got -1\.0"),
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
        parse(["--loss.margni", "2"])
    assert stopped.value.code not in (0, None)
    heard = capsys.readouterr()
    assert "--loss.margin" in heard.err + heard.out


def test_a_folder_that_holds_a_run_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    save_settings(Config(), tmp_path / "run" / "config.yaml")
    with pytest.raises(UserError, match="holds a run already"):
        parse(["--out", "run"])


def test_help_explains_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    from pretrain.settings.files import flatten

    with pytest.raises(SystemExit):
        parse(["--help"])
    text = capsys.readouterr().out
    for name in flatten(Config()):
        assert f"--{name.replace('_', '-')}" in text
