"""A released model as an encoder of the package `mteb`, and its tasks; only here is that package imported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pretrain.model import TwoTower
from pretrain.training.embedding import embed_images, embed_sounds
from pretrain.weights.identity import weights_sha256
from retrieval.embedding import load_model
from retrieval.file_embedding import check_hears_files
from retrieval.file_inputs import ImageInput, SoundInput
from retrieval.finite import refuse_not_finite
from retrieval.similarity import negative_distances
from retrieval.sources import Waveform, image_sources, sound_sources
from shards.errors import RejectedPair, UserError

MAX_SECONDS = 600.0


class MtebModel:
    """Encodes images and sounds as `mteb.models.EncoderProtocol` asks for; compared by negative Euclidean distance.

    Args:
        weights: a run folder, a model folder, or a model on the hub.
        device: as in `retrieval.embedding.choose_device`.
        crops: evenly spaced sound crops whose embeddings are averaged.

    Raises:
        UserError: there are no weights, the package `mteb` is not installed, or the model's spectrograms can't be
            computed from sounds.
    """

    def __init__(self, weights: Path, device: str = "auto", crops: int = 10) -> None:
        self._model = load_model(weights, device)
        check_hears_files(self._model, weights)
        config = self._model.config
        self._read_image = ImageInput(config.rasters, config.image_size)
        self._read_sound = SoundInput(config.spectrogram, config.num_frames, crops, MAX_SECONDS)
        self.mteb_model_meta = _description(weights, self._model)

    @torch.inference_mode()
    def encode(
        self, inputs: Iterable[Mapping[str, Any]], *, task_metadata: Any, prompt_type: Any = None, **_: Any
    ) -> NDArray[np.float32]:
        """Embeds the queries or the documents of a task.

        Args:
            inputs: batches with "image" (PIL) or "audio" (array and sampling_rate) of each item.
            task_metadata: of the task; says which modality the inputs have.
            prompt_type: whether the inputs are queries or documents.

        Returns:
            (n, d).

        Raises:
            UserError: the inputs are of another modality, or have more than one: text or metadata of a recording in a
                query would give away what the query looks for.
        """
        modality = only_modality(task_metadata, prompt_type)
        read = self._images if modality == "image" else self._sounds
        embeddings = np.concatenate([read(batch[modality]) for batch in inputs])
        refuse_not_finite([str(number) for number in range(len(embeddings))], embeddings)
        return embeddings

    def similarity(self, embeddings1: Any, embeddings2: Any) -> torch.Tensor:
        """Negative Euclidean distances, (n, m), of embeddings (n, d) and (m, d)."""
        return torch.from_numpy(negative_distances(embeddings1, embeddings2))

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> torch.Tensor:
        """Negative Euclidean distances, (n,), of embeddings (n, d) and (n, d)."""
        ones, others = (torch.as_tensor(np.asarray(part)).double() for part in (embeddings1, embeddings2))
        return -torch.linalg.vector_norm(ones - others, dim=1)

    def _images(self, images: Iterable[Any]) -> NDArray[np.float32]:
        return embed_images(self._model, np.concatenate([self._inputs(image_sources(image)) for image in images]))

    def _sounds(self, sounds: Iterable[Any]) -> NDArray[np.float32]:
        waveforms = [(np.asarray(sound["array"], dtype=np.float32), int(sound["sampling_rate"])) for sound in sounds]
        crops = [self._inputs(sound_sources(waveform)) for waveform in waveforms]
        return embed_sounds(self._model, np.concatenate(crops), list(map(len, crops)))

    def _inputs(self, sources: list[Any]) -> NDArray[np.uint8]:
        """The inputs of one image or sound, decoded like those of files."""
        [source] = sources
        read, kind = (self._read_sound, "a sound") if isinstance(source, Waveform) else (self._read_image, "an image")
        try:
            return read(source)
        except RejectedPair as rejection:
            raise UserError(
                f"{kind} of the task can't be embedded: {rejection.reason} ({rejection.detail})"
            ) from rejection


def only_modality(task_metadata: Any, prompt_type: Any) -> str:
    """The modality of a task's queries or documents: "image" or "audio".

    Raises:
        UserError: it is another one, or there are several.
    """
    modalities = list(task_metadata.get_modalities(prompt_type))
    if modalities not in (["image"], ["audio"]):
        raise UserError(
            f"task {task_metadata.name}: the model takes images or sounds alone, got {' and '.join(modalities)}; "
            "captions and metadata in a query give away the answer; choose a task without them"
        )
    return str(modalities[0])


def run_tasks(model: MtebModel, tasks: list[Any], out: Path, batch_size: int) -> dict[str, float]:
    """Evaluates a model on tasks of the package; their results are written to `out`, as the package writes them.

    Returns:
        Name of each task → its main score, for SoundingEarth nDCG@10.
    """
    mteb = import_mteb()
    results = mteb.evaluate(
        model,
        tasks,
        encode_kwargs={"batch_size": batch_size, "show_progress_bar": False},
        cache=mteb.ResultCache(out),
        overwrite_strategy="always",
        co2_tracker=False,
    )
    return {result.task_name: float(result.get_score()) for result in results.task_results}


def import_mteb() -> Any:
    """The package.

    Raises:
        UserError: it is not installed.
    """
    try:
        import mteb
    except ImportError as error:
        raise UserError(
            f"the package mteb can't be imported ({error}); install it with: pip install 'earshot[mteb]'"
        ) from error
    return mteb


def _description(weights: Path, model: TwoTower) -> Any:
    import_mteb()
    from mteb.models.model_meta import ModelMeta, ScoringFunction

    resolved = weights.resolve()
    name = resolved.parent.name if resolved.name == "model" else resolved.name
    return ModelMeta(
        loader=None,
        name=f"earshot/{name}",
        revision=(weights_sha256(weights) or "")[:12] or None,
        release_date=None,
        languages=None,
        n_parameters=sum(parameter.numel() for parameter in model.parameters()),
        memory_usage_mb=None,
        max_tokens=None,
        embed_dim=model.config.embedding_dim,
        license=None,
        open_weights=None,
        public_training_code=None,
        public_training_data=None,
        framework=["PyTorch"],
        similarity_fn_name=ScoringFunction.EUCLIDEAN,
        use_instructions=False,
        training_datasets=None,
        modalities=["image", "audio"],
    )
