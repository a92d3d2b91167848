"""The pairs of the set: which row they come from, what their files are called, and how they are written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shards.atomic_files import write_bytes_atomically
from shards.collecting.advance.clips import Recording, read_clip, wav_bytes
from shards.collecting.advance.label_table import Label
from shards.collecting.advance.rules import DIRECTIONS, clip_start, repeats_of
from shards.collecting.advance.tiles import Image, TileCutter, read_image
from shards.errors import UserError, failures_as_rejections
from shards.schema import Pair

IMAGES, SOUNDS = "vision", "sound"
"""Folders of ADVANCE's layout."""

MOST_LOCATIONS = 99_999
"""Names of files begin with five digits for the location."""

LOCATION_DECIMALS = 5
"""Number of decimals of a degree (1.1 m) to which the coordinates of rows at one location agree."""

CENTRE = ""
"""The direction of a pair that is not shifted."""


@dataclass(frozen=True)
class Scene:
    """A row of the corpus that has a recording and a label.

    Attributes:
        pair: the row.
        recording: its sound.
        label: its class.
        stem: the name of its files without suffix.
        shifted_stems: those of its shifted tiles, in the order of `DIRECTIONS`.
    """

    pair: Pair
    recording: Recording
    label: Label
    stem: str
    shifted_stems: tuple[str, ...]


@dataclass(frozen=True)
class WrittenPair:
    """A pair of the set.

    Attributes:
        scene: the row.
        direction: where its tile lies from the place, `CENTRE` if it is not shifted.
        stem: of its files.
        start: first sample of its clip, in the recording as it is repeated.
    """

    scene: Scene
    direction: str
    stem: str
    start: int

    @property
    def repeats(self) -> int:
        """How often the recording is played for the clip."""
        return repeats_of(self.scene.recording.num_samples, self.scene.recording.rate_hz)


def place_of_pair(pair: Pair) -> tuple[float, float]:
    """Longitude and latitude of a row, rounded so that rows of one location have equal ones."""
    assert pair.longitude is not None
    assert pair.latitude is not None
    # Adding 0.0 turns −0.0 to 0.0, which is the same place and prints alike.
    return round(pair.longitude, LOCATION_DECIMALS) + 0.0, round(pair.latitude, LOCATION_DECIMALS) + 0.0


def stems_of(pairs: Sequence[Pair]) -> dict[str, tuple[str, ...]]:
    """The names of the files of each key: its own, then one for each direction.

    Locations are numbered from 00001 in the order of the table, whatever becomes of their rows. The second recording of
    a location goes on counting: 00007, 00007_1 … 00007_4, then 00007_5.

    Raises:
        UserError: there are more locations than five digits can name.
    """
    numbers: dict[tuple[float, float], int] = {}
    counts: Counter[int] = Counter()
    stems = {}
    for pair in pairs:
        location = numbers.setdefault(place_of_pair(pair), len(numbers) + 1)
        if location > MOST_LOCATIONS:
            raise UserError(
                f"the corpus has more than the {MOST_LOCATIONS:,} places that ADVANCE's file names number; divide it"
            )
        first = counts[location]
        counts[location] += 1 + len(DIRECTIONS)
        stems[pair.key] = tuple(
            f"{location:05d}_{number}" if number else f"{location:05d}" for number in range(first, counts[location])
        )
    return stems


class PairWriter:
    """Writes the files of pairs; those that are there already are kept.

    Args:
        out: folder of the set.
        tiles: cuts the tiles.
        seed: of the clips.
        jpeg_quality: of the tiles.
    """

    def __init__(self, out: Path, tiles: TileCutter, *, seed: int, jpeg_quality: int) -> None:
        self._out, self._tiles, self._seed, self._jpeg_quality = out, tiles, seed, jpeg_quality

    def write(self, scene: Scene, direction: str) -> WrittenPair:
        """Writes a pair of a row: the tile in a direction, and a clip of its own.

        Args:
            scene: the row.
            direction: `CENTRE`, or one of `DIRECTIONS`.

        Raises:
            RejectedPair: the image or the recording can't be used, or there is no room for the shifted tile.
        """
        stem = scene.shifted_stems[DIRECTIONS.index(direction)] if direction else scene.stem
        recording = scene.recording
        start = clip_start(recording.num_samples, recording.rate_hz, f"{scene.pair.key}:{direction}", self._seed)
        pair = WrittenPair(scene, direction, stem, start)
        image_file, sound_file = self.files_of(pair)
        if not (image_file.is_file() and sound_file.is_file()):
            with failures_as_rejections():
                tile = self._encoded(self._tile(scene, direction))
                clip = wav_bytes(read_clip(recording, start), recording.rate_hz)
            for path, content in ((sound_file, clip), (image_file, tile)):
                path.parent.mkdir(parents=True, exist_ok=True)
                write_bytes_atomically(path, content)
        return pair

    def files_of(self, pair: WrittenPair) -> tuple[Path, Path]:
        """Image and sound of a pair."""
        name = pair.scene.label.class_name
        return self._out / IMAGES / name / f"{pair.stem}.jpg", self._out / SOUNDS / name / f"{pair.stem}.wav"

    def _tile(self, scene: Scene, direction: str) -> Image:
        image = read_image(scene.pair.image)
        return self._tiles.shifted(scene.pair.image, image, direction) if direction else self._tiles.tile(image)

    def _encoded(self, tile: Image) -> bytes:
        from shards.decoding.imagery import encode_jpeg

        return encode_jpeg(tile, self._jpeg_quality)
