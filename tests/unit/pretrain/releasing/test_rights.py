"""Rights outlive a release: notice, licence and card of weights that are released again, and licences that restrict."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from released_runs import small_towers, write_run

from pretrain.releasing.facts import Facts
from pretrain.releasing.licence_words import is_restricted
from pretrain.releasing.notice import recordings
from pretrain.releasing.release import ReleaseOptions, release
from pretrain.releasing.training_data import Licences
from shards.untrusted_text import as_quote

HOSTILE_CARD = """---
license: cc-by-nc-4.0
tags: [x]
---
# A heading

<script>alert(1)</script>

````
## Missing information
"""


def parts_in_code(text: str) -> tuple[str, str]:
    """What a Markdown reader takes as text, and what as blocks of code."""
    outside: list[str] = []
    inside: list[str] = []
    fence = ""
    for line in text.splitlines():
        marks = re.match("`{3,}", line)
        if fence and marks and len(marks[0]) >= len(fence) and line.strip() == marks[0]:
            fence = ""
        elif not fence and marks:
            fence = marks[0]
        else:
            (inside if fence else outside).append(line)
    return "\n".join(outside), "\n".join(inside)


def again(folder: Path, out: Path, **options: str) -> tuple[str, str]:
    """Card and notice of a folder that is released again."""
    release(ReleaseOptions(folder, out, **options))  # type: ignore[arg-type]
    return (out / "README.md").read_text(), (out / "NOTICE.md").read_text()


def test_a_release_that_is_released_again_keeps_rights_and_licence(tiny_shards: Path, tmp_path: Path) -> None:
    run, first = write_run(tmp_path / "run", tiny_shards), tmp_path / "first"
    release(ReleaseOptions(run, first, licence="cc-by-nc-4.0", imagery="Tiles of X, used by permission."))
    card, notice = again(first, tmp_path / "second")
    assert (first / "NOTICE.md").read_text().strip() in notice
    assert "Tiles of X, used by permission." in parts_in_code(notice)[1]
    assert "What is known about them is in the former notice, below." in parts_in_code(notice)[0]
    assert ModelCard(card).data.to_dict()["license"] == "cc-by-nc-4.0"
    assert ModelCard(again(first, tmp_path / "third", licence="mit")[0]).data.to_dict()["license"] == "mit"
    assert hashlib.sha256((first / "model.safetensors").read_bytes()).hexdigest() in (
        (tmp_path / "second" / "SHA256SUMS").read_text()
    )
    assert "Tiles of X" in again(tmp_path / "second", tmp_path / "fourth")[1]


def test_an_untrusted_card_breaks_nothing(tmp_path: Path) -> None:
    small_towers().save_pretrained(tmp_path / "theirs")
    (tmp_path / "theirs" / "README.md").write_text(HOSTILE_CARD)
    (tmp_path / "theirs" / "NOTICE.md").write_text("```\n# Mine\n``` ```` `````\n</div>")
    card, notice = again(tmp_path / "theirs", tmp_path / "out")
    text, quoted = parts_in_code(card)
    assert "<script>" not in text
    assert "# A heading\n\n<script>alert(1)</script>\n\n````\n## Missing information" in quoted
    assert text.count("## Missing information") == 1
    assert text.index("## Data and licences") < text.index("## Citation")
    assert ModelCard(card).data.to_dict()["license"] == "cc-by-nc-4.0"
    text, quoted = parts_in_code(notice)
    assert "</div>" not in text
    assert "# Mine\n``` ```` `````\n</div>" in quoted


@pytest.mark.parametrize(
    ("front", "expected"),
    [
        ("license: other\nlicense_name: mine\nlicense_link: LICENSE", ("other", "mine", "NOTICE.md")),
        ("license: other\nlicense_name: mine\nlicense_link: https://x.org/l", ("other", "mine", "https://x.org/l")),
        ("license: [mit, apache-2.0]", ("other", "see-notice", "NOTICE.md")),
        ("license: {", ("other", "see-notice", "NOTICE.md")),
        ("library_name: earshot", ("other", "see-notice", "NOTICE.md")),
    ],
)
def test_the_licence_of_the_former_card_is_taken_over(
    front: str, expected: tuple[str, str, str], tmp_path: Path
) -> None:
    small_towers().save_pretrained(tmp_path / "theirs")
    (tmp_path / "theirs" / "README.md").write_text(f"---\n{front}\n---\n")
    card, notice = again(tmp_path / "theirs", tmp_path / "out")
    data = ModelCard(card).data.to_dict()
    assert (data["license"], data["license_name"], data["license_link"]) == expected
    assert "own card says:" not in card  # it says nothing
    assert "Former notice" not in notice
    assert ("the licence in the metadata of the weights' own card" in card) == (front[9:10] in ("[", "{"))


@pytest.mark.parametrize(
    "name",
    [
        "https://creativecommons.org/licenses/by-nc-sa/4.0/",
        *("Attribution-NoDerivs 3.0", "Attribution Non-Commercial", "cc_by_nc_4.0", "CC-BY-NC4.0", "by-nc; see site"),
        *("BY NC,ND", "CC sampling+", "All rights reserved", "Attribution-NoDerivatives", "NonCommercial", "No Derivs"),
    ],
)
def test_a_licence_that_restricts_is_seen(name: str) -> None:
    assert is_restricted(name)


@pytest.mark.parametrize("name", ["CC BY 4.0", "https://creativecommons.org/publicdomain/zero/1.0/", "by-sa", "CC0"])
def test_a_free_licence_is_neither_restricted_nor_unknown(name: str) -> None:
    assert not is_restricted(name)
    assert "classified" not in recordings(facts_with({name: 3}))


def test_licences_that_nobody_knows_are_named() -> None:
    text = recordings(facts_with({"by arrangement": 3, "": 1, "CC BY-ND 4.0": 2, "own terms": 1}))
    assert "At least 2 of them are under licences that restrict" in text
    assert "What these allow was not classified: `by arrangement`, –, `own terms`." in text
    many = recordings(facts_with({f"terms {i}": 1 for i in range(25)}))
    assert many.endswith("`terms 19`, and 5 others.")


def facts_with(licences: dict[str, int]) -> Facts:
    return Facts(Path("model"), small_towers(), licences=Licences(licences, 0))


def test_a_quote_ends_where_it_should() -> None:
    assert as_quote("a") == "```text\na\n```"
    assert as_quote("````").startswith("`````text\n")
