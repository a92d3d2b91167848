"""Builds labelled scenes by ADVANCE's rules: reads and labels the rows, writes pairs, then judges classes by size."""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from shards.collecting.advance.clips import Recording, open_recording
from shards.collecting.advance.corrections import DROPPED, read_corrections
from shards.collecting.advance.extract_labels import Place, labels_of_extract
from shards.collecting.advance.label_table import Label, LabelTable
from shards.collecting.advance.options import AdvanceOptions
from shards.collecting.advance.overpass import OverpassClient
from shards.collecting.advance.overpass_labels import labels_of_service
from shards.collecting.advance.results import (
    KEPT,
    NO_LABEL,
    RARE_CLASS,
    TAKEN_OUT,
    TOO_SHORT,
    AdvanceResult,
    ClassResult,
    RowResult,
)
from shards.collecting.advance.rules import ADVANCE_CLASSES, DIRECTIONS, decide, is_too_short
from shards.collecting.advance.scene_pairs import (
    CENTRE,
    IMAGES,
    SOUNDS,
    PairWriter,
    Scene,
    WrittenPair,
    place_of_pair,
    stems_of,
)
from shards.collecting.advance.tiles import TileCutter
from shards.errors import RejectedPair, UserError, failures_as_rejections
from shards.progress import ProgressLine
from shards.schema import Pair
from shards.sources.named_files import image_files
from shards.sources.recordings import RecordingsSource
from shards.sources.source import Listing, SourceOptions

ANSWERS_NAME = "overpass.jsonl"

Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass
class _Progress:
    """What is known so far.

    Attributes:
        results: of each row, by key.
        pairs: rows that are still in, in the order of the table.
        notices: sentences for the user.
    """

    results: dict[str, RowResult]
    pairs: list[Pair]
    notices: list[str] = field(default_factory=list)

    def drop(self, pair: Pair, outcome: str, detail: str = "") -> None:
        """Takes a row out."""
        result = self.results[pair.key]
        result.outcome, result.detail = outcome, detail


def list_rows(options: AdvanceOptions) -> Listing:
    """The rows of the corpus, with their places.

    Raises:
        UserError: the table can't be used.
    """
    source = RecordingsSource(SourceOptions(root=options.root, table=options.table, follow_links=options.follow_links))
    return source.locate(source.list_pairs())


def build_advance(options: AdvanceOptions, table: LabelTable) -> AdvanceResult:
    """Builds the set; files that an interrupted build has left are kept.

    Args:
        options: of the command.
        table: the label table.

    Raises:
        UserError: an input can't be used, the Overpass service does not answer, or no pair is left.
    """
    corrections = read_corrections(options.corrections)
    found = _begin(list_rows(options))
    stems = stems_of(found.pairs)
    recordings = _open_recordings(found, options.workers)
    labels = _label(found, options, table, corrections)
    scenes = [
        Scene(pair, recordings[pair.key], labels[pair.key], stems[pair.key][0], stems[pair.key][1:])
        for pair in found.pairs
    ]
    neighbours = image_files(options.root, follow_links=options.follow_links)
    writer = PairWriter(
        options.out,
        TileCutter(neighbours, options.tile_pixels, options.shift_share),
        seed=options.seed,
        jpeg_quality=options.jpeg_quality,
    )
    written = _write_centres(found, scenes, writer, options.workers)
    classes, kept = _judge_classes(found, written, options.out)
    shifted, without_shift = _write_shifted(kept, classes, writer, options.workers)
    return _finish(found, kept + shifted, classes, without_shift)


def _begin(listing: Listing) -> _Progress:
    """The rows of the table; those that were rejected have their reason."""
    # Several rows can be rejected for one key, so these are told apart by a number; no key of a pair has a space.
    results = {
        f"rejected {number}": RowResult(row.key, row.reason, row.detail) for number, row in enumerate(listing.rejected)
    }
    results |= {pair.key: RowResult(_text_of_key(pair), KEPT) for pair in listing.pairs}
    return _Progress(results, list(listing.pairs), list(listing.notices))


def _text_of_key(pair: Pair) -> str:
    """The key of a row as its table has it."""
    return str(pair.properties.get("original_key", pair.key))


def _open_recordings(found: _Progress, workers: int) -> dict[str, Recording]:
    """The recordings of the rows; those that can't be read, or are shorter than 2 s, are taken out."""
    recordings: dict[str, Recording] = {}
    for pair, recording in _in_threads("reading sounds", found.pairs, _recording_of, workers):
        if isinstance(recording, RejectedPair):
            found.drop(pair, recording.reason, recording.detail)
            continue
        found.results[pair.key].seconds = recording.seconds
        if is_too_short(recording.num_samples, recording.rate_hz):
            found.drop(pair, TOO_SHORT, f"{pair.sound.name} has {recording.seconds:.3f} s")
            continue
        recordings[pair.key] = recording
    found.pairs = [pair for pair in found.pairs if pair.key in recordings]
    return recordings


def _recording_of(pair: Pair) -> Recording:
    with failures_as_rejections():
        return open_recording(pair.sound)


def _label(
    found: _Progress, options: AdvanceOptions, table: LabelTable, corrections: dict[str, str]
) -> dict[str, Label]:
    """The label of each row, by correction, else by OpenStreetMap; rows without one are taken out."""
    unknown = sorted(corrections.keys() - {row.key for row in found.results.values()})
    if unknown:
        found.notices.append(
            f"{len(unknown):,} corrections have keys that the table lacks, such as {unknown[0]!r}; they change nothing"
        )
    open_pairs = [pair for pair in found.pairs if _text_of_key(pair) not in corrections]
    by_map = _labels_of_map(found, options, table, list(dict.fromkeys(map(place_of_pair, open_pairs))))
    labels: dict[str, Label] = {}
    for pair in found.pairs:
        corrected = corrections.get(_text_of_key(pair))
        label = by_map.get(place_of_pair(pair)) if corrected is None else Label(corrected, "correction")
        if corrected == DROPPED:
            found.drop(pair, TAKEN_OUT)
        elif label is None:
            found.drop(pair, NO_LABEL, "no correction, and no object of the label table is near")
        else:
            labels[pair.key] = label
            found.results[pair.key].label, found.results[pair.key].evidence = label.class_name, label.evidence
    found.pairs = [pair for pair in found.pairs if pair.key in labels]
    return labels


def _labels_of_map(
    found: _Progress, options: AdvanceOptions, table: LabelTable, places: Sequence[Place]
) -> dict[Place, Label]:
    if not places:
        return {}
    if options.osm is not None:
        return labels_of_extract(options.osm, table, places, found.notices.append)
    if options.overpass is not None:
        client = OverpassClient(options.overpass, options.overpass_seconds)
        return labels_of_service(client, table, places, options.out / ANSWERS_NAME)
    return {}


def _write_centres(
    found: _Progress, scenes: Sequence[Scene], writer: PairWriter, workers: int
) -> dict[str, list[WrittenPair]]:
    """Writes the pair of each row, so that classes are counted by pairs that exist: those of each class."""
    written: dict[str, list[WrittenPair]] = defaultdict(list)
    for scene, pair in _in_threads("writing pairs", scenes, lambda scene: writer.write(scene, CENTRE), workers):
        if isinstance(pair, RejectedPair):
            found.drop(scene.pair, pair.reason, pair.detail)
        else:
            written[scene.label.class_name].append(pair)
    return written


def _judge_classes(
    found: _Progress, written: dict[str, list[WrittenPair]], out: Path
) -> tuple[dict[str, ClassResult], list[WrittenPair]]:
    """Decides on each class by its pairs, and removes the files of those that are dropped."""
    classes: dict[str, ClassResult] = {}
    kept: list[WrittenPair] = []
    for name, pairs in sorted(written.items()):
        decision = decide(len(pairs))
        classes[name] = ClassResult(len(pairs), decision, 0 if decision == "dropped" else len(pairs))
        if decision != "dropped":
            kept += pairs
            continue
        for pair in pairs:
            found.drop(pair.scene.pair, RARE_CLASS, f"class {name} has {len(pairs)}")
        for folder in (IMAGES, SOUNDS):
            shutil.rmtree(out / folder / name)
    others = sorted({name for name, result in classes.items() if result.pairs} - set(ADVANCE_CLASSES))
    if others:
        found.notices.append(
            f"{', '.join(others)}: not among the 13 classes of ADVANCE; downstream/run.py advance refuses such sets"
        )
    return classes, kept


def _write_shifted(
    kept: Sequence[WrittenPair], classes: dict[str, ClassResult], writer: PairWriter, workers: int
) -> tuple[list[WrittenPair], Counter[str]]:
    """Writes the shifted pairs of rare classes; counts those that can't be made by reason."""
    jobs = [
        (pair.scene, direction)
        for pair in kept
        if classes[pair.scene.label.class_name].decision == "shifted"
        for direction in DIRECTIONS
    ]
    shifted: list[WrittenPair] = []
    without: Counter[str] = Counter()
    for _, pair in _in_threads("writing shifted pairs", jobs, lambda job: writer.write(*job), workers):
        if isinstance(pair, RejectedPair):
            without[pair.reason] += 1
        else:
            shifted.append(pair)
    return shifted, without


def _finish(
    found: _Progress, pairs: Sequence[WrittenPair], classes: dict[str, ClassResult], without_shift: Counter[str]
) -> AdvanceResult:
    """The result in the order of the table.

    Raises:
        UserError: no pair is left.
    """
    if not pairs:
        outcomes = Counter(row.outcome for row in found.results.values()).most_common()
        raise UserError(
            "no pair is left by ADVANCE's rules: " + ", ".join(f"{outcome} {count:,}" for outcome, count in outcomes)
        )
    order = {key: number for number, key in enumerate(found.results)}
    directions = (CENTRE, *DIRECTIONS)
    ordered = sorted(pairs, key=lambda pair: (order[pair.scene.pair.key], directions.index(pair.direction)))
    for pair in ordered:
        found.results[pair.scene.pair.key].num_pairs += 1
    counts = Counter(pair.scene.label.class_name for pair in ordered)
    totals = {name: ClassResult(result.rows, result.decision, counts[name]) for name, result in classes.items()}
    return AdvanceResult(list(found.results.values()), ordered, totals, without_shift, found.notices)


def _in_threads(
    title: str, items: Sequence[Item], make: Callable[[Item], Made], workers: int
) -> Iterable[tuple[Item, Made | RejectedPair]]:
    """What is made of each item, or why not, in order; decoding leaves Python's lock, so that threads help."""

    def attempt(item: Item) -> Made | RejectedPair:
        try:
            return make(item)
        except RejectedPair as rejection:
            return rejection

    with ProgressLine(title, len(items)) as progress, ThreadPoolExecutor(workers) as pool:
        for item, made in zip(items, pool.map(attempt, items), strict=True):
            progress.advance()
            yield item, made
