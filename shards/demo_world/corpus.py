"""Writes the demo world as a corpus in SoundingEarth's layout, with scene labels and land-cover masks added."""

from __future__ import annotations

import csv
import multiprocessing
import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import soundfile
from PIL import Image

from shards.atomic_files import write_json, written_whole
from shards.child_processes import end_with_parent
from shards.demo_world.factors import Place, generate_places
from shards.demo_world.painting import paint_place
from shards.demo_world.sound_files import SAMPLE_RATES_HZ, draw_format, write_sound
from shards.demo_world.sounding import record_place
from shards.errors import UserError
from shards.locks import lock
from shards.loudness import note
from shards.progress import ProgressLine
from shards.records import holds_json, read_json

GENERATOR_VERSION = 2
"""Increased with every change of images or sounds, so that an old corpus is not mistaken for a new one."""

CORPUS_RECORD = "corpus.json"
_BEGUN_RECORD = "parameters.json"

COLUMNS = (
    "long_key", "key", "longitude", "latitude", "altitude", "description", "date_recorded", "date_uploaded",
    "creator", "licenseurl", "title", "mp3name", "mp3mb", "mp3seconds", "mp3channels", "mp3bitrate",
    "mp3samplerate", "mp3file", "scene", "region", "cell",
)  # fmt: skip
"""Columns of metadata.csv: SoundingEarth's, then the scene label, the region and the 11-km cell."""

_PICTURE, _SOUND, _FORMAT = range(3)
_FOLDERS = ("images", "masks", "audio")


@dataclass(frozen=True)
class CorpusParameters:
    """All parameters that affect the files of a demo corpus."""

    num_places: int
    seed: int
    image_size: int
    clip_seconds: float
    sample_rate_hz: int
    generator_version: int = GENERATOR_VERSION

    def check(self) -> None:
        """Raises a `UserError` for the first value that is out of range."""
        least: dict[str, float] = {"num_places": 1, "seed": 0, "image_size": 64, "clip_seconds": 0.5}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise UserError(f"{name} must be at least {bound} for a demo corpus, got {getattr(self, name)}")
        if self.sample_rate_hz not in SAMPLE_RATES_HZ:
            choices = ", ".join(map(str, SAMPLE_RATES_HZ))
            raise UserError(f"sample_rate_hz must be one of {choices} for a demo corpus, got {self.sample_rate_hz}")


def generate_demo_corpus(
    root: Path,
    *,
    num_places: int = 1200,
    seed: int = 0,
    image_size: int = 256,
    clip_seconds: float = 6.0,
    sample_rate_hz: int = 22_050,
    num_workers: int = 2,
    show_progress: bool = True,
) -> None:
    """Writes a demo corpus; a finished one is reused, an interrupted one is continued.

    Files are written to a temporary folder beside `root`, which is renamed when all are complete. They depend only on
    the parameters, not on `num_workers`.

    Args:
        root: folder to create, with `metadata.csv`, `images/<key>.jpg`, `audio/<mp3name>`,
            `masks/<key>_mask.png` (DeepGlobe's colours) and `corpus.json` (the parameters).
        num_places: number of image/sound pairs.
        seed: seed of the world.
        image_size: side of an image in pixels, each about 0.6 m.
        clip_seconds: duration of a recording.
        sample_rate_hz: one of `SAMPLE_RATES_HZ`.
        num_workers: number of processes; 0 or 1 works in the current process.
        show_progress: False prints nothing.

    Raises:
        UserError: a parameter is out of range, or `root` holds something else.
    """
    root = Path(root)
    parameters = CorpusParameters(num_places, seed, image_size, clip_seconds, sample_rate_hz)
    parameters.check()
    if _is_finished(root, parameters):
        return
    with _only_generator_of(root):
        if not _is_finished(root, parameters):
            _generate(root, parameters, num_workers, show_progress=show_progress)


def _generate(root: Path, parameters: CorpusParameters, num_workers: int, *, show_progress: bool) -> None:
    num_places, seed = parameters.num_places, parameters.seed
    unfinished = _unfinished_folder(root, parameters)
    places = list(generate_places(num_places, seed))
    missing = [place for place in places if not _is_written(unfinished, place, parameters)]
    write = partial(_write_place, unfinished, parameters)
    with ProgressLine(
        "generating the demo corpus", num_places, enabled=show_progress, done=num_places - len(missing)
    ) as progress:
        for _ in _in_parallel(write, missing, num_workers):
            progress.advance()
    _write_metadata(unfinished, places, parameters)
    os.replace(unfinished / _BEGUN_RECORD, unfinished / CORPUS_RECORD)
    os.replace(unfinished, root)


@contextmanager
def _only_generator_of(root: Path) -> Iterator[None]:
    """Locks the corpus while it is generated; other processes, such as parts of the same build, wait."""
    path = root.with_name(f".{root.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            lock(file)
        except BlockingIOError:
            note(f"waiting for another process to generate {root}")
            lock(file, wait=True)
        yield
        path.unlink(missing_ok=True)


def _is_finished(root: Path, parameters: CorpusParameters) -> bool:
    """Whether `root` holds exactly this corpus; raises a `UserError` if it holds anything else."""
    record = root / CORPUS_RECORD
    if not record.is_file():
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise UserError(f"{root} exists and is not a demo corpus; choose another folder or remove it")
        return False
    found = read_json(record, "remove the folder to generate it again")
    for name, value in asdict(parameters).items():
        if found.get(name) != value:
            raise UserError(
                f"{root} holds a demo corpus with {name} {found.get(name)}, not {value}; "
                "choose another folder, remove this one, or use the same parameters"
            )
    return True


def _unfinished_folder(root: Path, parameters: CorpusParameters) -> Path:
    """The temporary folder beside `root`; files generated there with other parameters are removed."""
    folder = root.with_name(f".{root.name}.unfinished")
    begun = folder / _BEGUN_RECORD
    if folder.exists() and not (holds_json(begun) and read_json(begun) == asdict(parameters)):
        shutil.rmtree(folder)
    for name in _FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_json(begun, asdict(parameters))
    return folder


def _in_parallel(write: partial[None], places: list[Place], num_workers: int) -> Iterator[None]:
    if num_workers <= 1 or len(places) <= 1:
        yield from map(write, places)
        return
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_workers, spawning, initializer=_start_worker) as pool:
        yield from pool.map(write, places, chunksize=4)


def _start_worker() -> None:
    end_with_parent()
    cv2.setNumThreads(1)


def _sound_name(place: Place, parameters: CorpusParameters) -> tuple[str, str, int]:
    """File name, extension and number of channels of a place's recording."""
    extension, num_channels = draw_format(place.generator(parameters.seed, _FORMAT))
    return f"{place.key}.{extension}", extension, num_channels


def _files(root: Path, place: Place, parameters: CorpusParameters) -> tuple[Path, Path, Path]:
    sound_name, _, _ = _sound_name(place, parameters)
    return root / "images" / f"{place.key}.jpg", root / "masks" / f"{place.key}_mask.png", root / "audio" / sound_name


def _is_written(root: Path, place: Place, parameters: CorpusParameters) -> bool:
    return all(path.is_file() for path in _files(root, place, parameters))


def _write_place(root: Path, parameters: CorpusParameters, place: Place) -> None:
    """Writes image, mask and sound of one place, which have their names once all are written."""
    _, extension, num_channels = _sound_name(place, parameters)
    picture, cover = paint_place(place, parameters.image_size, place.generator(parameters.seed, _PICTURE))
    samples = record_place(
        place,
        clip_seconds=parameters.clip_seconds,
        sample_rate_hz=parameters.sample_rate_hz,
        num_channels=num_channels,
        generator=place.generator(parameters.seed, _SOUND),
    )
    with ExitStack() as files:
        image, mask, sound = (files.enter_context(written_whole(path)) for path in _files(root, place, parameters))
        Image.fromarray(picture).save(image, format="JPEG", quality=90)
        Image.fromarray(cover).save(mask, format="PNG")
        write_sound(sound, samples, parameters.sample_rate_hz, extension)


def _write_metadata(root: Path, places: Iterable[Place], parameters: CorpusParameters) -> None:
    with (root / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        for place in places:
            table.writerow(_row(root, place, parameters))


def _row(root: Path, place: Place, parameters: CorpusParameters) -> dict[str, Any]:
    """A row of metadata.csv: what a recordist would note; of the hidden factors, only the scene label."""
    sound_name, _, num_channels = _sound_name(place, parameters)
    sound = root / "audio" / sound_name
    seconds = soundfile.info(sound).duration
    scene, region = place.factors.scene, place.region.name
    day = int(place.key) % 365
    return {
        "long_key": f"demo-{parameters.seed}-{place.key}",
        "key": place.key,
        "longitude": f"{place.longitude:.5f}",
        "latitude": f"{place.latitude:.5f}",
        "altitude": 0,
        "description": f"a generated {scene} in {region}",
        "date_recorded": f"2024-{day // 31 + 1:02d}-{day % 28 + 1:02d}",
        "date_uploaded": "2025-01-01",
        "creator": "demo world",
        "licenseurl": "https://creativecommons.org/publicdomain/zero/1.0/",
        "title": f"{scene} / {region} {place.key}",
        "mp3name": sound_name,
        "mp3mb": f"{sound.stat().st_size / 1e6:.3f}",
        "mp3seconds": f"{seconds:.3f}",
        "mp3channels": num_channels,
        "mp3bitrate": round(sound.stat().st_size * 8 / seconds / 1000),
        "mp3samplerate": parameters.sample_rate_hz,
        "mp3file": f"audio/{sound_name}",
        "scene": scene,
        "region": region,
        "cell": place.cell,
    }
