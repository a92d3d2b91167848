"""`--dry-run` of `release`, `demo-weights` and `convert`: makes their checks, and prints what they would write."""

from __future__ import annotations

import sys

from pretrain.model_files import CARD_NAME, CONFIG_NAME, WEIGHTS_NAME
from pretrain.releasing.demo_weights import NAME, out_of, release_of, train_demo
from pretrain.releasing.onnx_files import require_onnx
from pretrain.releasing.options import DemoWeightsOptions, ReleaseOptions, check_release_folder
from pretrain.releasing.release import gap_line, plan_release
from pretrain.releasing.release_files import CHECKSUMS_NAME, ReleaseFiles
from pretrain.releasing.stored_weights import stored_bytes
from pretrain.releasing.timm_folders import hub_name
from pretrain.training.run_folder import CONFIG_NAME as RUN_CONFIG_NAME
from pretrain.training.run_folder import SUMMARY_NAME
from pretrain.weights.authors_checkpoint import open_checkpoint
from pretrain.weights.model_folder import MODEL_FOLDER
from pretrain.weights.options import ConvertOptions
from shards.command_line.dry_runs import check_can_be_written, free_bytes, print_plan, size_of


def dry_run_release(options: ReleaseOptions) -> None:
    """Prints what `release` would do; weights, shards and results are read, nothing is written or pushed.

    What needs a written file is not tried: loading it again by each library, and the export of ONNX.

    Raises:
        UserError: as `release`, but for what is not tried.
    """
    files, probes = plan_release(options)
    facts = files.facts
    for gap in facts.gaps:
        print(gap_line(gap))
    weights = sum(parameter.numel() for parameter in facts.towers.parameters())
    licences = facts.licences
    print_plan(
        {
            "weights": f"{facts.model_folder}, {weights / 1e6:.1f} million, stored as "
            f"{'float16 and float32' if facts.is_half else 'float32'}",
            "half": str(facts.half or ""),
            "data": f"{licences.num_samples:,} training pairs whose licences were counted" if licences else "",
            "results": ", ".join(map(str, options.results)),
            "writes": f"{options.out}: {len(files.names) + 1} files, about {size_of(files.num_bytes)}; "
            f"{size_of(free_bytes(options.out))} free",
            "files": ", ".join([*files.names, CHECKSUMS_NAME]),
            "not written": "; ".join(files.left_out),
            "not tried": f"{'the export of ONNX, and ' if options.onnx else ''}loading the files again, on "
            f"{' and '.join(probe.name for probe in probes)}",
            "pushes": ", ".join(_pushed(options, files)),
        }
    )


def _pushed(options: ReleaseOptions, files: ReleaseFiles) -> list[str]:
    """Names on the hub."""
    name = options.push_to_hub
    if name is None:
        return []
    folders = files.folders if options.push_encoders else []
    return [name, *(hub_name(name, folder.modality) for folder in folders)]


def dry_run_demo_weights(options: DemoWeightsOptions) -> None:
    """Prints what `demo-weights` would do: the training that is left, then the release.

    Raises:
        UserError: as `demo-weights`, as far as it does not depend on the training.
    """
    out = out_of(options)
    if (out / WEIGHTS_NAME).is_file():
        print_plan({"weights": f"{NAME} are in {out} already; nothing is left to do"})
        return
    if (options.run / SUMMARY_NAME).is_file():
        release = release_of(options)
        release.check()
        dry_run_release(release)
        return
    check_release_folder(out)
    check_can_be_written(options.run, "run")
    if options.onnx:
        require_onnx()
    begun = (options.run / RUN_CONFIG_NAME).is_file()
    print(f"first {'resumes' if begun else 'trains'} the run in {options.run}, which its own dry run shows:")
    sys.stdout.flush()
    train_demo(options, "--dry-run")
    print_plan({"then writes": f"{out}: the release in half precision{', with ONNX files' if options.onnx else ''}"})


def dry_run_convert(options: ConvertOptions) -> None:
    """Prints what `convert` would do; the checkpoint is read and its towers are built.

    Raises:
        UserError: as `convert`.
    """
    check_can_be_written(options.out)
    towers, report = open_checkpoint(options.file, options.out, on_sphere=options.on_sphere)
    size, free = size_of(stored_bytes(towers.state_dict(), half=False)), size_of(free_bytes(options.out))
    written = f"{CONFIG_NAME}, {WEIGHTS_NAME} (about {size}), {CARD_NAME}"
    print_plan(
        {
            "checkpoint": f"{options.file}: {report}",
            "writes": f"{options.out / MODEL_FOLDER}: {written}; {free} free",
        }
    )
