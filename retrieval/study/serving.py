"""`study serve`: opens a study's pages on a port, with a token for all but this machine."""

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
    "referrer-policy": "same-origin",  # "no-referrer" would have browsers hide the origin of forms, which is checked
    "x-robots-tag": "noindex",
}
UNLESS_SAID = {"cache-control": "no-store"}
"""Headers of the answers that have none of their own of these names."""


def serve(options: ServeOptions) -> None:
    """Carries out `study serve` until it is interrupted.

    Raises:
        UserError: no study there, media that were changed, an address that can't be listened on, or answers that
            can't be kept.
    """
    # Not needed, and not waited for, by the other verbs of this command.
    from retrieval.study.access import Door, make_token
    from retrieval.study.pages import study_app

    Study.load(options.folder)  # before a lock is put into a folder that holds no study
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
