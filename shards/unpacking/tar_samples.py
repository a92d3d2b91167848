"""Reads the samples of a foreign tar by the stages of webdataset's own pipeline, without any of its decoders."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import IO, Any, NoReturn

from shards.data_files import IMAGE_SUFFIXES, SOUND_SUFFIXES
from shards.errors import UserError, first_line
from shards.records import DamagedRecord, json_of
from shards.sources.table_roles import is_usual
from shards.streaming.downloads import open_download
from shards.streaming.locations import is_url
from shards.unpacking.contents import kind_of
from shards.unpacking.fields import as_field, fields_of
from shards.unpacking.samples import Content, ForeignSample, PackedFile

TEXT_NAMES = ("json", "txt", "text", "caption", "cls")
MOST_MEMBER_BYTES = 2 << 30
"""Of a member, which webdataset reads into memory as a whole."""
MOST_TEXT_BYTES = 1 << 20
MOST_NAMES_SHOWN = 8

_COMPRESSIONS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
_FAULTS = (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError)


@dataclass
class Members:
    """Which members of a sample are its image and its sound.

    Attributes:
        image, sound: names that the user gave, of which the first that a sample has is taken; () to find out.
        found: how often each name occurs, among all samples that were read.
        nameless: members without a suffix, which belong to no sample.
        doubled: members of a name that their sample has already.
    """

    image: tuple[str, ...] = ()
    sound: tuple[str, ...] = ()
    found: Counter[str] = field(default_factory=Counter)
    nameless: int = 0
    doubled: int = 0

    def choose(self, kind: str, sample: dict[str, Any], where: str) -> str | None:
        """The member that is the image or the sound of a sample, None if it has none.

        Raises:
            UserError: several could be.
        """
        given: tuple[str, ...] = getattr(self, kind)
        if given:
            return next((name for name in given if name in sample), None)
        suffixes = IMAGE_SUFFIXES if kind == "image" else SOUND_SUFFIXES
        candidates = sorted(name for name in sample if not name.startswith("__") and is_of(name, suffixes))
        if len(candidates) > 1:
            raise UserError(
                f"sample {sample['__key__']} of {where} has {len(candidates)} {kind}s: "
                f"{', '.join(candidates[:MOST_NAMES_SHOWN])}; say which with --{kind}-key {candidates[0]} (webdataset "
                "cuts names at their first dot)"
            )
        return candidates[0] if candidates else None

    def describe(self) -> str:
        """The members that were found, for messages; "" if none were."""
        most = self.found.most_common(MOST_NAMES_SHOWN)
        return f" (members: {', '.join(f'{name} {count:,}' for name, count in most)})" if most else ""


def is_of(name: str, suffixes: Sequence[str]) -> bool:
    """Whether a member's name, as `jpg` or `left.jpg`, has one of these suffixes."""
    return f".{name}".lower().endswith(tuple(suffixes))


def read_samples(file: PackedFile, members: Members) -> Iterator[ForeignSample]:
    """Reads a tar from start to end.

    webdataset opens no file itself: it would take a `#` in a name for the end of it, and take a download that breaks
    off between two members for the end of the tar.

    Raises:
        UserError: the tar can't be read or is cut short, or a sample has several images or sounds.
    """
    import webdataset
    from webdataset.tariterators import group_by_keys, tar_file_expander

    with _opened(file) as stream:

        def wanted(name: str) -> bool:
            stream.begin_member(name)
            return _is_wanted(name, members)

        def skip_doubled(error: Exception) -> bool:
            if isinstance(error, ValueError) and "duplicate file name" in str(error):
                members.doubled += 1
                return True
            raise error

        pipeline = webdataset.DataPipeline(
            lambda: iter([{"url": file.shown, "stream": stream}]),
            webdataset.pipelinefilter(tar_file_expander)(select_files=wanted),
            webdataset.pipelinefilter(group_by_keys)(handler=skip_doubled),
        )
        for sample in pipeline:
            yield foreign_sample(sample, members, file.shown)
        if not stream.has_ended:
            raise UserError(
                f"{file.shown} does not end with blocks of zeros: it is cut short, or several tars were joined, of "
                "which webdataset reads the first; copy it again, or split it"
            )


def foreign_sample(sample: dict[str, Any], members: Members, where: str) -> ForeignSample:
    """A sample of webdataset with its image, its sound and its fields.

    Raises:
        UserError: it has several images or sounds.
    """
    image, sound = (_content(members.choose(kind, sample, where), sample) for kind in ("image", "sound"))
    fields: dict[str, str] = {}
    reason = detail = ""
    for name, data in sample.items():
        if not is_text(name):
            continue
        try:
            fields |= _fields_in(name, data)
        except DamagedRecord as error:
            reason, detail = "unreadable metadata", f"member {name}: {first_line(error)}"
    key = str(sample["__key__"]).removeprefix("./")
    return ForeignSample(key, image, sound, fields, reason, detail)


def is_text(name: str) -> bool:
    """Whether a member's name, such as `json` or `lat`, is that of metadata."""
    if name.startswith("__") or is_of(name, (*IMAGE_SUFFIXES, *SOUND_SUFFIXES)):
        return False
    return name.rpartition(".")[2] in TEXT_NAMES or is_usual(name)


def _fields_in(name: str, data: bytes) -> dict[str, str]:
    if name.rpartition(".")[2] != "json":
        return {name: as_field(data[:MOST_TEXT_BYTES].decode("utf-8", "replace"))}
    record = json_of(data, f"member {name}")
    if not isinstance(record, dict):
        raise DamagedRecord("it is JSON, but no object with names and values")
    fields = fields_of(record)
    prefix = name.removesuffix("json")
    return {f"{prefix}{field}": text for field, text in fields.items()}


def _content(name: str | None, sample: dict[str, Any]) -> Content | None:
    if name is None or not sample[name]:
        return None
    data: bytes = sample[name]
    known = kind_of(data)
    suffix = known[1] if known else f".{name.rpartition('.')[2]}"
    return Content(data, suffix if suffix in (*IMAGE_SUFFIXES, *SOUND_SUFFIXES) else ".bin")


def _is_wanted(path: str, members: Members) -> bool:
    """Whether a member may be an image, a sound or metadata; others, such as pickles, are not even read."""
    from webdataset.tariterators import base_plus_ext

    _, name = base_plus_ext(path)
    if name is None:
        members.nameless += 1
        return False
    name = name.lower()
    members.found[name] += 1
    named = name in (*members.image, *members.sound)
    return named or is_text(name) or is_of(name, (*IMAGE_SUFFIXES, *SOUND_SUFFIXES))


class _TarStream(io.RawIOBase):
    """A tar that is read forward: it knows the last block that was read, and how much of a member was."""

    def __init__(self, stream: IO[bytes], where: str) -> None:
        super().__init__()
        self._stream, self._where = stream, where
        self.fault: UserError | None = None
        self._last = b""
        self._member, self._bytes = "", 0

    @property
    def has_ended(self) -> bool:
        """Whether the last block was one of zeros, or there was none."""
        return not self._last.strip(b"\0")

    def begin_member(self, name: str) -> None:
        """Notes that the next bytes are those of a member."""
        self._member, self._bytes = name, 0

    def read(self, size: int = -1) -> bytes:
        """Reads on.

        Raises:
            UserError: it can't be read, or the member is larger than `MOST_MEMBER_BYTES`.
        """
        try:
            chunk = self._stream.read(size)
        except _FAULTS as error:
            words = "it ends too early" if isinstance(error, EOFError) else first_line(error)
            self._fail(f"can't be read: {words}; copy or download it again", error)
        self._bytes += len(chunk)
        if self._bytes > MOST_MEMBER_BYTES:
            most = f"the {MOST_MEMBER_BYTES >> 30} GB that are read at most"
            self._fail(f"has a member that is larger than {most}, {self._member[:100]}; leave it out")
        if chunk:
            self._last = (self._last + chunk)[-512:] if len(chunk) < 512 else chunk[-512:]
        return chunk

    def _fail(self, words: str, cause: Exception | None = None) -> NoReturn:
        # Kept, because webdataset appends to the arguments of an exception that passes through it.
        self.fault = UserError(f"{self._where} {words}")
        raise self.fault from cause


@contextmanager
def _opened(file: PackedFile) -> Iterator[_TarStream]:
    """Opens a tar, compressed or not.

    Raises:
        UserError: it can't be opened, is no tar, or breaks off.
    """
    with ExitStack() as stack:
        try:
            opened = open_download(file.name) if is_url(file.name) else open(file.name, "rb")  # noqa: SIM115 - stacked
            raw: Any = stack.enter_context(opened)
            raw = io.BufferedReader(raw) if not hasattr(raw, "peek") else raw
            start = raw.peek(6)[:6]
            compression = next((kind for mark, kind in _COMPRESSIONS.items() if start.startswith(mark)), None)
            stream: Any = raw if compression is None else stack.enter_context(compression(raw, "rb"))
        except _FAULTS as error:
            raise UserError(f"{file.shown} can't be read: {first_line(error)}; copy or download it again") from error
        tar = _TarStream(stream, file.shown)
        try:
            yield tar
        except tarfile.TarError as error:
            words = str(error.args[0]).partition(" @ ")[0]
            raise UserError(f"{file.shown} is no tar, or is damaged: {words}; copy or download it again") from error
        except UserError:
            if tar.fault is not None:
                raise UserError(tar.fault.args[0]) from tar.fault.__cause__
            raise
