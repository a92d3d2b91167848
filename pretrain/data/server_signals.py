"""Imported by the server of loader processes alone: from then on it ignores what schedulers send, as loaders do."""

from __future__ import annotations

from shards.child_processes import ignore_signals

ignore_signals()
