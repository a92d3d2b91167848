"""Opens the corpus of a build: its source with the options that concern it, its listing, and the split by default."""

from __future__ import annotations

import json
import sys

from shards.building.assigning import given_columns, settle_split
from shards.building.folder import damaged_shards, is_finished
from shards.building.planning import BuildOptions, check_options, idle_options, usable_cpus
from shards.building.split_file import keep_listed, read_split_file
from shards.errors import UserError
from shards.front_ends import DEFAULT_FRONT_END, FRONT_ENDS
from shards.loudness import note
from shards.manifest import Manifest
from shards.raster_settings import RasterSettings
from shards.sources import SOURCES
from shards.sources.source import Listing, Source, SourceOptions


def open_source(options: BuildOptions) -> Source:
    """Checks the options, and warns of those without effect; reads nothing.

    Raises:
        UserError: an option is not valid or not possible with this corpus.
    """
    check_options(options)
    source_class = SOURCES.load(options.source)
    for words in idle_options(options, source_class):
        print(f"warning: {words}", file=sys.stderr, flush=True)
    source = source_class(_source_options(options, source_class))
    if options.spectrogram != DEFAULT_FRONT_END and source.settings != FRONT_ENDS.load(options.spectrogram):
        raise UserError(
            f"--spectrogram {options.spectrogram} is not possible with --source {options.source}, whose spectrograms "
            "are made otherwise; omit it"
        )
    return source


def list_corpus(source: Source, options: BuildOptions) -> tuple[Listing, BuildOptions]:
    """Prepares and lists the corpus, and says what was guessed and chosen.

    Returns:
        The listing, and the options with the split that is used.

    Raises:
        UserError: the corpus can't be listed.
    """
    source.prepare(options.workers or usable_cpus())
    listing = source.list_pairs()
    if options.split_by == "cell":
        listing = source.locate(listing)
    if options.split_file is not None:
        listing = keep_listed(listing, read_split_file(options.split_file), options.split_file)
    settled, choices = settle_split(listing, options)
    for words in (*listing.notices, *choices):
        note(f"note: {words}")
    return listing, settled


def built_before(source: Source, options: BuildOptions) -> Manifest | None:
    """The manifest of --out, if it is a finished set of this corpus with these options, without missing shards.

    For corpora whose listing takes long: it asks for the names and sizes of their files alone.
    """
    if not is_finished(options.out):
        return None
    manifest = Manifest.load(options.out)
    wanted = source.build_options() | {"samples_per_shard": options.samples_per_shard}
    wanted |= {"split_seed": options.split_seed} | ({"split_by": options.split_by} if options.split_by else {})
    is_same = manifest.source == options.source and all(
        manifest.build.get(name) == value for name, value in json.loads(json.dumps(wanted)).items()
    )
    has_other_split = options.split_file is not None or options.split_by in ("cell", "column")
    return manifest if is_same and not has_other_split and not damaged_shards(options.out, manifest) else None


def _source_options(options: BuildOptions, source_class: type[Source]) -> SourceOptions:
    root = options.root or source_class.default_root
    if root is None:
        raise UserError(f"--source {options.source} needs --root with the folder of the corpus")
    columns, _ = given_columns(options)
    return SourceOptions(
        root=root,
        limit=options.limit,
        max_seconds=options.max_seconds,
        jpeg_quality=options.jpeg_quality,
        channels=options.channels,
        rasters=RasterSettings(
            options.bands, options.scale_range, "range" if options.scale_range is not None else options.scale_by
        ),
        previews=options.previews,
        places=options.places,
        seed=options.seed,
        spectrogram=options.spectrogram,
        table=options.table,
        columns=columns,
        follow_links=options.follow_links,
        licence=" ".join(options.licence.split()),
        tars=options.tars,
        unpacked=options.unpacked,
        keep_unpacked=options.keep_unpacked,
    )
