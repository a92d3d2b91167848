"""What every command answers without work: command lines, and what to look for in their answers."""

from __future__ import annotations

from pathlib import Path

Case = tuple[tuple[str, ...], str]
"""The words of a command line, its script first, and what the answer must hold."""

CASES: tuple[Case, ...] = (
    (("earshot", "--help"), "usage: earshot [-h] [--version] VERB"),
    (("earshot", "--version"), "earshot "),
    (("earshot", "bild"), "unknown verb 'bild' of earshot"),
    (("earshot", "pretrain", "--help"), "usage: earshot pretrain"),
    (("earshot", "pretrain", "few-pairs", "--print-config"), "learning_rate:"),
    (("earshot", "completion", "bash"), "complete -o default -F _earshot earshot"),
    (("earshot", "build", "--help"), "--dry-run"),
    (("earshot", "info", "nowhere"), "build them with 'earshot build'"),
    (("earshot", "downstream", "aidd"), "unknown benchmark 'aidd'"),
    (("earshot", "compare", "nowhere.yaml", "--out", "out"), "no plan at nowhere.yaml"),
    (("shards/run.py", "--help"), "usage: python shards/run.py"),
    (("shards/run.py", "--version"), "earshot "),
    (("shards/run.py", "bild"), "unknown verb 'bild'"),
    (("shards/run.py", "build", "--source", "nope", "--root", ".", "--out", "s"), "unknown --source 'nope'"),
    (("shards/run.py", "info", "nowhere"), "no shards at nowhere"),
    (("pretrain/run.py", "--help"), "usage: python pretrain/run.py"),
    (("pretrain/run.py", "--version"), "earshot "),
    (("pretrain/run.py", "--epohcs", "3"), "--epochs"),
    (("pretrain/run.py", "dmeo"), "unknown preset 'dmeo'"),
    (("pretrain/run.py", "--loss.name", "nope"), "unknown loss.name 'nope'"),
    (("pretrain/run.py", "--loss.name", "sigmoid", "--loss.margin", "2"), "has no setting loss.margin"),
    (("pretrain/run.py", "--method", "nope"), "unknown method 'nope'"),
    (("pretrain/run.py", "--model.image-encoder", "nope"), "unknown model.image_encoder 'nope'"),
    (("pretrain/run.py", "--shards", "nowhere"), "no shards at nowhere"),
    (("pretrain/run.py", "--resume", "nowhere"), "nothing to resume at nowhere"),
    (("pretrain/run.py", "release", "--help"), "usage: python pretrain/run.py release"),
    (("pretrain/run.py", "release", "nowhere", "--out", "r"), "no weights at nowhere"),
    (("pretrain/run.py", "convert", "nowhere", "--out", "r"), "no weights at nowhere"),
    (("pretrain/run.py", "demo-weights", "--help"), "usage: python pretrain/run.py demo-weights"),
    (("downstream/run.py", "--help"), "usage: python downstream/run.py"),
    (("downstream/run.py", "--version"), "earshot "),
    (("downstream/run.py", "aidd"), "unknown benchmark 'aidd'"),
    (("downstream/run.py", "aid", "--protcol", "knn"), "--protocol"),
    (("downstream/run.py", "aid", "--root", ".", "--weights", "nowhere", "--out", "d"), "nowhere"),
    (("downstream/run.py", "report", "--help"), "usage: python downstream/run.py report"),
    (("downstream/run.py", "report", "nowhere", "--out", "d"), "no results in nowhere"),
    (("retrieval/run.py", "--help"), "usage: python retrieval/run.py"),
    (("retrieval/run.py", "--version"), "earshot "),
    (("retrieval/run.py", "evaluat"), "unknown verb 'evaluat'"),
    (("retrieval/run.py", "evaluate", "--help"), "usage: python retrieval/run.py evaluate"),
    (("retrieval/run.py", "evaluate", "--weights", "nowhere", "--shards", ".", "--out", "e"), "no weights at nowhere"),
    (("retrieval/run.py", "embed", "--weights", "nowhere", "--images", ".", "--out", "e.npz"), "no weights at nowhere"),
    (("retrieval/run.py", "explore", "--weights", "nowhere", "--shards", "."), "no weights at nowhere"),
    (("launch/compare.py", "--help"), "usage: python launch/compare.py"),
    (("launch/compare.py", "--version"), "earshot "),
    (("launch/compare.py", "plan.yaml", "--out", "out", "--nope"), "nope"),
    (("launch/compare.py", "nowhere.yaml", "--out", "out"), "no plan at nowhere.yaml"),
    (("launch/compare.py", "plan.yaml", "--out", "out"), "unknown preset 'demoo'"),
)


def prepare(folder: Path) -> None:
    """Writes what the cases find in their working directory."""
    (folder / "plan.yaml").write_text("name: n\npreset: demoo\nmethods: {a: {}}\n", encoding="utf-8")
