"""Kinds of benchmark: all code that they name exists, other kinds' options are refused, old files of settings load."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from downstream.benchmarks import BENCHMARKS, defaults_of, kind_of, load_run_settings
from downstream.command_line import parse
from downstream.kinds import KINDS, settings_elsewhere
from downstream.settings import DownstreamSettings
from pretrain.settings.files import flatten, save_settings
from shards.errors import UserError


@pytest.mark.parametrize("name", KINDS)
def test_all_code_that_a_kind_names_is_there(name: str) -> None:
    kind = KINDS[name]
    assert kind.name == name
    assert kind.protocols[0].name == "paper"
    assert {type(protocol.settings) for protocol in kind.protocols} == {kind.settings}
    named = [kind.checker, kind.runner, *(protocol.runner for protocol in kind.protocols if protocol.runner)]
    assert all(callable(pkgutil.resolve_name(code)) for code in named)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_has_its_name_and_a_registered_kind(name: str) -> None:
    benchmark = BENCHMARKS[name]
    assert benchmark.name == name
    assert KINDS[benchmark.kind.name] is benchmark.kind is kind_of(name)
    for protocol in benchmark.kind.protocols:
        assert defaults_of(name, protocol.name).benchmark == name


def test_listing_and_looking_up_benchmarks_imports_nothing_heavy() -> None:
    heavy = ("torch", "torchvision", "albumentations", "accelerate", "sklearn", "av")
    code = (
        "import sys; from downstream.benchmarks import BENCHMARKS; from downstream.command_line import parse; "
        f"[BENCHMARKS[name].kind.reporting for name in BENCHMARKS]; print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["aid", "--patch-stride", "3"], "patch_stride has no effect on aid: it is a setting of land-cover mapping"),
        (["aid", "--tau.strategy=audio"], "tau.strategy has no effect on aid"),
        (["sound-events", "--transfer.no-with-scene-loss"], "transfer.with_scene_loss has no effect on sound-events"),
        (["deepglobe", "--explain", "2"], "scene recognition and transfer of sound events; omit it"),
        (["aid", "--protocol", "linea"], "protocol must be paper, .* got linea; did you mean 'linear'"),
        (["aidd"], "unknown benchmark 'aidd'; did you mean 'aid'"),
        (["aid", "--num-seeds", "0"], "num_seeds must be >= 1, got 0"),
    ],
)
def test_what_has_no_effect_is_refused_in_a_sentence(words: list[str], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        parse([*words, "--root", str(tmp_path), "--out", str(tmp_path / "out")])


def test_a_root_that_is_not_there_is_refused_but_for_what_writes_it(tmp_path: Path) -> None:
    words = ["--root", str(tmp_path / "none"), "--out", str(tmp_path / "out")]
    with pytest.raises(UserError, match="none is not a folder; give the folder with AID"):
        parse(["aid", *words])
    assert parse(["demo-tau", *words]).settings.root == tmp_path / "none"


def test_weights_that_are_not_there_are_refused_before_torch_is_imported(tmp_path: Path) -> None:
    words = ["aid", "--root", str(tmp_path), "--out", str(tmp_path / "out"), "--weights"]
    for weights in (tmp_path / "none.pth", tmp_path / "none" / "run"):
        with pytest.raises(UserError, match=f"imagenet, pretrained, or an existing run folder, .* got {weights}"):
            parse([*words, str(weights)])
    assert parse([*words, "lab/ears"]).settings.weights == "lab/ears"


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_file_with_the_settings_of_all_kinds_loads(name: str, tmp_path: Path) -> None:
    settings, path = defaults_of(name, "paper"), tmp_path / "config.yaml"
    save_settings(settings, path)
    record = yaml.safe_load(path.read_text())
    # As an older Earshot wrote them.
    record |= {"patch_stride": 7, "tau": {"frame_side": 480, **record.get("tau", {})}}
    record["transfer"] = {"loss": "none", "num_frames": 400, **record.get("transfer", {})}
    path.write_text(yaml.safe_dump(record))
    loaded = load_run_settings(path)
    assert type(loaded) is type(settings)
    ours = {n: value for n, value in flatten(loaded).items() if n != "patch_stride"}
    assert ours == {n: value for n, value in flatten(settings).items() if n != "patch_stride"}
    path.write_text(yaml.safe_dump(record | {"epoch": 3}))
    with pytest.raises(UserError, match="unknown setting 'epoch'"):
        load_run_settings(path)


def test_settings_of_all_benchmarks_are_nobody_elses() -> None:
    for name in KINDS:
        assert not settings_elsewhere(KINDS[name]).keys() & flatten(DownstreamSettings()).keys()
