"""The engine for DeepSpeed's ZeRO, which shards optimiser state, gradients and weights over the processes."""

from __future__ import annotations

import copy
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
from shards.errors import UserError

MOMENTS = ("exp_avg", "exp_avg_sq")
"""What Adam and AdamW keep for each weight, besides the number of steps."""


def skip_shared_memory() -> None:
    """Keeps DeepSpeed from compiling an operator for CPUs that only inference uses; to be called before processes join.

    A start that was killed while it compiled left a lock file on which every later one waited, without end or message.
    """
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


class ZeroEngine(Engine):
    """DeepSpeed's ZeRO of stage 1, 2 or 3 (Rajbhandari et al., SC 2020), with or without offloading to the CPU.

    States are loaded and saved unsharded, with DeepSpeed's functions for single parameters. A run can thus be resumed
    with another stage, another number of processes or without DeepSpeed, and DeepSpeed's own files, which would have to
    be unpickled, are never read.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        settings: RunSettings,
        *,
        per_process: int,
    ) -> None:
        if settings.optimizer.name == "sgd":
            raise UserError(
                "optimizer.name must be adam or adamw with DeepSpeed, since checkpoints store their moments, got sgd; "
                "launch without DeepSpeed"
            )
        self.accelerator = accelerator
        self.settings = settings
        # Stage 3 shards the module's weights; validation and release need an unsharded copy.
        self._whole = copy.deepcopy(module)
        plugin = accelerator.state.deepspeed_plugin
        self.zero_stage = int(plugin.zero_stage)
        plugin.deepspeed_config.update(
            {
                # The training loop counts the parts of a step and marks the last one.
                "gradient_accumulation_steps": 1,
                "train_micro_batch_size_per_gpu": per_process,
                "gradient_clipping": settings.optimizer.max_gradient_norm,
                # Weights and gradients stay float32, as without DeepSpeed.
                "torch_autocast": {
                    "enabled": settings.precision == "bf16",
                    "dtype": "bfloat16",
                    "lower_precision_safe_modules": [],
                },
            }
        )
        self.engine: Any
        self.engine, _ = accelerator.prepare(module, optimizer)
        self.prepared = self.engine
        self.module = self.engine.module

    @override
    def part(self, *, is_last: bool) -> AbstractContextManager[Any]:
        self.engine.set_gradient_accumulation_boundary(is_boundary=is_last)
        return nullcontext()

    @override
    def backward(self, loss: Tensor) -> None:
        self.engine.backward(loss)

    @override
    def update(self, learning_rate: float) -> None:
        set_learning_rate(self.engine.optimizer, learning_rate)
        self.engine.step()

    @override
    def whole_weights(self) -> AbstractContextManager[Any]:
        if self.zero_stage < 3:
            return nullcontext()
        from deepspeed.runtime.zero import GatheredParameters

        return GatheredParameters(list(self.module.parameters()), modifier_rank=0)

    @property
    @override
    def learning_rate(self) -> float:
        return float(self.engine.optimizer.param_groups[0]["lr"])

    @override
    def whole_module(self) -> nn.Module:
        from deepspeed.utils import safe_get_full_fp32_param

        with torch.no_grad():
            for parameter, shared in zip(self._whole.parameters(), self.module.parameters(), strict=True):
                if shared.requires_grad:
                    parameter.copy_(safe_get_full_fp32_param(shared))
                    continue
                with self._gathered(shared):
                    parameter.copy_(shared)
            for buffer, own in zip(self._whole.buffers(), self.module.buffers(), strict=True):
                buffer.copy_(own)
        distributed.share_buffers(self._whole)
        return self._whole

    @override
    def state(self) -> TrainingState:
        from deepspeed.utils import safe_get_full_optimizer_state

        entries: dict[str, Tensor] = {}
        steps = self._steps_taken()
        if steps:
            self._link_optimizer_state()
        for name, parameter in self.module.named_parameters() if steps else []:
            if parameter.requires_grad:
                for moment in MOMENTS:
                    entries[f"{name}.{moment}"] = safe_get_full_optimizer_state(parameter, moment).clone()
                entries[f"{name}.step"] = torch.tensor(float(steps))
        return TrainingState(self.whole_module().state_dict(), entries)

    @override
    def load_state(self, state: TrainingState) -> None:
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        self._whole.load_state_dict(state.weights)
        if state.optimizer:
            self._make_optimizer_state(state.optimizer)
        with torch.no_grad():
            for own, whole in zip(self.module.buffers(), self._whole.buffers(), strict=True):
                own.copy_(whole)
            for name, parameter in self.module.named_parameters():
                weight = state.weights[name].to(self.accelerator.device)
                with self._gathered(parameter):
                    parameter.copy_(weight)
                if not parameter.requires_grad:
                    continue
                safe_set_full_fp32_param(parameter, weight)
                for moment in MOMENTS if state.optimizer else ():
                    value = state.optimizer[f"{name}.{moment}"].to(self.accelerator.device)
                    safe_set_full_optimizer_state(parameter, value, moment)

    def _gathered(self, parameter: nn.Parameter) -> AbstractContextManager[Any]:
        """Context in which stage 3's shards of a weight are gathered; on exit the first process's value is used."""
        from deepspeed.runtime.zero import GatheredParameters

        return GatheredParameters([parameter], modifier_rank=0, enabled=self.zero_stage == 3)

    def _make_optimizer_state(self, entries: dict[str, Tensor]) -> None:
        """Gives Adam the state that it would create at its first step, with the saved number of steps."""
        steps = next(value for path, value in entries.items() if path.endswith(".step"))
        zero = self.engine.optimizer
        for group in zero.optimizer.param_groups:
            for flat in group["params"]:
                moments = {moment: torch.zeros_like(flat) for moment in MOMENTS}
                zero.optimizer.state[flat] = {"step": steps.clone(), **moments}
        self._link_optimizer_state()

    def _link_optimizer_state(self) -> None:
        """Links each weight to its part of the optimiser's state.

        DeepSpeed does so itself, but only once, when only the first of several parameter groups has a state.
        """
        from deepspeed.utils import lazy_init_hp_params_optimizer_state

        zero = self.engine.optimizer
        if self.zero_stage < 3:
            for parameters, flat in zip(zero.bit16_groups, zero.single_partition_of_fp32_groups, strict=True):
                lazy_init_hp_params_optimizer_state(parameters, flat, zero.optimizer.state)

    def _steps_taken(self) -> int:
        for values in self.engine.optimizer.optimizer.state.values():
            return int(values["step"])
        return 0

    @property
    @override
    def description(self) -> dict[str, Any]:
        return {"distributed_type": self.accelerator.distributed_type.value, "zero_stage": self.zero_stage}
