"""The part of a release's card that says how to load it: code for every route."""

from __future__ import annotations

import json

from pretrain.cards import DEAF, Usage, python_block
from pretrain.model_config import TwoTowerConfig
from pretrain.releasing.encoder_files import EncoderFile, encoder_files
from pretrain.releasing.facts import Facts
from pretrain.releasing.onnx_files import INPUT, INPUTS_NAME, ONNX_NAMES, OPSET, OUTPUT, TOLERANCE
from pretrain.releasing.standalone_files import SENTENCE_TRANSFORMERS_NAME, is_plain, why_no_standalone
from pretrain.releasing.timm_folders import TimmFolder, hub_name, timm_code, timm_folders

DEAF_ALONE = f"""Spectrograms of these settings are computed by Earshot alone:
`earshot.load(…).sound_transform("recording.wav").numpy()` gives the inputs of `{ONNX_NAMES["sound"]}`."""

UNTRAINED_ENCODER = "It was never trained: these are its initial weights. "


def loading_section(facts: Facts, name: str, *, has_onnx: bool, on_hub: bool) -> str:
    """Writes the section.

    Args:
        facts: what is known about the weights.
        name: what they are loaded by, a folder or `owner/name`.
        has_onnx: whether the release holds ONNX files.
        on_hub: whether each encoder is also on the hub, beside `name`.
    """
    model = facts.model
    shape = f"(n, 1, {model.spectrogram.mel_bands}, {model.num_frames})" if model.sound_trained else ""
    usage = Usage(name, model.embedding_dim, model.image_size, shape, model.spectrogram.is_published)
    parts = [str(usage), _torch_hub(name)]
    if facts.half is not None:
        cost = str(facts.half)
        parts.append(f"Weights are stored in half precision and loaded as float32. {cost[0].upper()}{cost[1:]}.")
    if why_no_standalone(facts.towers) is None:
        parts.append(_standalone(name))
    if has_onnx:
        parts.append(_onnx(name, model))
    folders, _ = timm_folders(facts.towers)
    parts += [_timm(folder, name, on_hub=on_hub) for folder in folders]
    for file in encoder_files(facts.towers):
        is_trained = facts.is_trained and (file.modality == "image" or model.sound_trained)
        parts.append(_encoder(file, "" if is_trained else UNTRAINED_ENCODER))
    return "\n\n".join(parts)


def _torch_hub(name: str) -> str:
    literal = json.dumps(name, ensure_ascii=False)
    return f"""One tower from a copy of Earshot's repository, which need not be installed:

```python
import torch

tower = torch.hub.load(REPOSITORY, "image_tower", source="local", weights={literal})   # or "sound_tower"
```"""


def _standalone(name: str) -> str:
    literal = json.dumps(name, ensure_ascii=False)
    return f"""Files to embeddings without Earshot, with sentence-transformers, timm and torchaudio
(`trust_remote_code` runs `{SENTENCE_TRANSFORMERS_NAME}` and `earshot_towers.py` of this folder), and on tasks of mteb:

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer({literal}, trust_remote_code=True)
images = model.encode([image])   # PIL, (height, width, 3) uint8, or paths
sounds = model.encode([{{"array": waveform, "sampling_rate": sampling_rate}}])  # paths; stereo is (samples, channels)
similarity = model.similarity(images, sounds)   # negative Euclidean distances
```

```python
import sys

import mteb

sys.path.insert(0, {literal})   # this folder, downloaded
from earshot_mteb import load_model

results = mteb.evaluate(load_model(), tasks)
```"""


def _onnx(name: str, model: TwoTowerConfig) -> str:
    """The block from files to distances, as far as spectrograms are computed without Earshot."""
    literal = json.dumps(name, ensure_ascii=False)
    hears = model.sound_trained and is_plain(model.spectrogram)
    lines = [
        ("import sys", ""),
        ("", ""),
        ("import numpy as np", ""),
        ("import onnxruntime", ""),
        ("", ""),
        (f"folder = {literal}", "this folder, downloaded"),
        ("sys.path.insert(0, folder)", ""),
        ("from earshot_inputs import Inputs", ""),
        ("", ""),
        ("", ""),
        ("def embed(file, inputs):", ""),
        ('    session = onnxruntime.InferenceSession(f"{folder}/{file}")', ""),
        (f'    return session.run(["{OUTPUT}"], {{"{INPUT}": inputs}})[0]', ""),
        ("", ""),
        ("", ""),
        ("inputs = Inputs(folder)", ""),
        ('pixels = inputs.image("tile.jpg")', f"(1, 3, {model.image_size}, {model.image_size}) uint8"),
        (f'images = embed("{ONNX_NAMES["image"]}", pixels)', f"(1, {model.embedding_dim}) float32"),
    ]
    if hears:
        shape = f"(k, 1, {model.spectrogram.mel_bands}, {model.num_frames}) uint8"
        lines += [
            ('crops = inputs.sound("recording.wav")', shape),
            (f'sounds = embed("{ONNX_NAMES["sound"]}", crops).mean(axis=0, keepdims=True)', ""),
            ("distance = np.linalg.norm(images - sounds)", ""),
        ]
    deaf = "" if hears or not model.sound_trained else f" {_why_not_heard(model)}"
    return f"""ONNX, opset {OPSET} (torch's exporter writes no lower one), any number of inputs at once: the bytes that
`encode_image` and `encode_sound` take go in, embeddings come out, within {TOLERANCE:g} of the largest value of torch's.
`{INPUTS_NAME}` of this folder prepares them from files with NumPy, Pillow, soundfile and soxr.{deaf}

{python_block(lines)}"""


def _why_not_heard(model: TwoTowerConfig) -> str:
    return DEAF if not model.spectrogram.is_published else DEAF_ALONE


def _timm(folder: TimmFolder, name: str, *, on_hub: bool) -> str:
    source = f"hf-hub:{hub_name(name, folder.modality)}" if on_hub else f"local-dir:{name}/{folder.name}"
    wide = (
        "" if folder.form.is_exact else " timm's stem is wider than this network's: the other channels are always zero."
    )
    return (
        f"**`{folder.name}/`**: the {folder.modality} encoder by name, with timm's own configuration: input "
        f"size, mean, standard deviation, central crop.{wide}\n\n```python\n{timm_code(source)}\n```"
    )


def _encoder(file: EncoderFile, remark: str) -> str:
    what = f"**`{file.name}`**: the {file.modality} encoder alone, {file.encoder}. {remark}"
    if file.is_of_timm:
        code = f"```python\n{file.timm_code}\n```"
        return f"{what}Without Earshot, with timm; it returns features before the projection:\n\n{code}"
    if not file.is_of_torchvision:
        return (
            f"{what}Neither torchvision nor timm has this network under these names, so the file loads only into "
            f"`pretrain.encoders.building.build_encoder({file.encoder!r}, …)`."
        )
    return f"""{what}Without Earshot, with torchvision, timm, and timm with your own classifier:

```python
{file.torchvision_code}
```

```python
{file.timm_code}
```

```python
{file.timm_code_for_other_classes}
```

The first two return features before the projection. The file holds a classifier of 1,000 classes, `fc`, because both
libraries expect one: it is all zeros and untrained; remove it, as here, or replace it with your own."""
