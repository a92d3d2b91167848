"""The hub: which words name a model there, and what its client does against a stand-in that serves and refuses."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from commands import PATIENCE_SECONDS, environment
from hub_server import TOKEN, HubServer, serve_hub
from huggingface_hub import ModelCard
from released_runs import small_towers

from pretrain.model import TwoTower
from pretrain.model_files import find_model_folder, is_hub_name
from shards.errors import UserError

LOAD = """
import json, sys
import torch
from pretrain.model import TwoTower
from shards.errors import UserError
images = torch.arange(3 * 32 * 32, dtype=torch.uint8).view(1, 3, 32, 32)
answers = {}
for name in sys.argv[1:]:
    try:
        with torch.inference_mode():
            answers[name] = TwoTower.from_pretrained(name).encode_image(images).tolist()
    except UserError as error:
        answers[name] = str(error)
print(json.dumps(answers))
"""

PUSH = """
import json, sys
from pathlib import Path
from pretrain.hub import check_can_push, push_folder
from shards.errors import UserError
folder, *names = sys.argv[1:]
answers = {}
for name in names:
    try:
        check_can_push(name)
        answers[name] = push_folder(Path(folder), name, ["config.json", "model.safetensors", "README.md"])
    except UserError as error:
        answers[name] = str(error)
print(json.dumps(answers))
"""

RELEASE = """
import sys
from pathlib import Path
from pretrain.releasing.release import ReleaseOptions, release
release(ReleaseOptions(Path(sys.argv[1]), Path(sys.argv[2])))
print("{}")
"""

BEGIN_FROM_IT = """
import json, sys
import torch
from pathlib import Path
from pretrain.settings.pretraining import Config, ModelSettings
from pretrain.model import TwoTower
from pretrain.weights.towers import build_towers
from shards.manifest import Manifest
model = ModelSettings(image_init=sys.argv[1], sound_init=sys.argv[1])
begun = build_towers(Config(model=model), Manifest.load(Path(sys.argv[2])), on_sphere=False)
theirs = TwoTower.from_pretrained(sys.argv[1])
for tower in ("image_tower", "sound_tower"):
    ours, other = (getattr(towers, tower).trunk.state_dict() for towers in (begun, theirs))
    assert all(torch.equal(ours[name], other[name]) for name in other)
print("{}")
"""

SAVE_AND_PUSH = """
import sys
from pretrain.model import TwoTower
TwoTower.from_pretrained(sys.argv[1]).push_to_hub(sys.argv[2])
print("{}")
"""


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with serve_hub() as hub:
        yield hub


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder, with a file that is none of a release's."""
    folder = tmp_path_factory.mktemp("models") / "ears"
    small_towers().save_pretrained(folder)
    (folder / "notes.txt").write_text("mine alone")
    return folder


def by_client(code: str, *words: str | Path, hub: dict[str, str], cwd: Path) -> dict[str, str]:
    """What a process whose client goes to the stand-in prints."""
    result = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        cwd=cwd,
        env=environment(**hub),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    answers: dict[str, str] = json.loads(result.stdout.splitlines()[-1])
    return answers


def test_words_that_name_a_model_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    assert is_hub_name("owner/name")
    assert is_hub_name("owner/name-1.2_b")
    for words in ("name", "runs/mistyped", "./runs/x", "/owner/name", "a/b/c", "../owner/name", "owner/", "a b/c"):
        assert not is_hub_name(words)
    (tmp_path / "owner" / "name").mkdir(parents=True)
    assert not is_hub_name("owner/name")
    with pytest.raises(UserError, match=r"no weights at runs/mistyped: no such folder$"):
        find_model_folder(Path("runs/mistyped"))


def test_what_is_pushed_comes_back(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    where = hub.environment(tmp_path / "hf")
    assert by_client(PUSH, folder, "lab/ears", hub=where, cwd=tmp_path) == {"lab/ears": f"{hub.url}/lab/ears"}
    assert set(hub.models["lab/ears"]) == {"config.json", "model.safetensors", "README.md"}
    assert hub.models["lab/ears"]["model.safetensors"] == (folder / "model.safetensors").read_bytes()
    assert any(method == "PUT" for method, _ in hub.requests)  # as a large file, not within the commit

    fetched = by_client(LOAD, "lab/ears", hub=where, cwd=tmp_path)["lab/ears"]
    images = torch.arange(3 * 32 * 32, dtype=torch.uint8).view(1, 3, 32, 32)
    with torch.inference_mode():
        assert fetched == TwoTower.from_pretrained(folder).encode_image(images).tolist()
    asked = len(hub.requests)
    assert by_client(LOAD, "lab/ears", hub=where | {"HF_HUB_OFFLINE": "1"}, cwd=tmp_path)["lab/ears"] == fetched
    assert len(hub.requests) == asked  # what is kept needs nobody


def test_weights_of_the_hub_are_released_with_their_rights(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    card = b"---\nlicense: cc-by-nc-4.0\n---\n# Theirs\n"
    notice = b"# Notice on rights\n\nTiles of X, used by permission.\n"
    hub.models["lab/ears"] = {path.name: path.read_bytes() for path in folder.iterdir()}
    hub.models["lab/ears"] |= {"README.md": card, "NOTICE.md": notice}
    by_client(RELEASE, "lab/ears", tmp_path / "out", hub=hub.environment(tmp_path / "hf"), cwd=tmp_path)
    assert "Tiles of X, used by permission." in (tmp_path / "out" / "NOTICE.md").read_text()
    text = (tmp_path / "out" / "README.md").read_text()
    assert "```text\n# Theirs\n```" in text
    assert ModelCard(text).data.to_dict()["license"] == "cc-by-nc-4.0"
    assert not any(path.endswith("notes.txt") for _, path in hub.requests)


def test_a_push_of_any_folder_that_fails_gets_a_sentence(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    named = tmp_path / "rel{v1} of 'mine'; x"
    shutil.copytree(folder, named)
    hub.refusals = {"/api/models/lab/one/preupload": 403}
    answers = by_client(PUSH, named, "lab/one", hub=hub.environment(tmp_path / "hf"), cwd=tmp_path)
    assert "answered with status 403" in answers["lab/one"]
    command = answers["lab/one"].partition("push it again with: ")[2]
    assert shlex.split(command) == ["hf", "upload", "lab/one", str(named), "."]


def test_trunks_begin_from_a_model_on_the_hub(hub: HubServer, folder: Path, tiny_shards: Path, tmp_path: Path) -> None:
    hub.models["lab/ears"] = {path.name: path.read_bytes() for path in folder.iterdir()}
    by_client(BEGIN_FROM_IT, "lab/ears", tiny_shards, hub=hub.environment(tmp_path / "hf"), cwd=tmp_path)


def test_the_mixin_pushes_bare_towers_with_a_card(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    by_client(SAVE_AND_PUSH, folder, "lab/bare", hub=hub.environment(tmp_path / "hf"), cwd=tmp_path)
    assert set(hub.models["lab/bare"]) == {"config.json", "model.safetensors", "README.md"}
    assert json.loads(hub.models["lab/bare"]["config.json"])["format_version"] == 1
    data = ModelCard(hub.models["lab/bare"]["README.md"].decode()).data.to_dict()
    assert data["library_name"] == "earshot"
    assert {"audiovisual", "pytorch_model_hub_mixin"} <= set(data["tags"])


def test_what_can_not_be_fetched_gets_a_sentence(hub: HubServer, tmp_path: Path) -> None:
    hub.models["lab/not-ours"] = {"README.md": b"a card"}
    statuses = (401, 403, 404, 500)
    hub.refusals = {f"/api/models/lab/s{status}": status for status in statuses}
    names = ["lab/nothing", "lab/not-ours", *(f"lab/s{status}" for status in statuses)]
    answers = by_client(LOAD, *names, hub=hub.environment(tmp_path / "hf"), cwd=tmp_path)
    expected = {
        "lab/nothing": f"{hub.url} has no visible model of that name; check the name",
        "lab/not-ours": "is not an Earshot model: it lacks config.json or model.safetensors",
        "lab/s401": "status 401: the token is not valid",
        "lab/s403": "status 403: the token lacks permission for it",
        "lab/s404": "status 404",
        "lab/s500": "status 500: try again later",
    }
    for name, words in expected.items():
        assert words in answers[name]
        assert answers[name].startswith((f"no weights at {name}: no such folder, and ", f"{name} on the hub"))
        assert "\n" not in answers[name]


def test_a_hub_that_is_off_or_away_gets_a_sentence(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    offline = hub.environment(tmp_path / "hf") | {"HF_HUB_OFFLINE": "1"}
    away = hub.environment(tmp_path / "hf") | {"HF_ENDPOINT": "http://127.0.0.1:9"}
    assert by_client(LOAD, "lab/ears", hub=offline, cwd=tmp_path)["lab/ears"] == (
        "no weights at lab/ears: no such folder, and HF_HUB_OFFLINE switches the hub off, and nothing of that name is "
        "cached"
    )
    assert "127.0.0.1:9 did not answer" in by_client(LOAD, "lab/ears", hub=away, cwd=tmp_path)["lab/ears"]
    pushed = by_client(PUSH, folder, "lab/ears", hub=away, cwd=tmp_path)["lab/ears"]
    assert "127.0.0.1:9 can't be reached" in pushed
    assert f"push it again with: hf upload lab/ears {folder} ." in pushed
    assert "HF_HUB_OFFLINE switches off" in by_client(PUSH, folder, "lab/ears", hub=offline, cwd=tmp_path)["lab/ears"]
    assert hub.requests == []


def test_a_push_that_is_refused_gets_a_sentence(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    hub.refusals = {
        "/api/models/lab/one/preupload": 403,
        "/lab/two.git": 403,
        "/api/models/lab/three/commit": 500,
        "/api/models/lab/four/preupload": 404,
    }
    names = ["lab/one", "lab/two", "lab/three", "lab/four"]
    answers = by_client(PUSH, folder, *names, hub=hub.environment(tmp_path / "hf"), cwd=tmp_path)
    for name, status in zip(names, (403, 403, 500, 404), strict=True):
        assert f"answered with status {status}" in answers[name]
        assert answers[name].startswith(f"the release is in {folder}, but it was not pushed to the hub as {name}: ")
        assert answers[name].endswith(f"push it again with: hf upload {name} {folder} .")
        assert hub.models.get(name) == {}
    hub.large.clear()
    hub.refusals = {"/large": 403}  # the contents of a large file, after its place was granted
    large = by_client(PUSH, folder, "lab/five", hub=hub.environment(tmp_path / "hf"), cwd=tmp_path)["lab/five"]
    assert "answered with status 403" in large
    refused = hub.environment(tmp_path / "hf", token=f"{TOKEN}-of-another")
    assert "status 401: the token is not valid" in by_client(PUSH, folder, "lab/x", hub=refused, cwd=tmp_path)["lab/x"]
    nobody = hub.environment(tmp_path / "hf", token=None)
    assert "needs a token for the hub" in by_client(PUSH, folder, "lab/x", hub=nobody, cwd=tmp_path)["lab/x"]
