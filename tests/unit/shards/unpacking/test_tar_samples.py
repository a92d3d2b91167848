"""Foreign tars, written by webdataset and by tarfile, and what of them becomes a sample."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from foreign_sets import made_pair, write_tars
from shard_server import Fault, serve
from tiny_shards import write_tiny_shards

from shards.errors import UserError
from shards.unpacking.samples import ForeignSample
from shards.unpacking.tar_files import find_tars
from shards.unpacking.tar_samples import Members, read_samples

PAIR = made_pair(1, seconds=0.3)


def write_tar(path: Path, members: list[tuple[str, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def read(path: Path | str, members: Members | None = None) -> list[ForeignSample]:
    return list(read_samples(find_tars([str(path)])[0], members or Members()))


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_a_set_that_webdataset_wrote_is_read_whole(tmp_path: Path, suffix: str) -> None:
    folder = write_tars(tmp_path / "set", {"train": 3}, suffix=suffix, seconds=0.3)
    samples = read(folder / f"train-000000{suffix}")
    assert [sample.key for sample in samples] == ["000000", "000001", "000002"]
    for number, sample in enumerate(samples):
        pair = made_pair(number, seconds=0.3)
        assert sample.image is not None
        assert sample.sound is not None
        assert (sample.image.data, sample.sound.data) == (pair.image, pair.sound)
        assert (sample.image.suffix, sample.sound.suffix) == (".jpg", ".flac")
        assert float(sample.fields["gps.lat"]) == pair.latitude
        assert sample.fields["author"] == f"author {number}"


@pytest.mark.parametrize("mode", ["w:bz2", "w:xz"])
def test_other_compressions_are_read(tmp_path: Path, mode: str) -> None:
    path = write_tar(tmp_path / f"a.tar.{mode[2:]}", [("a.jpg", PAIR.image), ("a.flac", PAIR.sound)], mode)
    assert [sample.key for sample in read(path)] == ["a"]


def test_names_with_folders_dots_capitals_and_odd_letters(tmp_path: Path) -> None:
    names = ["./day 1/site.a", "v1.2/b", "../../etc/c", "/abs/d", "ü"]
    members = [(f"{name}.{kind}", data) for name in names for kind, data in (("JPG", PAIR.image), ("flac", PAIR.sound))]
    path = write_tar(tmp_path / "odd #1?.tar", members)
    samples = read(path, Members(image=("jpg", "a.jpg"), sound=("flac", "a.flac")))
    # webdataset cuts a name at its first dot, and tarfile keeps what leads out of a folder: only the text of a key.
    assert [sample.key for sample in samples] == ["day 1/site", "v1.2/b", "../../etc/c", "/abs/d", "ü"]
    assert all(sample.image and sample.sound for sample in samples)


def test_pickles_and_arrays_are_never_read(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return (Path.touch, (tmp_path / "exploded",))  # type: ignore[return-value]

    bomb = pickle.dumps(Bomb())
    hidden = [(f"a.{name}", bomb) for name in ("pyd", "pickle", "pth", "pt", "npy", "npz", "cbor", "ten", "json.pyd")]
    members = Members()
    [sample] = read(write_tar(tmp_path / "a.tar", [*hidden, ("a.jpg", PAIR.image), ("a.flac", PAIR.sound)]), members)
    assert sample.fields == {}
    assert not (tmp_path / "exploded").exists()
    assert members.found["pyd"] == 1


def test_several_images_are_a_question_and_an_option_answers_it(tmp_path: Path) -> None:
    members = [("a.jpg", PAIR.image), ("a.sentinel.png", PAIR.image), ("a.flac", PAIR.sound), ("a.mp3", PAIR.sound)]
    path = write_tar(tmp_path / "a.tar", members)
    with pytest.raises(UserError, match=r"has 2 images: jpg, sentinel.png; say which with --image-key jpg"):
        read(path)
    with pytest.raises(UserError, match="has 2 sounds: flac, mp3; say which with --sound-key flac"):
        read(path, Members(image=("jpg",)))
    [sample] = read(path, Members(image=("none", "sentinel.png"), sound=("mp3",)))
    assert sample.image is not None
    assert sample.image.data == PAIR.image


def test_texts_are_fields_and_broken_json_is_a_reason(tmp_path: Path) -> None:
    texts = [("a.txt", b"a caf\xc3\xa9"), ("a.lat", b"1.5\n"), ("a.lon", b"-2"), ("a.cls", b"3"), ("b.json", b"{")]
    path = write_tar(tmp_path / "a.tar", [*texts, ("c.json", b"[1]"), ("d.json", b"[" * 100_000)])
    a, *rest = read(path)
    assert a.fields == {"txt": "a café", "lat": "1.5", "lon": "-2", "cls": "3"}
    assert [(sample.key, sample.reason) for sample in rest] == [(key, "unreadable metadata") for key in "bcd"]


def test_members_that_belong_to_nothing_are_counted(tmp_path: Path) -> None:
    members = Members()
    files = [("README", b"x"), ("a.jpg", PAIR.image), ("a.jpg", PAIR.image), ("a.flac", PAIR.sound), ("._a.jpg", b"x")]
    [sample] = read(write_tar(tmp_path / "a.tar", files), members)
    assert (members.nameless, members.doubled, sample.sound is not None) == (2, 1, True)


def whole_tar(folder: Path) -> Path:
    return write_tars(folder, {"train": 4}, seconds=0.3) / "train-000000.tar"


def test_a_tar_that_is_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = whole_tar(tmp_path / "set")
    data = path.read_bytes()
    with tarfile.open(path) as tar:
        starts = [member.offset for member in tar]
    # Between two members tarfile, and so webdataset, sees the end of the tar.
    for length in (*starts[1:], starts[3] + 100, len(data) // 2, 700, 0):
        path.write_bytes(data[:length])
        if length:
            with pytest.raises(UserError, match=r"cut short|no tar, or is damaged"):
                read(path)
    zipped = path.with_suffix(".tar.gz")
    zipped.write_bytes(gzip.compress(data)[:-200])
    with pytest.raises(UserError, match=r"train-000000.tar.gz can't be read: it ends too early; copy"):
        read(zipped)


def test_what_is_no_tar_is_refused_in_a_sentence(tmp_path: Path) -> None:
    for content in (b"<html>not found</html>" * 100, b"PK\x03\x04" + bytes(2000)):
        (tmp_path / "a.tar").write_bytes(content)
        with pytest.raises(UserError, match=r"a.tar is no tar, or is damaged: .*; copy or download it again$"):
            read(tmp_path / "a.tar")


def test_a_huge_member_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shards.unpacking.tar_samples.MOST_MEMBER_BYTES", 100_000)
    path = write_tar(tmp_path / "a.tar", [("a.jpg", PAIR.image), ("a.flac", bytes(300_000))])
    with pytest.raises(UserError, match=r"a.tar has a member that is larger than .*, a.flac; leave it out"):
        read(path)


def test_a_download_that_breaks_is_resumed_and_one_that_ends_early_is_noticed(tmp_path: Path) -> None:
    path = whole_tar(tmp_path / "set")
    wanted = [sample.key for sample in read(path)]
    with serve(path.parent) as server:
        url = f"{server.url}/{path.name}"
        size = path.stat().st_size
        server.faults[path.name] = [Fault(status=503), Fault(cut_after=size // 3), Fault(cut_after=10)]
        assert [sample.key for sample in read(url)] == wanted
        starts = server.asked_for(path.name)
        assert starts[:2] == [0, 0]
        assert size // 3 <= starts[3] <= size // 3 + 10
        server.serves_ranges = False
        server.faults[path.name] = [Fault(cut_after=size // 2)]
        assert [sample.key for sample in read(url)] == wanted
        with pytest.raises(UserError, match=r"none.tar can't be read: HTTP 404"):
            read(f"{server.url}/none.tar?token=secret")


def test_a_download_that_is_another_file_the_second_time_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = whole_tar(tmp_path / "set")
    versions = iter(["a", "b", "b"])
    import shards.streaming.downloads as downloads

    opened = downloads.open_http

    def open_another(url: str, start: int) -> object:
        response = opened(url, start)
        response.headers["ETag"] = next(versions)
        return response

    monkeypatch.setattr(downloads, "open_http", open_another)
    with serve(path.parent) as server:
        server.faults[path.name] = [Fault(cut_after=path.stat().st_size // 2)]
        with pytest.raises(UserError, match="the file was changed while it was downloaded"):
            read(f"{server.url}/{path.name}")


# Which files


def test_folders_patterns_and_files_become_a_sorted_list(tmp_path: Path) -> None:
    folder = write_tars(tmp_path / "set", {"train": 4, "test": 2}, per_tar=2, seconds=0.3)
    (folder / "._train-000000.tar").write_bytes(b"")
    assert [file.shown for file in find_tars([str(folder)])] == [
        *("test-000000.tar", "train-000000.tar", "train-000001.tar")
    ]
    files = find_tars([f"{folder}/train-{{000000..000001}}.tar", str(folder / "test-000000.tar")])
    assert [(file.shown, file.split) for file in files] == [
        *(("train-000000.tar", "train"), ("train-000001.tar", "train"), ("test-000000.tar", "test"))
    ]
    assert files[0].bytes == (folder / "train-000000.tar").stat().st_size
    urls = find_tars(["https://user:secret@host.example/a/{0..1}.tar?sig=secret", "https://host.example/b/0.tar"])
    assert [file.shown for file in urls] == ["a/0.tar", "a/1.tar", "b/0.tar"]


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("{set}/none.tar", "none.tar: no such file"),
        ("{set}/train-{{000000..000005}}.tar", "train-000001.tar: no such file .5 of the 6 that .* means are missing"),
        ("{set}/train-{{0..", "braces are not balanced|no such file"),
        ("{empty}", "has no tars"),
        ("{ours}/train-000000.tar", "is a shard set already"),
        ("{ours}", "is a shard set already, by its manifest.json; train on it"),
        ("pipe:cat {set}/train-000000.tar", "the scheme must be one of .*, got pipe"),
        ("ftp://host.example/a.tar", "the scheme must be one of .*, got ftp"),
    ],
)
def test_what_is_no_set_of_tars_is_refused_by_name(word: str, words: str, tmp_path: Path) -> None:
    folder = write_tars(tmp_path / "set", {"train": 2}, seconds=0.3)
    (tmp_path / "empty").mkdir()
    write_tiny_shards(tmp_path / "ours", {"train": 3})
    (folder / "manifest.json").write_text('{"shards": []}')  # others may have one, too
    assert len(find_tars([str(folder)])) == 1
    with pytest.raises(UserError, match=words):
        find_tars([word.format(set=folder, empty=tmp_path / "empty", ours=tmp_path / "ours")])
    with pytest.raises(UserError, match="given twice"):
        find_tars([str(folder), str(folder / "train-000000.tar")])
