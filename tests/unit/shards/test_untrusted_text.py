"""Untrusted text in Markdown: it is shown as it is, and none of it becomes markup."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from shards.untrusted_text import as_text, without_surrogates

MARKUP = st.text(st.sampled_from("a _*`[]()<>|~!#&;:/\\\n\x1b\x00é-1."))
MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def shown(html: str) -> str:
    """What a reader of a page sees, with blanks as they are shown."""
    named = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&amp;": "&"}
    text = re.sub(r"&\w+;", lambda match: named[match[0]], html)
    return " ".join(text.split())


def expected(text: str) -> str:
    return " ".join(re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\ufffd", text.replace("\r\n", "\n")).split())


@given(MARKUP)
@example("[a](javascript:alert(1))")
@example("![a](b) <img src=x> &lt; `code` **b** __b__ ~~c~~ a|b\\")
def test_in_prose(text: str) -> None:
    html = MARKDOWN.render(f"x {as_text(text)} x").strip()
    assert html.startswith("<p>")
    assert html.endswith("</p>")
    inner = html[3:-4]
    assert "<" not in inner
    assert shown(inner) == " ".join(f"x {expected(text)} x".split())


@given(MARKUP)
def test_in_a_cell(text: str) -> None:
    html = MARKDOWN.render(f"| a | b |\n|---|---|\n| x {as_text(text)} | y |\n")
    cells = re.findall(r"<td>(.*?)</td>", html)
    assert [shown(cell) for cell in cells] == [" ".join(f"x {expected(text)}".split()), "y"]


def test_lone_surrogates_become_a_replacement() -> None:
    assert without_surrogates("a\ud800b\udfffü😀") == "a\ufffdb\ufffdü😀"
    without_surrogates("\ud83d\ude00").encode()
