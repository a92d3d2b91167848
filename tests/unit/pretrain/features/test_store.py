"""The files of stored features: blocks in any order, by several processes, and after an interruption."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pretrain.features.store import BLOCK, FeatureStore
from shards.errors import UserError

PAIRS = 2 * BLOCK + 5


def rows_of(store: FeatureStore, block: int) -> dict[str, np.ndarray]:
    numbers = np.arange(store.rows(block).start, store.rows(block).stop)
    return {"image": np.tile(numbers[:, None, None], (1, 2, 3)).astype(np.float32), "identity": numbers}


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    store = FeatureStore(tmp_path / "features", "train", PAIRS)
    store.create({"image": ((2, 3), torch.float32), "identity": ((), torch.int64)})
    return store


def test_blocks_of_several_processes_make_one_array(store: FeatureStore) -> None:
    assert store.missing() == [0, 1, 2]
    assert list(store.rows(2)) == list(range(2 * BLOCK, PAIRS))
    store.write(2, rows_of(store, 2), process=1)
    store.write(0, rows_of(store, 0), process=0)
    assert store.missing() == [1]
    store.write(1, rows_of(store, 1), process=0)
    assert store.missing() == []
    np.testing.assert_array_equal(store.read("identity"), np.arange(PAIRS))
    np.testing.assert_array_equal(store.read("image")[:, 1, 2], np.arange(PAIRS))
    assert isinstance(store.read("image"), np.memmap)
    rows, views = np.array([130, 0, 64, 64]), np.array([0, 1, 1, 0])
    found = store.reader("image").read(rows, views)
    assert found.shape == (4, 3)
    np.testing.assert_array_equal(found, store.read("image")[rows, views])
    np.testing.assert_array_equal(store.reader("identity").read(rows), rows)


def test_a_killed_process_leaves_its_last_block_to_be_done_again(store: FeatureStore) -> None:
    store.write(0, rows_of(store, 0), process=0)
    with (store.folder / "train-done-0.txt").open("a") as record:
        record.write("\n0000000")  # killed within the line
    store.write(2, rows_of(store, 2), process=0)
    again = FeatureStore(store.folder, "train", PAIRS)
    again.create({"image": ((2, 3), torch.float32), "identity": ((), torch.int64)})
    assert again.missing() == [1]
    np.testing.assert_array_equal(again.read("identity")[:BLOCK], np.arange(BLOCK))


def test_clearing_one_split_leaves_the_others(store: FeatureStore) -> None:
    other = FeatureStore(store.folder, "val", 3)
    other.create({"image": ((1,), torch.float32)})
    store.clear()
    assert sorted(path.name for path in store.folder.iterdir()) == ["val-image.npy"]


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = FeatureStore(tmp_path / "file" / "features", "train", PAIRS)
    with pytest.raises(
        UserError, match=r"^features can't be written to .* or give another folder by --data.features-dir$"
    ):
        store.create({"image": ((2, 3), torch.float32)})
