"""`study serve`: serves a study's pages, protected by a token unless only this machine can reach them."""

from __future__ import annotations

from retrieval.local_server import FixedHeaders, is_loopback, listen, serve_pages, shown_address
from retrieval.study.answers import Answers
from retrieval.study.folder import ANSWERS_NAME, Study, at_work_in
from retrieval.study.options import ServeOptions

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; img-src 'self' data:; media-src 'self'; style-src 'self'; script-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # with "no-referrer", browsers would hide the origin of forms, which is checked
    "x-robots-tag": "noindex",
}
UNLESS_SAID = {"cache-control": "no-store"}
"""Headers added to responses that don't set them."""


def serve(options: ServeOptions) -> None:
    """Runs `study serve` until it is interrupted.

    Raises:
        UserError: there is no study, its media have changed, the address can't be used, or answers can't be stored.
    """
    # Imported here because the other verbs of this command don't need them.
    from retrieval.access import Door, make_token
    from retrieval.study.pages import study_app

    Study.load(options.folder)  # before a lock file is created in a folder without a study
    with at_work_in(options.folder, alone=False), listen(options.host, options.port) as listener:
        study = Study.load(options.folder)
        study.check_media(options.folder)
        answers = Answers(options.folder / ANSWERS_NAME, study.identity)
        token = None if is_loopback(listener) else make_token()
        so_far = f"raters so far: {answers.num_raters()}, answers: {len(answers.last_ones())}"
        print(f"{options.folder}: {len(study.pairs)} pairs; {so_far}")
        print(f"open {shown_address(listener)}", flush=True)
        if token:
            print(f"token {token} (this server's only; raters type it once; sent over plain HTTP)", flush=True)
        door = Door(token, study.version) if token else None
        app = FixedHeaders(study_app(options.folder, study, answers, door), HEADERS, UNLESS_SAID)
        serve_pages(app, listener, options.host)
