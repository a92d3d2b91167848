"""What is wrong with a plan's rows is found before the first one starts, by the row's name."""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from launch.comparison.checks import check_rows
from launch.comparison.plan import Plan
from launch.comparison.rows import rows_of
from launch.comparison.steps import write_row_settings
from shards.errors import UserError


def with_fault_in_row_7(tiny_shards: Path, **fault: Any) -> Plan:
    methods = {f"method-{i}": {} for i in range(20)} | {"method-6": fault}
    return Plan("n", shards=tiny_shards, settings={"batch_size": 16}, methods=methods)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"loss.name": "batch-triplet", "loss.margin": -1}, r"loss\.margin must be > 0, got -1"),
        ({"loss.name": "batch-triple"}, "unknown loss.name 'batch-triple'; did you mean 'batch-triplet'"),
        ({"method": "audiovisua"}, "unknown method 'audiovisua'; did you mean 'audiovisual'"),
        ({"batch_size": 49}, "batch_size must be at most the 48 pairs of the training split, got 49"),
        ({"optimizer.accumulation": 3}, "batch_size must be divisible by"),
        ({"method": "moco", "moco.queue_size": 49}, r"moco\.queue_size must be at most the 48 pairs"),
        ({"method": "moco", "moco.key_groups": 9}, r"moco\.key_groups must be at most half of the 16 images"),
        ({"model.image_init": str(Path(__file__).parent)}, "no weights at .*give a run folder"),
    ],
)
def test_a_fault_in_row_7_is_found_before_row_1(fault: dict[str, Any], message: str, tiny_shards: Path) -> None:
    plan = with_fault_in_row_7(tiny_shards, **fault)
    with pytest.raises(UserError, match=rf"^row 7 of 20 \(method-6, resnet18, seed 0\): {message}"):
        check_rows(plan, rows_of(plan, Path("out")))
    right = with_fault_in_row_7(tiny_shards)
    check_rows(right, rows_of(right, Path("out")))


def test_a_process_s_part_of_the_batch_is_what_is_checked(tiny_shards: Path, tmp_path: Path) -> None:
    (tmp_path / "launch.yaml").write_text("num_processes: 4\n")
    plan = with_fault_in_row_7(tiny_shards, method="moco", **{"moco.key_groups": 3})
    check_rows(plan, rows_of(plan, Path("out")))
    plan = replace(plan, launch=str(tmp_path / "launch.yaml"))
    with pytest.raises(UserError, match=r"^row 7 of 20 .*: moco\.key_groups must be at most half of the 4 images"):
        check_rows(plan, rows_of(plan, Path("out")))


def test_what_this_machine_lacks_is_found_before_row_1(tiny_shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("pretrain.training.processes.importlib.util.find_spec", lambda name: None)
    plan = with_fault_in_row_7(tiny_shards, **{"model.norm": "sync", "tracker": "none"})
    plan = replace(plan, settings=plan.settings | {"tracker": "none"})
    with pytest.raises(UserError, match=r"^row 7 of 20 .*: model\.norm sync needs CUDA devices"):
        check_rows(plan, rows_of(plan, Path("out")))
    # The jobs may run where there are some.
    check_rows(plan, rows_of(plan, Path("out")), here=False)
    plan = replace(plan, methods=plan.methods | {"method-6": {"tracker": "wandb"}})
    with pytest.raises(UserError, match=r"^row 7 of 20 .*: tracker wandb needs the package wandb"):
        check_rows(plan, rows_of(plan, Path("out")))


def test_what_is_done_is_not_checked_again_but_compared(tiny_shards: Path, tmp_path: Path) -> None:
    def rows(margin: float) -> tuple[Plan, Any]:
        loss = {"loss.name": "batch-triplet", "loss.margin": margin}
        methods = {"a": {"batch_size": 16, "model.image_init": str(tmp_path / "gone"), **loss}}
        plan = Plan("n", tiny_shards, methods=methods, benchmarks={"folder": {"root": str(tmp_path / "gone")}})
        return plan, rows_of(plan, tmp_path)

    plan, (row,) = rows(0.5)
    with pytest.raises(UserError, match=r"^row 1 of 1 .*model\.image_init .*gone"):
        check_rows(plan, [row])
    write_row_settings(row)
    row.run_folder.mkdir()
    (row.run_folder / "summary.json").write_text("{}")
    with pytest.raises(UserError, match=r"benchmarks\.folder: root .* is not a folder"):
        check_rows(plan, [row])
    row.benchmarks[0].folder.mkdir()
    (row.benchmarks[0].folder / "results.json").write_text("{}")
    check_rows(plan, [row])
    with pytest.raises(UserError, match=r"loss\.margin was 0.5 when it was started and is 0.7"):
        check_rows(*rows(0.7))


def test_spectrograms_that_a_benchmark_does_not_make_are_refused_before_row_1(
    tiny_shards: Path, tmp_path: Path
) -> None:
    shards = shutil.copytree(tiny_shards, tmp_path / "shards")
    manifest = json.loads((shards / "manifest.json").read_text())
    manifest["spectrogram"]["sample_rate_hz"] = None
    (shards / "manifest.json").write_text(json.dumps(manifest))
    job = {"benchmark": "demo-audiovisual", "root": "/nowhere"}
    plan = Plan("n", shards, settings={"batch_size": 16}, methods={"a": {}}, benchmarks={"heard": job})
    with pytest.raises(
        UserError, match=r"^row 1 of 1 .*: the spectrograms of the clips of benchmarks\.heard have sample"
    ):
        check_rows(plan, rows_of(plan, tmp_path))
    plan = replace(plan, benchmarks={"heard": job | {"force": True}})
    with pytest.raises(UserError, match=r"^benchmarks\.heard: .*/nowhere"):
        check_rows(plan, rows_of(plan, tmp_path))


@pytest.mark.parametrize(
    ("benchmarks", "message"),
    [
        ({"folder": {"root": "/nowhere"}}, r"benchmarks\.folder: root /nowhere is not a folder"),
        ({"folder": {"root": "/tmp", "epochs": 0}}, r"benchmarks\.folder: epochs must be >= 1, got 0"),
        ({"advance": {"root": "/tmp", "protocol": "knn"}}, r"benchmarks\.advance: protocol must be paper .*got knn"),
        ({"retrieval": {"crops": 0}}, r"benchmarks\.retrieval: crops must be >= 1, got 0"),
        ({"advance-transfer": {"root": "/tmp"}}, r"benchmarks\.advance-transfer: .* needs transfer\.teacher"),
        (
            {"advance-transfer": {"root": "/tmp", "transfer.teacher": "/nowhere"}},
            r"benchmarks\.advance-transfer: .*/nowhere",
        ),
        (
            {"sound-events": {"root": "/tmp"}},
            r"benchmarks\.sound-events: weights must be random for sound-events, which tries no other",
        ),
        (
            {"demo-tau": {"root": "/tmp", "tau.val_fraction": 2.0}},
            r"benchmarks\.demo-tau: tau\.val_fraction must be in",
        ),
        (
            {"demo-tau": {"root": "/tmp", "head_on": "embedding"}},
            r"benchmarks\.demo-tau: head_on has no effect on demo-tau: it is a setting of scene recognition",
        ),
        (
            {"demo-tau": {"root": "/tmp", "tau.strategy": "pipeline", "tau.acoustic_run": "/nowhere"}},
            r"benchmarks\.demo-tau: no network in /nowhere",
        ),
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
    with pytest.raises(UserError, match=r"row 1 of 1 .*: batch_size was 16 when it was started and is 8 in the plan"):
        check_rows(plan_of(batch=8), rows_of(plan_of(batch=8), tmp_path))
    with pytest.raises(UserError, match=r"row 1 of 1 .*: retrieval: crops was 2 when it was started and is 3"):
        check_rows(plan_of(crops=3), rows_of(plan_of(crops=3), tmp_path))
    begun.benchmarks[0].folder.rmdir()
    check_rows(plan_of(crops=3), rows_of(plan_of(crops=3), tmp_path))


def test_a_benchmark_that_was_taken_out_comes_back_with_its_settings_alone(tiny_shards: Path, tmp_path: Path) -> None:
    def plan_of(**benchmarks: Any) -> tuple[Plan, Any]:
        plan = Plan("n", tiny_shards, settings={"batch_size": 16}, methods={"a": {}}, benchmarks=benchmarks)
        return plan, rows_of(plan, tmp_path)

    _, (row,) = plan_of(retrieval={"crops": 2})
    write_row_settings(row)
    row.benchmarks[0].folder.mkdir()
    write_row_settings(plan_of()[1][0])
    check_rows(*plan_of(retrieval={"crops": 2}))
    with pytest.raises(UserError, match="retrieval: crops was 2 when it was started and is 3"):
        check_rows(*plan_of(retrieval={"crops": 3}))
    (row.folder / "benchmarks.yaml").unlink()
    with pytest.raises(UserError, match=r"retrieval: .*/retrieval exists, but .*benchmarks\.yaml does not state"):
        check_rows(*plan_of(retrieval={"crops": 2}))


def test_what_decides_how_much_is_learned_in_a_time_is_the_same_everywhere(tiny_shards: Path, tmp_path: Path) -> None:
    def plan_of(seconds: float, all_rows: dict[str, Any], second: dict[str, Any]) -> tuple[Plan, Any]:
        settings = {"batch_size": 16, "max_seconds": seconds, "threads": 1, "data.workers": 0}
        plan = Plan("n", tiny_shards, settings=settings | all_rows, methods={"a": {}, "b": second})
        return plan, rows_of(plan, tmp_path / f"{seconds}")

    for seconds, name, other in itertools.product((0, 60), ("threads", "data.workers"), (2,)):
        write_row_settings(plan_of(seconds, {}, {})[1][1])
        if not seconds:
            check_rows(*plan_of(seconds, {name: other}, {}))
            check_rows(*plan_of(seconds, {}, {name: other}))
            continue
        with pytest.raises(UserError, match=rf"^row 2 of 2 .*: {name} was . when it was started and is 2 in the plan"):
            check_rows(*plan_of(seconds, {name: other}, {}))
        shutil.rmtree(tmp_path / f"{seconds}")
        with pytest.raises(
            UserError, match=rf"^row 2 of 2 .*: {name} must be the same in all .*, got 2, and . in row 1"
        ):
            check_rows(*plan_of(seconds, {}, {name: other}))
        check_rows(*plan_of(seconds, {}, {name: other, "epochs": 0}))
    check_rows(*plan_of(60, {}, {}))
