"""TAU's layout, its videos and its frames on disk: what is read, in which order, and each bad input's sentence."""

from __future__ import annotations

import dataclasses
import shutil
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from downstream.tau.benchmark import CLASSES, TAU_SCENES, TauData
from downstream.tau.clip_batches import ClipReader
from downstream.tau.clip_files import ClipFiles, acoustic_statistics, prepare_clips
from downstream.tau.demo_clips import write_demo, write_video
from downstream.tau.demo_tau import DEMO_TAU
from downstream.tau.frame_views import CentralSquare
from downstream.tau.video_frames import pictures_of_seconds
from shards.errors import RejectedPair, UserError

RATE = 4
MIDDLES = [40 + 20 * second for second in range(10)]
"""Grey levels in the middle of each second."""
# Four frames a second; in the middle of each the third of them is shown.
LEVELS = [MIDDLES[i // RATE] if i % RATE == 2 else 0 for i in range(10 * RATE)]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two training clips and a test clip of each class."""
    root = tmp_path_factory.mktemp("tau") / "root"
    write_demo(root, train_clips=2, test_clips=1)
    return root


@pytest.fixture
def copy(demo: Path, tmp_path: Path) -> Path:
    """A copy whose tables may be changed; its clips are links."""
    root = tmp_path / "root"
    shutil.copytree(demo, root, copy_function=lambda source, target: Path(target).symlink_to(source))
    for path in (root / "meta.csv", *(root / "evaluation_setup").iterdir()):
        text = path.read_text(encoding="utf-8")
        path.unlink()
        path.write_text(text, encoding="utf-8")
    return root


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def grey_frames(levels: list[int]) -> Iterator[np.ndarray]:
    for level in levels:
        yield np.full((64, 96, 3), level, np.uint8)


def levels_of(path: Path, seconds: int = 10) -> list[float]:
    return [float(picture.mean()) for picture in pictures_of_seconds(path, seconds)]


def test_the_layout_is_read(demo: Path) -> None:
    data = TAU_SCENES.load(demo, allow_partial=True)
    assert (len(data.train), len(data.test), data.faults) == (20, 10, [])
    assert data.missing == ["the folds name 30 of 12291 clips"]
    first = data.train[0]
    assert (first.key, first.location, first.label) == ("airport-lyon-1000-00000", "lyon-1000", 0)
    assert first.sound.is_file()
    assert first.video.is_file()
    assert {clip.location for clip in data.train}.isdisjoint({clip.location for clip in data.test})
    with pytest.raises(UserError, match=r"is not a complete copy of TAU .* the folds name 30 of 12291 clips"):
        TAU_SCENES.load(demo, allow_partial=False)
    assert DEMO_TAU.load(demo, allow_partial=False) == dataclasses.replace(data, missing=[])


@pytest.mark.parametrize("separator", [",", ";"])
def test_other_separators_are_understood(separator: str, copy: Path) -> None:
    whole = DEMO_TAU.load(copy, allow_partial=False)
    for path in (copy / "meta.csv", *(copy / "evaluation_setup").iterdir()):
        path.write_text("\ufeff" + path.read_text(encoding="utf-8").replace("\t", separator), encoding="utf-8")
    assert DEMO_TAU.load(copy, allow_partial=False) == whole


def test_rows_of_no_use_are_named(copy: Path) -> None:
    train, evaluate = (copy / "evaluation_setup" / f"fold1_{name}.csv" for name in ("train", "evaluate"))
    change(train, "\tbus\n", "\tbusway\n")
    change(train, "audio/park-lyon-1400-00000.wav", "audio/park-lyon-1400-99999.wav")
    change(train, "\ttram\n", "\tmetro\n")
    (copy / "video" / "metro-vienna-1201-00002.mp4").unlink()
    first = evaluate.read_text(encoding="utf-8").splitlines()[1]
    with evaluate.open("a", encoding="utf-8") as file:
        file.write(first + "\n")
    data = DEMO_TAU.load(copy, allow_partial=False)
    assert data.faults == [
        "evaluation_setup/fold1_train.csv: bus-lyon-1100-00000: its label 'busway' is none of the ten: "
        + ", ".join(CLASSES),
        "evaluation_setup/fold1_train.csv: park-lyon-1400-99999: meta.csv does not name it",
        "evaluation_setup/fold1_train.csv: tram-lyon-1900-00000: its label is metro here and tram in meta.csv",
        "evaluation_setup/fold1_evaluate.csv: metro-vienna-1201-00002: there is no video/metro-vienna-1201-00002.mp4",
        "evaluation_setup/fold1_evaluate.csv: airport-vienna-1001-00002: named twice",
    ]
    assert data.num_rows == 31
    files = ClipFiles(copy.parent / "frames", "fbank", 0)
    data = TauData(data.train[:1], data.test[:1], data.faults)
    with pytest.raises(UserError, match=r"5 of 7 clips can't be used, more than max_corrupt 0\.5; the first: eval"):
        prepare_clips(files, data, max_corrupt=0.5)
    # That was known before the first clip was decoded.
    assert not files.folder.exists()


@pytest.mark.parametrize(
    ("name", "old", "new", "sentence"),
    [
        ("meta.csv", "scene_label", "scene", "has no column 'scene_label'"),
        ("evaluation_setup/fold1_train.csv", "filename_video", "video", "has no column 'filename_video'"),
        ("evaluation_setup/fold1_test.csv", "00002.wav", "00003.wav", "must name the same clips, 2 are in one alone"),
        ("evaluation_setup/fold1_train.csv", "airport-lyon-1000-00000", "tram-vienna-1901-00002", "none of the ten"),
    ],
)
def test_tables_that_cannot_be_right(name: str, old: str, new: str, sentence: str, copy: Path) -> None:
    change(copy / name, old, new)
    if new.startswith("tram"):
        change(copy / name, old, new)
        change(copy / name, "\tairport\n", "\ttram\n")
        sentence = "1 clips in both the training and the test fold, the first is tram-vienna-1901-00002"
    with pytest.raises(UserError, match=sentence):
        DEMO_TAU.load(copy, allow_partial=False)


def test_what_is_no_set(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a folder; give the folder with TAU"):
        TAU_SCENES.load(tmp_path / "nowhere", allow_partial=False)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds something else than a set in TAU's layout"):
        DEMO_TAU.load(tmp_path, allow_partial=False)
    with pytest.raises(UserError, match=r"meta.csv can't be read: No such file or directory; the root of TAU's scenes"):
        TAU_SCENES.load(tmp_path, allow_partial=False)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_each_second_shows_its_middle(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", grey_frames(LEVELS))
    assert levels_of(tmp_path / "clip.mp4") == pytest.approx(MIDDLES, abs=8)


def test_frames_come_one_at_a_time_and_an_early_end_is_told(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_video(path, grey_frames([40] * (6 * RATE + 1)))
    found = pictures_of_seconds(path, 10)
    # Those before the end are there before the end is known: nothing is gathered first.
    for _ in range(6):
        assert next(found).shape == (64, 96, 3)
    with pytest.raises(RejectedPair) as caught:
        next(found)
    assert str(caught.value) == "ends early: clip.mp4: 6.2 s of 10 s of video"


def test_files_without_pictures(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(RejectedPair, match=r"no video stream: clip.mp4: it holds no pictures"):
        levels_of(path)
    path.write_bytes(b"no video" * 100)
    with pytest.raises(RejectedPair, match=r"undecodable video: clip\.mp4: "):
        levels_of(path)


def test_clips_that_cannot_be_decoded_are_counted(copy: Path, tmp_path: Path) -> None:
    data = DEMO_TAU.load(copy, allow_partial=False)
    data = TauData(data.train[:3], data.test[:1])
    short, mute = data.train[0], data.train[1]
    for path in (short.video, mute.sound):
        path.unlink()
    write_video(short.video, grey_frames([40] * 12))
    soundfile.write(mute.sound, np.zeros((480_000, 1)), 48_000)
    files = ClipFiles(tmp_path / "frames", "fbank", 0)
    with pytest.raises(UserError) as caught:
        prepare_clips(files, data, max_corrupt=0.4)
    assert str(caught.value) == (
        f"2 of 4 clips can't be used, more than max_corrupt 0.4; the first: {short.key}: ends early: {short.key}.mp4: "
        "3.0 s of 10 s of video; fix or remove them, or allow more with --max-corrupt"
    )
    usable = prepare_clips(files, data, max_corrupt=0.5, threads=2)
    assert [clip.key for clip in usable.train] == [data.train[2].key]
    assert [fault.partition(": ")[0] for fault in usable.faults] == [short.key, mute.key]
    # A clip that was mended is taken.
    short.video.unlink()
    write_video(short.video, grey_frames([40] * 40))
    assert len(prepare_clips(files, data, max_corrupt=0.5).train) == 2


def test_frames_are_aligned_kept_small_and_made_anew_when_the_clip_has_changed(demo: Path, tmp_path: Path) -> None:
    (clip, other, *_) = DEMO_TAU.load(demo, allow_partial=False).train
    clip = dataclasses.replace(clip, video=tmp_path / "clip.mp4")
    write_video(clip.video, grey_frames(LEVELS))
    files = ClipFiles(tmp_path / "frames", "scalogram", 48)
    assert files.prepare(clip) is None
    assert files.prepare(other) is None
    assert files.picture(clip, 9).shape == (48, 72, 3)
    assert files.acoustic(clip).shape == (86, 2, 290)
    reader = ClipReader(files, hears=True, view=CentralSquare(48), whole_view=CentralSquare(48))
    frame = reader.frame(clip, 5, seed=0)
    np.testing.assert_array_equal(frame["acoustic"], files.acoustic(clip)[5])
    # Frame 5 lies in second 1.
    assert frame["image"].mean() == pytest.approx(MIDDLES[1], abs=8)
    whole = reader.whole(clip)
    np.testing.assert_array_equal(whole["image"][1], frame["image"])
    write_video(clip.video, grey_frames([200] * 10 * RATE))
    assert files.prepare(clip) is None
    assert files.picture(clip, 1).mean() == pytest.approx(200, abs=8)
    mean, deviation = acoustic_statistics(files, [clip, other])
    both = np.concatenate([files.acoustic(one)[:56] for one in (clip, other)])
    np.testing.assert_allclose(mean, both.mean(0), atol=1e-5)
    np.testing.assert_allclose(deviation, both.std(0), rtol=1e-3)


def test_decoding_more_clips_takes_no_more_memory(demo: Path, tmp_path: Path) -> None:
    clips = DEMO_TAU.load(demo, allow_partial=False).train
    peaks = []
    for number in (2, 10):
        files = ClipFiles(tmp_path / str(number), "fbank", 0)
        files.prepare(clips[-1])
        tracemalloc.start()
        prepare_clips(files, TauData(clips[:number], []), max_corrupt=0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
