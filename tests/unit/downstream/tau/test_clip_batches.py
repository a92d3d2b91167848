"""Clips as batches of aligned frames: which train, in which order, how a picture is seen; and the settings' rules."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from downstream.tau.benchmark import CLASSES, Clip
from downstream.tau.clip_batches import ClipReader, FrameBatches
from downstream.tau.clip_files import ClipFiles
from downstream.tau.clip_splits import split_clips
from downstream.tau.demo_clips import pictures
from downstream.tau.frame_views import CentralSquare, RandomStreetView
from downstream.tau.settings import TauSettings
from pretrain.data.batches import BatchLayout
from pretrain.settings.rules import check_rules
from shards.errors import UserError


def fake_clips(numbers: dict[int, int], of_location: int = 2) -> list[Clip]:
    return [
        Clip(f"{CLASSES[label]}-{i:03d}", Path("a"), Path("v"), label, f"{label}-{i // of_location}")
        for label, number in numbers.items()
        for i in range(number)
    ]


@pytest.mark.parametrize("val_by", ["clip", "location"])
def test_a_share_of_each_class_is_set_aside(val_by: str) -> None:
    clips = fake_clips({0: 40, 1: 20, 2: 4})
    split = split_clips(clips, [], val_fraction=0.1, val_by=val_by, seed=3)
    assert sorted(clip.key for clip in (*split.train, *split.val)) == [clip.key for clip in clips]
    counts = [sum(clip.label == label for clip in split.val) for label in range(3)]
    assert counts == ([4, 2, 1] if val_by == "clip" else [4, 2, 2])
    shared = {clip.location for clip in split.train} & {clip.location for clip in split.val}
    assert (not shared) is (val_by == "location")
    assert split == split_clips(clips, [], val_fraction=0.1, val_by=val_by, seed=3)
    assert split != split_clips(clips, [], val_fraction=0.1, val_by=val_by, seed=4)
    with pytest.raises(UserError, match=f"class bus has a single training {val_by}, a validation part needs another"):
        split_clips(fake_clips({0: 4, 1: 1}), [], val_fraction=0.1, val_by=val_by, seed=0)


class Recorder(ClipReader):
    """Reads nothing, and says what it was asked for."""

    def frame(self, clip: Clip, frame: int, seed: int) -> dict[str, np.ndarray]:  # noqa: ARG002  # it draws nothing
        return {"label": np.array(clip.label), "frame": np.array(frame)}


def keys_of(clips: list[Clip], *, frames: int, size: int, processes: int = 1, first: int = 0, last: int) -> list[str]:
    reader = Recorder(ClipFiles(Path("nowhere"), "fbank", 0), hears=True)
    layout = BatchLayout(size, processes)
    streams = [
        FrameBatches(clips, reader, layout, frames_of_clip=frames, seed=5, rank=rank, first_step=first, last_step=last)
        for rank in range(processes)
    ]
    return [key for batches in zip(*streams, strict=True) for batch in batches for key in batch["keys"]]


def test_an_epoch_takes_each_frame_once_on_any_number_of_processes() -> None:
    clips = fake_clips({0: 2, 1: 2})
    epoch = keys_of(clips, frames=0, size=56, last=4)
    assert sorted(epoch) == sorted(f"{clip.key}/{frame}" for clip in clips for frame in range(56))
    assert epoch == keys_of(clips, frames=0, size=56, processes=2, last=4)
    both = keys_of(clips, frames=3, size=4, last=6)
    assert both[12:] == keys_of(clips, frames=3, size=4, first=3, last=6)
    assert len(set(both[:12])) == 12
    assert [sum(key.startswith(clip.key) for key in both[:12]) for clip in clips] == [3] * 4
    assert set(both[:12]) != set(both[12:])


def test_views_of_a_street() -> None:
    picture = next(pictures(7, np.random.default_rng(0)))
    view = RandomStreetView(32)
    first, again, other = (view(picture, seed) for seed in (1, 1, 2))
    assert first.shape == (3, 32, 32)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    # Brighter to the right; and of one colour, which no crop and no mirror changes.
    ramp = np.broadcast_to(np.linspace(60, 180, 96).astype(np.uint8)[None, :, None], (64, 96, 3))
    views = np.stack([view(np.ascontiguousarray(ramp), seed) for seed in range(50)]).astype(float)
    mirrored = views[..., :16].mean((1, 2, 3)) > views[..., 16:].mean((1, 2, 3))
    assert 15 <= mirrored.sum() <= 35
    plain = np.full((64, 96, 3), (150, 100, 60), np.uint8)
    colours = np.stack([view(plain, seed).mean((1, 2)) for seed in range(50)])
    changed = np.abs(colours - (150, 100, 60)).max(1) > 2
    assert 30 <= changed.sum() < 50
    assert (colours.std(0) > 5).all()
    square = CentralSquare(64)(picture, 0)
    np.testing.assert_array_equal(square, picture[:, 16:80].transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"val_fraction": 1.0}, "val_fraction must be in (0, 1), got 1.0"),
        ({"frame_side": 16}, "frame_side must be 0 or >= 32 pixels, got 16"),
        ({"train_frames": -1}, "train_frames must be >= 0 (0 takes all), got -1"),
        ({"acoustic_run": Path("a")}, "tau.acoustic_run has no effect under tau.strategy joint, which trains its"),
    ],
)
def test_settings_against_their_rules(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        check_rules(dataclasses.replace(TauSettings(), **changes))
    assert str(caught.value).startswith(sentence)
