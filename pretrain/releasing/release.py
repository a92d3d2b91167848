"""The verb `release`: writes a folder that loads in two lines, and checks it before putting it in place."""

from __future__ import annotations

import os
from pathlib import Path

from pretrain.hub import check_can_push, push_folder
from pretrain.model_files import CARD_NAME, CONFIG_NAME, NOTICE_NAME, WEIGHTS_NAME
from pretrain.releasing.card import release_card
from pretrain.releasing.encoder_files import check_encoder, encoder_files, untried, write_encoder
from pretrain.releasing.facts import Facts, Gap, gather_facts
from pretrain.releasing.notice import notice
from pretrain.releasing.options import ReleaseOptions
from pretrain.releasing.results import read_results
from pretrain.weights.same_embeddings import Probe, check_towers, fixed_probe, real_probe
from shards.atomic_files import temporary_beside
from shards.checksums import file_sha256
from shards.errors import UserError, end_on_sigterm

CHECKSUMS_NAME = "SHA256SUMS"


def run_release(options: ReleaseOptions) -> None:
    """Runs the verb and prints its report.

    Raises:
        UserError: as for `release`.
    """
    end_on_sigterm()
    print("\n".join(release(options)))


def release(options: ReleaseOptions) -> list[str]:
    """Writes the release of a run or a model folder, checks that it loads unchanged, and puts it in place.

    The folder holds both towers (`config.json`, `model.safetensors`), each encoder alone, the model card, a notice on
    rights, and checksums.

    Returns:
        The lines to report: how it was checked, what the card lacks, and where it is.

    Raises:
        UserError: the options or the run are invalid, or a file does not give the same embeddings; nothing is left
            then. Also if the push to the hub fails; the folder is kept then.
    """
    out = options.out.resolve()
    options.check()
    if options.push_to_hub is not None:
        check_can_push(options.push_to_hub)
    facts = gather_facts(options.run, shards=options.shards, watts=options.watts)
    facts.results = read_results(options.results, facts.model_folder)
    for folder in facts.results.untraced:
        facts.lacks("whether all of the results shown belong to these weights", f"{folder} records no checksum")
    try:
        if not out.parent.exists():
            out.parent.mkdir(parents=True)
        with temporary_beside(out, is_folder=True) as partial:
            probes = _probes(facts)
            _write(partial, facts, options, options.push_to_hub or out.name)
            checked = _check_loading(partial, facts, probes)
            os.replace(partial, out)
    except OSError as error:
        raise UserError(
            f"out {options.out} can't be written: {error.strerror or error}; choose another --out"
        ) from error
    told = [checked, f"not tested: {', '.join(untried())}", *map(_gap, facts.gaps), f"release: {options.out}"]
    if options.push_to_hub:
        files = [CHECKSUMS_NAME, *_names(facts)]
        told.append(f"on the hub: {push_folder(options.out, options.push_to_hub, files)}")
    return told


def _gap(gap: Gap) -> str:
    return f"missing from the card: {gap.words}{f' ({gap.detail})' if gap.detail else ''}"


def _names(facts: Facts) -> list[str]:
    """Names of the files of a release, except the checksums."""
    return [CONFIG_NAME, WEIGHTS_NAME, *(file.name for file in encoder_files(facts.towers)), CARD_NAME, NOTICE_NAME]


def _write(folder: Path, facts: Facts, options: ReleaseOptions, name: str) -> None:
    facts.towers.save_pretrained(folder)
    for file in encoder_files(facts.towers):
        write_encoder(folder, file, facts.towers)
    card = release_card(facts, name=name, licence=options.licence)
    (folder / CARD_NAME).write_text(card, encoding="utf-8")
    (folder / NOTICE_NAME).write_text(notice(facts, options.imagery), encoding="utf-8")
    lines = [f"{file_sha256(folder / name)}  {name}\n" for name in sorted(_names(facts))]
    (folder / CHECKSUMS_NAME).write_text("".join(lines), encoding="utf-8")


def _probes(facts: Facts) -> list[Probe]:
    """Returns the inputs for comparing the release with the weights in memory: fixed ones, and real pairs if any."""
    probes = [fixed_probe(facts.model)]
    if facts.shard_set is not None:
        try:
            probes.append(real_probe(facts.model, facts.shard_set))
        except UserError as error:
            facts.lacks("whether validation pairs give the same embeddings", str(error))
    return probes


def _check_loading(folder: Path, facts: Facts, probes: list[Probe]) -> str:
    """Loads the folder in every way except those of `untried`, and reports which."""
    check_towers(folder, facts.towers, probes)
    routes = [f"{WEIGHTS_NAME} by TwoTower"]
    for file in encoder_files(facts.towers):
        libraries = check_encoder(folder, file, facts.towers, probes)
        routes.append(f"{file.name} by {', '.join(libraries) or 'its tensors'}")
    on = " and ".join(probe.name for probe in probes)
    return f"checked, bit for bit on {on}: {'; '.join(routes)}"
