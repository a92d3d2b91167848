"""What a dry run says of files and bytes is what the release then writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from released_runs import small_towers, write_run

from pretrain.model_files import WEIGHTS_NAME
from pretrain.releasing.dry_run import dry_run_demo_weights, dry_run_release
from pretrain.releasing.options import DemoWeightsOptions, ReleaseOptions
from pretrain.releasing.release import plan_release, release
from shards.errors import UserError


@pytest.mark.parametrize(
    ("half", "onnx"), [(False, False), (True, False), pytest.param(True, True, marks=pytest.mark.slow)]
)
def test_files_and_bytes_are_those_of_the_release(
    half: bool, onnx: bool, tiny_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoders = {"image_encoder": "resnet18", "sound_encoder": "narrow-resnet10"}
    run = write_run(tmp_path / "run", tiny_shards, small_towers(**encoders))
    options = ReleaseOptions(run, tmp_path / "out", half=half, onnx=onnx)
    dry_run_release(options)
    told = capsys.readouterr().out
    assert not options.out.exists()
    expected = plan_release(options)[0].num_bytes
    release(options)
    written = {str(path.relative_to(options.out)): path for path in options.out.rglob("*") if path.is_file()}
    (names,) = re.findall(r"^files +(.*)$", told, flags=re.MULTILINE)
    assert set(names.split(", ")) == written.keys()
    assert f"{len(written)} files, about " in told
    size = sum(path.stat().st_size for path in written.values())
    assert expected == pytest.approx(size, rel=0.05)
    assert ("the export of ONNX" in told) == onnx


def test_names_on_the_hub_are_said(
    tiny_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    run = write_run(tmp_path / "run", tiny_shards)
    options = ReleaseOptions(run, tmp_path / "out", push_to_hub="lab/ears", push_encoders=True)
    dry_run_release(options)
    assert re.search(r"pushes +lab/ears, lab/ears-image-encoder, lab/ears-sound-encoder\n", capsys.readouterr().out)


def test_demo_weights_that_are_there_leave_nothing_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / WEIGHTS_NAME).touch()
    dry_run_demo_weights(DemoWeightsOptions(out=tmp_path / "demo"))
    assert "already; nothing is left to do" in capsys.readouterr().out
    monkeypatch.setattr("pretrain.releasing.onnx_files.PACKAGES", ("nothing_of_this_name",))
    with pytest.raises(UserError, match="--onnx needs the package nothing_of_this_name"):
        dry_run_demo_weights(DemoWeightsOptions(out=tmp_path / "other", run=tmp_path / "run", onnx=True))
