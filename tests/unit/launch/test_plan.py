"""Plans of a comparison: read, refused by name where something is wrong, and laid out as rows."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from launch.comparison.plan import OWN_PLANS, Plan, load_plan, plan_file
from launch.comparison.rows import choose_row, rows_of
from pretrain.methods.settings import AudiovisualConfig
from pretrain.presets import PRESETS
from pretrain.settings.files import flatten, with_settings
from pretrain.settings.rules import check_rules
from shards.errors import UserError

PLANS = sorted((Path(__file__).resolve().parents[3] / "launch" / "plans").glob("*.yaml"))
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
    changed = with_settings(AudiovisualConfig(), changes)
    assert flatten(changed) == flatten(AudiovisualConfig()) | changes


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
        with_settings(AudiovisualConfig(), changes)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"name": ""}, "name must be given"),
        ({"method": {}}, r"unknown setting 'method'; did you mean 'methods'\?"),
        ({"methods": {}}, "methods must name at least one"),
        ({"methods": {"a b": {}}}, "methods: the label 'a b' can't name a folder"),
        ({"methods": {"..": {}}}, "methods: the label '..' can't name a folder"),
        ({"methods": {"a": 3}}, r"methods\.a: input should be a valid dictionary, got 3"),
        ({"methods": {"a": {"seed": 3}}}, r"methods\.a may not set seed, which is set by the plan's seeds"),
        ({"settings": {"out": "x"}}, "settings may not set out, which is set by --out"),
        ({"benchmarks": {"run": {}}}, "benchmarks: the label 'run' can't name a folder"),
        ({"preset": "demi"}, "unknown preset 'demi'; did you mean 'demo'"),
        ({"launch": "one_proces"}, "unknown launch 'one_proces'; did you mean 'one_process'"),
        ({"launch": "mine.yaml"}, "launch mine.yaml: no such file"),
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
            r"benchmarks\.aid: protocol must be paper, tuned, .* got linea; did you mean 'linear'",
        ),
        ({"benchmarks": {"aid": {"root": "r", "epoch": 2}}}, r"benchmarks\.aid: unknown setting 'epoch'; did you mean"),
        ({"benchmarks": {"aid": {"root": "r", "weights": "w"}}}, r"benchmarks\.aid may not set weights"),
        ({"benchmarks": {"retrieval": {"crop": 2}}}, r"benchmarks\.retrieval: unknown setting 'crop'"),
        ({"benchmarks": {"retrieval": {"split": "all"}}}, r"benchmarks\.retrieval: split: .*got 'all'"),
        ({"shards": "https://host/x", "benchmarks": {"retrieval": {}}}, "retrieval reads shards from a local folder"),
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
    settings = {"epochs": 2, "loss.name": "batch-triplet", "loss.margin": 0.5}
    plan = Plan("n", settings=settings, methods={"a": {"epochs": 3}, "b": {}})
    rows = rows_of(plan, Path("out"))
    assert [(row.config.epochs, row.config.loss.margin) for row in rows] == [(3, 0.5), (2, 0.5)]
    assert rows[0].config.data == PRESETS["demo"].data
    with pytest.raises(UserError, match="row must be in 1 to 2, the rows of the plan, got 3"):
        choose_row(rows, 3)


@pytest.mark.parametrize("path", PLANS, ids=[path.stem for path in PLANS])
def test_the_plans_that_come_along_keep_every_rule(path: Path) -> None:
    rows = rows_of(load_plan(path), Path("out"))
    for row in rows:
        # One that starts from a run of another plan needs that run.
        if row.config.model.image_init in ("random", "imagenet"):
            check_rules(row.config)
        assert row.benchmarks
    assert path.read_text().startswith("# ")


def test_plans_of_earshot_are_known_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert plan_file(Path("demo")) == OWN_PLANS["demo"]
    (tmp_path / "demo").write_text("a file of the user's")
    assert plan_file(Path("demo")) == Path("demo")
    with pytest.raises(UserError, match=r"no plan at launch/plans/demo\.yaml: .* one of Earshot's plans: .*demo"):
        plan_file(Path("launch/plans/demo.yaml"))
