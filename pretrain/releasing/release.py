"""The verb `release`: writes a folder that loads in two lines, and checks it before putting it in place."""

from __future__ import annotations

import os

from pretrain.hub import check_can_push, push_folder
from pretrain.releasing.encoder_files import untried
from pretrain.releasing.facts import Facts, Gap, gather_facts
from pretrain.releasing.half_precision import compare_half
from pretrain.releasing.onnx_files import require_onnx
from pretrain.releasing.options import ReleaseOptions
from pretrain.releasing.release_files import CHECKSUMS_NAME, ReleaseFiles
from pretrain.releasing.results import read_results
from pretrain.releasing.stored_weights import rounded_to_half
from pretrain.releasing.timm_folders import hub_name
from pretrain.weights.same_embeddings import Probe, fixed_probe, real_probe
from shards.atomic_files import temporary_beside
from shards.errors import UserError, end_on_sigterm


def run_release(options: ReleaseOptions) -> None:
    """Runs the verb and prints its report.

    Raises:
        UserError: as for `release`.
    """
    end_on_sigterm()
    print("\n".join(release(options)))


def release(options: ReleaseOptions) -> list[str]:
    """Writes the release of a run or a model folder, checks that it loads unchanged, and puts it in place.

    The folder holds both towers (`config.json`, `model.safetensors`), each encoder alone, as one file and as a folder
    of timm's, what sentence-transformers and mteb need, ONNX if `options` say so, the model card, a notice on rights,
    and checksums.

    Returns:
        The lines to report: how it was checked, what the card lacks, and where it is.

    Raises:
        UserError: the options or the run are invalid, or a file does not give the same embeddings; nothing is left
            then. Also if the push to the hub fails; the folder is kept then.
    """
    out = options.out.resolve()
    files, probes = plan_release(options)
    facts = files.facts
    try:
        if not out.parent.exists():
            out.parent.mkdir(parents=True)
        with temporary_beside(out, is_folder=True) as partial:
            files.write(partial, options.push_to_hub or out.name, probes[0])
            lines = files.check(partial, probes)
            os.replace(partial, out)
    except OSError as error:
        raise UserError(
            f"out {options.out} can't be written: {error.strerror or error}; choose another --out"
        ) from error
    lines += [str(facts.half)] if facts.half is not None else []
    lines += [f"not tested: {', '.join(untried())}", *map(gap_line, facts.gaps), f"release: {options.out}"]
    return lines + _push(options, files)


def plan_release(options: ReleaseOptions) -> tuple[ReleaseFiles, list[Probe]]:
    """Makes all checks that need no written file, and decides what a release holds.

    Returns:
        Its files, and the inputs for comparing them with the weights in memory.

    Raises:
        UserError: the options or the run are invalid, or half precision changes too much.
    """
    _check_options(options)
    facts = gather_facts(options.run, shards=options.shards, watts=options.watts)
    facts.results = read_results(options.results, facts.model_folder)
    for folder in facts.results.untraced:
        facts.lacks("whether all of the results shown belong to these weights", f"{folder} records no checksum")
    probes = _probes(facts)
    if options.half:
        _round(facts, probes)
    return ReleaseFiles.of(facts, options), probes


def _check_options(options: ReleaseOptions) -> None:
    options.check()
    if options.onnx:
        require_onnx()
    if options.push_to_hub is not None:
        encoders = [hub_name(options.push_to_hub, modality) for modality in ("image", "sound")]
        for name in [options.push_to_hub, *(encoders if options.push_encoders else ())]:
            check_can_push(name)


def _round(facts: Facts, probes: list[Probe]) -> None:
    """Replaces the towers by ones rounded to half precision, which all files are then compared with."""
    full = facts.towers
    facts.towers = rounded_to_half(full)
    facts.half = compare_half(full, facts.towers, probes, facts.shard_set)


def _push(options: ReleaseOptions, files: ReleaseFiles) -> list[str]:
    """Pushes the release, and each of timm's folders where that is asked for; returns the lines to report."""
    if options.push_to_hub is None:
        return []
    lines = [f"on the hub: {push_folder(options.out, options.push_to_hub, [CHECKSUMS_NAME, *files.names])}"]
    for folder in files.folders if options.push_encoders else ():
        names = [name.partition("/")[2] for name in folder.names]
        pushed = push_folder(options.out / folder.name, hub_name(options.push_to_hub, folder.modality), names)
        lines.append(f"on the hub, for timm: {pushed}")
    return lines


def gap_line(gap: Gap) -> str:
    """A line on what the card lacks, for the person who publishes the release."""
    return f"missing from the card: {gap.words}{f' ({gap.detail})' if gap.detail else ''}"


def _probes(facts: Facts) -> list[Probe]:
    """Returns the inputs for comparing the release with the weights in memory: fixed ones, and real pairs if any."""
    probes = [fixed_probe(facts.model)]
    if facts.shard_set is not None:
        try:
            probes.append(real_probe(facts.model, facts.shard_set))
        except UserError as error:
            facts.lacks("whether validation pairs give the same embeddings", str(error))
    return probes
