"""Your own recordings: a table, images and sounds, each named in a column or by the key."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from typing_extensions import override

from shards.errors import RejectedPair, failures_as_rejections
from shards.front_ends import FRONT_ENDS
from shards.progress import ProgressLine
from shards.schema import Pair, Rejection, Sample, SpectrogramSettings
from shards.sources.keys import make_key
from shards.sources.metadata_table import (
    MetadataTable,
    check_coordinates,
    is_tiff,
    list_table,
    read_table,
    require_coordinates,
    unrecognised_coordinates,
)
from shards.sources.named_files import NamedFiles, image_files, sound_files
from shards.sources.source import Listing, Source, problems_found

ONLY_GEOTIFF = "; only GeoTIFF images can do without them"

PROGRESS_ABOVE_IMAGES = 200
"""Progress is shown only when more image headers than this are read."""


class PairFiles:
    """The image and sound of each row: named in a column, else by the key.

    Args:
        table: the table.
        root: folder of the corpus.
        follow_links: whether symbolic links may lead out of the corpus.

    Raises:
        UserError: files are named by the key, and their folder can't be listed.
    """

    def __init__(self, table: MetadataTable, root: Path, *, follow_links: bool = False) -> None:
        self.images = image_files(root, follow_links=follow_links)
        self.sounds = sound_files(root, follow_links=follow_links)
        self._table = table
        for files in (self.images, self.sounds):
            if files.kind not in table.roles.columns:
                files.list_folder(table.columns, table.rows)

    def find_image(self, key: str, row: dict[str, str]) -> Path:
        """The image of a row.

        Raises:
            RejectedPair: it is missing, or several files fit.
        """
        return self._find(self.images, key, row)

    def find_sound(self, key: str, row: dict[str, str]) -> Path:
        """The sound of a row; errors as `find_image`."""
        return self._find(self.sounds, key, row)

    def notices(self) -> list[str]:
        """Sentences on which files were taken where the table leaves a choice."""
        return [*self.images.notices(), *self.sounds.notices()]

    def _find(self, files: NamedFiles, key: str, row: dict[str, str]) -> Path:
        stems = (key, make_key(key))
        name = self._table.field(row, files.kind)
        if not name:
            return files.of_key(*stems)
        try:
            return files.named(name, self._table.roles.columns[files.kind])
        except RejectedPair:
            # A column that was only guessed may name other files than those of the corpus.
            if files.kind in self._table.roles.guessed and files.has_key(*stems):
                return files.of_key(*stems)
            raise


class RecordingsSource(Source):
    """Pairs of an image file and a sound file, in SoundingEarth's layout with recordings instead of spectrograms."""

    has_recordings = True

    @property
    @override
    def settings(self) -> SpectrogramSettings:
        """The settings of the chosen front end."""
        return FRONT_ENDS.load(self.options.spectrogram)

    def list_pairs(self) -> Listing:
        """Lists the table; coordinates may be missing for TIFF images, which can be georeferenced."""
        options = self.options
        table = read_table(options.root, options.limit, table=options.table, columns=options.columns)
        files = PairFiles(table, options.root, follow_links=options.follow_links)
        if not any(map(is_tiff, files.images.all_files)) and "image" not in table.roles.columns:
            require_coordinates(table, ONLY_GEOTIFF)
        listing = list_table(table, files.find_image, files.find_sound)
        words = unrecognised_coordinates(table)
        if words and not listing.pairs and any(one.reason == "missing coordinates" for _, one in listing.problems):
            require_coordinates(table, ONLY_GEOTIFF)
        remedies = {"missing coordinates": words} if words else {}
        return dataclasses.replace(listing, notices=(*listing.notices, *files.notices()), remedies=remedies)

    def locate(self, listing: Listing) -> Listing:
        """Reads missing coordinates from the image headers."""
        from shards.decoding.imagery import read_place

        pairs: list[Pair] = []
        rejected, problems = list(listing.rejected), list(listing.problems)
        num_images = sum(pair.longitude is None for pair in listing.pairs)
        show_progress = num_images > PROGRESS_ABOVE_IMAGES
        with ProgressLine("reading image coordinates", num_images, enabled=show_progress) as progress:
            for pair in listing.pairs:
                if pair.longitude is None:
                    progress.advance()
                    try:
                        with failures_as_rejections():
                            longitude, latitude = _place(pair, *read_place(pair.image))
                    except RejectedPair as rejection:
                        rejected.append(Rejection(pair.key, rejection.reason, rejection.detail))
                        problems.append((pair.place, rejected[-1]))
                        continue
                    pair = dataclasses.replace(pair, longitude=longitude, latitude=latitude)
                pairs.append(pair)
        return dataclasses.replace(listing, pairs=tuple(pairs), rejected=tuple(rejected), problems=tuple(problems))

    def problems_of(self, pair: Pair) -> list[RejectedPair]:
        """What the headers of the image and the recording show to be wrong."""
        from shards.decoding.image_size import check_image_header
        from shards.decoding.sound_header import check_sound_header

        return problems_found(lambda: check_image_header(pair.image), lambda: check_sound_header(pair.sound))

    def read(self, pair: Pair) -> Sample:
        """Decodes the recording, block by block, and the image, and encodes the parts to store."""
        from shards.decoding.audio_decoding import decode_recording, encode_preview
        from shards.decoding.imagery import encode_jpeg, load_image, stored_image

        image = load_image(pair.image, self.options.rasters)
        stored = stored_image(image.rgb, max_whole_side=self.options.rasters.max_whole_side)
        longitude, latitude = _place(pair, image.longitude, image.latitude)
        sound = decode_recording(
            pair.sound,
            self.settings,
            max_seconds=self.options.max_seconds,
            channels=self.options.channels,
            with_preview=self.options.previews,
        )
        metadata = {
            **pair.properties,
            "longitude": longitude,
            "latitude": latitude,
            "seconds": round(sound.seconds, 3),
            "used_seconds": round(sound.used_seconds, 3),
            "decoder": sound.counts.decoder,
            "channels": sound.counts.channels,
            "clipped_share": round(sound.counts.clipped_share, 6),
            "silent_share": round(sound.counts.silent_share, 6),
        }
        return Sample(
            key=pair.key,
            image=encode_jpeg(stored, quality=self.options.jpeg_quality),
            spectrogram=sound.spectrogram,
            metadata=metadata,
            preview=None if sound.preview is None else encode_preview(sound.preview, sound.sample_rate_hz),
            used_seconds=sound.used_seconds,
            is_silent=sound.is_silent,
            was_repeated=sound.was_repeated,
            was_shortened=sound.was_shortened,
            sound=sound.counts,
        )


def _place(pair: Pair, longitude: float | None, latitude: float | None) -> tuple[float, float]:
    """Longitude and latitude of a pair: from the table, otherwise the given ones, which are from the image."""
    if pair.longitude is not None and pair.latitude is not None:
        return pair.longitude, pair.latitude
    if longitude is None or latitude is None:
        raise RejectedPair("missing coordinates", f"neither the table nor {pair.image.name} has coordinates")
    check_coordinates(longitude, latitude)
    return longitude, latitude
