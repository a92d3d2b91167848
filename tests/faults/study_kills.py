"""Kills a study's server while raters answer: what was acknowledged is kept, and nothing is stored twice."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from sqlite3 import connect

from commands import environment, free_port, python, warm_python
from faults.kills import MOST_KILLS, PATIENCE_SECONDS, Killed
from listening_shards import write_listening_shards, write_tiny_towers
from study_serving import Client, form_fields

from retrieval.study.folder import ANSWERS_NAME, Study
from retrieval.study.options import PrepareOptions
from retrieval.study.preparing import prepare

RATERS = 6


def kill_study_server(numbers: range, seed: int) -> Killed:
    """Tries campaigns: raters answer every pair once, while the server is killed and begun again."""
    killed = Killed()
    with tempfile.TemporaryDirectory(prefix="study-") as name:
        folder = Path(name)
        shards = write_listening_shards(folder / "set", {"test": 24})
        model = write_tiny_towers(folder / "model")
        for number in numbers:
            study = folder / f"study-{number}"
            prepare(PrepareOptions(model, shards, study, pairs=12, crops=1, device="cpu"))
            killed.campaigns += 1
            if failure := _campaign(study, random.Random(f"{seed}/{number}"), killed):
                killed.failures[number] = failure
    return killed


def _campaign(study: Path, chance: random.Random, killed: Killed) -> str | None:
    server = _Server(study)
    is_over = threading.Event()
    acknowledged: list[str] = []
    answers = {
        (rater, pair.id): chance.choice(("yes", "no")) for rater in range(RATERS) for pair in Study.load(study).pairs
    }

    def rate(rater: int) -> str:
        client = Client(0)
        mine = {pair: answer for (who, pair), answer in answers.items() if who == rater}
        while True:
            try:
                client.port = server.port
                _answer_missing(client, mine, acknowledged)
                return client.rater
            except (OSError, HTTPException):  # the server was killed; a visitor tries again
                time.sleep(0.02)

    moments = sorted(chance.sample(range(len(answers)), chance.randint(1, MOST_KILLS)))

    def kill_it() -> None:
        for moment in moments:
            while len(acknowledged) <= moment and not is_over.wait(0.002):
                pass
            server.kill()
            killed.kills += 1
            server.start()

    with ThreadPoolExecutor(RATERS + 1) as pool:
        killer = pool.submit(kill_it)
        ids = list(pool.map(rate, range(RATERS)))
        is_over.set()
        killer.result(PATIENCE_SECONDS)
    server.kill()
    with closing(connect(study / ANSWERS_NAME)) as database:
        stored = Counter(database.execute("SELECT rater, pair, answer FROM answers"))
    wanted = {(ids[rater], pair, answer) for (rater, pair), answer in answers.items()}
    if stored.keys() != wanted:
        return f"answers differ: {stored.keys() ^ wanted}"
    return None if max(stored.values()) == 1 else "an answer is stored twice"


def _answer_missing(client: Client, answers: dict[str, str], acknowledged: list[str]) -> None:
    """Answers what this rater has not answered, from wherever it stands."""
    if not client.cookies:
        client.post("/begin", {})
    while (reply := client.get("/thanks")).status == 303:
        fields = form_fields(client.get(reply.headers["location"]).text)
        reply = client.post("/answers", fields | {"answer": answers[fields["pair"]]})
        assert reply.status == 303, reply.text
        acknowledged.append(fields["pair"])


class _Server:
    """`study serve`, which is begun again on the same port."""

    def __init__(self, study: Path) -> None:
        self._study, self.port = study, 0
        self.start()

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        words = python("retrieval/run.py", "study", "serve", self._study, "--port", self.port or free_port())
        self.port = int(words[-1])
        self._process = warm_python().start(words, cwd=self._study.parent, environment=environment())
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                Client(self.port).get("/")
                return
            except OSError:
                assert time.monotonic() < deadline
                assert not self._process.has_ended(), self._process.wait(1).stderr
                time.sleep(0.02)

    def kill(self) -> None:
        """Kills it."""
        self._process.kill()
        self._process.wait(PATIENCE_SECONDS)
