"""The study's pages over plain HTTP, as a hostile or a simple client asks for them."""

from __future__ import annotations

import dataclasses
import html
import re
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from commands import PATIENCE_SECONDS, python, run
from listening_shards import write_listening_shards, write_tiny_towers
from study_serving import Client, StudyServer, form_fields, serving

from retrieval.access import FAILURES_SECONDS, MOST_FAILURES, Door, make_token
from retrieval.study.answers import Answers
from retrieval.study.folder import Study
from retrieval.study.options import PrepareOptions, ServeOptions
from retrieval.study.pages import rater_order
from retrieval.study.preparing import prepare
from retrieval.study.serving import serve
from shards.errors import UserError

HOSTILE = "</title><script>alert(1)</script><img src=x>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of 6 pairs whose first one comes from a stranger with bad intent."""
    root = tmp_path_factory.mktemp("study")
    shards = write_listening_shards(root / "shards", {"test": 16})
    study = prepare(
        PrepareOptions(write_tiny_towers(root / "model"), shards, root / "out", pairs=6, crops=1, device="cpu")
    )
    credit = dataclasses.replace(study.pairs[0].sound, title=HOSTILE, creator=HOSTILE, licence=HOSTILE, licence_url="")
    first = dataclasses.replace(study.pairs[0], sound=credit)
    dataclasses.replace(study, pairs=(first, *study.pairs[1:])).save(root / "out")
    return root / "out"


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[StudyServer]:
    with serving(folder) as server:
        yield server


@pytest.fixture
def client(server: StudyServer) -> Client:
    return Client(server.port)


@pytest.fixture
def answers(server: StudyServer, folder: Path) -> Answers:
    return Answers(folder / "answers.sqlite", Study.load(folder).identity)


def test_a_study_works_without_a_script(client: Client, folder: Path, answers: Answers) -> None:
    study = Study.load(folder)
    assert "You will see 6 places" in client.get("/").text
    given = {pair.id: "yes" if pair.kind == "true" else "no" for pair in study.pairs}
    client.answer_all(given)
    rater = client.rater
    assert answers.of_rater(rater) == given
    assert list(answers.of_rater(rater)) == [pair.id for pair in rater_order(study.pairs, study.seed, rater)]
    thanks = client.get("/thanks").text
    assert "Thank you" in thanks
    assert all(pair.image.title in thanks for pair in study.pairs)


def test_a_page_before_the_answer_gives_nothing_away(client: Client, folder: Path) -> None:
    client.post("/begin", {})
    page = client.get("/pairs/1").text
    pair = {pair.id: pair for pair in Study.load(folder).pairs}[form_fields(page)["pair"]]
    for word in (pair.image.title, pair.image.key, pair.sound.key, "true", "retrieved"):
        assert word not in page.replace('aria-hidden="true"', "")
    assert client.get(f"/media/{pair.clip}").body == (folder / "media" / pair.clip).read_bytes()


def test_places_are_seen_in_order_and_can_be_answered_again(client: Client, answers: Answers) -> None:
    assert client.get("/pairs/1").headers["location"] == "/"
    client.post("/begin", {})
    assert client.get("/pairs/3").headers["location"] == "/pairs/1"
    fields = form_fields(client.get("/pairs/1").text)
    for answer in ("yes", "yes", "unplayable", "no"):
        client.post("/answers", fields | {"answer": answer})
    assert answers.of_rater(client.rater) == {fields["pair"]: "no"}
    assert client.get("/thanks").headers["location"] == "/pairs/2"
    assert "Your answer was “no”" in client.get("/pairs/1").text
    for place in ("7", "0", "x", "-1", "01", "9" * 5000):
        reply = client.get(f"/pairs/{place}")
        assert reply.status == 404
        assert "There is no such page" in reply.text
        assert reply.headers["x-content-type-options"] == "nosniff"


def test_beginning_twice_is_beginning_once(client: Client) -> None:
    client.post("/begin", {})
    cookies = dict(client.cookies)
    client.post("/begin", {})
    assert client.cookies == cookies


def test_what_is_not_an_answer_is_not_stored(client: Client, answers: Answers) -> None:
    client.post("/begin", {})
    fields = form_fields(client.get("/pairs/1").text) | {"answer": "yes"}
    assert client.post("/answers", fields | {"pair": "99"}).status == 400
    assert client.post("/answers", fields | {"answer": "perhaps"}).status == 400
    assert client.post("/answers", fields | {"pair": "1' OR '1'='1"}).status == 400
    assert client.post("/answers", fields | {"form_token": ""}).status == 403
    assert client.post("/answers", {k: v for k, v in fields.items() if k != "form_token"}).status == 403
    assert client.post("/answers", fields, Origin="http://elsewhere.example").status == 403
    assert client.post("/answers", fields, Origin="null").status == 403
    assert client.post("/answers", fields | {"more": "x" * 5000}).status == 413
    assert client.get("/answers").status == 405
    stranger = Client(client.port)
    stranger.post("/begin", {})
    assert stranger.post("/answers", fields).status == 403  # another rater's form
    stranger.cookies = dict.fromkeys(stranger.cookies, "made-up")
    assert stranger.post("/answers", fields).headers["location"] == "/"
    assert answers.of_rater(client.rater) == {}
    assert client.post("/answers", fields, Origin=f"http://127.0.0.1:{client.port}").status == 303


def test_an_answer_that_can_t_be_stored_is_not_passed_over(client: Client, folder: Path) -> None:
    client.post("/begin", {})
    fields = form_fields(client.get("/pairs/1").text) | {"answer": "yes"}
    with sqlite3.connect(folder / "answers.sqlite") as connection:
        connection.execute("ALTER TABLE answers RENAME TO gone")
        connection.commit()
        try:
            reply = client.post("/answers", fields)
        finally:
            connection.execute("ALTER TABLE gone RENAME TO answers")
    assert reply.status == 503
    assert "The last answer could not be stored" in reply.text
    assert client.post("/answers", fields).status == 303


def test_who_can_t_begin_is_told_of_no_answer(client: Client, folder: Path) -> None:
    with closing(sqlite3.connect(folder / "answers.sqlite", isolation_level=None)) as connection:
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON raters BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
        try:
            reply = client.post("/begin", {})
        finally:
            connection.execute("DROP TRIGGER full")
    assert (reply.status, client.cookies) == (503, {})
    assert "The study is not available at the moment" in html.unescape(reply.text)
    assert "last answer" not in reply.text
    assert client.post("/begin", {}).status == 303


@pytest.mark.parametrize(
    "path",
    [
        *("/media/../study.json", "/media/..%2fstudy.json", "/media/%2e%2e/answers.sqlite", "/study.json"),
        *("/media//etc/passwd", "/media/99.mp3", "/media/", "/static/report.html.j2", "/static/../pages.py"),
        *("/media/1.jpg%00", "/answers.sqlite", "/../study.json"),
    ],
)
def test_nothing_but_the_study_can_be_read(client: Client, path: str) -> None:
    client.post("/begin", {})
    reply = client.get(path)
    assert reply.status == 404
    assert reply.text.startswith("<!doctype html>")
    assert len(reply.body) < 2000


def test_players_may_ask_for_parts(client: Client, folder: Path) -> None:
    clip = (folder / "media" / "1.mp3").read_bytes()
    reply = client.get("/media/1.mp3", Range="bytes=0-1")
    assert (reply.status, reply.body) == (206, clip[:2])
    assert reply.headers["content-range"] == f"bytes 0-1/{len(clip)}"
    reply = client.get("/media/1.mp3", Range="bytes=100-")
    assert (reply.status, reply.body) == (206, clip[100:])
    assert client.get("/media/1.mp3", Range=f"bytes={len(clip)}-").status == 416
    whole = client.get("/media/1.mp3")
    assert (whole.headers["content-type"], whole.headers["accept-ranges"]) == ("audio/mpeg", "bytes")


def test_another_name_for_this_machine_gets_nothing(client: Client) -> None:
    for host in ("attacker.example", f"attacker.example:{client.port}", "127.0.0.1.attacker.example"):
        assert client.get("/", Host=host).status == 400
    for host in (f"localhost:{client.port}", f"127.0.0.1:{client.port}", f"[::1]:{client.port}"):
        assert client.get("/", Host=host).status == 200


def test_headers_and_cookies(client: Client) -> None:
    reply = client.post("/begin", {})
    cookie = reply.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    for path in ("/", "/pairs/1", "/media/1.jpg", "/static/study.css", "/nothing"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers
    assert client.get("/pairs/1").headers["cache-control"] == "no-store"


def test_untrusted_texts_stay_texts(client: Client, folder: Path) -> None:
    client.answer_all(dict.fromkeys((pair.id for pair in Study.load(folder).pairs), "yes"))
    pages = [client.get(f"/pairs/{place}").text for place in range(1, 7)] + [client.get("/thanks").text]
    assert sum("&lt;script&gt;" in page for page in pages) == 2
    assert not any("<script>" in page or "<img src=x>" in page for page in pages)


def test_raters_don_t_wait_for_each_other(server: StudyServer, folder: Path, answers: Answers) -> None:
    ids = [pair.id for pair in Study.load(folder).pairs]

    def rate(number: int) -> tuple[str, dict[str, str]]:
        rater = Client(server.port)
        given = {pair: ("yes", "no", "unplayable")[(number + int(pair)) % 3] for pair in ids}
        rater.answer_all(given)
        return rater.rater, given

    with ThreadPoolExecutor(6) as pool:
        for rater, given in pool.map(rate, range(6)):
            assert answers.of_rater(rater) == given


def test_studies_on_one_host_don_t_lock_each_other_s_raters_out(folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "other", ignore=shutil.ignore_patterns("answers*"))
    dataclasses.replace(Study.load(other), seed=1).save(other)
    with serving(folder, "--host", "0.0.0.0") as one, serving(other, "--host", "0.0.0.0") as two:
        client = Client(one.port)
        assert client.post("/enter", {"token": one.token}).status == 303
        # A browser sends a host's cookies to all of its ports.
        client.port = two.port
        assert client.get("/").status == 401
        assert client.post("/enter", {"token": two.token}).status == 303
        for port in (two.port, one.port):
            client.port = port
            assert client.get("/").status == 200


def test_without_the_token_there_is_only_the_question_for_it(folder: Path) -> None:
    with serving(folder, "--host", "0.0.0.0") as server:
        client = Client(server.port)
        for path in ("/", "/pairs/1", "/media/1.jpg", "/media/1.mp3", "/thanks", "/nothing"):
            reply = client.get(path)
            assert reply.status == 401
            assert "Enter your token" in reply.text
        assert client.post("/begin", {}).status == client.post("/answers", {"pair": "1"}).status == 401
        client.cookies = {f"earshot_access_{Study.load(folder).version}": "0" * 64}
        assert client.get("/media/1.jpg").status == 401
        client.cookies = {}
        assert client.get("/static/study.css").status == 200
        reply = client.post("/enter", {"token": "xxxx-xxxx-xxxx"})
        assert (reply.status, client.cookies) == (403, {})
        reply = client.post("/enter", {"token": server.token.upper().replace("-", " ")})
        assert (reply.status, reply.headers["location"]) == (303, "/")
        assert client.get("/").status == client.get("/media/1.jpg").status == 200
        # Other machines ask by names and addresses that this one does not know of.
        assert client.get("/", Host="lab.example:7870").status == 200
        with ThreadPoolExecutor(MOST_FAILURES) as pool:
            wrong = pool.map(lambda n: Client(server.port).post("/enter", {"token": str(n)}).status, range(20))
        assert set(wrong) == {403, 429}
        late = Client(server.port)
        reply = late.post("/enter", {"token": "one more"})
        assert reply.status == 429
        assert "token is wrong too" in reply.text
        # Others behind the same address have the right one.
        assert late.post("/enter", {"token": server.token}).status == 303
        assert late.get("/").status == client.get("/").status == 200
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(PATIENCE_SECONDS) == 130


def test_the_door_shuts_after_wrong_tokens() -> None:
    now = [0.0]
    token = make_token()
    door = Door(token, "version", clock=lambda: now[0])
    for _ in range(MOST_FAILURES):
        assert not door.is_shut_for("10.0.0.1")
        assert not door.opens("wrong", "10.0.0.1")
    assert door.is_shut_for("10.0.0.1")
    assert not door.is_shut_for("10.0.0.2")
    now[0] = FAILURES_SECONDS + 1
    assert not door.is_shut_for("10.0.0.1")
    assert door.opens(token, "10.0.0.1")
    assert door.admits(door.cookie)
    assert not any(door.admits(cookie) for cookie in (None, "", token, "é", door.cookie[:-1]))


def test_a_token_is_made_anew_and_holds_nowhere_else() -> None:
    tokens = {make_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(re.fullmatch(r"([2-9a-hjkmnp-z]{4}-){2}[2-9a-hjkmnp-z]{4}", token) for token in tokens)
    one, other = (Door(token, "version") for token in list(tokens)[:2])
    assert not one.admits(other.cookie)


def test_an_address_that_is_taken_or_unknown_gets_a_sentence(folder: Path, server: StudyServer) -> None:
    for options, sentence in [
        (
            ServeOptions(folder, port=server.port),
            f"can't listen on 127.0.0.1:{server.port}: Address already in use",
        ),
        (ServeOptions(folder, host="192.0.2.77"), "can't listen on 192.0.2.77:7870: Cannot assign"),
        (ServeOptions(folder, host="no such host"), "unknown host 'no such host'"),
        (ServeOptions(folder, port=70_000), "port must be from 0 to 65535, got 70000"),
        (ServeOptions(folder.parent), "no study at"),
    ]:
        with pytest.raises(UserError, match=re.escape(sentence)):
            serve(options)
    assert not (folder.parent / ".lock").exists()


def test_changed_media_are_not_served(folder: Path, tmp_path: Path) -> None:
    changed = shutil.copytree(folder, tmp_path / "changed", ignore=shutil.ignore_patterns("answers*"))
    (changed / "media" / "2.mp3").write_bytes((folder / "media" / "1.mp3").read_bytes())
    served = run(
        python("retrieval/run.py", "study", "serve", changed, "--port", "0"),
        cwd=tmp_path,
    )
    assert (served.returncode, served.stdout) == (2, "")
    assert served.stderr.startswith(f"error: {changed}/media/2.mp3 has changed: its SHA-256 is")
