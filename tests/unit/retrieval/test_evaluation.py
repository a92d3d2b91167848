"""`evaluate` on a tiny shard set with random towers: its files, their keys, and the mistakes it refuses."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tiny_shards import write_shard_set

from pretrain.data.audio_transforms import spread_crop_starts
from pretrain.data.image_transforms import evaluation_image
from pretrain.model import TwoTower
from pretrain.model_config import TwoTowerConfig
from pretrain.ranking import both_directions, chance_metrics
from retrieval.embedding import EmbeddedSplit, choose_device, open_model_and_split, open_split
from retrieval.evaluation import evaluate
from retrieval.gallery import format_rank
from retrieval.metrics_file import ShowOptions, show
from retrieval.options import EvaluateOptions
from retrieval.scoring import Evaluation
from shards.decoding.imagery import encode_jpeg
from shards.errors import UserError
from shards.manifest import Manifest
from shards.raster_settings import RasterSettings
from shards.schema import Sample, SpectrogramSettings
from shards.sources.soundingearth import RELEASED_SPECTROGRAMS
from shards.spectrogram_scales import converted_bytes
from shards.streaming.reading import ShardSet

FIGURES = [
    *("recall_at_1", "recall_at_5", "recall_at_10", "recall_at_100"),
    *("recall_at_10_percent", "median_rank", "mean_rank", "mrr"),
]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder whose towers were never trained."""
    torch.manual_seed(0)
    run_folder = tmp_path_factory.mktemp("run")
    TwoTower(TwoTowerConfig(embedding_dim=16, image_size=32, sound_pooling=4)).save_pretrained(run_folder / "model")
    return run_folder


@pytest.fixture(scope="module")
def evaluated(weights: Path, tiny_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Evaluation]:
    out = tmp_path_factory.mktemp("evaluated") / "out"
    return out, evaluate(EvaluateOptions(weights, tiny_shards, out, crops=3))


def test_metrics_json_keeps_its_contract(evaluated: tuple[Path, Evaluation], tiny_shards: Path) -> None:
    out, evaluation = evaluated
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics == evaluation.metrics
    assert list(metrics) == [
        *("protocol", "gallery_size", "chance", "image_to_sound", "sound_to_image"),
        *("intervals", "label_only", "without_repeated_images", "published"),
        *("weights", "weights_sha256", "shards", "split", "crops", "seed", "precision"),
        "overlap_with_training",
    ]
    weights = Path(metrics["weights"]) / "model" / "model.safetensors"
    assert metrics["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert (metrics["protocol"], metrics["gallery_size"], metrics["split"]) == ("standard", 24, "test")
    assert (metrics["crops"], metrics["shards"]) == (3, str(tiny_shards))
    for part in ("chance", "image_to_sound", "sound_to_image"):
        assert list(metrics[part]) == FIGURES
        assert metrics[part]["recall_at_100"] is None
        assert all(
            0 <= metrics[part][name] <= 1 for name in FIGURES if name.startswith(("recall", "mrr")) if "100" not in name
        )
    assert metrics["chance"] == chance_metrics(24)
    assert metrics["label_only"] is None
    assert (metrics["intervals"]["unit"], metrics["intervals"]["num_units"]) == ("query", 24)
    for direction in ("image_to_sound", "sound_to_image"):
        known = {name for name in FIGURES if metrics[direction][name] is not None}
        assert metrics["intervals"][direction].keys() == known
        for name in known:
            low, high = metrics["intervals"][direction][name]
            assert low <= metrics[direction][name] <= high


def test_the_printed_table_and_the_report_show_intervals(
    evaluated: tuple[Path, Evaluation], capsys: pytest.CaptureFixture[str]
) -> None:
    out, evaluation = evaluated
    show(ShowOptions(out))
    printed = capsys.readouterr().out
    low, high = evaluation.metrics["intervals"]["sound_to_image"]["median_rank"]
    assert f"{low:.1f} – {high:.1f}" in printed
    assert "only 24 queries, fewer than 30" in printed
    page = (out / "report.html").read_text()
    assert f"{format_rank(low)} – {format_rank(high)}" in page
    assert "Only 24 queries, fewer than 30" in page


def test_metrics_are_those_of_the_embeddings(evaluated: tuple[Path, Evaluation]) -> None:
    out, evaluation = evaluated
    embedded = EmbeddedSplit.load(out / "embeddings.npz")
    figures = both_directions(embedded.embeddings.image, embedded.embeddings.sound)
    assert figures["image_to_sound"] == evaluation.metrics["image_to_sound"]
    assert figures["sound_to_image"] == evaluation.metrics["sound_to_image"]


def repeating_shards(folder: Path) -> Path:
    """20 training and 12 test pairs, two to an image; the first test pair has an image of training."""

    def pair(number: int) -> Sample:
        generator = np.random.default_rng(0 if number == 20 else number // 2)
        corners = generator.integers(0, 255, (4, 4, 3), dtype=np.uint8)
        image = cv2.resize(corners, (64, 64), interpolation=cv2.INTER_CUBIC)
        sound = np.random.default_rng(number).integers(0, 255, (128, 140), dtype=np.uint8)
        place = {"longitude": 0.0, "latitude": 0.0}
        # Same images need not have the same bytes.
        return Sample(str(number), encode_jpeg(image, 90 - number % 2), np.asfortranarray(sound), place)

    counts = {"train": 20, "test": 12}
    write_shard_set(folder, counts, pair, samples_per_shard=7, split={"split_by": "key"})
    manifest = Manifest.load(folder)
    dataclasses.replace(manifest, warnings=("test has 12 pairs; few", "val has 0 pairs; few")).save(folder)
    return folder


def test_scores_without_repeated_images_stand_beside_the_published_split(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards, out = repeating_shards(tmp_path / "shards"), tmp_path / "out"
    metrics = evaluate(EvaluateOptions(weights, shards, out, crops=1)).metrics
    embeddings = EmbeddedSplit.load(out / "embeddings.npz").embeddings
    kept = [embeddings.keys.index(key) for key in ("21", "22", "24", "26", "28", "30")]
    figures = both_directions(embeddings.image[kept], embeddings.sound[kept])
    others = dict(metrics["without_repeated_images"])
    intervals = others.pop("intervals")
    assert (intervals["unit"], intervals["num_units"]) == ("query", 6)
    low, high = intervals["sound_to_image"]["mean_rank"]
    assert low <= figures["sound_to_image"]["mean_rank"] <= high
    assert others == {
        "num_left_out": 6,
        "gallery_size": 6,
        "chance": chance_metrics(6),
        **{direction: figures[direction] for direction in ("image_to_sound", "sound_to_image")},
    }
    assert metrics["gallery_size"] == 12
    overlap = {"num_queries": 12, "same_image": 1, "within_100_m": 12, "within_1000_m": 12}
    assert metrics["overlap_with_training"] == overlap
    words = "without 6 pairs whose image is also in training or earlier in the split: 6 pairs"
    assert words in " ".join(capsys.readouterr().out.split())
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Without the 6 pairs whose image is also in training or earlier in the split: 6 pairs." in page
    assert '<p class="warning" role="note">test has 12 pairs; few.</p>' in page
    assert "val has 0 pairs" not in page
    # A set whose manifest says which images repeat is believed; one that lacks training shards is evaluated as it is.
    (shards / "train-000001.tar").unlink()
    assert evaluate(EvaluateOptions(weights, shards, out, crops=1)).metrics["without_repeated_images"] is None
    assert "warning: repeated images are not known, scores are of all pairs" in capsys.readouterr().err
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["overlap_with_training"] == dict.fromkeys(overlap) | {"num_queries": 12}
    repeated = {"pairs": 2, "across_splits": 0, "keys": {"val": [], "test": ["31"]}}
    dataclasses.replace(Manifest.load(shards), repeated_images=repeated).save(shards)
    assert (
        evaluate(EvaluateOptions(weights, shards, out, crops=1)).metrics["without_repeated_images"]["gallery_size"]
        == 11
    )
    show(ShowOptions(out))
    assert "without 1 pair whose image" in " ".join(capsys.readouterr().out.split())


def test_a_split_of_nothing_but_repeated_images_is_scored_and_the_user_told(
    weights: Path, tiny_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = tmp_path / "shards"
    shutil.copytree(tiny_shards, shards)
    keys = [sample.key for sample in ShardSet.open(shards).samples("test")]
    repeated = {"pairs": len(keys), "across_splits": len(keys), "keys": {"val": [], "test": keys}}
    dataclasses.replace(Manifest.load(shards), repeated_images=repeated).save(shards)
    metrics = evaluate(EvaluateOptions(weights, shards, tmp_path / "out", crops=1)).metrics
    assert metrics["gallery_size"] == len(keys)
    assert metrics["without_repeated_images"] is None
    assert "warning: every pair of split test has an image that is also in training" in capsys.readouterr().err


def test_bf16_ranks_as_fp32_does_to_its_precision(weights: Path, tiny_shards: Path, tmp_path: Path) -> None:
    found = {
        precision: evaluate(EvaluateOptions(weights, tiny_shards, tmp_path / precision, precision=precision))
        for precision in ("fp32", "bf16")
    }
    exact, rounded = (found[precision].ranking.embeddings.image for precision in ("fp32", "bf16"))
    assert 0 < np.abs(exact - rounded).max() < 0.1 * np.abs(exact).max()
    assert found["bf16"].metrics["precision"] == "bf16"


def test_embeddings_are_those_of_the_towers(
    evaluated: tuple[Path, Evaluation], weights: Path, tiny_shards: Path
) -> None:
    embedded = EmbeddedSplit.load(evaluated[0] / "embeddings.npz")
    model = TwoTower.from_pretrained(weights)
    samples = list(ShardSet.open(tiny_shards).samples("test"))
    assert embedded.embeddings.keys == [sample.key for sample in samples]
    assert embedded.metadata == [sample.metadata() for sample in samples]
    assert embedded.provenance["weights"] == str(weights)
    for row in (0, 11, 23):
        sample = samples[row]
        last = sample.num_frames - 128
        crops = np.stack([sample.frames(round(last * part / 2), 128) for part in range(3)])[:, None]
        with torch.inference_mode():
            image = model.encode_image(torch.from_numpy(evaluation_image(sample.image(), 32))[None])[0]
            sound = model.encode_sound(torch.from_numpy(crops)).mean(dim=0)
        assert np.allclose(embedded.embeddings.image[row], image, atol=1e-5)
        assert np.allclose(embedded.embeddings.sound[row], sound, atol=1e-5)


def test_random_towers_score_about_chance(evaluated: tuple[Path, Evaluation]) -> None:
    metrics = evaluated[1].metrics
    for direction in ("image_to_sound", "sound_to_image"):
        assert 8 <= metrics[direction]["mean_rank"] <= 17
        assert metrics[direction]["recall_at_1"] <= 0.2


def test_khdlr_ranks_whole_batches_of_random_crops(
    weights: Path, tiny_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = EvaluateOptions(weights, tiny_shards, tmp_path / "a", protocol="khdlr", seed=1, crops=5)
    metrics = evaluate(options).metrics
    assert "warning: --crops 5 has no effect" in capsys.readouterr().err
    assert (metrics["gallery_size"], metrics["crops"], metrics["seed"]) == (16, 1, 1)
    assert metrics["chance"]["recall_at_10"] == 9 / 16
    evaluate(dataclasses.replace(options, out=tmp_path / "b", seed=2))
    first, second = (EmbeddedSplit.load(tmp_path / name / "embeddings.npz").embeddings for name in "ab")
    assert np.array_equal(first.image, second.image)
    assert not np.array_equal(first.sound, second.sound)


def test_other_spectrograms_are_refused_unless_forced(weights: Path, tiny_shards: Path, tmp_path: Path) -> None:
    model = TwoTower.from_pretrained(weights)
    config = dataclasses.replace(model.config, spectrogram=SpectrogramSettings(hop_samples=320))
    TwoTower(config).save_pretrained(tmp_path / "model")
    options = EvaluateOptions(tmp_path / "model", tiny_shards, tmp_path / "out", crops=1)
    with pytest.raises(UserError, match=r"hop_samples 400.*hop_samples 320"):
        evaluate(options)
    assert not (tmp_path / "out").exists()
    assert evaluate(dataclasses.replace(options, force=True)).metrics["gallery_size"] == 24


def test_forced_spectrograms_have_their_scale_converted(
    weights: Path, tiny_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = dataclasses.replace(TwoTower.from_pretrained(weights).config, spectrogram=RELEASED_SPECTROGRAMS)
    torch.manual_seed(1)
    model = TwoTower(config)
    model.save_pretrained(tmp_path / "model")
    evaluate(EvaluateOptions(tmp_path / "model", tiny_shards, tmp_path / "out", crops=1, force=True))
    assert "are converted from log-mel to exp-log-mel/10, which the model learned from" in capsys.readouterr().err
    found = EmbeddedSplit.load(tmp_path / "out" / "embeddings.npz").embeddings
    shard_set = ShardSet.open(tiny_shards)
    sample = shard_set.sample("test", 0)
    frames = sample.frames(spread_crop_starts(sample.num_frames, config.num_frames, 1)[0], config.num_frames)
    meant = converted_bytes(SpectrogramSettings().scale, RELEASED_SPECTROGRAMS.scale)[frames]
    standardised = torch.from_numpy((meant - config.spectrogram_mean) / config.spectrogram_std)[None, None]
    with torch.inference_mode():
        expected = model.eval().encode_sound(standardised.float())[0]
    assert found.keys[0] == sample.key
    torch.testing.assert_close(torch.from_numpy(found.sound[0]), expected, rtol=1e-4, atol=1e-5)


def test_embedding_files_hold_nothing_pickled(tmp_path: Path) -> None:
    path = tmp_path / "embeddings.npz"
    np.savez(path, keys=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match=r"has no array 'image_embeddings'; make one with"):
        EmbeddedSplit.load(path)
    values = np.zeros((2, 3), np.float32)
    arrays = {"image_embeddings": values, "sound_embeddings": values, "metadata": np.array(["{}"] * 2)}
    np.savez(path, keys=np.array([{}] * 2, dtype=object), provenance=np.array("{}"), **arrays, allow_pickle=True)
    with pytest.raises(UserError, match=r"is not a readable npz file .*allow_pickle"):
        EmbeddedSplit.load(path)
    np.savez(path, keys=np.array(["a"]), provenance=np.array("{}"), **arrays)
    with pytest.raises(UserError, match=r"does not hold embeddings \(n, d\) of n images and sounds"):
        EmbeddedSplit.load(path)
    with pytest.raises(UserError, match="can't be read: No such file"):
        EmbeddedSplit.load(tmp_path / "missing.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crops": 0}, "crops must be >= 1, got 0"),
        ({"batch_size": 0}, "batch_size must be >= 1, got 0"),
        ({"weights": Path("nowhere")}, "no weights at nowhere"),
        ({"shards": Path("nowhere")}, "no shards at nowhere"),
        ({"device": "gpu"}, "device 'gpu' can't be used"),
    ],
)
def test_mistakes_are_named(
    change: dict[str, object], message: str, weights: Path, tiny_shards: Path, tmp_path: Path
) -> None:
    options = dataclasses.replace(EvaluateOptions(weights, tiny_shards, tmp_path / "out"), **change)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=message):
        evaluate(options)
    assert not (tmp_path / "out").exists()


def test_a_split_must_be_there(tiny_shards: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown split 'tset'; choose one of: train, val, test"):
        open_split(tiny_shards, "tset")
    copy = tmp_path / "copy"
    shutil.copytree(tiny_shards, copy)
    record = json.loads((copy / "manifest.json").read_text())
    record["shards"] = [shard for shard in record["shards"] if shard["split"] != "test"]
    (copy / "manifest.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"split test of .* holds no pairs; it has train 48, val 16"):
        open_split(copy, "test")
    next(tiny_path for tiny_path in copy.glob("val-*.tar")).unlink()
    with pytest.raises(UserError, match="is missing"):
        open_split(copy, "val")


def test_an_evaluation_stays_until_another_is_whole(
    weights: Path,
    tiny_shards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = EvaluateOptions(weights, tiny_shards, tmp_path, crops=1)
    evaluate(options)
    assert "replacing" not in capsys.readouterr().out
    with monkeypatch.context() as patch:
        patch.setattr(EmbeddedSplit, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            evaluate(dataclasses.replace(options, split="val"))
    assert f"replacing the evaluation in {tmp_path}" in capsys.readouterr().out
    show(ShowOptions(tmp_path))
    assert "test split, 24 pairs" in capsys.readouterr().out
    evaluate(dataclasses.replace(options, split="val"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["embeddings.npz", "metrics.json", "report.html"]


def test_auto_takes_what_is_there() -> None:
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_the_command_prints_table_and_report(
    weights: Path, tiny_shards: Path, tmp_path: Path, repository: Path
) -> None:
    command = [sys.executable, str(repository / "retrieval" / "run.py"), "evaluate", "--weights", str(weights)]
    command += ["--shards", str(tiny_shards), "--split", "test", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert "image → sound" in done.stdout
    assert "chance" in done.stdout
    assert done.stdout.splitlines()[-1].split(": ")[0] == "report"
    assert (tmp_path / "out" / "report.html").is_file()
    assert "embedding test: 24/24" in done.stderr


def test_the_command_ends_on_one_sentence(
    weights: Path, tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "--weights", str(weights), "--shards", str(tmp_path / "nowhere"), "--out", str(tmp_path / "x")]
    monkeypatch.setattr(sys, "argv", ["run.py", *words])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(repository / "retrieval" / "run.py"), run_name="__main__")
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("error: no shards at")


def test_the_report_goes_to_the_run_that_made_the_weights(
    weights: Path, tiny_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attached: list[tuple[Path, Path, dict[str, float | None]]] = []
    monkeypatch.setattr("retrieval.evaluation.attach_report", lambda *call: attached.append(call))
    run_folder = tmp_path / "run"
    shutil.copytree(weights, run_folder)
    evaluate(EvaluateOptions(run_folder, tiny_shards, tmp_path / "a", crops=1))
    assert attached == []
    (run_folder / "tracking.json").write_text('{"tracker": "mlflow"}')
    metrics = evaluate(EvaluateOptions(run_folder / "model", tiny_shards, tmp_path / "b", crops=1)).metrics
    ((folder, report, figures),) = attached
    assert (folder, report) == (run_folder, tmp_path / "b" / "report.html")
    assert figures["test/image_to_sound/recall_at_10"] == metrics["image_to_sound"]["recall_at_10"]
    assert len(figures) == 16


def test_an_evaluation_whose_tracker_is_gone_ends_well(
    weights: Path, tiny_shards: Path, tmp_path: Path, repository: Path
) -> None:
    run_folder = tmp_path / "run"
    shutil.copytree(weights, run_folder)
    record = {"tracker": "mlflow", "run_id": "1", "tracking_uri": "http://127.0.0.1:9"}
    (run_folder / "tracking.json").write_text(json.dumps(record))
    command = [sys.executable, str(repository / "retrieval" / "run.py"), "evaluate", "--weights", str(run_folder)]
    command += ["--shards", str(tiny_shards), "--out", str(tmp_path / "out"), "--crops", "1"]
    patience = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=os.environ | patience, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"report: {tmp_path / 'out' / 'report.html'}"
    (warning,) = [line for line in done.stderr.splitlines() if "warning" in line]
    assert warning.startswith(f"warning: the report is not added to the tracked run of {run_folder} (")
    assert "Traceback" not in done.stderr


def test_a_protocol_of_your_own_is_used_by_its_module_and_object(
    weights: Path, tiny_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outside_protocol.py").write_text(
        "from retrieval.protocols.standard import Standard\n\n\n"
        "class Half(Standard):\n    name = 'half'\n    default_crops = 2\n\n"
        "    def recall(self, bounds, k):\n        return super().recall(bounds, k) / 2\n\nnothing = 3\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    options = EvaluateOptions(weights, tiny_shards, tmp_path / "a", protocol="outside_protocol:Half")
    halved = evaluate(options).metrics
    whole = evaluate(dataclasses.replace(options, out=tmp_path / "b", protocol="standard", crops=2)).metrics
    assert (halved["protocol"], halved["crops"]) == ("half", 2)
    assert halved["image_to_sound"]["recall_at_10"] == whole["image_to_sound"]["recall_at_10"] / 2
    assert halved["image_to_sound"]["mean_rank"] == whole["image_to_sound"]["mean_rank"]
    with pytest.raises(UserError, match=r"^protocol outside_protocol:nothing must be a subclass of .*, got 3$"):
        evaluate(dataclasses.replace(options, protocol="outside_protocol:nothing"))
    with pytest.raises(UserError, match=r"^unknown protocol 'standart'; did you mean 'standard'\?"):
        evaluate(dataclasses.replace(options, protocol="standart"))


def test_shards_of_other_bands_or_another_scale_are_warned_of(
    weights: Path, tiny_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    open_model_and_split(weights, tiny_shards, "test", device="cpu", force=False)
    assert "rasters" not in capsys.readouterr().err
    shutil.copytree(tiny_shards, tmp_path / "shards")
    rasters = RasterSettings((4, 3, 2), (310.0, 4120.0), "corpus")
    dataclasses.replace(Manifest.load(tiny_shards), rasters=rasters).save(tmp_path / "shards")
    open_model_and_split(weights, tmp_path / "shards", "test", device="cpu", force=False)
    warning = capsys.readouterr().err
    assert f"bands 4, 3, 2, scaled from 310 to 4120 in {tmp_path / 'shards'}" in warning
    assert "bands 1, 2, 3, each image scaled by its own percentiles; images that" in warning
    # A set of 8-bit images, whatever scale others were to get.
    rasters = RasterSettings(scale_by="corpus")
    dataclasses.replace(Manifest.load(tiny_shards), rasters=rasters).save(tmp_path / "shards")
    open_model_and_split(weights, tmp_path / "shards", "test", device="cpu", force=False)
    assert "rasters" not in capsys.readouterr().err
