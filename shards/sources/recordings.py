"""Your own recordings: metadata.csv, images/<key>.jpg|png|tif, audio/<mp3name> or audio/<key>.mp3|ogg|flac|wav."""

from __future__ import annotations

import dataclasses
from pathlib import Path, PurePosixPath

from typing_extensions import override

from shards.data_files import IMAGE_SUFFIXES, SOUND_SUFFIXES
from shards.errors import RejectedPair, failures_as_rejections
from shards.front_ends import FRONT_ENDS
from shards.progress import ProgressLine
from shards.schema import Pair, Rejection, Sample, SpectrogramSettings
from shards.sources.metadata_table import (
    check_coordinates,
    files_by_stem,
    is_tiff,
    list_table,
    read_table,
    require_columns,
)
from shards.sources.source import Listing, Source

PROGRESS_ABOVE_IMAGES = 200
"""Progress is shown only when more image headers than this are read."""


class RecordingsSource(Source):
    """Pairs of an image file and a sound file, in SoundingEarth's layout with recordings instead of spectrograms."""

    has_recordings = True

    @property
    @override
    def settings(self) -> SpectrogramSettings:
        """The settings of the chosen front end."""
        return FRONT_ENDS.load(self.options.spectrogram)

    def list_pairs(self) -> Listing:
        """Lists metadata.csv; coordinates may be missing for TIFF images, which can be georeferenced."""
        root = self.options.root
        table = read_table(root, self.options.limit)
        images = files_by_stem(root / "images", IMAGE_SUFFIXES)
        sounds = files_by_stem(root / "audio", SOUND_SUFFIXES)
        if not any(is_tiff(image) for image in images.values()):
            require_columns(table, ("longitude", "latitude"), "only GeoTIFF images can do without them")

        def find_files(key: str, row: dict[str, str]) -> tuple[Path, Path]:
            if key not in images:
                raise RejectedPair("missing image", f"no images/{key} with {', '.join(IMAGE_SUFFIXES)}")
            if row.get("mp3name"):
                return images[key], _named_sound(root / "audio", row["mp3name"])
            if key not in sounds:
                raise RejectedPair("missing sound", f"no audio/{key} with {', '.join(SOUND_SUFFIXES)}")
            return images[key], sounds[key]

        return list_table(table, find_files)

    def locate(self, listing: Listing) -> Listing:
        """Reads missing coordinates from the image headers."""
        from shards.decoding.imagery import read_place

        pairs: list[Pair] = []
        rejected = list(listing.rejected)
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
                        continue
                    pair = dataclasses.replace(pair, longitude=longitude, latitude=latitude)
                pairs.append(pair)
        return Listing(tuple(pairs), tuple(rejected), listing.columns)

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
        raise RejectedPair("missing coordinates", f"neither metadata.csv nor {pair.image.name} has coordinates")
    check_coordinates(longitude, latitude)
    return longitude, latitude


def _named_sound(folder: Path, name: str) -> Path:
    """The file named in column mp3name, which must be inside the folder."""
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts:
        raise RejectedPair("missing sound", f"mp3name {name!r} does not lie in audio/")
    path = folder / relative
    try:
        exists = path.is_file()
    except (OSError, ValueError):
        exists = False
    if not exists:
        raise RejectedPair("missing sound", f"no audio/{name}")
    return path
