"""Models on the Hugging Face hub: fetching one, and pushing a released folder there."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import HfApi, constants, get_token, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from shards.errors import UserError

CLIENT_ERROR: type[Exception] = HfHubHTTPError.__mro__[1]
"""What the client raises where there is no answer: httpx's HTTPError, or httpx2's, as its version has it."""

Token = str | bool | None


def fetch_files(
    name: str,
    files: Sequence[str],
    *,
    revision: str | None = None,
    token: Token = None,
    cache_dir: Path | str | None = None,
    force_download: bool = False,
    local_files_only: bool = False,
) -> Path:
    """The folder in the hub's cache that holds those of `files` that a model on the hub has.

    Args:
        name: `owner/name`.
        files: their names.
        revision: a branch, tag or commit; None: the newest.
        token: of the hub's user; None: `HF_TOKEN` or the one that `hf auth login` kept.
        cache_dir: where files are kept; None: `HF_HOME`.
        force_download: fetch them even if they are kept.
        local_files_only: take what is kept and ask nobody.

    Raises:
        UserError: no such model, no right to it, or the hub can't be reached and nothing is kept.
    """
    with _failures_as_sentences(f"no weights at {name}: no such folder, and "):
        return Path(
            snapshot_download(
                name,
                allow_patterns=list(files),
                revision=revision,
                token=token,
                cache_dir=cache_dir,
                force_download=force_download,
                local_files_only=local_files_only,
            )
        )


def check_can_push(name: str) -> None:
    """Checks before any work is done that a folder could be put on the hub under a name.

    Raises:
        UserError: it is no name, the hub is switched off, or nobody is logged in.
    """
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise UserError(f"push_to_hub must be OWNER/NAME, got {name!r}; {_one_line(error)}") from error
    if "/" not in name:
        raise UserError(f"push_to_hub must be OWNER/NAME, under which the card says how to load it, got {name!r}")
    if constants.HF_HUB_OFFLINE:
        raise UserError("push_to_hub needs the hub, which HF_HUB_OFFLINE switches off; unset it, or push later")
    if get_token() is None:
        raise UserError("push_to_hub needs a token of the hub; run 'hf auth login', or set HF_TOKEN")


def push_folder(folder: Path, name: str, files: Sequence[str]) -> str:
    """Puts files of a folder on the hub as one commit, into a model that is made where it is missing.

    Args:
        folder: where they are.
        name: `owner/name`.
        files: names of the files.

    Returns:
        The address of the model.

    Raises:
        UserError: the hub refuses or can't be reached; the folder stays, and the sentence says how to push again.
    """
    before = f"the release stands in {folder}, but it is not on the hub as {name}: "
    remedy = f"; push it again with: hf upload {name} {shlex.quote(str(folder))} ."
    with _failures_as_sentences(before, remedy):
        api = HfApi()
        repository = api.create_repo(name, exist_ok=True)
        api.upload_folder(
            repo_id=repository.repo_id, folder_path=folder, allow_patterns=list(files), commit_message="Release"
        )
        return str(repository)


@contextmanager
def _failures_as_sentences(before: str, after: str = "") -> Iterator[None]:
    """Whatever the hub's client raises within becomes a sentence, with the reason between `before` and `after`."""
    try:
        yield
    # Its upload wraps what fails in RuntimeError, its checks of answers raise ValueError.
    except (CLIENT_ERROR, OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{before}{_reason(error)}{after}") from error


def _reason(error: BaseException) -> str:
    """Why it failed, by the answer of the hub that is behind an error where there was one."""
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, HfHubHTTPError):
        behind = behind.__cause__
    where = constants.ENDPOINT
    if behind is not None:
        return f"{where} {_answer(behind)}"
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE switches the hub off"
    if isinstance(error, LocalEntryNotFoundError):
        asked = "HF_HUB_OFFLINE switches the hub off" if constants.HF_HUB_OFFLINE else f"{where} did not answer"
        return f"{asked}, and nothing of that name is kept from it"
    return f"{where} can't be reached, or its answer can't be used ({type(error).__name__}: {_one_line(error)})"


def _answer(error: HfHubHTTPError) -> str:
    """What the hub answered, and what to do about it."""
    if isinstance(error, GatedRepoError):
        return "gives it only to those who asked there; ask on its page, then 'hf auth login'"
    if isinstance(error, RevisionNotFoundError):
        return "has no such revision of it"
    if isinstance(error, RepositoryNotFoundError):
        return "shows no model of that name; check the name, and if it is private run 'hf auth login'"
    status = error.response.status_code
    advice = {
        401: "the token is not valid; run 'hf auth login', or set another HF_TOKEN",
        403: "the token has no right to it; take another token, or another name",
        404: "there is no such thing there; check the name",
    }.get(status, "try again later" if status >= 500 else _one_line(error))
    return f"answered with status {status}: {advice}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
