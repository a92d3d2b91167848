"""A stand-in for the Hugging Face hub: what its client asks for to make a model, upload a folder and fetch it again."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_of_the_tests"
OWNER = "tester"
CHUNK_BYTES = 1 << 16


@dataclass
class HubServer:
    """A running hub.

    Attributes:
        url: its address, for HF_ENDPOINT.
        models: by `owner/name`, the content of each file.
        refusals: by the beginning of a path, the status that its requests are answered with.
        requests: (method, path) of every request, in order.
        large: contents that were uploaded as large files, by SHA-256.
        seconds_a_chunk: how long every 64 KB of an answer take.
    """

    url: str = ""
    models: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    large: dict[str, bytes] = field(default_factory=dict)
    seconds_a_chunk: float = 0.0

    def environment(self, home: object, token: str | None = TOKEN) -> dict[str, str]:
        """What a process's environment must say for its client to come here, with a cache of its own."""
        values = {"HF_ENDPOINT": self.url, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(home), "HF_HUB_OFFLINE": "0"}
        return {**values, "HF_TOKEN": token or "", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "0"}

    def revision(self, model: str) -> str:
        """A name for the state of a model, as a commit has one."""
        files = sorted((name, hashlib.sha1(data).hexdigest()) for name, data in self.models[model].items())
        return hashlib.sha1(json.dumps(files).encode()).hexdigest()


@contextmanager
def serve_hub() -> Iterator[HubServer]:
    """Serves an empty hub on 127.0.0.1 while the context lasts."""
    hub = HubServer()
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{http.server_port}"
    try:
        yield hub
    finally:
        http.shutdown()
        http.server_close()


def _handler(hub: HubServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self._answer(self._post)

        def do_PUT(self) -> None:
            self._answer(self._put)

        def do_GET(self) -> None:
            self._answer(self._get)

        def do_HEAD(self) -> None:
            self._answer(self._get)

        def _answer(self, act: Any) -> None:
            self.body = self._read_body()
            path = self.path.split("?")[0]
            hub.requests.append((self.command, path))
            refusal = next((status for start, status in hub.refusals.items() if path.startswith(start)), None)
            if refusal is not None:
                self._send_json({"error": "refused by the test"}, refusal)
                return
            act(path.strip("/"))

        def _post(self, path: str) -> None:
            if path == "api/validate-yaml":
                self._send_json({"errors": [], "warnings": []})
            elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self._send_json({"error": "Invalid credentials in Authorization header"}, 401)
            elif path == "api/repos/create":
                wanted = json.loads(self.body)
                name = f"{wanted.get('organization') or OWNER}/{wanted['name']}"
                exists = name in hub.models
                hub.models.setdefault(name, {})
                answer = {"url": f"{hub.url}/{name}", "name": name, "id": name}
                self._send_json(answer, 409 if exists else 200)
            elif path.endswith("/preupload/main"):
                files = json.loads(self.body)["files"]
                self._send_json({"files": [_upload_mode(file["path"]) for file in files]})
            elif path.endswith(".git/info/lfs/objects/batch"):
                objects = json.loads(self.body)["objects"]
                self._send_json({"transfer": "basic", "objects": [self._place(each) for each in objects]})
            elif path.endswith("/commit/main"):
                self._commit(path.removeprefix("api/models/").removesuffix("/commit/main"))
            else:
                self._send_json({"error": f"no such place: {path}"}, 404)

        def _put(self, path: str) -> None:
            oid = path.removeprefix("large/")
            assert hashlib.sha256(self.body).hexdigest() == oid
            hub.large[oid] = self.body
            self._send_json({})

        def _get(self, path: str) -> None:
            if path.startswith("api/models/"):
                model = path.removeprefix("api/models/").split("/revision/")[0].split("/tree/")[0]
                if model not in hub.models:
                    self._send_json({"error": "Repository not found"}, 404, **{"X-Error-Code": "RepoNotFound"})
                    return
                if "/tree/" in path:
                    self._send_json(_tree(hub.models[model]))
                    return
                siblings = [{"rfilename": name} for name in hub.models[model]]
                self._send_json({"id": model, "sha": hub.revision(model), "siblings": siblings})
                return
            model, _, rest = path.partition("/resolve/")
            content = hub.models.get(model, {}).get(rest.partition("/")[2])
            if content is None:
                self._send_json({"error": "Entry not found"}, 404, **{"X-Error-Code": "EntryNotFound"})
                return
            etag = f'"{hashlib.sha256(content).hexdigest()}"'
            self._send(content, 200, **{"ETag": etag, "X-Repo-Commit": hub.revision(model)})

        def _place(self, wanted: dict[str, Any]) -> dict[str, Any]:
            """Where a large file goes; nowhere if it is here."""
            answer = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] in hub.large:
                return answer
            return {**answer, "actions": {"upload": {"href": f"{hub.url}/large/{wanted['oid']}", "header": {}}}}

        def _commit(self, model: str) -> None:
            for line in self.body.decode().splitlines():
                entry = json.loads(line)
                value = entry["value"]
                if entry["key"] == "file":
                    hub.models[model][value["path"]] = base64.b64decode(value["content"])
                elif entry["key"] == "lfsFile":
                    hub.models[model][value["path"]] = hub.large[value["oid"]]
            oid = hub.revision(model)
            self._send_json({"success": True, "commitOid": oid, "commitUrl": f"{hub.url}/{model}/commit/{oid}"})

        def _read_body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _send_json(self, value: Any, status: int = 200, **headers: str) -> None:
            self._send(json.dumps(value).encode(), status, **{"Content-Type": "application/json", **headers})

        def _send(self, data: bytes, status: int, **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                with suppress(OSError):  # the client was ended
                    for first in range(0, len(data), CHUNK_BYTES):
                        time.sleep(hub.seconds_a_chunk)
                        self.wfile.write(data[first : first + CHUNK_BYTES])

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def _upload_mode(path: str) -> dict[str, Any]:
    mode = "lfs" if path.endswith(".safetensors") else "regular"
    return {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": None}


def _tree(files: dict[str, bytes]) -> list[dict[str, Any]]:
    return [
        {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
        for name, data in files.items()
    ]
