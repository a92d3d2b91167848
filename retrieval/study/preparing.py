"""`study prepare`: weights and a split → a folder with a study: its pairs, their pictures and their clips."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import sys
from pathlib import Path

from pretrain.embedding import spread_crops
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
from shards.checksums import file_sha256
from shards.errors import UserError
from shards.manifest import MANIFEST_NAME
from shards.progress import ProgressLine

QUESTION = "Was the sound clip recorded somewhere within the image?"
"""As SoundingEarth's raters were asked (section V-E)."""
UNFINISHED_FOLDER = ".media.unfinished"
RULE = (
    "A retrieved pair has the sound nearest to the image by Euclidean distance, of all sounds of the split that have a "
    f"listening clip but the image's own, its copies, and those recorded within {1000 * SAME_PLACE_KM:.0f} m of it. "
    "No image comes twice; a sound does only where too few images have a nearest sound of their own."
)


def prepare(options: PrepareOptions) -> Study:
    """Carries out `study prepare` and prints where the study lies.

    Raises:
        UserError: a mistake in the options, the weights or the shards; too few pairs that can be heard; or a study with
            raters, or a stranger's files, in the folder.
    """
    options.check()
    model, shard_set = open_model_and_split(
        options.weights, options.shards, options.split, device=options.device, force=options.force
    )
    numbers = audible_numbers(shard_set, options.split)
    _check_audible(len(numbers), options)
    make_folder(options.out)
    with at_work_in(options.out, alone=True):
        earlier = _earlier_study(options.out)
        embedded = embed_pairs(
            model,
            shard_set,
            options.split,
            crop_starts=spread_crops(model.config.num_frames, options.crops),
            batch_size=options.batch_size,
            provenance={},
        )
        audible = AudiblePairs.of(shard_set, options.split, numbers, embedded)
        study = _write(options, audible, _draw(options, audible), earlier)
    repeated = len(study.pairs) - len({pair.sound.key for pair in study.pairs})
    if repeated:
        print(f"warning: {repeated} sounds come again: the model finds the same ones for many images", file=sys.stderr)
    print(f"a study of {options.pairs} pairs lies in {options.out}; show it with 'study serve {options.out}'")
    return study


def _check_audible(num_audible: int, options: PrepareOptions) -> None:
    where = f"split {options.split} of {options.shards}"
    if num_audible == 0:
        raise UserError(
            f"{where} has no listening clips, so nothing in it can be heard; build the shards from recordings "
            "(released spectrograms alone bring no sound)"
        )
    if num_audible < options.pairs:
        raise UserError(
            f"pairs {options.pairs} takes as many pairs with a listening clip, and {where} has {num_audible}; ask for "
            "fewer with --pairs, or choose another --split"
        )


def _earlier_study(out: Path) -> Study | None:
    """The study in the folder, which may be removed; None where there is none.

    Raises:
        UserError: people took part in it, or there are files that no study names and that it could take the place of.
    """
    answers = out / ANSWERS_NAME
    if answers.is_file() and (raters := raters_in(answers)):
        raise UserError(
            f"{out} holds a study that people took part in (raters: {raters}); name another folder with --out"
        )
    study = None
    with contextlib.suppress(UserError):
        study = Study.load(out)
    if study and not (out / MEDIA_FOLDER).is_symlink():
        strange = [path for path in (out / MEDIA_FOLDER).glob("*") if path.name not in study.media]
    else:
        strange = [path for name in (STUDY_NAME, MEDIA_FOLDER, ANSWERS_NAME) if (path := out / name).exists()]
    if strange:
        raise UserError(
            f"{strange[0]} is not of a study that this command can replace; name another folder with --out, or move "
            "it away"
        )
    return study


def _remove(out: Path, study: Study) -> None:
    """Removes what a study without raters consists of."""
    answers = [out / f"{ANSWERS_NAME}{suffix}" for suffix in ("", "-wal", "-shm")]
    for path in (out / STUDY_NAME, *answers, *(out / MEDIA_FOLDER / name for name in study.media)):
        path.unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        (out / MEDIA_FOLDER).rmdir()


def _draw(options: PrepareOptions, audible: AudiblePairs) -> list[DrawnPair]:
    try:
        with ProgressLine("looking at images for retrieved pairs", len(audible.samples)) as progress:
            return draw_pairs(audible.embeddings, options.pairs, options.seed, audible.is_same_place, progress.advance)
    except ValueError as error:
        raise UserError(
            f"pairs {options.pairs} can't be drawn from split {options.split} of {options.shards}: too few of its "
            f"{len(audible.samples)} pairs lie {1000 * SAME_PLACE_KM:.0f} m apart; ask for fewer with --pairs"
        ) from error


def _write(options: PrepareOptions, audible: AudiblePairs, drawn: list[DrawnPair], earlier: Study | None) -> Study:
    """Puts the study into its folder once all of its media are written; an earlier one stays until then."""
    unfinished = options.out / UNFINISHED_FOLDER
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    digits = len(str(len(drawn)))
    pairs = [_write_pair(unfinished, f"{i:0{digits}}", pair, audible) for i, pair in enumerate(drawn, start=1)]
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
    if earlier:
        _remove(options.out, earlier)
    unfinished.rename(options.out / MEDIA_FOLDER)
    # Last: a folder without it holds no study.
    study.save(options.out)
    return study


def _write_pair(media: Path, pair_id: str, drawn: DrawnPair, audible: AudiblePairs) -> StudyPair:
    """Writes a pair's media under names that tell nothing of its kind."""
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
    (media / pair.picture).write_bytes(picture)
    (media / pair.clip).write_bytes(clip)
    return pair
