"""The verb `embed`: embeds unpaired images or sounds, and writes embeddings and file names."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from retrieval.embedding import make_folder
from retrieval.embedding_files import EmbeddedFiles
from retrieval.loading import load
from retrieval.named_files import NamedFiles, named_files
from retrieval.options import EmbedOptions
from shards.errors import UserError

NAMED_REJECTIONS = 10
"""Number of undecodable files that are printed; the output lists all."""


def embed(options: EmbedOptions) -> EmbeddedFiles:
    """Runs `embed`; files that can't be decoded are counted and listed.

    Raises:
        UserError: a mistake in the options or the weights, no file can be decoded, or an embedding is not finite.
    """
    options.check()
    kind = options.kind
    model = load(
        options.weights,
        device=options.device,
        precision=options.precision,
        crops=options.crops,
        max_seconds=options.max_seconds,
        bands=options.bands,
        force=options.force,
    )
    files = named_files(options.paths, kind)
    make_folder(options.out.parent)
    embed_files = model.embed_images if kind == "images" else model.embed_sounds
    found = embed_files(files.paths, on_error="skip", names=files.names, batch_size=options.batch_size, progress=True)
    embedded = EmbeddedFiles(
        found.names, found.embeddings, {item.name: (item.reason, item.detail) for item in found.rejected}
    )
    where = ", ".join(map(str, options.paths))
    if not embedded.names:
        first = ": ".join(next(iter(embedded.rejected.values())))
        raise UserError(f"none of the {len(files.paths)} {kind} in {where} could be decoded; first error: {first}")
    provenance = {
        "weights": str(options.weights),
        "folder": where,
        "kind": kind,
        "crops": options.crops,
        "precision": model.precision,
    }
    embedded.save(options.out, provenance)
    _print_result(embedded, kind, options.out, files)
    return embedded


def _print_result(embedded: EmbeddedFiles, kind: str, out: Path, files: NamedFiles) -> None:
    print(f"{len(embedded.names)} {kind} embedded: {out}")
    if embedded.rejected:
        counts = Counter(reason for reason, _ in embedded.rejected.values())
        print(f"{len(embedded.rejected)} left out: " + ", ".join(f"{n} {reason}" for reason, n in counts.most_common()))
        for reason, detail in list(embedded.rejected.values())[:NAMED_REJECTIONS]:
            print(f"  {reason}: {detail}")
    if files.num_repeated:
        print(f"{files.num_repeated} files given more than once, embedded once")
    if files.others:
        named = ", ".join(files.others[:NAMED_REJECTIONS]) + ", …" * (len(files.others) > NAMED_REJECTIONS)
        print(f"{len(files.others)} other files, by their suffix no {kind}: {named}")
