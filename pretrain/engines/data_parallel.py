"""The engine for one process or data parallelism, where every process holds all weights."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from typing_extensions import override

from pretrain import distributed
from pretrain.engines.engine import Engine, TrainingState
from pretrain.optimization import set_learning_rate
from pretrain.settings.training import RunSettings


class DataParallelEngine(Engine):
    """One process, or PyTorch's DistributedDataParallel on several."""

    def __init__(
        self,
        accelerator: Accelerator,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        settings: RunSettings,
        *,
        per_process: int,  # noqa: ARG002  # only DeepSpeed needs it
    ) -> None:
        self.accelerator = accelerator
        self.module = module
        self.settings = settings
        self.optimizer = optimizer
        # Convolutions are faster in this layout, on the CPU and on tensor cores.
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's stubs
        self.prepare()

    @override
    def prepare(self) -> None:
        # DistributedDataParallel shares the gradients of the weights that have some when it is built. The one before
        # must be gone, because its hooks are on the same weights.
        self.prepared = self.module
        self.accelerator.free_memory()
        self.prepared, self._prepared_optimizer = self.accelerator.prepare(self.module, self.optimizer)

    @override
    def part(self, *, is_last: bool) -> AbstractContextManager[Any]:
        return nullcontext() if is_last else self.accelerator.no_sync(self.prepared)

    @override
    def backward(self, loss: Tensor) -> None:
        self.accelerator.backward(loss)

    @override
    def update(self, learning_rate: float) -> None:
        set_learning_rate(self.optimizer, learning_rate)
        if self.settings.optimizer.max_gradient_norm:
            self.accelerator.clip_grad_norm_(self.prepared.parameters(), self.settings.optimizer.max_gradient_norm)
        self._prepared_optimizer.step()
        self._prepared_optimizer.zero_grad(set_to_none=True)

    @property
    @override
    def learning_rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    @override
    def whole_module(self) -> nn.Module:
        distributed.share_buffers(self.module)
        return self.module

    @override
    def state(self) -> TrainingState:
        entries = {
            f"{name}.{entry}": value
            for name, parameter in self.module.named_parameters()
            for entry, value in self.optimizer.state.get(parameter, {}).items()
        }
        return TrainingState(self.module.state_dict(), entries)

    @override
    def load_state(self, state: TrainingState) -> None:
        self.module.load_state_dict(state.weights)
        names = {parameter: name for name, parameter in self.module.named_parameters()}
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        by_name: dict[str, dict[str, Tensor]] = {}
        for path, value in state.optimizer.items():
            name, entry = path.rsplit(".", 1)
            by_name.setdefault(name, {})[entry] = value
        unknown = set(by_name) - set(names.values())
        if unknown:
            raise KeyError(f"the optimiser's state belongs to other parameters, such as {min(unknown)}")
        # Goes through load_state_dict, which puts each entry where the optimiser expects it.
        self.optimizer.load_state_dict(
            {
                "state": {i: by_name[names[p]] for i, p in enumerate(parameters) if names[p] in by_name},
                "param_groups": self.optimizer.state_dict()["param_groups"],
            }
        )

    @property
    @override
    def description(self) -> dict[str, Any]:
        return {"distributed_type": self.accelerator.distributed_type.value}
