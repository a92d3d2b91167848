"""Inputs that `pretrain`, `downstream`, `retrieval` and `launch` read: settings, weights, runs, results, requests."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from fuzz.campaign import Family
from fuzz.mutations import Mutation, change_bytes, change_json, change_json_lines, change_text
from released_runs import small_towers, write_run
from safetensors.torch import save_file
from tiny_shards import write_tiny_shards

from downstream.audiovisual.pair_embeddings import load_embeddings, save_embeddings
from downstream.exhibits import ShownRun
from downstream.reporting.formats import comma_separated, markdown, page
from downstream.reporting.rows import rows_of_runs
from downstream.reporting.runs import runs_of
from downstream.reporting.tables import build_tables
from downstream.results import Results, write_predictions
from downstream.running.confusion_exhibit import confusions_of_runs
from downstream.running.training import scores_by_epoch
from downstream.tau.benchmark import read_table
from launch.comparison.checks import _num_processes
from launch.comparison.plan import load_plan
from pretrain.engines import TrainingState
from pretrain.model import TwoTower
from pretrain.model_config import TwoTowerConfig
from pretrain.ranking import chance_metrics
from pretrain.releasing.facts import gather_facts
from pretrain.releasing.results import read_results, scores_of
from pretrain.settings.files import load_settings
from pretrain.settings.pretraining import Config
from pretrain.training.checkpoints import RunState, load_newest_checkpoint, save_checkpoint
from pretrain.training.embedding import PairEmbeddings
from pretrain.training.run_folder import read_summary
from pretrain.training.showing import lines_of
from pretrain.weights.encoder_weights import load_encoder
from retrieval.embedding import EmbeddedSplit
from retrieval.explore.atlas_building import Findings, read_atlas
from retrieval.explore.gallery_index import ListsRecord
from retrieval.explore.upload_folder import UploadFolder
from retrieval.explore.uploads import UploadGuard
from retrieval.metrics_file import print_scores, read_evaluation
from retrieval.study.answers import Answers, last_ones_in, raters_in
from retrieval.study.folder import Credit, Study, StudyPair
from shards.errors import UserError
from shards.records import read_json_as

SENTENCES = (UserError,)


def _family(name: str, write: Callable[[Path], Path], use: Callable[[Path], object], change: Mutation) -> Family:
    return Family(name, write, use, change, SENTENCES)


def _run(member: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        shards = write_tiny_shards(folder / "set", {"train": 3, "val": 2}, image_side=32)
        uses = [{"hardware": {"NVIDIA A100": 1}, "processes": 1, "seconds": 7200.0}]
        return write_run(folder / "run", shards, uses=uses) / member

    return write


def _load_model(file: Path) -> None:
    TwoTower.from_pretrained(file.parent)


def _encoder_file(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        state = small_towers().image_tower.trunk.state_dict()
        if name.endswith(".safetensors"):
            save_file(state, folder / name)
        else:
            torch.save({"state_dict": {f"backbone.{key}": value for key, value in state.items()}}, folder / name)
        return folder / name

    return write


def _checkpoint(member: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        tensors = {"a": torch.arange(12.0), "b": torch.ones(3, 3)}
        state = RunState(step=7, best_error=3.5, best_step=5)
        state.use({"cpu": 1}, 2)["seconds"] = 3.0
        return save_checkpoint(folder, TrainingState(tensors, tensors), state, keep=2) / member

    return write


def _resume(file: Path) -> None:
    def take_up(state: TrainingState) -> None:
        assert {name: value.shape for name, value in state.weights.items()} == {"a": (12,), "b": (3, 3)}

    load_newest_checkpoint(file.parents[2], take_up, lambda sentence: None)


def write_retrieval_metrics(folder: Path) -> Path:
    scores = {name: chance_metrics(50) for name in ("image_to_sound", "sound_to_image", "chance")}
    repeated = {**scores, "gallery_size": 40, "num_left_out": 10}
    record = {"protocol": "standard", "split": "test", "gallery_size": 50, "weights": "run", **scores}
    (folder / "metrics.json").write_text(json.dumps({**record, "without_repeated_images": repeated}))
    (folder / "report.html").write_text("")
    return folder / "metrics.json"


def _show(file: Path) -> None:
    print_scores(read_evaluation(file.parent))


def write_results(benchmark: str, **details: object) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        scores = {"accuracy": 0.8, "accuracy_sd": 0.02, "precision": 0.7, "recall": 0.7, "f1": 0.7, "log_loss": 0.5}
        parts = {name: dict(scores) for name in ("image", "sound", "mean", "concatenation")}
        epochs = [{"epoch": epoch, "loss": 0.5, **scores, **parts} for epoch in (1, 2)]
        training = {"optimizer.name": "adam", "optimizer.learning_rate": 1e-3, "precision": "fp32"}
        known = {"num_seeds": 2, "seeds": [{"seed": 0}, {"seed": 1}], "training": training, "image_size": 64, **details}
        results = Results(
            benchmark, "run", "resnet18", "paper", 5, 5, epochs, 1.0, "trunk", 0, "halves", 0.5, ["a"], known
        )
        results.write(folder)
        return folder / "results.json"

    return write


CONFUSED = {"classes": ["a", "b"], "confusion_matrix": [[2, 1], [0, 2]]}


def _predictions(folder: Path) -> Path:
    write_results("ucmerced", classes=["a", "b"])(folder)
    return write_predictions(folder, ["key", "class", "predicted"], [["1", "a", "b"], ["2", "b", "b"]])


def _confusions(file: Path) -> None:
    confusions_of_runs([ShownRun(run.folder, run.results, "weights") for run in runs_of([file.parent])])


def _report(file: Path) -> None:
    tables = build_tables(rows_of_runs(runs_of([file.parent])))
    for write in (markdown, comma_separated, page):
        write(tables)


def _release_results(file: Path) -> None:
    (file.parent / "model.safetensors").touch()
    shown = read_results((file.parent,), file.parent)
    for record in shown.downstream:
        scores_of(record)


def _embeddings(folder: Path) -> Path:
    values = np.random.default_rng(0).standard_normal((2, 6, 4)).astype(np.float32)
    pairs = PairEmbeddings([str(number) for number in range(6)], values[0], values[1])
    EmbeddedSplit(pairs, [{"title": "a"}] * 6, {"split": "test"}).save(folder / "embeddings.npz")
    return folder / "embeddings.npz"


def _stored_pairs(folder: Path) -> Path:
    values = np.zeros((6, 4), np.float32)
    save_embeddings(folder / "pairs.npz", PairEmbeddings(list("abcdef"), values, values), ["a fault"])
    return folder / "pairs.npz"


def _atlas(member: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        record = {"provenance": {}, "findings": dataclasses.asdict(Findings(3, ["forest"]))}
        (folder / "atlas.json").write_text(json.dumps(record))
        shapes = {"image_embeddings": (3, 4), "sound_embeddings": (3, 4), "places": (3, 2), "labels": (3,)}
        for name, shape in shapes.items():
            np.save(folder / f"{name}.npy", np.zeros(shape, np.int32 if name == "labels" else np.float32))
        return folder / member

    return write


def _study(folder: Path) -> Path:
    credit = Credit("7", "a river", "someone", "CC BY", "https://creativecommons.org/licenses/by/4.0/")
    digest = "ab" * 32
    pairs = tuple(
        StudyPair(str(n), "true", 1, 0.5, f"{n}.jpg", f"{n}.mp3", digest, digest, credit, credit) for n in range(3)
    )
    Study(2, "run", "set", digest, "test", 1, 0, 50, "nearest", "Do they match?", pairs).save(folder)
    return folder / "study.json"


def _answers(folder: Path) -> Path:
    answers = Answers(folder / "answers.sqlite", "a study")
    rater = answers.add_rater()
    answers.record(rater, "1", "yes")
    # One file holds all, as after a server's end.
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(folder / "answers.sqlite")) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    return folder / "answers.sqlite"


def _read_answers(file: Path) -> None:
    raters_in(file)
    last_ones_in(file, "a study")


def _request(folder: Path) -> Path:
    record = {
        "data": [{"path": "PLACE", "orig_name": "a.jpg", "meta": {"_type": "gradio.FileData"}}, "river", 5],
        "event_data": None,
        "fn_index": 3,
        "session_hash": "abcdefghij",
    }
    (folder / "request.json").write_text(json.dumps(record))
    return folder / "request.json"


def _check_request(file: Path) -> None:
    uploads = file.parent / "uploads"
    (uploads / "visitor").mkdir(parents=True, exist_ok=True)
    (uploads / "visitor" / "a.jpg").write_bytes(b"x")
    body = file.read_bytes().replace(b"PLACE", str(uploads / "visitor" / "a.jpg").encode())
    sentence = UploadGuard(lambda *_: None, UploadFolder(uploads)).objection(body)  # type: ignore[arg-type, return-value]
    if sentence is not None:
        raise UserError(sentence)


def _text(name: str, text: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_text(text)
        return folder / name

    return write


PLAN = """name: small
shards: set
preset: demo
settings:
  epochs: 2
  data.image_size: 64
seeds: [0, 1]
backbones: [resnet18]
methods:
  triplet: {loss.name: batch-triplet}
  contrastive: {loss.name: contrastive}
benchmarks:
  retrieval: {split: test}
"""
TAU_TABLE = (
    "filename_audio\tfilename_video\tscene_label\naudio/a.wav\tvideo/a.mp4\tpark\naudio/b.wav\tvideo/b.mp4\ttram\n"
)
LAUNCH_FILE = "compute_environment: LOCAL_MACHINE\nnum_processes: 2\nnum_machines: 1\nmixed_precision: 'no'\n"
LISTS = ListsRecord(1000, 128, 32, 4, 0.97, 200, 5000)

OF_TAU = {"strategy": "audio", "features": "fbank"}

FAMILIES = [
    _family("run's config.yaml", _run("config.yaml"), lambda file: load_settings(Config, file), change_text),
    _family("plan", _text("plan.yaml", PLAN), load_plan, change_text),
    _family("launch file", _text("launch.yaml", LAUNCH_FILE), _num_processes, change_text),
    _family("model's config.json", _run("model/config.json"), _load_model, change_json),
    _family("model's weights", _run("model/model.safetensors"), _load_model, change_bytes),
    _family("towers' config", _run("model/config.json"), lambda f: read_json_as(TwoTowerConfig, f), change_json),
    _family("encoder as safetensors", _encoder_file("a.safetensors"), lambda f: load_encoder(str(f)), change_bytes),
    _family("encoder as pth", _encoder_file("a.pth"), lambda f: load_encoder(str(f)), change_bytes),
    _family("checkpoint's state", _checkpoint("state.json"), _resume, change_json),
    _family("checkpoint's tensors", _checkpoint("weights.safetensors"), _resume, change_bytes),
    _family("metrics.jsonl", _run("metrics.jsonl"), lambda f: scores_by_epoch(f.parent), change_json_lines),
    _family("summary.json", _run("summary.json"), lambda f: read_summary(f.parent, "restore it"), change_json),
    _family("release by the summary", _run("summary.json"), lambda f: gather_facts(f.parent), change_json),
    _family("release by the metrics", _run("metrics.jsonl"), lambda f: gather_facts(f.parent), change_json_lines),
    _family("release by the settings", _run("config.yaml"), lambda f: gather_facts(f.parent), change_text),
    _family("release by the card", _run("model/README.md"), lambda f: gather_facts(f.parent), change_text),
    _family("metrics.jsonl of show", _run("metrics.jsonl"), lambda f: lines_of(f.parent), change_json_lines),
    _family("summary.json of show", _run("summary.json"), lambda f: lines_of(f.parent), change_json),
    _family("config.yaml of show", _run("config.yaml"), lambda f: lines_of(f.parent), change_text),
    _family("predictions of a report", _predictions, _confusions, change_text),
    _family("confusion matrix", write_results("tau-scenes", **CONFUSED), _confusions, change_json),
    _family("metrics.json", write_retrieval_metrics, _show, change_json),
    _family("metrics.json of a release", write_retrieval_metrics, _release_results, change_json),
    _family("results.json", write_results("ucmerced"), _report, change_json),
    _family("results.json of pairs", write_results("advance"), _report, change_json),
    _family("results.json of TAU", write_results("tau-scenes", **OF_TAU), _report, change_json),
    _family("results.json of a release", write_results("ucmerced"), _release_results, change_json),
    _family("embeddings", _embeddings, EmbeddedSplit.load, change_bytes),
    _family("stored pairs", _stored_pairs, load_embeddings, change_bytes),
    _family("atlas", _atlas("atlas.json"), lambda file: read_atlas(file.parent, (3, 4)), change_json),
    _family("array of an atlas", _atlas("places.npy"), lambda file: read_atlas(file.parent, (3, 4)), change_bytes),
    _family(
        "record of an index",
        lambda folder: _text("a.json", json.dumps(dataclasses.asdict(LISTS)))(folder),
        lambda file: read_json_as(ListsRecord, file),
        change_json,
    ),
    _family("study.json", _study, lambda file: Study.load(file.parent), change_json),
    _family("answers", _answers, _read_answers, change_bytes),
    _family("request", _request, _check_request, change_json),
    _family("table of TAU", _text("meta.csv", TAU_TABLE), lambda f: read_table(f, ("scene_label",)), change_text),
]
