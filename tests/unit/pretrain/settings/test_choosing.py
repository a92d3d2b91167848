"""Settings that depend on a choice: which there are, in files, changes and words, and what is refused of others."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pretrain.settings.choosing import Chosen
from pretrain.settings.files import flatten, load_settings, refuse_changes_on_resume, save_settings, with_settings
from pretrain.settings.options import with_options
from shards.errors import UserError
from shards.registry import Registry

BOWS: Registry[Any] = Registry(
    "bow.name",
    {"baroque": f"{__name__}:Baroque", "modern": f"{__name__}:Modern"},
    takes_outside_code=True,
    subclass_of=f"{__name__}:Bow",
)
STRINGS: Registry[Any] = Registry("played", {"bowed": f"{__name__}:Bowed", "plucked": f"{__name__}:Plucked"})


@dataclass(frozen=True)
class Bow(Chosen):
    choice: ClassVar[str] = "name"
    registry: ClassVar[str] = f"{__name__}:BOWS"
    name: str = "baroque"
    length: float = 74.0


@dataclass(frozen=True)
class Baroque(Bow):
    clip: bool = False
    hairs: int = 100


@dataclass(frozen=True)
class Modern(Bow):
    name: str = "modern"
    screw: str = "steel"
    hairs: int = 150


@dataclass(frozen=True)
class Finger:
    nail: float = 0.5


@dataclass(frozen=True)
class Strings(Chosen):
    choice: ClassVar[str] = "played"
    registry: ClassVar[str] = f"{__name__}:STRINGS"
    played: str = "bowed"
    count: int = 4

    @classmethod
    def is_of_all_choices(cls, record: Mapping[str, Any]) -> bool:
        return {"bow", "finger"} <= record.keys()


@dataclass(frozen=True)
class Bowed(Strings):
    bow: Bow = field(default_factory=Baroque)


@dataclass(frozen=True)
class Plucked(Strings):
    played: str = "plucked"
    finger: Finger = field(default_factory=Finger)


NO_CLIP = "bow.name modern has no setting bow.clip, which baroque has; it takes bow.screw, bow.hairs"
NO_FINGER = "played bowed has no setting finger.nail, which plucked has; it takes bow.*"
NO_BOW = "played plucked has no setting bow.hairs, which bowed has; it takes finger.*"


def test_a_choice_brings_its_settings() -> None:
    assert with_settings(Bowed(), {"bow.name": "modern", "bow.screw": "gold"}) == Bowed(bow=Modern(screw="gold"))
    assert with_settings(Bowed(), {"played": "plucked", "finger.nail": 1}) == Plucked(finger=Finger(1.0))
    assert flatten(Plucked()) == {"played": "plucked", "count": 4, "finger.nail": 0.5}


def test_what_was_set_stays_where_the_new_choice_has_it_and_defaults_are_its_own() -> None:
    before = Bowed(count=6, bow=Baroque(length=60.0, clip=True))
    assert with_settings(before, {"bow.name": "modern"}) == Bowed(count=6, bow=Modern(length=60.0))
    assert with_settings(before, {"played": "plucked"}) == Plucked(count=6)
    assert with_settings(Bowed(bow=Baroque(hairs=90)), {"bow.name": "modern"}) == Bowed(bow=Modern(hairs=90))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"bow.name": "modern", "bow.clip": True}, NO_CLIP),
        ({"finger.nail": 1}, NO_FINGER),
        ({"played": "plucked", "bow.hairs": 90}, NO_BOW),
        ({"bow.nmae": "modern"}, "unknown setting 'bow.nmae'; did you mean 'bow.name'?"),
        ({"bow.name": "modrn"}, "unknown bow.name 'modrn'; did you mean 'modern'? choose one of: "),
        ({"bow.name": 3}, "bow.name must be a name, got 3; choose one of: "),
        (
            {"bow.name": "os.path:join"},
            f"bow.name os.path:join must be a subclass of {__name__}.Bow, got <function join",
        ),
        ({"bow": "modern"}, "unknown setting 'bow' with value 'modern': it is a group of settings"),
    ],
)
def test_what_is_chosen_refuses_what_it_has_not(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        with_settings(Bowed(), changes)
    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--bow.clip", "--bow.name", "modern"], NO_CLIP),
        (["--bow.name=modern", "--bow.clip"], NO_CLIP),
        (["--finger.nail", "1"], NO_FINGER),
        (["--finger.nail=1"], NO_FINGER),
        (["--played", "plucked", "--bow.hairs", "90"], NO_BOW),
    ],
)
def test_words_of_other_choices_are_refused(words: list[str], sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        with_options(Bowed(), words, prog="luthier", description="")
    assert str(refused.value) == sentence


def test_words_choose_and_set(capsys: pytest.CaptureFixture[str]) -> None:
    def read(*words: str) -> Strings:
        return with_options(Bowed(), list(words), prog="luthier", description="")

    assert read("--bow.screw", "gold", "--bow.name", "modern") == Bowed(bow=Modern(screw="gold"))
    assert read("--bow.name", "baroque", "--bow.name=modern", "--count", "5") == Bowed(count=5, bow=Modern())
    assert read("--played", "plucked", "--finger.nail", "2") == Plucked(finger=Finger(2.0))
    with pytest.raises(SystemExit):
        read("--played", "plucked", "--help")
    shown = capsys.readouterr().out
    assert "--finger.nail" in shown
    assert "--bow" not in shown


def test_files_hold_what_is_chosen(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    for settings in (Bowed(bow=Modern(screw="gold")), Plucked(count=5)):
        save_settings(settings, path)
        assert load_settings(Strings, path) == settings
    path.write_text("bow: {name: modern, clip: true}\n")
    with pytest.raises(UserError) as refused:
        load_settings(Strings, path)
    assert str(refused.value) == f"{path}: {NO_CLIP}"


def test_a_former_file_of_all_choices_keeps_those_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("bow: {name: modern, clip: true, screw: gold}\nfinger: {nail: 2.0}\n")
    assert load_settings(Strings, path) == Bowed(bow=Modern(screw="gold"))
    path.write_text("bow: {name: modern, clap: true}\nfinger: {nail: 2.0}\n")
    with pytest.raises(UserError, match=r"unknown setting 'bow\.clap'"):
        load_settings(Strings, path)


def test_outside_code_brings_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "outside_bows.py").write_text(
        "from dataclasses import dataclass\nfrom test_choosing import Bow\n"
        "@dataclass(frozen=True)\nclass Carbon(Bow):\n    layers: int = 3\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "test_choosing", sys.modules[__name__])
    settings = with_options(
        Bowed(), ["--bow.name", "outside_bows:Carbon", "--bow.layers", "5"], prog="luthier", description=""
    )
    assert flatten(settings) | {"bow.name": "outside_bows:Carbon", "bow.layers": 5} == flatten(settings)
    save_settings(settings, tmp_path / "config.yaml")
    assert load_settings(Strings, tmp_path / "config.yaml") == settings


def test_another_choice_on_resume_is_refused_by_its_name() -> None:
    with pytest.raises(UserError, match=r"^played is bowed in the run that is resumed and can't be changed to plucked"):
        refuse_changes_on_resume(Bowed(), Plucked(), {"count"})
    with pytest.raises(UserError, match=r"^bow.name is baroque in the run"):
        refuse_changes_on_resume(Bowed(), Bowed(bow=Modern()), {"count"})
