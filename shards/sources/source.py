"""The interface of a corpus from which shards are built."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from shards.errors import RejectedPair, failures_as_rejections
from shards.front_ends import DEFAULT_FRONT_END
from shards.raster_settings import RasterSettings
from shards.schema import Pair, Rejection, Sample, SpectrogramSettings


@dataclass(frozen=True)
class SourceOptions:
    """Options for reading a corpus.

    Attributes:
        root: folder of the corpus.
        limit: number of table rows to read, None for all.
        max_seconds: maximum seconds of sound per recording; from longer ones, evenly spread parts are used.
        channels: which channels of a recording are used, as `decode_recording` takes it.
        jpeg_quality: quality of the stored images, 1 to 100.
        rasters: how rasters become RGB, and which part of an image is stored.
        previews: whether listening clips are written.
        places: number of places in the demo corpus.
        seed: seed of the demo corpus.
        spectrogram: front end of the spectrograms, a name in `FRONT_ENDS`.
        table: file of the table, None for metadata.csv.
        columns: column of each role that the user named, such as key, image or sound.
        follow_links: whether symbolic links may lead out of the corpus.
        licence: licence of the corpus as a whole, "" if the user names none.
        tars: tars of a foreign set: folders, files, patterns or URLs.
        unpacked: folder that a corpus inside of other files is unpacked to.
        keep_unpacked: whether it is kept when the set is finished.
    """

    root: Path
    limit: int | None = None
    max_seconds: float = 600.0
    channels: str = "auto"
    jpeg_quality: int = 90
    rasters: RasterSettings = field(default_factory=RasterSettings)
    previews: bool = True
    places: int = 1200
    seed: int = 0
    spectrogram: str = DEFAULT_FRONT_END
    table: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    follow_links: bool = False
    licence: str = ""
    tars: tuple[str, ...] = ()
    unpacked: Path | None = None
    keep_unpacked: bool = False


@dataclass(frozen=True)
class Listing:
    """The contents of a corpus, judged by its table and file names alone.

    Attributes:
        pairs: the candidate pairs, in the order of the table.
        rejected: the other rows, in the order of the table.
        columns: names of the table's columns.
        notices: what the user should know of how the corpus was read, a sentence each.
        problems: (place in the table, problem) of everything that is wrong, several of a row if need be; the first of
            each row is its rejection. Empty if the corpus has no table.
        unit: what places are counted in, such as line or row.
        splits: split of each pair by key, where the corpus has splits of its own; else None.
        remedies: what to do about all problems of a reason at once, where the table as a whole lacks something.
    """

    pairs: tuple[Pair, ...]
    rejected: tuple[Rejection, ...]
    columns: tuple[str, ...]
    notices: tuple[str, ...] = ()
    problems: tuple[tuple[int, Rejection], ...] = ()
    unit: str = "line"
    splits: Mapping[str, str] | None = None
    remedies: Mapping[str, str] = field(default_factory=dict)

    @property
    def num_rows(self) -> int:
        """The number of listed table rows."""
        return len(self.pairs) + len(self.rejected)


class Source(ABC):
    """A corpus of image/sound pairs. It is pickled for other processes, so it holds only its options.

    Attributes:
        has_recordings: whether it has recordings rather than only spectrograms.
        default_root: default folder, None if the user must give one.
        is_packed: whether its files are inside of other files, so that `prepare` takes long.
    """

    has_recordings: ClassVar[bool]
    default_root: ClassVar[Path | None] = None
    is_packed: ClassVar[bool] = False

    def __init__(self, options: SourceOptions) -> None:
        self.options = options

    @property
    @abstractmethod
    def settings(self) -> SpectrogramSettings:
        """How its spectrograms are computed and what their byte values mean."""

    @property
    def files_root(self) -> Path:
        """The folder relative to which the names of the pairs' files belong to the corpus."""
        return self.options.root

    @property
    def licence(self) -> str:
        """The licence of the corpus as a whole, "" if it is not known."""
        return self.options.licence

    def prepare(self, num_workers: int) -> None:  # noqa: B027 - most corpora have nothing to prepare
        """Prepares the files for `list_pairs`, for a corpus that generates them.

        Raises:
            UserError: the folder can't be used.
        """

    def finish(self) -> None:  # noqa: B027 - most corpora have nothing to remove
        """Removes what `prepare` made for this build alone, once the shard set is finished."""

    @abstractmethod
    def list_pairs(self) -> Listing:
        """Lists the corpus from its table and file names, without opening a pair's files.

        Raises:
            UserError: the folder or table is missing, unreadable or empty.
        """

    def locate(self, listing: Listing) -> Listing:
        """Adds missing coordinates to a listing, for splits that need them before the files are read."""
        return listing

    @abstractmethod
    def read(self, pair: Pair) -> Sample:
        """Reads a pair's files and returns the sample.

        Raises:
            RejectedPair: the files can't be used.
        """

    def problems_of(self, pair: Pair) -> list[RejectedPair]:
        """What the headers of a pair's files show to be wrong, without decoding them; by default of the image alone."""
        from shards.decoding.image_size import check_image_header

        return problems_found(lambda: check_image_header(pair.image))

    def stored_jpeg(self, pair: Pair) -> bytes:
        """The image of a pair as it will be stored, for splits that need it before the pair is read.

        Raises:
            RejectedPair: the image can't be used.
        """
        from shards.decoding.imagery import encode_jpeg, load_image, stored_image

        rasters = self.options.rasters
        if rasters.scale_range is None:  # the scale of the corpus is drawn from training images, after the split
            rasters = dataclasses.replace(rasters, scale_by="chip")
        stored = stored_image(load_image(pair.image, rasters).rgb, max_whole_side=rasters.max_whole_side)
        return encode_jpeg(stored, quality=self.options.jpeg_quality)

    def build_options(self) -> dict[str, Any]:
        """The options that affect the samples, by name, for the manifest."""
        options: dict[str, Any] = {"limit": self.options.limit, "jpeg_quality": self.options.jpeg_quality}
        rasters = self.options.rasters
        options["bands"] = list(rasters.bands)
        # Left out at the default, so that finished sets of before can be repaired.
        if rasters.scale_by == "range" and rasters.scale_range is not None:
            options["scale_range"] = list(rasters.scale_range)
        if rasters.scale_by == "chip":
            options["scale_by"] = "chip"
        if self.has_recordings:
            options |= {"max_seconds": self.options.max_seconds, "previews": self.options.previews}
            options["channels"] = self.options.channels
            # Left out at the default, so that manifests are the same as before there were others.
            if self.options.spectrogram != DEFAULT_FRONT_END:
                options["spectrogram"] = self.options.spectrogram
        if self.options.columns:
            options["columns"] = dict(self.options.columns)
        if self.licence:
            options["licence"] = self.licence
        return options


def problems_found(*checks: Callable[[], None]) -> list[RejectedPair]:
    """Runs checks that raise a rejection, and returns those that were raised."""
    problems: list[RejectedPair] = []
    for check in checks:
        try:
            with failures_as_rejections():
                check()
        except RejectedPair as rejection:
            problems.append(rejection)
    return problems
