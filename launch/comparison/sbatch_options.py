"""Options of sbatch for the job that only writes tables: those of the rows, without their resources."""

from __future__ import annotations

RESOURCES = (
    *("gres", "gres-flags", "gpus", "gpus-per-node", "gpus-per-socket", "gpus-per-task", "gpu-bind", "gpu-freq"),
    *("tres-bind", "tres-per-task", "cpus-per-task", "cpus-per-gpu", "cores-per-socket", "sockets-per-node"),
    *("threads-per-core", "mem", "mem-per-cpu", "mem-per-gpu", "mem-bind", "time", "time-min", "nodes", "nodelist"),
    *("ntasks", "ntasks-per-core", "ntasks-per-gpu", "ntasks-per-node", "ntasks-per-socket", "mincpus", "exclusive"),
    *("extra-node-info", "switches"),
)
LETTERS = "GctNnwB"
"""Their short names."""


def without_resources(line: str) -> str:
    """A line of options without GPUs, cores, memory, time and nodes; "" if nothing is left.

    As for sbatch, a name may be shortened (`--cpus=4`), its value may follow after a space, and a short name's directly
    (`-c4`).

    Args:
        line: options, such as "--gres=gpu:1 --partition=gpu".
    """
    kept: list[str] = []
    drops = False
    for word in line.split():
        if word.startswith("-"):
            drops = _is_resource(word)
        if not drops:
            kept.append(word)
    return " ".join(kept)


def _is_resource(word: str) -> bool:
    if word.startswith("--"):
        name = word[2:].partition("=")[0]
        return any(resource.startswith(name) for resource in RESOURCES)
    return word[1:2] in LETTERS
