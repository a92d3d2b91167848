"""ADVANCE: 5,075 images (512 × 512) with 10 s of sound each, in 13 classes (Hu et al., ECCV 2020)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from downstream.audiovisual.benchmark import AudiovisualBenchmark, FoundPairs, ScenePair
from shards.data_files import data_files, data_folders
from shards.errors import UserError

IMAGES, SOUNDS = "vision", "sound"
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
SOUND_SUFFIXES = (".wav", ".flac")

STEM = re.compile(r"(?P<location>\d{5})(_\d+)?")
"""Pattern of file names: the five digits identify the location of the recording, `_k` the clip cut from it."""

PAIRS_OF_CLASS = {
    **{"airport": 185, "beach": 216, "bridge": 280, "farmland": 430, "forest": 862, "grassland": 150, "harbour": 508},
    **{"lake": 357, "orchard": 207, "residential": 1056, "sparse shrub land": 405, "sports land": 159},
    **{"train station": 260},
}


def location_of(stem: str) -> str:
    """The location in a file's stem: "00220_3" and "00220" were recorded at "00220".

    Raises:
        UserError: the stem is not a name of ADVANCE.
    """
    match = STEM.fullmatch(stem)
    if match is None:
        raise UserError(
            f"{stem!r} is not a file name of ADVANCE; its files are named NNNNN or NNNNN_k, where NNNNN identifies the "
            "location, which is needed for splits"
        )
    return match["location"]


def find_pairs(root: Path) -> FoundPairs:
    """The pairs in `root/vision/<class>/<stem>.jpg` and `root/sound/<class>/<stem>.wav`.

    Raises:
        UserError: one of the two folders is missing, or a class or file name is not ADVANCE's.
    """
    images = dict(_files(root / IMAGES, IMAGE_SUFFIXES))
    sounds = dict(_files(root / SOUNDS, SOUND_SUFFIXES))
    classes = sorted(PAIRS_OF_CLASS)
    pairs = [
        ScenePair(key, images[key], sounds[key], classes.index(images[key].parent.name), location_of(images[key].stem))
        for key in sorted(images.keys() & sounds.keys())
    ]
    return FoundPairs(classes, pairs, _unpaired(images, sounds))


def _files(folder: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    if not folder.is_dir():
        raise UserError(
            f"{folder} is not a folder; the root of ADVANCE holds {IMAGES}/<class>/<name>.jpg and "
            f"{SOUNDS}/<class>/<name>.wav"
        )
    for place in data_folders(folder):
        if place.name not in PAIRS_OF_CLASS:
            raise UserError(
                f"{folder} holds the folder {place.name!r}, which is not a class of ADVANCE; its classes are: "
                f"{', '.join(sorted(PAIRS_OF_CLASS))}"
            )
        for path in data_files(place, suffixes):
            yield f"{place.name}/{path.stem}", path


def _unpaired(images: dict[str, Path], sounds: dict[str, Path]) -> list[str]:
    """A message about images without sound, and one about sounds without image, each naming the first few."""
    sentences = []
    for kind, other, keys in (
        ("image", "sound", sorted(images.keys() - sounds.keys())),
        ("sound", "image", sorted(sounds.keys() - images.keys())),
    ):
        if keys:
            shown = ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
            sentences.append(f"{len(keys)} {kind}{'s' * (len(keys) > 1)} without {other}: {shown}")
    return sentences


ADVANCE = AudiovisualBenchmark(name="advance", title="ADVANCE", find=find_pairs, pairs_of_class=PAIRS_OF_CLASS)
