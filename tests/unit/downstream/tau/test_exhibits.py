"""Embeddings of segments in the plane: which are shown, their file, and the picture of several strategies."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from downstream.exhibits import ShownRun
from downstream.results import Results
from downstream.tau import exhibits
from downstream.tau.benchmark import CLASSES, Clip
from downstream.tau.exhibits import arranged, planes_side_by_side, read_planes, shown_clips, write_planes
from shards.errors import UserError


def clips(count: int) -> list[Clip]:
    return [
        Clip(key=f"clip-{n}", sound=Path("a.wav"), video=Path("v.mp4"), label=n % 10, location="here")
        for n in range(count)
    ]


def embeddings(count: int, *, dim: int = 1100) -> np.ndarray:
    """Ten segments of each clip, near a centre of its class; the classes differ in the acoustic part alone."""
    generator = np.random.default_rng(0)
    centres = np.zeros((10, dim))
    centres[:, :1024] = generator.normal(0, 1, (10, 1024))
    labels = np.repeat([clip.label for clip in clips(count)], 10)
    return (centres[labels] + generator.normal(0, 0.05, (10 * count, dim))).astype(np.float32)


def test_clips_are_evenly_spaced_and_at_most_200() -> None:
    assert [clip.key for clip in shown_clips(clips(3))] == ["clip-0", "clip-1", "clip-2"]
    shown = shown_clips(clips(1001))
    assert len(shown) == 200
    assert (shown[0].key, shown[-1].key) == ("clip-0", "clip-1000")
    numbers = np.diff([int(clip.key.removeprefix("clip-")) for clip in shown])
    assert set(numbers) <= {5, 6}


def test_segments_of_a_class_lie_together_and_come_back_from_the_file(tmp_path: Path) -> None:
    path = write_planes(tmp_path, clips(20), embeddings(20), hears=True, seed=0)
    found = read_planes(path)
    assert list(found) == ["class", "embedding", "acoustic embedding"]
    labels = found["class"]
    assert labels.tolist() == [n % 10 for n in range(20) for _ in range(10)]
    for plane in ("embedding", "acoustic embedding"):
        places = found[plane]
        assert places.shape == (200, 2)
        centres = np.array([places[labels == label].mean(0) for label in range(10)])
        nearest = np.linalg.norm(places[:, None] - centres, axis=2).argmin(1)
        assert (nearest == labels).mean() > 0.95
    np.testing.assert_allclose(found["embedding"], arranged(embeddings(20), 0), atol=1e-3)
    np.testing.assert_allclose(found["acoustic embedding"], arranged(embeddings(20)[:, :1024], 0), atol=1e-3)
    # Without sound, there is no acoustic part.
    assert list(read_planes(write_planes(tmp_path, clips(4), embeddings(4), hears=False, seed=0))) == [
        "class",
        "embedding",
    ]


def test_equal_embeddings_have_equal_places() -> None:
    assert np.array_equal(arranged(np.ones((20, 3), np.float32), 0), np.zeros((20, 2)))


def run(folder: Path, strategy: str) -> ShownRun:
    results = Results(
        **{
            "benchmark": "tau-scenes",
            "weights": "imagenet",
            "backbone": "resnet50",
            "protocol": "paper",
            "num_train": 1,
        },
        **{"num_test": 1, "epochs": [{"epoch": 1, "accuracy": 0.5, "log_loss": 1.0}], "seconds": 1.0, "seed": 0},
        **{"head_on": "trunk", "split": "s", "train_fraction": 0.5},
        details={"strategy": strategy, "features": "fbank"},
    )
    folder.mkdir()
    return ShownRun(folder, results, "ImageNet", "ResNet-50")


def test_strategies_stand_side_by_side_in_the_papers_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    joint, pipeline = run(tmp_path / "a", "joint"), run(tmp_path / "b", "pipeline")
    again, older = run(tmp_path / "c", "joint"), run(tmp_path / "d", "pipeline-trainable")
    for number, shown in enumerate((joint, pipeline, again)):
        write_planes(shown.folder, clips(4 + number), embeddings(4 + number), hears=True, seed=0)
    (exhibit,) = planes_side_by_side([joint, pipeline, again, older])
    assert exhibit.name == "tau-scenes-embeddings"
    assert "by 2 strategies" in exhibit.caption
    with Image.open(BytesIO(exhibit.png)) as picture:
        assert np.asarray(picture.convert("RGB")).std() > 10
    drawn: dict[str, int] = {}
    monkeypatch.setattr(
        exhibits, "_draw", lambda columns: drawn.update({name: len(of["class"]) for name, of in columns.items()})
    )
    monkeypatch.setattr(exhibits, "png_of", lambda figure: b"")
    planes_side_by_side([joint, pipeline, again, older])
    assert list(drawn.items()) == [("pipeline\nfbank, ResNet-50", 50), ("joint\nfbank, ResNet-50", 40)]
    assert planes_side_by_side([older]) == []
    assert len(planes_side_by_side([replace(joint, backbone="ResNet-18"), joint])) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "clip,second\na,0\n",
        f"clip,second,class,x,y,acoustic_x,acoustic_y\na,0,{CLASSES[0]},1,nan,,\n",
        "clip,second,class,x,y,acoustic_x,acoustic_y\na,0,moon,1,2,,\n",
    ],
)
def test_files_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "embeddings_tsne.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=r"embeddings_tsne\.csv .*; run the benchmark again$"):
        read_planes(path)
