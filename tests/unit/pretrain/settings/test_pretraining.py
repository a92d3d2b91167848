"""Settings: saved and read back, refused by name when wrong, and what a resumed run may change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pretrain.losses.settings import BatchTripletSettings
from pretrain.methods.settings import AudiovisualConfig, SimclrConfig
from pretrain.presets import PRESETS
from pretrain.settings.files import flatten, load_settings, refuse_changes_on_resume, save_settings
from pretrain.settings.pretraining import CHANGEABLE_ON_RESUME, Config, DataSettings, ValidationSettings
from pretrain.settings.rules import check_rules
from shards.errors import UserError
from shards.front_ends import AUDIOSET_32K, EARSHOT_16K
from shards.sources.soundingearth import RELEASED_SPECTROGRAMS


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_follow_the_rules_and_come_back_from_yaml(name: str, tmp_path: Path) -> None:
    check_rules(PRESETS[name])
    save_settings(PRESETS[name], tmp_path / "config.yaml")
    assert load_settings(Config, tmp_path / "config.yaml") == PRESETS[name]


def test_a_partial_file_keeps_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("epochs: 3\nloss:\n  margin: 0.5\noptimizer: {learning_rate: 1e-4}\n")
    config = load_settings(Config, tmp_path / "mine.yaml")
    assert (config.epochs, config.loss.margin, config.optimizer.learning_rate) == (3, 0.5, 1e-4)
    assert config.data == AudiovisualConfig().data


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 3", "unknown setting 'epoch'; did you mean 'epochs'?"),
        ("loss: {margni: 1}", "unknown setting 'loss.margni'; did you mean 'loss.margin'?"),
        ("epochs: many", "epochs: .*got 'many'"),
        ("precision: fp8", "precision: .*got 'fp8'"),
        ("a: [", "not YAML"),
        ("- 1", "config"),
    ],
)
def test_a_file_with_a_fault_is_refused_by_name(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        load_settings(Config, tmp_path / "config.yaml")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (AudiovisualConfig(loss=BatchTripletSettings(margin=-1.0)), r"loss\.margin must be > 0, got -1\.0"),
        (
            SimclrConfig(validation=ValidationSettings(patience_epochs=3)),
            r"validation\.patience_epochs must be 0 with method simclr, .*, got 3",
        ),
        (
            AudiovisualConfig(validation=ValidationSettings(keep="last", patience_epochs=3)),
            r"validation\.patience_epochs must be 0 with validation\.keep last, got 3; choose validation\.keep best",
        ),
        (AudiovisualConfig(epochs=-1), "epochs must be >= 0, got -1"),
        (AudiovisualConfig(batch_size=1), "batch_size must be >= 2"),
        (
            AudiovisualConfig(data=DataSettings(crop_min=0.9)),
            r"data\.crop_min must be in \(0, data.crop_max",
        ),
        (
            AudiovisualConfig(data=DataSettings(num_frames=7000)),
            r"data\.num_frames must be in \[32, 6000\]",
        ),
    ],
)
def test_a_setting_against_its_rule_is_refused_by_name(config: Config, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_rules(config)


def test_resume_may_change_little() -> None:
    saved = AudiovisualConfig()
    refuse_changes_on_resume(
        saved, replace(saved, epochs=99, tracker="none", data=replace(saved.data, workers=7)), CHANGEABLE_ON_RESUME
    )
    with pytest.raises(UserError, match=r"batch_size is 64 .* can't be changed to 32"):
        refuse_changes_on_resume(saved, replace(saved, batch_size=32), CHANGEABLE_ON_RESUME)
    with pytest.raises(UserError, match=r"loss\.margin is 1\.0"):
        refuse_changes_on_resume(saved, replace(saved, loss=BatchTripletSettings(margin=2.0)), CHANGEABLE_ON_RESUME)


def test_flatten_names_every_setting_once() -> None:
    flat = flatten(AudiovisualConfig())
    assert flat["optimizer.learning_rate"] == 1e-3
    assert flat["shards"] == "data/demo-shards"
    assert not any(isinstance(value, dict) for value in flat.values())


def test_seconds_of_a_crop_become_frames_of_the_front_end() -> None:
    assert DataSettings(sound_seconds=10).frames_of_crop(AUDIOSET_32K) == 1000
    assert DataSettings(sound_seconds=10).frames_of_crop(EARSHOT_16K) == 400
    assert DataSettings(num_frames=64).frames_of_crop(EARSHOT_16K) == 64
    with pytest.raises(UserError, match=r"^data.sound_seconds is 10, but the hop .* give data.num_frames instead$"):
        DataSettings(sound_seconds=10).frames_of_crop(RELEASED_SPECTROGRAMS)
