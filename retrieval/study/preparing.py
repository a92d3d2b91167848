"""`study prepare`: draws the pairs of a study and writes them with their images and clips to a folder."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import sys
from pathlib import Path

from pretrain.training.embedding import spread_crops
from retrieval.embedding import embed_pairs, make_folder, open_model_and_split
from retrieval.study.answers import raters_in
from retrieval.study.audible import SAME_PLACE_KM, AudiblePairs, audible_numbers
from retrieval.study.folder import (
    ANSWERS_NAME,
    MEDIA_FOLDER,
    STUDY_FORMAT_VERSION,
    STUDY_NAME,
    Study,
    StudyPair,
    at_work_in,
)
from retrieval.study.options import PrepareOptions
from retrieval.study.pairs import DrawnPair, draw_pairs
from shards.atomic_files import naming, naming_in
from shards.checksums import file_sha256
from shards.errors import UserError
from shards.manifest import MANIFEST_NAME
from shards.progress import ProgressLine

QUESTION = "Was the sound clip recorded somewhere within the image?"
"""The question of SoundingEarth's study (section V-E)."""
UNFINISHED_FOLDER = ".unfinished"
RULE = (
    "A retrieved pair has the nearest sound to the image by Euclidean distance, among all sounds of the split with a "
    "listening clip, except the image's own sound, copies of it, and sounds recorded within "
    f"{1000 * SAME_PLACE_KM:.0f} m. No image is repeated; sounds are repeated only if too few images have distinct "
    "nearest sounds."
)


def prepare(options: PrepareOptions) -> Study:
    """Runs `study prepare` and prints the study's folder.

    Raises:
        UserError: a mistake in the options, the weights or the shards; too few pairs with listening clips; or the
            folder holds a study with raters, or other files.
    """
    options.check()
    model, shard_set = open_model_and_split(
        options.weights, options.shards, options.split, device=options.device, force=options.force
    )
    numbers = audible_numbers(shard_set, options.split)
    check_audible(len(numbers), options)
    make_folder(options.out)
    with at_work_in(options.out, alone=True):
        _complete(options.out)
        earlier = earlier_study(options.out)
        embedded = embed_pairs(
            model,
            shard_set,
            options.split,
            crop_starts=spread_crops(model.config.num_frames, options.crops),
            batch_size=options.batch_size,
            precision="fp32",
            provenance={},
        )
        audible = AudiblePairs.of(shard_set, options.split, numbers, embedded)
        study = _write(options, audible, _draw(options, audible), earlier)
    repeated = len(study.pairs) - len({pair.sound.key for pair in study.pairs})
    if repeated:
        print(
            f"warning: {repeated} sounds are repeated: the model finds the same ones for many images", file=sys.stderr
        )
    print(f"study of {options.pairs} pairs written to {options.out}; serve it with 'study serve {options.out}'")
    return study


def check_audible(num_audible: int, options: PrepareOptions) -> None:
    """Checks that enough pairs have a listening clip.

    Raises:
        UserError: they don't.
    """
    where = f"split {options.split} of {options.shards}"
    if num_audible == 0:
        raise UserError(
            f"{where} has no listening clips; build the shards from recordings (SoundingEarth's released spectrograms "
            "can't be played)"
        )
    if num_audible < options.pairs:
        raise UserError(
            f"pairs must be at most {num_audible}, the pairs with a listening clip in {where}, got {options.pairs}; "
            "lower --pairs, or choose another --split"
        )


def earlier_study(out: Path, *, is_dry: bool = False) -> Study | None:
    """The study in the folder, which may be replaced; None if there is none.

    Args:
        out: the folder.
        is_dry: change nothing in it.

    Raises:
        UserError: the study has raters, or the folder has other files that would be overwritten.
    """
    answers = out / ANSWERS_NAME
    if answers.is_file() and (raters := raters_in(answers, from_copy=is_dry)):
        raise UserError(f"{out} holds a study that already has raters ({raters}); give another folder with --out")
    study = None
    with contextlib.suppress(UserError):
        study = Study.load(out)
    if study and not (out / MEDIA_FOLDER).is_symlink():
        strange = [path for path in (out / MEDIA_FOLDER).glob("*") if path.name not in study.media]
    else:
        strange = [path for name in (STUDY_NAME, MEDIA_FOLDER, ANSWERS_NAME) if (path := out / name).exists()]
    if strange:
        raise UserError(
            f"{strange[0]} does not belong to a study that this command can replace; give another folder with --out, "
            "or move it away"
        )
    return study


def _remove(out: Path, study: Study) -> None:
    """Removes the files of a study without raters."""
    answers = [out / f"{ANSWERS_NAME}{suffix}" for suffix in ("", "-wal", "-shm")]
    for path in (out / STUDY_NAME, *answers, *(out / MEDIA_FOLDER / name for name in study.media)):
        path.unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        (out / MEDIA_FOLDER).rmdir()


def _draw(options: PrepareOptions, audible: AudiblePairs) -> list[DrawnPair]:
    try:
        with ProgressLine("searching retrieved pairs", len(audible.samples)) as progress:
            return draw_pairs(audible.embeddings, options.pairs, options.seed, audible.is_same_place, progress.advance)
    except ValueError as error:
        raise UserError(
            f"pairs {options.pairs} can't be drawn from split {options.split} of {options.shards}: too few of its "
            f"{len(audible.samples)} pairs are {1000 * SAME_PLACE_KM:.0f} m apart; lower --pairs"
        ) from error


def _write(options: PrepareOptions, audible: AudiblePairs, drawn: list[DrawnPair], earlier: Study | None) -> Study:
    """Writes the study; an earlier one is replaced only after all files have been written."""
    unfinished = options.out / UNFINISHED_FOLDER
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        with naming_in(options.out):
            study = _write_files(unfinished, options, audible, drawn)
    except OSError:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    if earlier:
        _remove(options.out, earlier)
    (unfinished / MEDIA_FOLDER).rename(options.out / MEDIA_FOLDER)
    # Last: without it, the folder does not count as a study.
    (unfinished / STUDY_NAME).rename(options.out / STUDY_NAME)
    unfinished.rmdir()
    return study


def _complete(out: Path) -> None:
    """Ends a replacement that was killed between its last two steps."""
    if lacks_its_last_step(out):
        (out / UNFINISHED_FOLDER / STUDY_NAME).rename(out / STUDY_NAME)


def lacks_its_last_step(out: Path) -> bool:
    """Whether a replacement was killed before it moved `study.json`, its last file."""
    unfinished = out / UNFINISHED_FOLDER
    was_killed = (unfinished / STUDY_NAME).is_file() and not (unfinished / MEDIA_FOLDER).exists()
    return was_killed and (out / MEDIA_FOLDER).is_dir() and not (out / STUDY_NAME).exists()


def _write_files(folder: Path, options: PrepareOptions, audible: AudiblePairs, drawn: list[DrawnPair]) -> Study:
    media = folder / MEDIA_FOLDER
    media.mkdir(parents=True)
    digits = len(str(len(drawn)))
    pairs = [_write_pair(media, f"{i:0{digits}}", pair, audible) for i, pair in enumerate(drawn, start=1)]
    study = Study(
        format_version=STUDY_FORMAT_VERSION,
        weights=str(options.weights),
        shards=str(options.shards),
        manifest_sha256=file_sha256(options.shards / MANIFEST_NAME),
        split=options.split,
        crops=options.crops,
        seed=options.seed,
        gallery_size=len(audible.samples),
        rule=RULE,
        question=QUESTION,
        pairs=tuple(pairs),
    )
    study.save(folder)
    return study


def _write_pair(media: Path, pair_id: str, drawn: DrawnPair, audible: AudiblePairs) -> StudyPair:
    """Writes a pair's media files under names that don't reveal its kind."""
    picture, clip = audible.picture(drawn.image), audible.clip(drawn.sound)
    pair = StudyPair(
        id=pair_id,
        kind="true" if drawn.is_true else "retrieved",
        rank=drawn.rank,
        distance=drawn.distance,
        picture=f"{pair_id}.jpg",
        clip=f"{pair_id}.mp3",
        picture_sha256=hashlib.sha256(picture).hexdigest(),
        clip_sha256=hashlib.sha256(clip).hexdigest(),
        image=audible.credit(drawn.image),
        sound=audible.credit(drawn.sound),
    )
    for path, content in ((media / pair.picture, picture), (media / pair.clip, clip)):
        with naming(path):
            path.write_bytes(content)
    return pair
