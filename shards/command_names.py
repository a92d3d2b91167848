"""Commands as the user typed them: sentences name the scripts, and the console command `earshot` rewrites that."""

from __future__ import annotations

import re

SCRIPT = re.compile(
    r"(?<!launch )(?<!--quiet )(?<![0-9N] )(?:python )?"
    r"(?:(?P<room>shards|retrieval)/run\.py(?= [a-z])|(?P<compare>launch/compare\.py)"
    r"|(?P<pretrain>pretrain/run\.py(?: (?P<verb>release|demo-weights|convert)\b)?)"
    r"|(?P<downstream>downstream/run\.py(?P<report> report\b)?))"
)
"""A command in a sentence, such as `python shards/run.py build`; a launcher of several processes needs the script."""

_typed: list[str] = []


def name_commands_as(command: str) -> None:
    """Makes the sentences of this process name commands as `earshot …` if that was typed, else as the scripts."""
    _typed[:] = [command]


def as_typed(text: str) -> str:
    """A sentence whose commands are named as the user typed them."""
    return SCRIPT.sub(_as_console, text) if _typed and _typed[0].split()[0] == "earshot" else text


def _as_console(match: re.Match[str]) -> str:
    if match["room"]:
        return "earshot"
    if match["compare"]:
        return "earshot compare"
    if match["pretrain"]:
        return f"earshot {match['verb'] or 'pretrain'}"
    return "earshot report" if match["report"] else "earshot downstream"
