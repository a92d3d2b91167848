"""The options of the verb `release`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from pretrain.model_files import check_model_folder
from pretrain.settings.pretraining import DEMO_SHARDS
from shards.errors import UserError

LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*")


@dataclass(frozen=True)
class ReleaseOptions:
    """Writes a folder that loads in two lines: both towers, each encoder alone under its library's parameter names,
    model card, notice on rights and checksums. It is put in place only after it has been loaded and has given equal
    embeddings."""

    run: Positional[Path]
    """A run folder, or a model folder, whose card will have less information."""
    out: Path
    """The folder to write; it must be missing or empty."""
    push_to_hub: str | None = None
    """Also push the release to the hub under this name, OWNER/NAME; a model that does not exist is created, public."""
    results: tuple[Path, ...] = ()
    """Folders written by retrieval/run.py evaluate and downstream/run.py, whose scores the card shows."""
    shards: Path | None = None
    """Current location of the run's shard set, for the licences of its recordings; None: where it was in training."""
    licence: str | None = None
    """Licence of the weights, as the hub names it, such as cc-by-4.0; None: the card points to the notice."""
    imagery: str | None = None
    """Owner and terms of the images, for the notice; None: what is known about the data set."""
    watts: float | None = None
    """Power of one device, for the estimate of energy; None: the manufacturer's rating, if known."""
    half: bool = False
    """Store weights in half precision, half the size; the card shows what that changes. They are loaded as float32."""
    onnx: bool = False
    """Also write both towers as ONNX; needs earshot[onnx]."""
    push_encoders: bool = False
    """Also push each encoder that timm has, as OWNER/NAME-image-encoder and -sound-encoder, for timm's hf-hub:."""

    def check(self) -> None:
        """Checks all that can be checked before the weights are read.

        Raises:
            UserError: there are no weights, or an option is invalid.
        """
        if self.push_encoders and self.push_to_hub is None:
            raise UserError("push_encoders needs --push-to-hub OWNER/NAME, beside which the encoders are pushed")
        check_model_folder(self.run)
        check_release_folder(self.out)
        if self.licence is not None and not LICENCE.fullmatch(self.licence):
            raise UserError(f"licence must be a licence name of the hub, such as cc-by-4.0, got {self.licence!r}")
        if self.watts is not None and not self.watts > 0:
            raise UserError(f"watts must be > 0, got {self.watts:g}")


@dataclass(frozen=True)
class DemoWeightsOptions:
    """Makes the weights `demo` of the registry: trains the preset `demo`, reusing or resuming its run, and releases it
    in half precision where weights are found by name."""

    out: Path | None = None
    """The folder to write; None: `demo` in EARSHOT_MODELS or in ~/.cache/earshot/models, so that they load by name."""
    run: Path = Path("runs/demo")
    """The run folder; a finished run is reused, an interrupted one resumed."""
    shards: Path = DEMO_SHARDS
    """The demo's shard set; it is generated where it is missing."""
    onnx: bool = False
    """Also write both towers as ONNX; needs earshot[onnx]."""


def check_release_folder(named: Path) -> None:
    """Checks that a release can be put where the user named it.

    Raises:
        UserError: it can't.
    """
    out = named.resolve()
    if not out.name.isprintable():
        raise UserError(f"out {str(named)!r} can't be written into a card: its name has unprintable characters")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"out {named} already exists and is not an empty folder; choose another --out")
    if os.path.ismount(out) or out == Path.cwd():
        raise UserError(
            f"out {named} is a mount point or the current folder, which can't be replaced; name a folder in it"
        )
    above = next(folder for folder in out.parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise UserError(f"out {named} can't be written: {above} is not a folder, or not writable; choose another --out")
