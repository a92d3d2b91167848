"""Plans of a comparison: read, refused by name where something is wrong, and laid out as rows and commands."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tyro
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from downstream.command_line import parse
from downstream.protocols import PROTOCOLS
from launch.comparison.checks import check_rows
from launch.comparison.plan import Plan, load_plan
from launch.comparison.rows import choose_row, rows_of
from launch.comparison.steps import Downstream, Ranking, Training, steps_of, write_row_settings
from pretrain.command_line import check_choices_and_rules
from pretrain.config import Config
from pretrain.presets import PRESETS
from pretrain.settings_file import flatten, load_settings, with_settings
from retrieval.evaluation import EvaluateOptions
from shards.errors import UserError

PLANS = sorted((Path(__file__).resolve().parents[2] / "launch" / "plans").glob("*.yaml"))
WHOLE: dict[str, Any] = {"name": "n", "methods": {"a": {}, "b": {"loss.name": "contrastive"}}}


def write_plan(folder: Path, **parts: Any) -> Path:
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump(WHOLE | parts, sort_keys=False))
    return path


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_setting_set_to_what_it_is_changes_nothing(preset: str) -> None:
    for name, value in flatten(PRESETS[preset]).items():
        assert with_settings(PRESETS[preset], {name: value}) == PRESETS[preset], name
    assert with_settings(PRESETS[preset], flatten(PRESETS[preset])) == PRESETS[preset]


@given(st.floats(0.1, 5), st.integers(2, 500), st.sampled_from(["resnet18", "resnet50"]))
def test_dotted_settings_change_what_they_name_and_nothing_else(margin: float, batch: int, encoder: str) -> None:
    changes = {"loss.margin": margin, "batch_size": batch, "model.image_encoder": encoder}
    changed = with_settings(Config(), changes)
    assert flatten(changed) == flatten(Config()) | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss.nam": "contrastive"}, r"unknown setting 'loss.nam'; did you mean 'loss.name'\?"),
        ({"loss": "contrastive"}, "unknown setting 'loss'"),
        ({"epochs": "many"}, "epochs: input should be a valid integer.*got 'many'"),
        ({"precision": "fp8"}, "precision: .*got 'fp8'"),
    ],
)
def test_dotted_settings_that_are_wrong_are_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        with_settings(Config(), changes)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"name": ""}, "name must be given"),
        ({"method": {}}, r"unknown setting 'method'; did you mean 'methods'\?"),
        ({"methods": {}}, "methods must name at least one"),
        ({"methods": {"a b": {}}}, "methods: the label 'a b' can't name a folder"),
        ({"methods": {"..": {}}}, "methods: the label '..' can't name a folder"),
        ({"methods": {"a": 3}}, r"methods\.a: input should be a valid dictionary, got 3"),
        ({"methods": {"a": {"seed": 3}}}, r"methods\.a may not set seed, which the plan's seeds says"),
        ({"settings": {"out": "x"}}, "settings may not set out, which --out says"),
        ({"benchmarks": {"run": {}}}, "benchmarks: the label 'run' can't name a folder"),
        ({"preset": "demi"}, "unknown preset 'demi'; did you mean 'demo'"),
        ({"launch": "one_proces"}, "unknown launch 'one_proces'; did you mean 'one_process'"),
        ({"launch": "mine.yaml"}, "launch mine.yaml is no file"),
        ({"seeds": []}, "seeds must name at least one"),
        ({"seeds": [1, 0, 1]}, "seeds must differ from each other, got 1 twice"),
        ({"backbones": "resnet18"}, "backbones: input should be a valid list"),
    ],
)
def test_a_plan_with_a_fault_is_refused_by_name(parts: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        load_plan(write_plan(tmp_path, **parts))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"settings": {"loss.nam": 1}}, r"row 1 of 2 \(a, resnet18, seed 0\): unknown setting 'loss.nam'"),
        ({"methods": {"a": {}, "b": {"epochs": "x"}}}, r"row 2 of 2 \(b, resnet18, seed 0\): epochs: "),
        ({"benchmarks": {"aidd": {}}}, r"unknown benchmark of benchmarks\.aidd: 'aidd'; did you mean 'aid'"),
        ({"benchmarks": {"x": {"benchmark": "aid"}}}, r"benchmarks\.x: root must be given.*--root x=DIR"),
        (
            {"benchmarks": {"aid": {"root": "r", "protocol": "linea"}}},
            r"benchmarks\.aid: unknown protocol 'linea'; did",
        ),
        ({"benchmarks": {"aid": {"root": "r", "epoch": 2}}}, r"benchmarks\.aid: unknown setting 'epoch'; did you mean"),
        ({"benchmarks": {"aid": {"root": "r", "weights": "w"}}}, r"benchmarks\.aid may not set weights"),
        ({"benchmarks": {"retrieval": {"crop": 2}}}, r"benchmarks\.retrieval: unknown setting 'crop'"),
        ({"benchmarks": {"retrieval": {"split": "all"}}}, r"benchmarks\.retrieval: split: .*got 'all'"),
        ({"shards": "https://host/x", "benchmarks": {"retrieval": {}}}, "retrieval reads shards from a folder"),
    ],
)
def test_rows_with_a_fault_are_refused_by_name(parts: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        rows_of(load_plan(write_plan(tmp_path, **parts)), tmp_path / "out")


def test_roots_and_shards_of_the_command_line_come_first(tmp_path: Path) -> None:
    path = write_plan(tmp_path, benchmarks={"mine": {"benchmark": "folder"}})
    plan = load_plan(path, shards="elsewhere", roots={"mine": Path("there")})
    row = rows_of(plan, tmp_path / "out")[1]
    assert row.config.shards == Path("elsewhere")
    assert row.benchmarks[0].settings.root == Path("there")
    with pytest.raises(UserError, match="unknown benchmark of --root 'min'; did you mean 'mine'"):
        load_plan(path, roots={"min": Path("there")})


names = st.lists(st.from_regex(r"[a-z][a-z0-9-]{0,5}", fullmatch=True), min_size=1, max_size=4, unique=True)


@settings(max_examples=30)
@given(names, st.lists(st.sampled_from(["resnet18", "resnet50"]), min_size=1, unique=True), st.sets(st.integers(0, 9)))
def test_rows_are_methods_by_backbones_by_seeds(methods: list[str], backbones: list[str], seeds: set[int]) -> None:
    seeds = seeds or {0}
    plan = Plan("n", methods={label: {} for label in methods}, backbones=backbones, seeds=sorted(seeds))
    rows = rows_of(plan, Path("out"))
    assert [(row.method, row.backbone, row.seed) for row in rows] == list(
        itertools.product(methods, backbones, sorted(seeds))
    )
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))
    assert all(choose_row(rows, row.number) is row for row in rows)
    assert len({row.folder for row in rows}) == len(rows)
    for row in rows:
        assert (row.config.seed, row.config.model.image_encoder) == (row.seed, row.backbone)
        assert row.config.out == row.run_folder == Path("out/rows") / row.method / row.backbone / f"seed-{row.seed}/run"


def test_a_method_s_settings_come_on_top_of_the_plan_s() -> None:
    plan = Plan("n", settings={"epochs": 2, "loss.margin": 0.5}, methods={"a": {"epochs": 3}, "b": {}})
    rows = rows_of(plan, Path("out"))
    assert [(row.config.epochs, row.config.loss.margin) for row in rows] == [(3, 0.5), (2, 0.5)]
    assert rows[0].config.data == PRESETS["demo"].data
    with pytest.raises(UserError, match="row must be in 1 to 2, the rows of the plan, got 3"):
        choose_row(rows, 3)


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
def test_a_benchmark_s_command_says_all_its_settings(settings: dict[str, Any], tmp_path: Path) -> None:
    row = downstream_rows(tmp_path, **settings)
    step = steps_of(row)[1]
    assert isinstance(step, Downstream)
    words = step.command(Path("launch.yaml"))
    script = next(i for i, word in enumerate(words) if word.endswith("downstream/run.py"))
    assert parse(words[script + 1 :]).settings == row.benchmarks[0].settings
    assert row.benchmarks[0].settings.seed == 3
    assert row.benchmarks[0].settings.threads == 1
    assert row.benchmarks[0].settings.tracker == settings.get("tracker", "none")
    defaults = PROTOCOLS[settings.get("protocol", "paper")]
    assert row.benchmarks[0].settings.epochs == settings.get("epochs", defaults.epochs)


def test_the_ranking_s_command_says_all_its_settings(tmp_path: Path) -> None:
    plan = Plan("n", methods={"a": {}}, benchmarks={"retrieval": {"crops": 4, "force": True, "split": "val"}})
    row = rows_of(plan, tmp_path)[0]
    step = steps_of(row)[1]
    assert isinstance(step, Ranking)
    words = step.command(Path("launch.yaml"))
    assert tyro.cli(EvaluateOptions, args=words[words.index("evaluate") + 1 :]) == row.benchmarks[0].settings
    assert row.benchmarks[0].settings.weights == row.run_folder


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
    (row.run_folder / "config.yaml").write_text("epochs: 3\n")
    assert step.command(Path("x"))[-2:] == ["--resume", str(row.run_folder)]
    (row.run_folder / "summary.json").write_text('{"step": ')
    assert not step.is_done()
    (row.run_folder / "summary.json").write_text('{"step": 3}')
    assert step.is_done()


def with_fault_in_row_7(tiny_shards: Path, **fault: Any) -> Plan:
    methods = {f"method-{i}": {} for i in range(20)} | {"method-6": fault}
    return Plan("n", shards=tiny_shards, settings={"batch_size": 16}, methods=methods)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"loss.margin": -1}, r"loss\.margin must be > 0, got -1"),
        ({"loss.name": "batch-triple"}, "unknown loss.name 'batch-triple'; did you mean 'batch-triplet'"),
        ({"method": "audiovisua"}, "unknown method 'audiovisua'; did you mean 'audiovisual'"),
        ({"batch_size": 49}, "batch_size must be at most the 48 pairs of the training split, got 49"),
        ({"optimizer.accumulation": 3}, "batch_size must be divisible by"),
    ],
)
def test_a_fault_in_row_7_is_found_before_row_1(fault: dict[str, Any], message: str, tiny_shards: Path) -> None:
    plan = with_fault_in_row_7(tiny_shards, **fault)
    with pytest.raises(UserError, match=rf"^row 7 of 20 \(method-6, resnet18, seed 0\): {message}"):
        check_rows(plan, rows_of(plan, Path("out")))
    right = with_fault_in_row_7(tiny_shards)
    check_rows(right, rows_of(right, Path("out")))


@pytest.mark.parametrize(
    ("benchmarks", "message"),
    [
        ({"folder": {"root": "/nowhere"}}, r"benchmarks\.folder: root /nowhere is no folder"),
        ({"folder": {"root": "/tmp", "epochs": 0}}, r"benchmarks\.folder: epochs must be >= 1, got 0"),
        ({"advance": {"root": "/tmp", "protocol": "knn"}}, r"benchmarks\.advance: protocol must be paper .*got knn"),
        ({"retrieval": {"crops": 0}}, r"benchmarks\.retrieval: crops must be >= 1, got 0"),
    ],
)
def test_a_benchmark_s_fault_is_found_before_row_1(benchmarks: dict[str, Any], message: str, tiny_shards: Path) -> None:
    plan = replace(with_fault_in_row_7(tiny_shards), benchmarks=benchmarks)
    with pytest.raises(UserError, match=message):
        check_rows(plan, rows_of(plan, Path("out")))


def test_rows_that_were_begun_under_other_settings_are_refused(tiny_shards: Path, tmp_path: Path) -> None:
    def plan_of(batch: int = 16, crops: int = 2, threads: int = 1) -> Plan:
        settings = {"batch_size": batch, "threads": threads}
        return Plan("n", tiny_shards, settings=settings, methods={"a": {}}, benchmarks={"retrieval": {"crops": crops}})

    begun = rows_of(plan_of(), tmp_path)[0]
    write_row_settings(begun)
    begun.benchmarks[0].folder.mkdir()
    check_rows(plan_of(), rows_of(plan_of(), tmp_path))
    check_rows(plan_of(threads=2), rows_of(plan_of(threads=2), tmp_path))
    with pytest.raises(UserError, match=r"row 1 of 1 .*: batch_size was 16 when it was begun and is 8 in the plan"):
        check_rows(plan_of(batch=8), rows_of(plan_of(batch=8), tmp_path))
    with pytest.raises(UserError, match=r"row 1 of 1 .*: retrieval: crops was 2 when it was begun and is 3"):
        check_rows(plan_of(crops=3), rows_of(plan_of(crops=3), tmp_path))
    begun.benchmarks[0].folder.rmdir()
    check_rows(plan_of(crops=3), rows_of(plan_of(crops=3), tmp_path))


@pytest.mark.parametrize("path", PLANS, ids=[path.stem for path in PLANS])
def test_the_plans_that_come_along_keep_every_rule(path: Path) -> None:
    rows = rows_of(load_plan(path), Path("out"))
    for row in rows:
        # One that goes on from a run of another plan needs that run.
        if row.config.model.image_init in ("random", "imagenet"):
            check_choices_and_rules(row.config)
        assert row.benchmarks
    assert path.read_text().startswith("# ")
