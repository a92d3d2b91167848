"""Models on the Hugging Face hub: downloading a model, and pushing a released folder."""

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
"""What the client raises if there is no answer: HTTPError of httpx or httpx2, depending on its version."""

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
    """Downloads those of `files` that a model on the hub has, and returns their folder in the hub's cache.

    Args:
        name: `owner/name`.
        files: names of the files.
        revision: a branch, tag or commit; None: the newest.
        token: the user's token for the hub; None: `HF_TOKEN` or the one saved by `hf auth login`.
        cache_dir: where files are cached; None: `HF_HOME`.
        force_download: download files even if they are cached.
        local_files_only: use cached files only, without contacting the hub.

    Raises:
        UserError: the model does not exist, access is denied, or the hub can't be reached and nothing is cached.
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
    """Checks before any work is done that a folder could be pushed to the hub under a name.

    Raises:
        UserError: the name is invalid, the hub is switched off, or no user is logged in.
    """
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise UserError(f"push_to_hub must be OWNER/NAME, got {name!r}; {_one_line(error)}") from error
    if "/" not in name:
        raise UserError(f"push_to_hub must be OWNER/NAME, by which the card says to load it, got {name!r}")
    if constants.HF_HUB_OFFLINE:
        raise UserError("push_to_hub needs the hub, which HF_HUB_OFFLINE switches off; unset it, or push later")
    if get_token() is None:
        raise UserError("push_to_hub needs a token for the hub; run 'hf auth login', or set HF_TOKEN")


def push_folder(folder: Path, name: str, files: Sequence[str]) -> str:
    """Pushes files of a folder to the hub as one commit, creating the model if it does not exist.

    Args:
        folder: the folder with the files.
        name: `owner/name`.
        files: names of the files.

    Returns:
        The URL of the model.

    Raises:
        UserError: the hub rejects the push or can't be reached; the folder is kept, and the message says how to push
            again.
    """
    before = f"the release is in {folder}, but it was not pushed to the hub as {name}: "
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
    """Turns whatever the hub's client raises into a `UserError`, with the reason between `before` and `after`."""
    try:
        yield
    # The client wraps failed uploads in RuntimeError, and its checks of responses raise ValueError.
    except (CLIENT_ERROR, OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{before}{_reason(error)}{after}") from error


def _reason(error: BaseException) -> str:
    """Returns why a call failed, from the hub's response that caused the error if there was one."""
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
        return f"{asked}, and nothing of that name is cached"
    return f"{where} can't be reached, or its response can't be used ({type(error).__name__}: {_one_line(error)})"


def _answer(error: HfHubHTTPError) -> str:
    """Returns what the hub answered, and what to do about it."""
    if isinstance(error, GatedRepoError):
        return "restricts access to it; request access on its page, then run 'hf auth login'"
    if isinstance(error, RevisionNotFoundError):
        return "has no such revision of it"
    if isinstance(error, RepositoryNotFoundError):
        return "has no visible model of that name; check the name, and if it is private run 'hf auth login'"
    status = error.response.status_code
    advice = {
        401: "the token is not valid; run 'hf auth login', or set another HF_TOKEN",
        403: "the token lacks permission for it; use another token, or another name",
        404: "not found; check the name",
    }.get(status, "try again later" if status >= 500 else _one_line(error))
    return f"answered with status {status}: {advice}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
