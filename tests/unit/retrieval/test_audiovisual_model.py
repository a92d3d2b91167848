"""`earshot.load`: files, pictures and arrays give the embeddings of the command, and mistakes are named."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import soundfile
import torch
from commands import python, run
from PIL import Image
from released_runs import small_towers
from torch.nn import functional as F

import earshot
from pretrain.data.image_transforms import evaluation_image
from retrieval.source_embedding import Rejected
from shards.sources.soundingearth import RELEASED_SPECTROGRAMS

NUM_FILES = 19
"""More than a batch."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder, images, sounds of several rates and lengths, and a file of each kind that can't be decoded."""
    folder = tmp_path_factory.mktemp("files")
    small_towers().save_pretrained(folder / "model")
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    (folder / "sounds").mkdir()
    for i in range(NUM_FILES):
        pixels = rng.integers(0, 256, (40 + 30 * i, 70, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / "images" / f"{i:02d}.png"), pixels)
        samples = rng.normal(0, 0.1, (9_000 + 7_000 * i, 1 + i % 2)).clip(-1, 1)
        soundfile.write(folder / "sounds" / f"{i:02d}.wav", samples, (8_000, 16_000, 44_100)[i % 3])
    (folder / "images" / "05.jpg").write_text("no image")
    (folder / "sounds" / "07.mp3").write_bytes(b"no sound")
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> earshot.AudiovisualModel:
    return earshot.load(folder / "model", device="cpu")


@pytest.mark.parametrize("kind", ["images", "sounds"])
def test_embeddings_are_those_of_the_command_bit_for_bit(
    kind: str, model: earshot.AudiovisualModel, folder: Path, tmp_path: Path
) -> None:
    words = ["embed", "--weights", folder / "model", f"--{kind}", folder / kind, "--out", tmp_path / "out.npz"]
    result = run(python("retrieval/run.py", *words, "--device", "cpu"), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    written = np.load(tmp_path / "out.npz")
    found = getattr(model, f"embed_{kind}")(folder / kind, on_error="skip")
    assert np.array_equal(found.embeddings, written["embeddings"])
    assert found.embeddings.dtype == np.float32
    assert found.names == written["names"].tolist()
    [rejected] = found.rejected
    assert rejected.name == written["rejected_names"].item()
    assert repr(found) == f"Embedded({NUM_FILES} × 128, 1 rejected)"
    pattern = getattr(model, f"embed_{kind}")(f"{folder / kind}/*[05].*", on_error="skip")
    assert pattern.names == [name for name in found.names if name[1] in "05"]
    assert [item.name for item in pattern.rejected] == [item.name for item in found.rejected if item.name[1] in "05"]
    assert f"{rejected.reason}: {rejected.detail}" == written["rejected_reasons"].item()
    # Rows and rejected items are all that was given.
    assert sorted([*found.indices.tolist(), rejected.index]) == list(range(NUM_FILES + 1))
    # Without the file that can't be decoded, an array in the order given.
    files = [folder / kind / name for name in written["names"]]
    assert np.array_equal(getattr(model, f"embed_{kind}")(files), written["embeddings"])
    reverse = getattr(model, f"embed_{kind}")(files[::-1])
    assert np.allclose(reverse[::-1], written["embeddings"], atol=1e-5)


def test_an_image_in_memory_is_the_image_of_its_file(model: earshot.AudiovisualModel, folder: Path) -> None:
    for path in (folder / "images" / "00.png", folder / "images" / "18.png"):
        expected = model.image_transform(path)
        pixels = np.asarray(Image.open(path))
        tensor = torch.from_numpy(pixels.transpose(2, 0, 1).copy())
        for image in (str(path), Image.open(path), pixels, tensor):
            assert torch.equal(model.image_transform(image), expected)
        assert expected.dtype == torch.uint8
        assert expected.shape == (3, 32, 32)
        side = min(pixels.shape[:2])
        top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
        literal = evaluation_image(pixels[top : top + side, left : left + side], 32)
        assert np.array_equal(expected.numpy(), literal)
        with torch.inference_mode():
            embedding = model.towers.encode_image(expected[None]).numpy()
        assert np.array_equal(model.embed_images(pixels), embedding)
    several = model.embed_images([path, pixels, Image.open(path), tensor])
    assert np.array_equal(several, model.embed_images(np.stack([pixels] * 4)))
    assert np.array_equal(several, model.embed_images(torch.stack([tensor] * 4)))
    grey = np.asarray(Image.open(path).convert("L"))
    assert torch.equal(model.image_transform(grey), model.image_transform(Image.fromarray(grey)))


def test_a_turned_and_transparent_picture_is_the_picture_of_its_file(
    model: earshot.AudiovisualModel, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (50, 60, 4), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(pixels[..., :3].copy()).save(tmp_path / "a.jpg", exif=turned)
    for path in (tmp_path / "a.png", tmp_path / "a.jpg"):
        assert torch.equal(model.image_transform(Image.open(path)), model.image_transform(path))
    # Orientation 6: shown turned clockwise by a right angle.
    shown = np.rot90(np.asarray(Image.open(tmp_path / "a.jpg")), -1)
    assert torch.equal(model.image_transform(tmp_path / "a.jpg"), model.image_transform(shown))


def test_a_sound_in_memory_is_the_sound_of_its_file(model: earshot.AudiovisualModel, folder: Path) -> None:
    for name in ("00.wav", "07.wav", "17.wav"):
        path = folder / "sounds" / name
        expected = model.sound_transform(path)
        waveform, rate = soundfile.read(path, dtype="float32")
        tensor = torch.from_numpy(np.ascontiguousarray(waveform.T))
        for sound in ((waveform, rate), (tensor, rate), {"array": waveform, "sampling_rate": rate}, str(path)):
            assert torch.equal(model.sound_transform(sound), expected)
        whole = soundfile.read(path, dtype="int16")[0]
        assert torch.equal(model.sound_transform(whole, rate), expected)
        assert expected.shape[1:] == (1, 128, 128)
        with torch.inference_mode():
            embedding = model.towers.encode_sound(expected).numpy().mean(0)
        assert np.array_equal(model.embed_sounds(path), embedding[None])
    several = model.embed_sounds([path, (waveform, rate), {"array": waveform, "sampling_rate": rate}])
    assert np.array_equal(several, model.embed_sounds([waveform] * 3, sample_rate_hz=rate))
    assert np.array_equal(several, model.embed_sounds([path] * 3))


def test_a_file_that_cannot_be_decoded_is_named_or_returned(model: earshot.AudiovisualModel, folder: Path) -> None:
    files = [folder / "images" / name for name in ("01.png", "05.jpg", "02.png")]
    with pytest.raises(
        earshot.UserError, match=r"images/05\.jpg can't be embedded: undecodable image .*on_error='skip'"
    ):
        model.embed_images(files)
    gone = [files[0], folder / "gone.png", folder / "gone2.png"]
    with pytest.raises(
        earshot.UserError, match=r"no file at .*gone\.png, and 1 others; leave it out, or pass on_error"
    ):
        model.embed_images(gone)
    with pytest.raises(earshot.UserError, match=r"images in a list of files is a folder; give a folder alone"):
        model.embed_images([folder / "images"])
    found = model.embed_images([*files, gone[1], np.zeros((8, 8, 3), np.uint8)], on_error="skip")
    assert found.names == [str(files[0]), str(files[2])]
    assert found.indices.tolist() == [0, 2]
    assert [(item.index, item.name, item.reason) for item in found.rejected] == [
        (1, str(files[1]), "undecodable image"),
        (3, str(gone[1]), "missing image"),
        (4, "images[4]", "image too small"),
    ]
    [short] = model.embed_sounds([(np.zeros(100, np.float32), 16_000)], on_error="skip", names=["beep"]).rejected
    assert short == Rejected(0, "beep", "sound too short", "100 samples at 16000 Hz, fewer than 1024")
    with pytest.raises(earshot.UserError, match=r"05\.jpg can't be decoded: undecodable image"):
        model.image_transform(files[1])


ZEROS = np.zeros((40, 40, 3), np.uint8)
SILENCE = np.zeros(16_000, np.float32)
ROWS = np.ones((2, 128), np.float32)


@pytest.mark.parametrize(
    ("kind", "value", "error", "message"),
    [
        ("images", 3, TypeError, r"images must be a path, a PIL image, .*; got int"),
        ("images", [ZEROS, None], TypeError, r"images\[1\] must be a path, a PIL image, .*; got NoneType"),
        ("images", b"a.jpg", TypeError, "got bytes"),
        ("images", ZEROS.astype(float), ValueError, "images has values of type float64, but pixels must be uint8"),
        ("images", ZEROS.transpose(2, 0, 1), ValueError, r"shape \(3, 40, 40\), but an array must be \(height"),
        ("images", [torch.from_numpy(ZEROS)], ValueError, r"images\[0\] has .* but a tensor must be \(3, height"),
        ("images", Image.new("I;16", (40, 40)), ValueError, "of mode I;16, with more than 8 bits a channel; give"),
        ("sounds", 3, TypeError, r"sounds must be a path, a pair \(waveform, sampling rate in Hz\), .*; got int"),
        ("sounds", SILENCE, TypeError, r"sounds is a waveform without its sampling rate; give \(waveform, rate\), or"),
        ("sounds", [SILENCE], TypeError, r"sounds\[0\] is a waveform without its sampling rate"),
        ("sounds", {"path": "a.wav"}, TypeError, "got dict"),
        ("images", "nowhere/*.jpg", earshot.UserError, r"no images at nowhere/\*\.jpg: no file matches this pattern"),
        ("sounds", (SILENCE, "48k"), TypeError, "rate of sounds must be a number of hertz, such as 48000, got '48k'"),
        ("sounds", [(SILENCE, "48 kHz")], TypeError, r"rate of sounds\[0\] must be a number of hertz.* got '48 kHz'"),
        ("sounds", {"array": SILENCE, "sampling_rate": None}, TypeError, "without its sampling rate"),
        ("sounds", (SILENCE, True), TypeError, "must be a number of hertz, such as 48000, got True"),
        ("sounds", (SILENCE, float("nan")), ValueError, r"must be a whole number in \[1, 1000000\], got nan"),
        ("sounds", (SILENCE, 0), ValueError, r"rate of sounds must be a whole number in \[1, 1000000\], got 0"),
        ("sounds", (SILENCE.astype("uint8"), 8000), ValueError, "type uint8; give floats of full scale 1, int16"),
        ("sounds", (np.zeros((2, 16_000)), 8000), ValueError, r"\(2, 16000\), but an array must be .*\(samples, c"),
        ("sounds", (torch.zeros(16_000, 2), 8000), ValueError, r"\(16000, 2\), but a tensor must be .*\(channels, s"),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_is_named(
    kind: str, value: Any, error: type[Exception], message: str, model: earshot.AudiovisualModel
) -> None:
    with pytest.raises(error, match=message):
        getattr(model, f"embed_{kind}")(value, on_error="skip")


def test_arguments_are_checked(model: earshot.AudiovisualModel, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(earshot.UserError, match="on_error must be one of raise, skip, got 'ignore'"):
        model.embed_images(ZEROS, on_error="ignore")  # type: ignore[call-overload]
    with pytest.raises(earshot.UserError, match="batch_size must be >= 1, got 0"):
        model.embed_images(ZEROS, batch_size=0)
    for names in ("a", 3, [3]):
        with pytest.raises(TypeError, match=r"names must be a list with the name of each of images, got "):
            model.embed_images([ZEROS], names=names)  # type: ignore[call-overload]
    for size in (1.5, "x", None, True):
        with pytest.raises(TypeError, match=f"batch_size must be a whole number, got {size!r}"):
            model.embed_images(ZEROS, batch_size=size)  # type: ignore[call-overload]
    with pytest.raises(earshot.UserError, match=r"no file at a\*\.png; in a list, patterns are not taken: give"):
        model.embed_images(["a*.png"])
    for sounds in ("a.wav", ["a.wav"], (SILENCE, 8_000), folder / "sounds"):
        with pytest.raises(ValueError, match=r"sample_rate_hz is for waveforms .* has no effect on files"):
            model.embed_sounds(sounds, sample_rate_hz=8_000)
    with pytest.raises(ValueError, match="names must be of all 1 images, got 2"):
        model.embed_images(ZEROS, names=["a", "b"])
    with pytest.raises(TypeError, match="a transform takes one of images, got 2"):
        model.image_transform([ZEROS, ZEROS])
    for change, message in (
        ({"precision": "fp16"}, "precision must be one of fp32, bf16, auto, got 'fp16'"),
        ({"crops": 0}, "crops must be >= 1, got 0"),
        ({"max_seconds": 0.0}, "max_seconds must be > 0, got 0.0"),
        ({"device": "gpu"}, "device 'gpu' can't be used"),
    ):
        with pytest.raises(earshot.UserError, match=message):
            earshot.load(folder / "model", **change)  # type: ignore[arg-type]
    for change, message in (
        ({"crops": "3"}, "crops must be a whole number, got '3'"),
        ({"crops": 3.0}, "crops must be a whole number, got 3.0"),
        ({"max_seconds": "3"}, "max_seconds must be a number of seconds, got '3'"),
    ):
        with pytest.raises(TypeError, match=message):
            earshot.load(folder / "model", **change)  # type: ignore[arg-type]
    for place in (3, None, b"RUN"):
        with pytest.raises(TypeError, match=r"name_or_folder must be a run folder, .* as a str or a Path; got "):
            earshot.load(place)  # type: ignore[arg-type]
    with pytest.raises(earshot.UserError, match=r"no weights at .*: no such folder"):
        earshot.load(tmp_path / "nowhere")
    with pytest.raises(earshot.UserError, match=r"no weights at .*: it is a file; give a run folder"):
        earshot.load(folder / "model" / "model.safetensors")
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(earshot.UserError, match=r"no weights at .*: it is a shard set; give a run folder"):
        earshot.load(tmp_path)
    with pytest.raises(earshot.UserError, match=r"no sounds in .*/images: none of its files ends in"):
        model.embed_sounds(folder / "images")


def test_nothing_gives_no_rows(model: earshot.AudiovisualModel) -> None:
    assert model.embed_images([]).shape == model.embed_sounds([]).shape == (0, 128)


def test_transforms_are_pickled_without_the_model(model: earshot.AudiovisualModel, folder: Path) -> None:
    for transform, path in (
        (model.image_transform, folder / "images" / "00.png"),
        (model.sound_transform, folder / "sounds" / "00.wav"),
    ):
        packed = pickle.dumps(transform)
        assert len(packed) < 2000
        assert torch.equal(pickle.loads(packed)(path), transform(path))  # type: ignore[operator]


def test_similarity_is_the_negative_distance(model: earshot.AudiovisualModel, folder: Path) -> None:
    images = model.embed_images(sorted((folder / "images").glob("0*.png"))[:3])
    sounds = model.embed_sounds(sorted((folder / "sounds").glob("0*.wav"))[:2])
    found = model.similarity(images, sounds)
    literal = [[-np.sqrt(np.square(image.astype(float) - sound).sum()) for sound in sounds] for image in images]
    assert found == pytest.approx(np.array(literal))
    assert model.similarity(images[0], images).argmax() == 0
    assert model.similarity(torch.from_numpy(images), images).diagonal().tolist() == [0, 0, 0]
    # On the unit sphere, the order is that of cosine similarity.
    ones, others = (F.normalize(torch.from_numpy(part), dim=1).numpy() for part in (images, sounds))
    assert model.similarity(ones, others) == pytest.approx(-np.sqrt(2 - 2 * (ones @ others.T)), abs=1e-5)
    with pytest.raises(
        ValueError, match=r"embeddings must be \(n, d\) and \(m, d\), got shapes \(3, 128\) and \(3, 5\)"
    ):
        model.similarity(images, images[:, :5])
    skipped = model.embed_images([ZEROS], on_error="skip")
    assert np.array_equal(model.similarity(skipped, sounds), model.similarity(skipped.embeddings, sounds))
    assert np.array_equal(model.similarity(sounds, skipped), model.similarity(sounds, skipped.embeddings))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("a.npz", ROWS), TypeError, "embeddings must be embeddings, an array or a tensor of numbers; got str"),
        ((ROWS, "a.npz"), TypeError, "others must be embeddings, an array or a tensor of numbers; got str"),
        ((ROWS, None), TypeError, "others must be embeddings, .*; got NoneType"),
        ((ROWS, [[1.0], [1.0, 2.0]]), ValueError, r"others must be \(n, d\), but its rows have different lengths"),
        ((ROWS * np.nan, ROWS), ValueError, "embeddings must be finite, but it holds NaN or infinite values"),
        ((ROWS, ROWS * np.inf), ValueError, "others must be finite"),
    ],
)
def test_what_is_no_embeddings_is_named(
    arguments: tuple[Any, Any], error: type[Exception], message: str, model: earshot.AudiovisualModel
) -> None:
    with pytest.raises(error, match=message):
        model.similarity(*arguments)


def test_a_model_says_what_it_is(model: earshot.AudiovisualModel, folder: Path) -> None:
    assert repr(model) == (
        f"AudiovisualModel({str(folder / 'model')!r}: images by resnet18 at 32 px, sounds by resnet18 on 128 frames, "
        "128 dimensions, cpu)"
    )
    assert model.to("cpu") is model
    assert model.device == torch.device("cpu")
    assert isinstance(model.towers, earshot.TwoTower)
    assert model.config == model.towers.config
    assert not model.towers.training
    with pytest.raises(earshot.UserError, match="device 'nowhere' can't be used"):
        model.to("nowhere")


def test_unpublished_spectrograms_need_force(folder: Path, tmp_path: Path) -> None:
    small_towers(spectrogram=RELEASED_SPECTROGRAMS).save_pretrained(tmp_path / "model")
    path = folder / "sounds" / "00.wav"
    with pytest.raises(earshot.UserError, match=r"not published.*earshot\.load\(\.\.\., force=True\)"):
        earshot.load(tmp_path / "model").embed_sounds(path)
    words = ["embed", "--weights", tmp_path / "model", "--sounds", path, "--force", "--out", tmp_path / "out.npz"]
    result = run(python("retrieval/run.py", *words), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    forced = earshot.load(tmp_path / "model", force=True)
    assert np.array_equal(forced.embed_sounds(path), np.load(tmp_path / "out.npz")["embeddings"])
    assert np.load(tmp_path / "out.npz")["names"].tolist() == ["00.wav"]


def test_progress_is_shown_when_asked_for(model: earshot.AudiovisualModel, capsys: pytest.CaptureFixture[str]) -> None:
    model.embed_images([ZEROS] * 100)  # pytest is no terminal
    assert capsys.readouterr().err == ""
    model.embed_images([ZEROS] * 2, progress=True)
    assert capsys.readouterr().err.startswith("embedding images: 2/2 in")
