"""Engines: how the processes of a run share the work, by the distributed type that it was launched with."""

from __future__ import annotations

from accelerate.utils import DistributedType

from pretrain.engines.data_parallel import DataParallelEngine
from pretrain.engines.engine import Engine, TrainingState
from pretrain.engines.zero import ZeroEngine

__all__ = ["ENGINES", "Engine", "TrainingState"]

ENGINES: dict[DistributedType, type[Engine]] = {
    DistributedType.NO: DataParallelEngine,
    DistributedType.MULTI_CPU: DataParallelEngine,
    DistributedType.MULTI_GPU: DataParallelEngine,
    DistributedType.DEEPSPEED: ZeroEngine,
}
