"""Reads untrusted YAML: plain values only, within limits on size, depth and what aliases repeat."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from shards.errors import UserError
from shards.records import MOST_LEVELS, read_bytes_within, shortened

MOST_BYTES = 4 << 20
MOST_VALUES = 100_000
"""Values in a file, those that aliases repeat counted each time."""


class PlainLoader(yaml.SafeLoader):
    """Texts, numbers, booleans, lists and mappings; what looks like a date stays a text."""


PlainLoader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(path: Path) -> Any:
    """The value of a YAML file; see `yaml_of`.

    Raises:
        UserError: it can't be read, is not YAML, or not within the limits.
    """
    return yaml_of(read_bytes_within(path, MOST_BYTES), str(path))


def yaml_of(text: str | bytes, where: str) -> Any:
    """The value of a YAML text.

    Args:
        text: UTF-8, with at most `MOST_VALUES` values and `MOST_LEVELS` of them within each other.
        where: the file that it was read from, for the message.

    Raises:
        UserError: it is not YAML, holds a tag for something else than plain values, or is not within the limits.
    """
    try:
        loader = PlainLoader(text.decode("utf-8") if isinstance(text, bytes) else text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _count(node, {}, where, 0)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except UserError:
        raise
    except UnicodeDecodeError as error:
        raise UserError(f"{where} can't be read as UTF-8 text: {error}") from error
    except RecursionError as error:
        raise _too_deep(where) from error
    except (yaml.YAMLError, ValueError, TypeError) as error:  # what PyYAML raises for values such as 2020-99-99
        raise UserError(f"{where} is not YAML: {shortened(' '.join(str(error).split()), 200)}") from error


def _count(node: yaml.Node, counted: dict[int, int], where: str, level: int) -> int:
    """The number of values in a node, each as often as it is repeated."""
    if level > MOST_LEVELS:  # an alias of what it is in leads here, too
        raise _too_deep(where)
    if id(node) not in counted:
        inner = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        parts = inner if isinstance(node, yaml.CollectionNode) else []
        counted[id(node)] = 1 + sum(_count(part, counted, where, level + 1) for part in parts)
    if counted[id(node)] > MOST_VALUES:
        raise UserError(f"{where} holds more than the {MOST_VALUES:,} values that are read, as its aliases repeat them")
    return counted[id(node)]


def _too_deep(where: str) -> UserError:
    return UserError(f"{where} nests values deeper than the {MOST_LEVELS} levels that are read")
