"""Changes valid files into others: bytes, JSON values and texts, each by a seeded generator."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

Mutation = Callable[[bytes, random.Random], bytes]

TEXTS = (
    *("", "x", "../canary/secret", "/etc/hostname", "a/../../b", "\0", "\x1b[31m", "ü\ud800", "=1+1", "<b>", "'" * 300),
    *(
        "file:///etc/hostname",
        "http://127.0.0.1:9/x",
        "{{7*7}}",
        "%s%n",
        "null",
        "1e999",
        "-1",
        "random",
        "module:thing",
    ),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf")),
    *([], {}, [[]], {"": {}}, [1, 2, 3], ["x"] * 40, {"a": [1, {"b": None}]}),
)


def change_bytes(content: bytes, generator: random.Random) -> bytes:
    """Flips, cuts, repeats, inserts or overwrites some bytes."""
    changed = bytearray(content)
    for _ in range(generator.choice((1, 1, 2, 5, 20))):
        if not changed:
            break
        # Headers lie at the beginning.
        end = generator.choice((64, 512, len(changed)))
        start = generator.randrange(min(end, len(changed)))
        length = min(generator.choice((1, 4, 16, 300)), len(changed) - start)
        match generator.randrange(6):
            case 0:
                changed[start] ^= 1 << generator.randrange(8)
            case 1:
                changed[start : start + length] = generator.randbytes(length)
            case 2:
                changed[start : start + length] = generator.choice((b"\0", b"\xff", b"\x7f")) * length
            case 3:
                del changed[start : start + length]
            case 4:
                changed[start:start] = changed[start : start + length]
            case _:
                del changed[start:]
    return bytes(changed)


def change_text(content: bytes, generator: random.Random) -> bytes:
    """Replaces, repeats or removes lines and parts of them, or changes bytes."""
    if generator.random() < 0.3:
        return change_bytes(content, generator)
    lines = content.decode("utf-8", "replace").split("\n")
    for _ in range(generator.choice((1, 1, 2, 4))):
        number = generator.randrange(len(lines))
        line, text = lines[number], str(_any_value(generator)).replace("\n", " ")
        start = generator.randrange(len(line) + 1)
        end = min(len(line), start + generator.choice((0, 1, 5, 50)))
        match generator.randrange(5):
            case 0:
                lines[number] = line[:start] + text + line[end:]
            case 1:
                lines.insert(number, line)
            case 2:
                lines[number] = ""
            case 3:
                separators = [i for i, letter in enumerate(line) if letter in ",:;\t"]
                cut = generator.choice(separators) + 1 if separators else 0
                lines[number] = f"{line[:cut]} {text}"
            case _:
                lines[number] = line * generator.choice((2, 50))
    return "\n".join(lines).encode("utf-8", "replace")


def change_json(content: bytes, generator: random.Random) -> bytes:
    """Replaces, removes, adds or repeats values of a JSON text, or changes its bytes."""
    if generator.random() < 0.15:
        return change_bytes(content, generator)
    if generator.random() < 0.03:
        return b"[" * generator.choice((70, 5000)) + content
    return json.dumps(change_value(json.loads(content), generator)).encode()


def change_json_lines(content: bytes, generator: random.Random) -> bytes:
    """As `change_json`, of one line of a file of JSON lines."""
    lines = content.splitlines()
    number = generator.randrange(len(lines))
    lines[number] = change_json(lines[number], generator)
    return b"\n".join(lines) + b"\n"


def change_value(record: Any, generator: random.Random) -> Any:
    """Replaces, removes, adds or repeats some values of a parsed record."""
    for _ in range(generator.choice((1, 1, 1, 2, 4))):
        places = list(_places(record))
        if not places or generator.random() < 0.02:
            return _any_value(generator)
        holder, name = generator.choice(places)
        match generator.randrange(5):
            case 0:
                del holder[name]
            case 1 if isinstance(holder, dict):
                holder[str(_any_value(generator))[:40]] = holder[name]
            case 1:
                holder.append(holder[name])
            case _:
                holder[name] = _any_value(generator)
    return record


def _places(value: Any) -> Any:
    if isinstance(value, dict | list):
        for name in value if isinstance(value, dict) else range(len(value)):
            yield value, name
            yield from _places(value[name])


def _any_value(generator: random.Random) -> Any:
    chosen = generator.choice((*TEXTS, *VALUES))
    return json.loads(json.dumps(chosen)) if isinstance(chosen, list | dict) else chosen
