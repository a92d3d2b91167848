"""The files of a release: which there are, writing them, and loading each of them again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pretrain.model_files import CARD_NAME, CONFIG_NAME, NOTICE_NAME, WEIGHTS_NAME
from pretrain.releasing.card import licence_record, release_card
from pretrain.releasing.encoder_files import check_encoder, encoder_files, stored_encoder, write_encoder
from pretrain.releasing.facts import Facts
from pretrain.releasing.notice import notice
from pretrain.releasing.onnx_files import INPUTS_NAME, ONNX_NAMES, check_onnx, write_onnx
from pretrain.releasing.options import ReleaseOptions
from pretrain.releasing.standalone_files import (
    STANDALONE_NAMES,
    check_standalone,
    why_no_standalone,
    write_standalone,
)
from pretrain.releasing.stored_weights import stored_bytes, write_weights
from pretrain.releasing.timm_folders import TimmFolder, check_timm_folder, timm_folders, write_timm_folder
from pretrain.training.curves_picture import CURVES_NAME
from pretrain.weights.same_embeddings import Probe, check_towers
from shards.checksums import file_sha256

CHECKSUMS_NAME = "SHA256SUMS"


@dataclass(frozen=True)
class ReleaseFiles:
    """What the release of some weights holds.

    Attributes:
        facts: what is known about the weights.
        options: of the release.
        folders: the encoders that timm can build.
        left_out: what the release lacks, each with its reason.
    """

    facts: Facts
    options: ReleaseOptions
    folders: list[TimmFolder]
    left_out: list[str]

    @classmethod
    def of(cls, facts: Facts, options: ReleaseOptions) -> ReleaseFiles:
        """Decides what can be written."""
        folders, left_out = timm_folders(facts.towers)
        reason = why_no_standalone(facts.towers)
        if reason is not None:
            left_out.append(
                f"files for sentence-transformers and mteb, because {reason}; with Earshot there are "
                "retrieval/run.py embed and mteb"
            )
        return cls(facts, options, folders, left_out)

    @property
    def has_standalone(self) -> bool:
        """Whether there are files for sentence-transformers and mteb."""
        return why_no_standalone(self.facts.towers) is None

    @property
    def names(self) -> list[str]:
        """Names of all files except the checksums, relative to the release."""
        return [
            *(CONFIG_NAME, WEIGHTS_NAME, CARD_NAME, NOTICE_NAME),
            *([CURVES_NAME] if self.facts.curves else []),
            *(file.name for file in encoder_files(self.facts.towers)),
            *(name for folder in self.folders for name in folder.names),
            *(STANDALONE_NAMES if self.has_standalone else ()),
            *((*ONNX_NAMES.values(), INPUTS_NAME) if self.options.onnx else ()),
        ]

    @property
    def num_bytes(self) -> int:
        """About how many bytes the files take: those of their weights."""
        towers, half = self.facts.towers, self.facts.is_half
        states = [
            towers.state_dict(),
            *(stored_encoder(file, towers) for file in encoder_files(towers)),
            *(folder.form.state for folder in self.folders),
        ]
        onnx = stored_bytes(towers.state_dict(), half=False) if self.options.onnx else 0
        return sum(stored_bytes(state, half=half) for state in states) + onnx

    def write(self, folder: Path, name: str, probe: Probe) -> None:
        """Writes all files.

        Args:
            folder: exists and is empty.
            name: what the weights are loaded by, a folder or `owner/name`.
            probe: inputs of the towers' shapes.

        Raises:
            UserError: a tower can't be exported as ONNX.
        """
        facts, options = self.facts, self.options
        facts.towers.save_pretrained(folder)
        write_weights(folder / WEIGHTS_NAME, facts.towers.state_dict(), half=facts.is_half)
        for file in encoder_files(facts.towers):
            write_encoder(folder, file, facts.towers, half=facts.is_half)
        text = notice(facts, options.imagery)
        for each in self.folders:
            write_timm_folder(folder, each, facts, licence_record(facts, options.licence), text)
        if self.has_standalone:
            write_standalone(folder)
        if options.onnx:
            write_onnx(folder, facts.towers, probe)
        card = release_card(
            facts, name=name, licence=options.licence, has_onnx=options.onnx, on_hub=options.push_encoders
        )
        (folder / CARD_NAME).write_text(card, encoding="utf-8")
        if facts.curves:
            (folder / CURVES_NAME).write_bytes(facts.curves)
        (folder / NOTICE_NAME).write_text(text, encoding="utf-8")
        lines = [f"{file_sha256(folder / name)}  {name}\n" for name in sorted(self.names)]
        (folder / CHECKSUMS_NAME).write_text("".join(lines), encoding="utf-8")

    def check(self, folder: Path, probes: list[Probe]) -> list[str]:
        """Loads the files in every way except those of `encoder_files.untried`.

        Returns:
            Lines to report: what was checked and how closely, and what was left out and why.

        Raises:
            UserError: a file can't be loaded, or gives other embeddings.
        """
        towers = self.facts.towers
        check_towers(folder, towers, probes)
        routes = [f"{WEIGHTS_NAME} by TwoTower"]
        for file in encoder_files(towers):
            libraries = check_encoder(folder, file, towers, probes)
            routes.append(f"{file.name} by {', '.join(libraries) or 'its tensors'}")
        more = [check_timm_folder(folder, each, towers, probes) for each in self.folders]
        if self.has_standalone:
            more.append(check_standalone(folder, towers, probes))
        if self.options.onnx:
            more.append(check_onnx(folder, towers, probes))
        on = " and ".join(probe.name for probe in probes)
        lines = [f"checked, bit for bit on {on}: {'; '.join(routes)}"]
        lines += [f"checked: {'; '.join(more)}"] if more else []
        return lines + [f"not written: {words}" for words in self.left_out]
