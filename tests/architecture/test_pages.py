"""The Markdown pages: their links lead somewhere, their contents list what follows, and the first one stays short."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from downstream.benchmarks import BENCHMARKS
from launch.completion.nodes import Node, nodes_of
from launch.console import CONSOLE
from pretrain.encoders import ENCODERS
from pretrain.losses import LOSSES
from pretrain.methods import METHODS
from pretrain.presets import PRESETS
from pretrain.settings.short_names import TRAINING_NAMES
from pretrain.trackers import TRACKERS
from retrieval.protocols import PROTOCOLS
from shards.collecting.imagery import IMAGERY
from shards.collecting.verbs import COLLECT
from shards.front_ends import FRONT_ENDS
from shards.sources import SOURCES

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("shards", "pretrain", "downstream", "retrieval", "launch")
PAGES = [
    *REPOSITORY.glob("*.md"),
    *(REPOSITORY / package / "README.md" for package in PACKAGES),
    REPOSITORY / "shards/collecting/README.md",
]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors(page: Path) -> list[str]:
    """The anchors of a page's headings, as GitHub makes them, in order; code blocks have none."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if not link.startswith("https://"):
            name, _, anchor = link.partition("#")
            target = page.parent / name if name else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("package", PACKAGES)
def test_the_contents_of_a_package_page_list_all_its_sections(package: str) -> None:
    page = REPOSITORY / package / "README.md"
    contents = page.read_text(encoding="utf-8").partition("\n## ")[0]
    sections = re.findall(r"^## (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(re.findall(r"\]\(#", contents)) == len(sections)


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("shards/README.md", [*SOURCES, *FRONT_ENDS]),
        ("pretrain/README.md", [*ENCODERS, *METHODS, *LOSSES, *PRESETS, *TRACKERS]),
        ("downstream/README.md", list(BENCHMARKS)),
        ("retrieval/README.md", list(PROTOCOLS)),
        ("README.md", list(BENCHMARKS)),
        ("shards/collecting/README.md", [*(f"--{name}" for name in IMAGERY), *COLLECT.verbs]),
    ],
)
def test_a_page_names_every_choice(page: str, names: list[str]) -> None:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    assert [name for name in names if not re.search(rf"(?<![\w-]){name}(?![\w-])", text)] == []


def test_the_first_page_stays_short() -> None:
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()) <= 180


COMMAND_LINE = re.compile(r"^    (?:eval \"\$\()?earshot (.*?)(?:\)\")?(?:\s+[#>] ?.*)?$", flags=re.MULTILINE)
INLINE = re.compile(r"`earshot\s([^`]+)`")
"""A command in a block, without its comment or redirection, and one in a sentence, which may break a line."""


def commands_of(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    blocks = re.sub(r"\\\n\s*", " ", text)
    return [*COMMAND_LINE.findall(blocks), *(" ".join(words.split()) for words in INLINE.findall(text))]


def check_command(line: str, nodes: dict[tuple[str, ...], Node]) -> None:
    """Follows the verbs of a command, and looks its options up."""
    path: tuple[str, ...] = ()
    for word in line.split():
        if (*path, word.strip("….,")) in nodes:
            path = (*path, word.strip("….,"))
        elif not path and word.isalpha() and word.islower():
            pytest.fail(f"earshot {line}: no verb {word}")
    known = {*nodes[path].options, *TRAINING_NAMES}
    # What is quoted is a value; "--any.setting" stands for all.
    for option in re.findall(r"(?<![\w-])--[a-z][\w.-]*", re.sub(r"\"[^\"]*\"", "", line)):
        assert option in known or option.startswith("--any."), (line, option)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_the_commands_of_a_page_have_verbs_and_options_that_exist(page: Path) -> None:
    nodes = {node.path: node for node in nodes_of(CONSOLE)}
    for line in commands_of(page):
        check_command(line, nodes)


def test_commands_are_found_and_mistakes_in_them_too() -> None:
    nodes = {node.path: node for node in nodes_of(CONSOLE)}
    assert len(commands_of(REPOSITORY / "README.md")) > 10
    for line, mistake in (
        ("bild --out X", "no verb bild"),
        ("build --outt X", "--outt"),
        ("study serve --shards", "s"),
    ):
        with pytest.raises((AssertionError, pytest.fail.Exception), match=mistake):
            check_command(line, nodes)
