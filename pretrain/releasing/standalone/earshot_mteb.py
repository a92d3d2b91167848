"""A release in the package mteb, from the release's folder: `mteb.evaluate(load_model(), tasks)`.

It wraps the model of sentence-transformers, so that sounds arrive at the sampling rate of the model's spectrograms and
mteb knows which kinds of inputs there are.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from mteb.models import ModelMeta, SentenceTransformerEncoderWrapper
from sentence_transformers import SentenceTransformer

FOLDER = Path(__file__).resolve().parent


class EarshotModel(SentenceTransformerEncoderWrapper):
    """The model as mteb takes it; `loader` of `META`."""

    def __init__(self, *_: Any, device: str | None = None, **options: Any) -> None:
        config = json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))
        rate = config["preprocessing"]["sound"]["sample_rate_hz"]
        model = SentenceTransformer(str(FOLDER), device=device, trust_remote_code=True)
        options.pop("revision", None)  # the folder is the revision
        super().__init__(model, target_sampling_rate=rate, **options)
        self.mteb_model_meta = META


def _meta() -> ModelMeta:
    config = json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))
    checksum = hashlib.sha256((FOLDER / "model.safetensors").read_bytes()).hexdigest()
    return ModelMeta.create_empty(
        overwrites={
            "loader": EarshotModel,
            "name": f"earshot/{FOLDER.name}",
            "revision": checksum[:12],
            "embed_dim": config["preprocessing"]["embedding"]["dimensions"],
            "modalities": ["image", "audio"],
            "similarity_fn_name": "euclidean",
            "framework": ["PyTorch", "Sentence Transformers"],
        }
    )


META = _meta()


def load_model(device: str | None = None) -> Any:
    """The model, ready for `mteb.evaluate`."""
    return EarshotModel(device=device)
