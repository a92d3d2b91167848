"""What reading a pair may fail with: its own rejection, but for memory, which is the machine's matter."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from failing_source import OutOfMemorySource

from shards.building.packing import WORK_FOLDER, read_pair
from shards.building.packing_pool import PackingPool
from shards.building.planning import ShardPlan
from shards.errors import RejectedPair, UserError, failures_as_rejections
from shards.progress import ProgressLine
from shards.schema import Pair
from shards.sources.source import SourceOptions

PAIR = Pair("7", Path("7.jpg"), Path("7.wav"), 0.0, 0.0)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (PermissionError(13, "Permission denied", "7.jpg"), "unreadable file: [Errno 13] Permission denied: '7.jpg'"),
        (ZeroDivisionError("of nothing"), "unexpected failure: ZeroDivisionError: of nothing"),
        (RejectedPair("missing image", "no images/7.jpg"), "missing image: no images/7.jpg"),
    ],
)
def test_any_failure_is_a_rejection_with_its_reason(error: Exception, sentence: str) -> None:
    with pytest.raises(RejectedPair) as rejected, failures_as_rejections():
        raise error
    assert str(rejected.value) == sentence


def test_memory_that_ran_out_rejects_no_pair(tmp_path: Path) -> None:
    source = OutOfMemorySource(SourceOptions(tmp_path))
    with pytest.raises(MemoryError, match=r"key 7, 7\.jpg: unable to allocate 9 TiB"):
        read_pair(source, PAIR)


def test_memory_that_ran_out_ends_a_build_with_the_pair_and_a_remedy(tmp_path: Path) -> None:
    source = OutOfMemorySource(SourceOptions(tmp_path))
    (tmp_path / WORK_FOLDER).mkdir()
    shard = ShardPlan("train-000000.tar", "train", (PAIR,))
    with (
        PackingPool(source, tmp_path, 1, with_previews=False) as pool,
        ProgressLine("building", 1, enabled=False) as progress,
        pytest.raises(UserError, match=r"\(key 7, 7\.jpg: unable to allocate 9 TiB\).* with fewer --workers"),
    ):
        list(pool.pack([shard], progress))
    assert [path.name for path in tmp_path.iterdir()] == [WORK_FOLDER]


def test_a_dead_worker_is_blamed_on_a_row_only_if_it_read_one(tmp_path: Path) -> None:
    (tmp_path / WORK_FOLDER).mkdir()
    source = OutOfMemorySource(SourceOptions(tmp_path, table=Path("fields.xlsx")))
    for keys, message in (
        ({}, r"died before it named a pair .* with fewer --workers$"),
        ({1: "7"}, r"keys being read: 7\).* or remove that row from fields\.xlsx$"),
        ({1: "7", 2: "8"}, r"keys being read: 7, 8\).* or remove the row at fault from fields\.xlsx$"),
    ):
        with PackingPool(source, tmp_path, 1, with_previews=False) as pool:
            pool._key_of_process.update(keys)
            with pytest.raises(UserError, match=message), pool._named_failures():
                pool._executor.submit(os._exit, 1).result()


def test_a_message_of_which_a_signal_left_only_a_part_does_not_hinder_the_end(tmp_path: Path) -> None:
    (tmp_path / WORK_FOLDER).mkdir()
    with PackingPool(OutOfMemorySource(SourceOptions(tmp_path)), tmp_path, 1, with_previews=False) as pool:
        pool._executor.submit(time.sleep, 0.5)
        os.write(pool._queue._writer.fileno(), bytes(4) + b"the rest")  # type: ignore[attr-defined]
    assert not pool._queue._reader.poll()  # type: ignore[attr-defined]
