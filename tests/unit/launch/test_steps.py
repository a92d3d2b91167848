"""The steps of a row: the commands that start or resume them, and what a start leaves for resuming."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tyro
from commands import python_with_small_files

from downstream.benchmarks import defaults_of
from downstream.command_line import parse
from downstream.scenes.kind import SCENES
from launch.comparison.plan import Plan
from launch.comparison.rows import rows_of
from launch.comparison.running import run_row
from launch.comparison.steps import Downstream, Ranking, Training, steps_of, write_row_settings
from pretrain.command_line import parse as parse_training
from pretrain.methods.settings import AudiovisualConfig
from pretrain.settings.files import load_settings, save_settings
from pretrain.settings.pretraining import Config
from retrieval.options import EvaluateOptions
from shards.errors import UserError


def downstream_rows(tmp_path: Path, **settings: Any) -> Any:
    benchmarks = {"mine": {"benchmark": "folder", "root": str(tmp_path), **settings}}
    plan = Plan("n", methods={"a": {"threads": 1, "tracker": "none"}}, seeds=[3], benchmarks=benchmarks)
    return rows_of(plan, tmp_path / "out")[0]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"protocol": "tuned", "epochs": 7, "optimizer.learning_rate": 0.01, "allow_partial": True},
        {"protocol": "few-shot", "num_seeds": 2, "imagenet_file": "weights.pth", "tracker": "tensorboard"},
        {"root": "data"},
    ],
)
def test_a_benchmark_s_command_says_all_its_settings(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    row = downstream_rows(tmp_path, **settings)
    row.run_folder.mkdir(parents=True)  # its weights
    step = steps_of(row)[1]
    assert isinstance(step, Downstream)
    words = step.command(Path("launch.yaml"))
    script = next(i for i, word in enumerate(words) if word.endswith("downstream/run.py"))
    assert parse(words[script + 1 :]).settings == row.benchmarks[0].settings
    assert row.benchmarks[0].settings.seed == 3
    assert row.benchmarks[0].settings.threads == 1
    assert row.benchmarks[0].settings.tracker == settings.get("tracker", "none")
    defaults = defaults_of("folder", settings.get("protocol", "paper"))
    assert row.benchmarks[0].settings.epochs == settings.get("epochs", defaults.epochs)


def test_the_ranking_s_command_says_all_its_settings(tmp_path: Path) -> None:
    plan = Plan("n", methods={"a": {}}, benchmarks={"retrieval": {"crops": 4, "force": True, "split": "val"}})
    row = rows_of(plan, tmp_path)[0]
    step = steps_of(row)[1]
    assert isinstance(step, Ranking)
    words = step.command(Path("launch.yaml"))
    assert tyro.cli(EvaluateOptions, args=words[words.index("evaluate") + 1 :]) == row.benchmarks[0].settings
    assert row.benchmarks[0].settings.weights == row.run_folder


def words_after(script: str, command: list[str]) -> list[str]:
    return command[next(i for i, word in enumerate(command) if word.endswith(script)) + 1 :]


def test_a_benchmark_of_another_paper_has_that_papers_defaults(tmp_path: Path) -> None:
    plan = Plan("n", methods={"a": {}}, benchmarks={"demo-tau": {"root": str(tmp_path), "threads": 1}})
    row = rows_of(plan, tmp_path)[0]
    assert (
        row.benchmarks[0].settings.epochs
        == defaults_of("demo-tau", "paper").epochs
        != defaults_of("aid", "paper").epochs
    )
    row.run_folder.mkdir(parents=True)  # its weights
    words = words_after("downstream/run.py", steps_of(row)[1].command(Path("launch.yaml")))
    assert parse(words).settings == row.benchmarks[0].settings


@pytest.mark.parametrize("protocol", [protocol.name for protocol in SCENES.protocols])
def test_only_what_trains_is_asked_to_save(protocol: str, tmp_path: Path) -> None:
    assert steps_of(downstream_rows(tmp_path, protocol=protocol))[1].saves == (protocol in ("paper", "tuned"))


def test_training_goes_on_with_what_is_there_and_a_torn_start_is_thrown_away(tmp_path: Path) -> None:
    row = downstream_rows(tmp_path)
    write_row_settings(row)
    assert load_settings(Config, row.folder / "settings.yaml") == row.config
    step = Training(row)
    assert step.command(Path("x"))[-4:] == ["--config", f"{row.folder}/settings.yaml", "--out", str(row.run_folder)]
    row.run_folder.mkdir()
    (row.run_folder / "config.yaml").write_text("")
    assert "--config" in step.command(Path("x"))
    assert not row.run_folder.exists()
    row.run_folder.mkdir()
    save_settings(row.config, row.run_folder / "config.yaml")
    assert step.command(Path("x"))[-2:] == ["--resume", str(row.run_folder)]
    (row.run_folder / "summary.json").write_text('{"step": ')
    assert not step.is_done()
    (row.run_folder / "summary.json").write_text('{"step": 3}')
    assert step.is_done()


@pytest.mark.parametrize("benchmark", ["demo-tau", "folder", "demo-landcover"])
def test_what_is_trained_but_has_no_results_is_resumed(benchmark: str, tmp_path: Path) -> None:
    plan = Plan("n", methods={"a": {}}, benchmarks={benchmark: {"root": str(tmp_path)}})
    row = rows_of(plan, tmp_path)[0]
    settings = row.benchmarks[0].settings
    settings.out.mkdir(parents=True)
    save_settings(settings, settings.out / "config.yaml")
    (settings.out / "summary.json").write_text("{}")
    words = words_after("downstream/run.py", steps_of(row)[1].command(Path("launch.yaml")))
    assert "--resume" in words
    assert (settings.out / "summary.json").exists()


@pytest.mark.parametrize("content", [None, "", "epochs: ["])
def test_a_run_with_checkpoints_outlives_its_settings(content: str | None, tmp_path: Path) -> None:
    row = downstream_rows(tmp_path)
    benchmark = row.benchmarks[0].folder
    checkpoints = [folder / "checkpoints" / "step-00000003" for folder in (row.run_folder, benchmark / "seed-0")]
    for checkpoint in checkpoints:
        checkpoint.mkdir(parents=True)
        if content is not None:
            (checkpoint.parents[1] / "config.yaml").write_text(content)
    training, downstream = steps_of(row)
    assert training.command(Path("x"))[-2:] == ["--resume", str(row.run_folder)]
    assert load_settings(Config, row.run_folder / "config.yaml") == row.config
    with pytest.raises(UserError, match=r"holds checkpoints, but no readable config\.yaml"):
        downstream.command(Path("x"))
    # Said of the row, while the others go on.
    (row.run_folder / "summary.json").write_text("{}")
    (failure,) = run_row(row, Path("x"), {})
    assert failure.startswith("mine: ")
    assert (row.folder / "failed.txt").read_text() == f"{failure}\n"
    assert all(checkpoint.is_dir() for checkpoint in checkpoints)


def test_what_may_change_reaches_the_run_that_is_gone_on_with(tmp_path: Path) -> None:
    begun = downstream_rows(tmp_path)
    for settings in (begun.config, begun.benchmarks[0].settings):
        settings.out.mkdir(parents=True)
        save_settings(settings, settings.out / "config.yaml")
    write_row_settings(begun)
    changes = {"data.skip_bad_shards": True, "data.cache_dir": "c", "timeout_minutes": 3.5, "checkpoint.every_steps": 7}
    (tmp_path / "moved").mkdir()
    benchmark = {"benchmark": "folder", "root": str(tmp_path / "moved"), "workers": 5}
    plan = Plan("n", methods={"a": {"threads": 2, **changes}}, seeds=[3], benchmarks={"mine": benchmark})
    row = rows_of(plan, tmp_path / "out")[0]
    write_row_settings(row)
    assert load_settings(Config, row.folder / "settings.yaml") == row.config
    training, downstream = steps_of(row)
    request = parse_training(words_after("pretrain/run.py", training.command(Path("x"))))
    assert (request.resume, request.config) == (True, row.config)
    asked = parse(words_after("downstream/run.py", downstream.command(Path("x"))))
    assert (asked.resume, asked.settings) == (True, row.benchmarks[0].settings)
    # Back again, to nothing.
    save_settings(row.config, row.run_folder / "config.yaml")
    back = parse_training(words_after("pretrain/run.py", Training(begun).command(Path("x"))))
    assert back.config == begun.config


def test_settings_on_a_full_disk_stay_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    save_settings(AudiovisualConfig(epochs=3), path)
    code = (
        "import sys; from pathlib import Path; from pretrain.methods.settings import AudiovisualConfig\n"
        "from pretrain.settings.files import save_settings\n"
        "try:\n    save_settings(AudiovisualConfig(epochs=4), Path(sys.argv[1]))\n"
        "except OSError:\n    print('full')\n"
    )
    assert python_with_small_files(code, path, most_bytes=100).strip() == "full"
    assert load_settings(Config, path) == AudiovisualConfig(epochs=3)
