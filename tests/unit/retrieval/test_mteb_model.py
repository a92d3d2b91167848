"""A model in the package mteb: same embeddings as from files, nDCG@10 of a literal reference, captions refused."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from pretrain.model import TwoTower
from pretrain.model_config import TwoTowerConfig
from pretrain.ranking import cross_modal_ranks
from retrieval.folders import embed
from retrieval.mteb_model import MtebModel, run_tasks
from retrieval.options import EmbedOptions, MtebOptions
from shards.errors import UserError

NUM_PLACES = 24


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("run")
    TwoTower(TwoTowerConfig(embedding_dim=8, image_size=32, sound_pooling=4)).save_pretrained(folder / "model")
    return folder


def items() -> tuple[list[Image.Image], list[dict[str, Any]]]:
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 255, (64, 48 + i, 3), dtype=np.uint8)) for i in range(NUM_PLACES)]
    sounds = [
        {"array": rng.normal(0, 0.1, 22_050 + 900 * i).astype(np.float32), "sampling_rate": 22_050}
        for i in range(NUM_PLACES)
    ]
    return images, sounds


def task_of(*modalities: str) -> Any:
    return SimpleNamespace(name="Task", get_modalities=lambda prompt_type: list(modalities))


def test_embeddings_are_those_of_the_files(weights: Path, tmp_path: Path) -> None:
    images, sounds = items()
    for i, (image, sound) in enumerate(zip(images, sounds, strict=True)):
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "sounds").mkdir(exist_ok=True)
        image.save(tmp_path / "images" / f"{i:02d}.png")
        soundfile.write(tmp_path / "sounds" / f"{i:02d}.wav", sound["array"], sound["sampling_rate"], subtype="FLOAT")
    model = MtebModel(weights, "cpu", crops=3)
    for kind, column, values in (("images", "image", images), ("sounds", "audio", sounds)):
        folder = {kind: (tmp_path / kind,)}
        expected = embed(EmbedOptions(weights, tmp_path / f"{kind}.npz", crops=3, device="cpu", **folder))  # type: ignore[arg-type]
        batches = [{column: values[start : start + 7]} for start in range(0, NUM_PLACES, 7)]
        found = model.encode(batches, task_metadata=task_of(column))
        assert found == pytest.approx(expected.embeddings, abs=1e-5)


def test_mteb_gives_the_ndcg_of_a_literal_reference(weights: Path, tmp_path: Path) -> None:
    from datasets import Dataset
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
    from mteb.abstasks.task_metadata import TaskMetadata

    images, sounds = items()
    columns: dict[str, list[Any]] = {"image": images, "audio": sounds}

    def task(name: str, query: str, document: str, category: str) -> Any:
        class Places(AbsTaskRetrieval):
            metadata = TaskMetadata(
                name=name, description="Places seen and heard.", reference=None, type="Any2AnyRetrieval",
                dataset={"path": "none", "revision": "none"}, category=category, modalities=[query, document],
                eval_splits=["test"], eval_langs=["eng-Latn"], main_score="ndcg_at_10", date=None, domains=None,
                task_subtypes=None, license=None, annotations_creators=None, dialect=None, sample_creation=None,
                bibtex_citation=None,
            )  # fmt: skip

            def load_data(self, **_: Any) -> None:
                queries, corpus = (
                    Dataset.from_dict({"id": [f"{prefix}{i}" for i in range(NUM_PLACES)], column: columns[column]})
                    for prefix, column in (("q", query), ("d", document))
                )
                relevant = {f"q{i}": {f"d{i}": 1} for i in range(NUM_PLACES)}
                self.dataset = {
                    "default": {
                        "test": RetrievalSplitData(
                            queries=queries, corpus=corpus, relevant_docs=relevant, top_ranked=None
                        )
                    }
                }
                self.data_loaded = True

        return Places()

    model = MtebModel(weights, "cpu", crops=2)
    tasks = [task("PlacesA2I", "audio", "image", "a2i"), task("PlacesI2A", "image", "audio", "i2a")]
    scores = run_tasks(model, tasks, tmp_path / "out", batch_size=5)
    embeddings = {
        column: model.encode([{column: columns[column]}], task_metadata=task_of(column)) for column in columns
    }
    for name, query, document in (("PlacesA2I", "audio", "image"), ("PlacesI2A", "image", "audio")):
        ranks = cross_modal_ranks(embeddings[query], embeddings[document])
        expected = np.mean([1 / math.log2(rank + 1) if rank <= 10 else 0.0 for rank in ranks])
        assert scores[name] == pytest.approx(expected, abs=1e-5)
    assert list((tmp_path / "out").rglob("PlacesA2I.json"))


@pytest.mark.parametrize("modalities", [("audio", "text"), ("text",), ("image", "video")])
def test_captions_and_other_modalities_in_an_input_are_refused(modalities: tuple[str, ...], weights: Path) -> None:
    with pytest.raises(UserError, match="captions and metadata in a query give away the answer"):
        MtebModel(weights, "cpu").encode([], task_metadata=task_of(*modalities))


def test_without_the_package_the_remedy_is_named(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mteb", None)  # importing it fails
    with pytest.raises(UserError, match=r"install it with: pip install 'earshot\[mteb\]'"):
        MtebModel(weights, "cpu")


def test_options_are_checked(weights: Path, tmp_path: Path) -> None:
    MtebOptions(weights, tmp_path).check()
    with pytest.raises(UserError, match="crops must be >= 1, got 0"):
        MtebOptions(weights, tmp_path, crops=0).check()
    with pytest.raises(UserError, match="tasks must name"):
        MtebOptions(weights, tmp_path, ()).check()
