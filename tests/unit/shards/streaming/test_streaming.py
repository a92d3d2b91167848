"""Shards from afar: the same samples as from a folder, whatever the network does, within the cache's bound."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import stat
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import PATIENCE_SECONDS
from hypothesis import given
from hypothesis import strategies as st
from shard_server import Fault, ShardServer, serve

from pretrain.data.batches import BatchLayout, TrainingBatches, open_training_shards, training_loader
from pretrain.settings.files import load_settings, save_settings
from pretrain.settings.pretraining import Config, DataSettings
from shards.errors import UnreadableShard, UserError
from shards.manifest import MANIFEST_NAME, Manifest, ShardEntry
from shards.streaming import fetching
from shards.streaming.cache import BYTES_PER_GB, StreamSettings, block_bytes_at_most
from shards.streaming.fetching import RetryRule, ShardSource
from shards.streaming.locations import is_url
from shards.streaming.order import epoch_order
from shards.streaming.reading import ShardSet

QUICK = RetryRule(attempts=4, first_seconds=0.001, most_seconds=0.01)
FIRST = "train-000000.tar"
DATA = DataSettings(image_size=32, num_frames=64, workers=0, block_samples=14)


@pytest.fixture
def server(tiny_shards: Path) -> Iterator[ShardServer]:
    with serve(tiny_shards) as running:
        yield running


def settings(folder: Path, **changes: object) -> StreamSettings:
    return replace(StreamSettings(cache_folder=folder / "cache", retry=QUICK), **changes)  # type: ignore[arg-type]


def cached_tars(folder: Path) -> list[Path]:
    return sorted((folder / "cache").glob("*/*.tar"))


def config(shards: Path | str, folder: Path, **data: object) -> Config:
    return Config(shards=shards, batch_size=8, data=replace(DATA, cache_dir=folder / "cache", **data))  # type: ignore[arg-type]


def batches_of(shard_set: ShardSet, settings: Config, *, workers: int = 0, steps: int = 12) -> list[dict]:
    part = TrainingBatches(shard_set, settings, BatchLayout(8), rank=0, first_step=0, last_step=steps)
    return list(training_loader(part, workers=workers, pin_memory=False))


# What is read


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_through_http_are_those_of_the_folder(
    server: ShardServer, tiny_shards: Path, tmp_path: Path, workers: int
) -> None:
    here = batches_of(ShardSet.open(tiny_shards), config(tiny_shards, tmp_path))
    far = config(server.url, tmp_path)
    for a, b in zip(here, batches_of(open_training_shards(far), far, workers=workers), strict=True):
        assert a["keys"] == b["keys"]
        assert torch.equal(a["image"], b["image"])
        assert torch.equal(a["sound"], b["sound"])
    # Each shard came once, though two epochs were read, and by two processes.
    assert {name: len(server.asked_for(name)) for name, _ in server.requests if name.startswith("train")} == {
        f"train-{number:06d}.{kind}": 1 for number in range(7) for kind in ("tar", "index.npy")
    }


def test_a_folder_is_copied_through_the_cache_if_one_is_named(tiny_shards: Path, tmp_path: Path) -> None:
    far = config(tiny_shards, tmp_path)
    shard_set = open_training_shards(far)
    assert batches_of(shard_set, far)[3]["keys"] == batches_of(ShardSet.open(tiny_shards), far)[3]["keys"]
    assert [path.read_bytes() for path in cached_tars(tmp_path)] == [
        (tiny_shards / path.name).read_bytes() for path in cached_tars(tmp_path)
    ]
    assert len(cached_tars(tmp_path)) == 7


def test_a_query_stays_behind_the_name_and_out_of_messages(server: ShardServer, tmp_path: Path) -> None:
    shard_set = ShardSet.open(f"{server.url}/?signature=SECRET", settings(tmp_path))
    assert shard_set.sample("train", 0).metadata()
    server.always["train-000001.tar"] = Fault(status=404)
    with pytest.raises(UnreadableShard, match=r"train-000001.tar could not be fetched \(HTTP 404 Not Found\)") as info:
        shard_set.sample("train", 8).metadata()
    assert "SECRET" not in str(info.value)


# What the network does


@pytest.mark.parametrize("serves_ranges", [True, False])
def test_a_cut_connection_is_gone_on_with(server: ShardServer, tmp_path: Path, serves_ranges: bool) -> None:
    server.serves_ranges = serves_ranges
    server.faults[FIRST] = [Fault(cut_after=50_000), Fault(cut_after=20_000), Fault(status=503)]
    shard_set = ShardSet.open(server.url, settings(tmp_path))
    shard_set.check_files("train")
    assert shard_set.sample("train", 0).metadata()["title"] == "place 1000"
    reached = 70_000 if serves_ranges else 20_000
    assert server.asked_for(FIRST) == [0, 50_000, reached, reached]


def test_errors_that_pass_are_waited_out(server: ShardServer, tmp_path: Path) -> None:
    unwell = [Fault(status=503), Fault(cut_after=100)]
    server.faults = {name: list(unwell) for name in (MANIFEST_NAME, FIRST, "train-000000.index.npy")}
    assert ShardSet.open(server.url, settings(tmp_path)).sample("train", 0).metadata()["title"] == "place 1000"


@pytest.mark.parametrize(
    ("fault", "requests", "reason"),
    [
        (Fault(status=404), 1, "HTTP 404 Not Found"),
        (Fault(status=503), 4, "HTTP 503 Service Unavailable, 4 times"),
        (Fault(corrupt=True), 4, "size or SHA-256 of the downloaded file differs from the manifest, 4 times"),
        (Fault(cut_after=0), 4, r"the download ended after 0 of \d+ bytes, 4 times"),
        (Fault(redirect_to="ftp://127.0.0.1/a"), 1, "redirected to ftp, only http and https are followed"),
    ],
)
def test_a_shard_that_stays_unreadable_is_named(
    server: ShardServer, tmp_path: Path, fault: Fault, requests: int, reason: str
) -> None:
    server.always[FIRST] = fault
    shard_set = ShardSet.open(server.url, settings(tmp_path))
    with pytest.raises(UnreadableShard, match=f"shard {FIRST} can't be read: {server.url}/{FIRST} .* \\({reason}\\)"):
        shard_set.sample("train", 0).image()
    assert len(server.asked_for(FIRST)) == requests
    assert shard_set.sample("train", 7).image().shape == (64, 64, 3)
    assert [path.name for path in cached_tars(tmp_path)] == ["train-000001.tar"]


def test_a_failure_is_tried_again_whatever_the_clock_says(server: ShardServer, tmp_path: Path) -> None:
    server.faults[FIRST] = [Fault(status=404)]
    shard_set = ShardSet.open(server.url, settings(tmp_path))
    with pytest.raises(UnreadableShard):
        shard_set.sample("train", 0).image()
    (failure,) = (tmp_path / "cache").glob(f"*/.{FIRST}.failure")
    tomorrow = time.time() + 24 * 3600  # the clock was ahead when it was written, and has been put right
    os.utime(failure, (tomorrow, tomorrow))
    assert shard_set.sample("train", 0).image().shape == (64, 64, 3)


def test_a_server_that_is_slower_than_a_limit_is_as_good_as_silent(
    server: ShardServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_SILENCE_SECONDS", 0.2)
    server.faults = {name: [Fault(seconds_a_byte=0.01)] for name in (MANIFEST_NAME, FIRST)}
    shard_set = ShardSet.open(server.url, settings(tmp_path))
    assert shard_set.sample("train", 0).image().shape == (64, 64, 3)
    assert [len(server.asked_for(name)) for name in (MANIFEST_NAME, FIRST)] == [2, 2]
    server.always[MANIFEST_NAME] = Fault(seconds_a_byte=0.01)
    with pytest.raises(
        UserError, match=r"manifest\.json could not be fetched \(only \d+ bytes arrived in 0 s, 4 times"
    ):
        ShardSet.open(server.url, settings(tmp_path))


def test_small_files_are_bounded(server: ShardServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "MOST_BYTES", 1000)
    with pytest.raises(UserError, match=r"manifest\.json could not be fetched \(more than 1,000 bytes\)"):
        ShardSet.open(server.url, settings(tmp_path))
    assert len(server.asked_for(MANIFEST_NAME)) == 1


def test_a_truncated_file_is_no_shard_and_is_fetched_again_when_it_is_mended(
    server: ShardServer, tmp_path: Path
) -> None:
    server.always[FIRST] = Fault(truncate_to=30_000)
    shard_set = ShardSet.open(server.url, settings(tmp_path))
    with pytest.raises(UnreadableShard, match="the download ended after 30000 of"):
        shard_set.sample("train", 0).image()
    server.always.clear()
    assert shard_set.sample("train", 0).image().shape == (64, 64, 3)


def test_an_error_page_instead_of_an_index_is_not_kept(server: ShardServer, tmp_path: Path) -> None:
    server.faults["train-000002.index.npy"] = [Fault(corrupt=True)]
    shard_set = ShardSet.open(server.url, settings(tmp_path))
    with pytest.raises(UnreadableShard, match=r"shard train-000002.tar can't be read: .*index.npy"):
        shard_set.check_files("train")
    shard_set.check_files("train")


@pytest.mark.parametrize("fault", [Fault(status=404), Fault(corrupt=True)])
def test_no_set_at_the_url(server: ShardServer, tmp_path: Path, fault: Fault) -> None:
    server.always[MANIFEST_NAME] = fault
    with pytest.raises(UserError, match=f"no shards at {server.url}|{server.url}/manifest.json is not JSON"):
        ShardSet.open(server.url, settings(tmp_path))


def test_a_manifest_can_not_name_files_elsewhere(tiny_shards: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    record = json.loads((tiny_shards / MANIFEST_NAME).read_text())
    record["shards"][0]["name"] = "../../train-000000.tar"
    (folder / MANIFEST_NAME).write_text(json.dumps(record))
    with (
        serve(folder) as server,
        pytest.raises(UserError, match=r"name: string should match pattern .*, got '../../train-000000.tar'"),
    ):
        ShardSet.open(server.url, settings(tmp_path))


# The cache


def test_the_cache_keeps_its_bound_and_gives_the_space_back(
    server: ShardServer, tiny_shards: Path, tmp_path: Path
) -> None:
    manifest = Manifest.load(tiny_shards)
    bound = block_bytes_at_most(manifest.of_split("train"), DATA.block_samples)
    far = config(server.url, tmp_path, cache_gb=bound / BYTES_PER_GB)
    here = batches_of(ShardSet.open(tiny_shards), far, steps=18)
    part = TrainingBatches(open_training_shards(far), far, BatchLayout(8), rank=0, first_step=0, last_step=18)
    for a, b in zip(here, part, strict=True):
        assert a["keys"] == b["keys"]
        assert sum(path.stat().st_size for path in cached_tars(tmp_path)) <= bound
        # No evicted tar is kept open for longer than to the next one, or the disk would fill all the same.
        open_tars = [
            os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.exists() or link.is_symlink()
        ]
        assert sum("cache" in name and name.endswith(".tar (deleted)") for name in open_tars) <= 2
    assert sum(len(server.asked_for(shard.name)) for shard in manifest.of_split("train")) > 7


def test_the_shard_opened_longest_ago_leaves_first(server: ShardServer, tiny_shards: Path, tmp_path: Path) -> None:
    sizes = [shard.bytes for shard in Manifest.load(tiny_shards).of_split("train")]
    bound = sum(sizes[:3]) + max(sizes)
    shard_set = ShardSet.open(server.url, settings(tmp_path, cache_bytes=bound - min(sizes[:4]) + 1))
    for number in (0, 7, 14):
        shard_set.sample("train", number).metadata()
        time.sleep(0.01)
    ShardSet.open(server.url, settings(tmp_path)).sample("train", 0).metadata()  # opened again, by somebody else
    shard_set.sample("train", 21).metadata()
    names = [path.name for path in cached_tars(tmp_path)]
    assert FIRST in names
    assert "train-000001.tar" not in names


def test_a_cache_smaller_than_a_block_is_refused(server: ShardServer, tmp_path: Path) -> None:
    far = config(server.url, tmp_path, cache_gb=1e-4)
    with pytest.raises(UserError, match=r"data.cache_gb must be at least .* to hold the shards of 14 samples"):
        open_training_shards(far)


@given(counts=st.lists(st.integers(1, 9), min_size=1, max_size=8), block=st.integers(1, 30), data=st.data())
def test_no_block_exceeds_its_bound(counts: list[int], block: int, data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 99), min_size=len(counts), max_size=len(counts)))
    shards = [
        ShardEntry(str(i), "train", count, size, "") for i, (count, size) in enumerate(zip(counts, sizes, strict=True))
    ]
    bound = block_bytes_at_most(shards, block)
    owner = np.repeat(np.arange(len(counts)), counts)
    for epoch in range(5):
        left = [int(owner[number]) for number in epoch_order(counts, seed=0, epoch=epoch, block_samples=block)]
        # Where a block ends can't always be seen from the samples: the shards are dealt as `epoch_order` says it does.
        dealt = np.random.default_rng([0, epoch]).permutation(len(counts)).tolist()
        while left:
            used: dict[int, int] = {}
            while dealt and sum(used.values()) < block:
                shard = dealt.pop(0)
                used[shard] = counts[shard]
            size = sum(used.values())
            assert Counter(left[:size]) == used
            left = left[size:]
            assert sum(sizes[s] for s in used) <= bound or len(used) == len(counts)


def test_the_next_block_is_fetched_ahead(server: ShardServer, tmp_path: Path) -> None:
    far = config(server.url, tmp_path)
    part = iter(TrainingBatches(open_training_shards(far), far, BatchLayout(8), rank=0, first_step=0, last_step=6))
    next(part)
    next(part)
    # 16 of the first block's 14 … 21 samples are used: its own shards and the next block's are on their way.
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(cached_tars(tmp_path)) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(cached_tars(tmp_path)) >= 4


def _read_all(url: str, folder: Path, cache_bytes: int, barrier: object, results: object) -> None:
    shard_set = ShardSet.open(url, StreamSettings(folder, cache_bytes, retry=QUICK))
    barrier.wait()  # type: ignore[attr-defined]
    results.put([len(sample.image_bytes()) for sample in shard_set.samples("train")])  # type: ignore[attr-defined]


def test_two_processes_share_a_cache(server: ShardServer, tiny_shards: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    options = (server.url, tmp_path / "cache", 10**9, barrier, results)
    processes = [context.Process(target=_read_all, args=options) for _ in range(2)]
    for process in processes:
        process.start()
    read = [results.get(timeout=PATIENCE_SECONDS) for _ in processes]
    for process in processes:
        process.join(30)
    assert read[0] == read[1] == [len(s.image_bytes()) for s in ShardSet.open(tiny_shards).samples("train")]
    assert all(len(server.asked_for(path.name)) == 1 for path in cached_tars(tmp_path))


def test_threads_that_fight_for_a_tiny_cache_all_get_their_bytes(
    server: ShardServer, tiny_shards: Path, tmp_path: Path
) -> None:
    largest = max(shard.bytes for shard in Manifest.load(tiny_shards).shards)
    wanted = [len(sample.image_bytes()) for sample in ShardSet.open(tiny_shards).samples("train")]
    got: list[list[int]] = []

    def read() -> None:
        shard_set = ShardSet.open(server.url, settings(tmp_path, cache_bytes=largest))
        got.append([len(sample.image_bytes()) for sample in shard_set.samples("train")])

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert got == [wanted] * 3


def test_what_a_killed_process_left_is_gone_on_with_or_evicted(
    server: ShardServer, tiny_shards: Path, tmp_path: Path
) -> None:
    shard_set = ShardSet.open(server.url, settings(tmp_path))
    entry = shard_set.manifest.shards[0]
    half = (tiny_shards / FIRST).read_bytes()[:40_000]
    (shard_set.folder / f".{FIRST}.{entry.bytes}.partial").write_bytes(half)
    shard_set.sample("train", 0).metadata()
    assert server.asked_for(FIRST) == [40_000]

    (shard_set.folder / f".train-000001.tar.{10**9}.partial").write_bytes(half)
    ShardSet.open(server.url, settings(tmp_path, cache_bytes=10**9)).sample("train", 14).metadata()
    assert not list(shard_set.folder.glob(".*.partial"))


# Going on without


def test_samples_of_unreadable_shards_are_replaced_without_repetition_in_a_batch(
    server: ShardServer, tiny_shards: Path, tmp_path: Path
) -> None:
    server.always = {"train-000002.tar": Fault(status=404), "train-000004.index.npy": Fault(status=404)}
    far = config(server.url, tmp_path, skip_bad_shards=True)
    bad = {s.key for n in (*range(14, 21), *range(28, 35)) for s in [ShardSet.open(tiny_shards).sample("train", n)]}
    whole = batches_of(ShardSet.open(tiny_shards), far)
    replaced = batches_of(open_training_shards(far), far)
    assert len(whole) == len(replaced)
    for a, b in zip(whole, replaced, strict=True):
        assert len(set(b["keys"])) == 8
        assert not bad & set(b["keys"])
        assert b["num_replaced"] == len(bad & set(a["keys"]))
        assert all(x == y for x, y in zip(a["keys"], b["keys"], strict=True) if x not in bad)
    assert sum(batch["num_replaced"] for batch in replaced) == 28  # 14 pairs in each of 2 epochs
    assert set(replaced[-1]["unreadable_shards"]) == {"train-000002.tar", "train-000004.tar"}

    # Two processes and two workers replace the same ones, without a word between them.
    shard_set = open_training_shards(far)
    parts = [
        training_loader(
            TrainingBatches(shard_set, far, BatchLayout(8, 2), rank=rank, first_step=0, last_step=12),
            workers=2 * rank,
            pin_memory=False,
        )
        for rank in range(2)
    ]
    keys = [a["keys"] + b["keys"] for a, b in zip(*parts, strict=True)]
    assert keys == [batch["keys"] for batch in replaced]


def test_without_the_setting_an_unreadable_shard_stops_the_batches(server: ShardServer, tmp_path: Path) -> None:
    server.always = {"train-000002.tar": Fault(status=404)}
    far = config(server.url, tmp_path)
    batches = batches_of(open_training_shards(far), far)
    assert "train-000002.tar can't be read" in batches[-1]["error"]


def test_nothing_readable_is_an_error_all_the_same(server: ShardServer, tmp_path: Path) -> None:
    server.always = {f"train-{number:06d}.tar": Fault(status=404) for number in range(7)}
    far = config(server.url, tmp_path, skip_bad_shards=True)
    with pytest.raises(AssertionError):
        assert "error" not in batches_of(open_training_shards(far), far)[0]


def test_a_local_shard_that_is_truncated_is_skipped_too(
    tiny_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for path in tiny_shards.glob("*.*"):
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / FIRST).write_bytes(b"")
    local = Config(shards=folder, batch_size=8, data=replace(DATA, skip_bad_shards=True))
    shard_set = open_training_shards(local)
    assert list(shard_set.unreadable) == [FIRST]
    batches = batches_of(shard_set, local, steps=6)
    assert sum(batch["num_replaced"] for batch in batches) == 7
    with monkeypatch.context() as second_process:
        second_process.setenv("LOCAL_RANK", "1")
        shard_set = open_training_shards(local)
        assert not shard_set.unreadable
        met = batches_of(shard_set, local, steps=6)
        assert [batch["keys"] for batch in met] == [batch["keys"] for batch in batches]
        assert list(met[-1]["unreadable_shards"]) == [FIRST]
    with pytest.raises(UserError, match="has 0 bytes, the manifest says"):
        open_training_shards(replace(local, data=DATA))


# Commands


def test_a_pipe_runs_only_where_it_is_allowed(tiny_shards: Path, tmp_path: Path) -> None:
    location = f"pipe:touch {tmp_path}/ran; cat {tiny_shards}/{{name}}"
    with pytest.raises(UserError, match=r"would run a shell command, .* allow it with --data.allow-pipe"):
        ShardSet.open(location, settings(tmp_path))
    assert not (tmp_path / "ran").exists()
    shard_set = ShardSet.open(location, settings(tmp_path, allow_pipe=True))
    assert shard_set.sample("train", 9).metadata()["title"] == "place 1009"
    assert (tmp_path / "ran").exists()
    with pytest.raises(UserError, match=r"must contain \{name\}"):
        ShardSet.open("pipe:cat", settings(tmp_path, allow_pipe=True))


def test_a_command_that_fails_is_no_end_of_a_file(tiny_shards: Path, tmp_path: Path) -> None:
    location = f"pipe:cat {tiny_shards}/{{name}}; exit 3"
    with pytest.raises(UserError, match=r"no shards at .*ended with status 3, 4 times"):
        ShardSet.open(location, settings(tmp_path, allow_pipe=True))


def test_a_name_is_one_word_of_a_pipe(tmp_path: Path) -> None:
    source = ShardSource("pipe:cat {name}", allow_pipe=True)
    assert source.address("a; rm -rf b") == "pipe:cat 'a; rm -rf b'"


@pytest.mark.parametrize(("scheme", "client"), [("gs", "gsutil"), ("s3", "aws"), ("sftp", "curl")])
def test_no_shell_sees_an_object_stores_url(
    tiny_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, client: str
) -> None:
    fake = tmp_path / "bin" / client
    fake.parent.mkdir()
    fake.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/words\n'
        f'for word; do case "$word" in {scheme}://*) url=$word;; esac\n'
        f'done\nexec cat "{tiny_shards}/${{url##*/}}"\n'
    )
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("GOPEN_REWRITE", f"{scheme}://=pipe:touch {tmp_path}/ran;")
    shard_set = ShardSet.open(f"{scheme}://bucket/a;touch {tmp_path}/ran;$(touch {tmp_path}/ran)", settings(tmp_path))
    assert shard_set.sample("train", 9).metadata()["title"] == "place 1009"
    words = (tmp_path / "words").read_text().splitlines()
    assert f"{scheme}://bucket/a;touch {tmp_path}/ran;$(touch {tmp_path}/ran)/train-000001.tar" in words
    assert not (tmp_path / "ran").exists()


def test_a_client_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"s3 needs a program that is not installed: .*'aws'"):
        ShardSet.open("s3://bucket/set", settings(tmp_path))


def test_a_password_that_can_not_be_used_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"could not be fetched \(not a valid URL\)") as info:
        ShardSet.open("http://me:SECRET@127.0.0.1/set", settings(tmp_path))
    assert "SECRET" not in str(info.value)


def test_an_unknown_scheme_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the scheme must be one of file, http, .* or pipe, got gopher"):
        ShardSet.open("gopher://host/set", settings(tmp_path))


# Settings


def test_urls_and_paths_are_told_apart(tiny_shards: Path, tmp_path: Path) -> None:
    urls = ("http://h/x", "s3://b", "pipe:cat", "file:///a")
    assert [is_url(text) for text in (*urls, "data/x", "/a", "C:/x", "a:b")] == [True] * 4 + [False] * 4
    assert ShardSet.open(f"file://{tiny_shards}").folder == tiny_shards
    for shards in ("https://host//a/?b", tiny_shards):
        save_settings(Config(shards=shards), tmp_path / "config.yaml")
        assert load_settings(Config, tmp_path / "config.yaml").shards == shards


def test_a_set_goes_to_another_process(server: ShardServer, tmp_path: Path) -> None:
    shard_set = ShardSet.open(server.url, settings(tmp_path))
    shard_set.prepare_blocks("train", 14)
    shard_set.fetch_ahead("train", [0])
    again = pickle.loads(pickle.dumps(shard_set))
    assert again.sample("train", 0).image().shape == (64, 64, 3)


def test_a_cache_that_can_not_be_written_is_named(server: ShardServer, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(UserError, match=r"data.cache_dir .*/cache can't be written: "):
        ShardSet.open(server.url, settings(tmp_path))
