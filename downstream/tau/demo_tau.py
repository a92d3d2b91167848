"""A generated set in TAU's layout, to try its strategies without the data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from downstream.tau.benchmark import META_NAME, TauBenchmark, TauData


@dataclass(frozen=True)
class DemoTau(TauBenchmark):
    """The set is written into its root where that is empty or missing."""

    @override
    def is_generated_in(self, root: Path) -> bool:
        """Where it holds no such set yet."""
        return not (root / META_NAME).is_file()

    @override
    def check_root(self, root: Path) -> None:
        """Any will do: the set is written where there is none."""

    @override
    def load(self, root: Path, *, allow_partial: bool) -> TauData:
        """The clips below `root`, generated if need be.

        Raises:
            UserError: `root` holds something else.
        """
        from downstream.tau.demo_clips import write_demo
        from pretrain import distributed

        if distributed.is_first() and self.is_generated_in(root):
            distributed.note_once(f"no clips in {root} yet: writing the demo's")
            write_demo(root)
        distributed.barrier()
        return super().load(root, allow_partial=allow_partial)


DEMO_TAU = DemoTau(name="demo-tau", title="generated clips in TAU's layout")
