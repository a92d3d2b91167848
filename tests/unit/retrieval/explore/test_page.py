"""The explorer's page without a browser: choices, mixes, the table of results, and the gap between modalities."""

from __future__ import annotations

import base64
import csv
import io
import re
from typing import Any

import numpy as np
import pytest
from listening_shards import SCENES, write_listening_shards, write_tiny_towers

from pretrain.model import TwoTower
from retrieval.explore.answers import Answerer
from retrieval.explore.atlas import open_atlas
from retrieval.explore.choice import NO_LABEL, Choice, label_choices, split_choices
from retrieval.explore.mixing import mixed
from retrieval.explore.modality_gap import ModalityGap
from retrieval.explore.page import ExplorerPage, Kept
from retrieval.explore.questions import MOST_KEPT_PIXELS, Question, Questioner
from retrieval.explore.upload_folder import UploadFolder
from retrieval.explore.world_view import WorldView
from shards.errors import UserError
from shards.streaming.reading import ShardSet

NUM_VAL, NUM_TEST = 6, 20


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> ExplorerPage:
    folder = tmp_path_factory.mktemp("page")
    shards = ShardSet.open(write_listening_shards(folder / "shards", {"val": NUM_VAL, "test": NUM_TEST}))
    weights = write_tiny_towers(folder / "model")
    model = TwoTower.from_pretrained(weights)
    atlas = open_atlas(model, weights, shards, splits=("val", "test"), crops=1, folder=folder / "atlas")
    questioner = Questioner(model, weights, atlas, 1)
    return ExplorerPage(questioner, Answerer(questioner), WorldView(atlas.places), None, {}, UploadFolder(folder))


def shown(cards: str) -> list[int]:
    return [int(number) for number in re.findall(r'data-pair="(\d+)"', cards)]


def table(cards: str) -> list[dict[str, str]]:
    link = re.search(r'href="data:text/csv;charset=utf-8;base64,([^"]+)"', cards)
    assert link is not None
    return list(csv.DictReader(io.StringIO(base64.b64decode(link[1]).decode())))


def test_only_pairs_of_the_chosen_labels_and_splits_are_found(page: ExplorerPage) -> None:
    atlas = page.atlas
    harbour = atlas.label_names.index("harbour")
    query = atlas.sound_embeddings[3].astype(float)
    allowed = [n for n in range(NUM_VAL, NUM_VAL + NUM_TEST) if atlas.labels[n] == harbour]
    expected = sorted(allowed, key=lambda n: float(np.linalg.norm(atlas.image_embeddings[n] - query)))
    kept, _, cards, _ = page.of_pair(3, "sound", None, [harbour], ["test"])
    assert shown(cards) == expected
    assert f"among the {len(expected)} selected pairs" in cards
    # The pair of the query is in another split: there is no rank to state.
    assert "same place" not in cards
    assert [row["split"] for row in table(cards)] == ["test"] * len(expected)
    # The same query again, without the choice.
    _, _, cards, _ = page.again(kept, [], [])
    assert f"of {NUM_VAL + NUM_TEST}</b>" in cards
    assert len(shown(cards)) == 8


def test_the_own_rank_counts_the_chosen_pairs(page: ExplorerPage) -> None:
    atlas = page.atlas
    label = int(atlas.labels[8])
    distances = np.linalg.norm(atlas.image_embeddings - atlas.sound_embeddings[8].astype(float), axis=1)
    of_label = np.flatnonzero(atlas.labels == label)
    rank = 1 + int((distances[of_label] < distances[8]).sum())
    _, _, cards, _ = page.of_pair(8, "sound", None, [label], [])
    assert f"<b>rank {rank} of {len(of_label)}</b>" in cards


def test_a_choice_that_nothing_meets_says_so(page: ExplorerPage) -> None:
    _, _, cards, _ = page.of_pair(0, "image", None, [NO_LABEL], [])
    assert "No pair of this set has these labels in these splits" in cards
    assert page.world is not None
    assert page.draw_world(Kept(), [NO_LABEL], []).count("<circle") == 0


def test_choices_have_their_counts(page: ExplorerPage) -> None:
    labels = dict(label_choices(page.atlas))
    assert sum(int(re.findall(r"\((\d+)\)", name)[0]) for name in labels) == NUM_VAL + NUM_TEST
    assert {page.atlas.label_names[label] for label in labels.values()} == set(SCENES)
    assert split_choices(page.atlas) == [("val (6)", "val"), ("test (20)", "test")]
    assert Choice.of("x", [1, "val"]) == Choice((), ("val",))
    assert Choice.of([True, 1, "2"], None) == Choice((1,), ())
    assert Choice(splits=("val", "test")).mask(page.atlas) is None
    mask = Choice(splits=("val",)).mask(page.atlas)
    assert mask is not None
    assert np.flatnonzero(mask).tolist() == list(range(NUM_VAL))


def test_the_table_has_every_result_and_runs_nothing(page: ExplorerPage, monkeypatch: pytest.MonkeyPatch) -> None:
    def metadata(sample: Any) -> dict[str, Any]:
        return {"title": "=HYPERLINK(1)", "creator": 'a,"b"\nc'}

    monkeypatch.setattr("retrieval.explore.results_csv.readable_metadata", metadata)
    _, _, cards, _ = page.of_pair(4, "image", None, [], [])
    rows = table(cards)
    assert len(rows) == NUM_VAL + NUM_TEST
    assert "Download the nearest 26 as CSV" in cards
    assert [row["rank"] for row in rows] == [str(rank) for rank in range(1, 27)]
    distances = [float(row["distance"]) for row in rows]
    assert distances == sorted(distances)
    own = [row for row in rows if row["is_query"] == "1"]
    assert [row["key"] for row in own] == [page.atlas.sample(4).key]
    assert float(own[0]["longitude"]) == pytest.approx(float(page.atlas.places[4, 0]))
    assert own[0]["label"] == page.atlas.label_names[page.atlas.labels[4]]
    assert {row["title"] for row in rows} == {"'=HYPERLINK(1)"}


def test_a_mix_needs_both_and_searches_between_them(page: ExplorerPage) -> None:
    kept, card, _, _ = page.of_pair(2, "image", None, [], [])
    _, refusal, _, _ = page.of_mix(50, "image", kept, [], [])
    assert "a mix needs an image and a sound" in refusal
    kept, _, _, words = page.of_pair(9, "sound", kept, [], [])
    assert all(page.atlas.sample(number).metadata()["title"] in words for number in (2, 9))
    image, sound = page.atlas.image_embeddings[2].astype(float), page.atlas.sound_embeddings[9].astype(float)
    for percent, gallery in ((30, "image"), (70, "sound")):
        share = percent / 100
        mean = share * image / np.linalg.norm(image) + (1 - share) * sound / np.linalg.norm(sound)
        length = share * np.linalg.norm(image) + (1 - share) * np.linalg.norm(sound)
        query = mean / np.linalg.norm(mean) * length
        distances = np.linalg.norm(page.atlas.embeddings(gallery) - query, axis=1)
        after, card, cards, _ = page.of_mix(percent, gallery, kept, [], [])
        assert shown(cards) == np.argsort(distances)[:8].tolist()
        assert f"image {percent} %, sound {100 - percent} %" in card
        # A mix is no part of the next one.
        assert (after.image, after.sound) == (kept.image, kept.sound)
        assert "rank" not in cards.split("</p>")[0]
    assert page.of_mix(100, "sound", kept, [], [])[0].question.embedding == pytest.approx(image, rel=1e-5)
    assert "from 0 to 1, got 2" in page.of_mix(200, "sound", kept, [], [])[1]


def test_opposite_embeddings_have_no_mean(page: ExplorerPage) -> None:
    image = page.questioner.of_pair(0, "image")
    sound = Question("sound", -3 * image.embedding, image.exhibit, None, None)
    with pytest.raises(UserError, match="opposite directions; change the weight"):
        mixed(image, sound, 0.5, "image")
    assert mixed(image, sound, 0.75, "image").embedding == pytest.approx(1.5 * image.embedding, rel=1e-5)
    with pytest.raises(UserError, match="has no direction; mix others"):
        mixed(image, Question("sound", 0 * image.embedding, image.exhibit, None, None), 0.5, "image")


def test_large_images_are_kept_small(page: ExplorerPage) -> None:
    image = np.zeros((3000, 2000, 3), np.uint8)
    question = Question("image", np.ones(16, np.float32), page.questioner.of_pair(0, "image").exhibit, image, None)
    kept = question.kept().image
    assert kept is not None
    assert kept.shape == (MOST_KEPT_PIXELS, round(MOST_KEPT_PIXELS * 2 / 3), 3)


def test_the_gap_is_measured_and_put_in_words() -> None:
    generator = np.random.default_rng(0)
    points = generator.normal(size=(4000, 3)).astype(np.float32)
    others = generator.normal(size=(4000, 3)).astype(np.float32)
    near = ModalityGap.of(points, others)
    assert near.spread == pytest.approx(np.sqrt(3), rel=0.03)
    assert "share one region" in near.describe()
    assert "lie beside each other and overlap" in ModalityGap.of(points, others + np.float32([1, 0, 0])).describe()
    far = ModalityGap.of(points, others + np.float32([0, 10, 0]))
    assert far.distance == pytest.approx(10, rel=0.01)
    assert "There is a gap between the modalities: the means of images and sounds are 9.99 apart" in far.describe()
    assert f"{far.distance / far.spread:.2f} times the spread" in far.describe()
    assert "collapsed" in ModalityGap.of(np.ones((5, 2), np.float32), np.ones((5, 2), np.float32)).describe()


def test_the_heat_of_a_part_is_drawn_and_a_forged_part_is_not(page: ExplorerPage) -> None:
    class Click:
        def __init__(self, data: Any) -> None:
            self._data = data

    kept = page.of_pair(2, "image", None, [], [])[0]
    box: dict[str, Any] = {"x": 0, "y": 0, "width": 1000, "height": 1000}
    assert "its 26 places compared" in page.heat_of_part(kept, [], [], Click(box))
    assert "its 6 places compared" in page.heat_of_part(kept, [], ["val"], Click(box))
    assert '<image class="heat"' in page.heat_of_part(kept, [], [], Click({}))
    assert '<image class="heat"' in page.heat_of_part(kept, [], [], Click(box | {"x": float("nan")}))
    assert not isinstance(page.heat_of_part(kept, [], [], Click(box | {"width": 0})), str)
