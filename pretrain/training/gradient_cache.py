"""Forward and backward pass of one part of a step: at once, or in chunks under a loss over all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from pretrain.engines import Engine

LossOf = Callable[[dict[str, Tensor]], Tensor]
"""From the module's outputs for this process's part of a batch to the loss, a scalar."""


def backward_part(
    engine: Engine, batch: Mapping[str, Tensor], loss_of: LossOf, *, is_last: bool, chunk_size: int = 0
) -> tuple[Tensor, dict[str, Tensor]]:
    """Adds the gradients of one part of a step.

    Args:
        engine: what is trained.
        batch: this process's part, tensors of n items each.
        loss_of: the loss, which may gather outputs from other processes.
        is_last: whether it is the step's last part, after which gradients are shared.
        chunk_size: items per forward pass; 0, or n and more: all.

    Returns:
        The loss and the outputs, detached.
    """
    num_items = min(len(value) for value in batch.values())
    if 0 < chunk_size < num_items:
        return _backward_in_chunks(engine, batch, loss_of, is_last=is_last, chunk_size=chunk_size)
    with engine.part(is_last=is_last):
        outputs = engine.forward(batch)
        loss = loss_of(outputs)
        engine.backward(loss)
    return loss.detach(), {name: value.detach() for name, value in outputs.items()}


def _backward_in_chunks(
    engine: Engine, batch: Mapping[str, Tensor], loss_of: LossOf, *, is_last: bool, chunk_size: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """The embedding cache of GradCache (Gao et al., RepL4NLP 2021, section 3.2).

    All chunks are embedded without a graph, the loss gives the gradient of each embedding, and each chunk is embedded
    again and driven backwards from there: memory is that of one chunk, the gradient that of the whole. Both passes see
    the same random numbers; buffers, such as batch norm's running statistics, advance in the second one only.
    """
    split = {name: value.split(chunk_size) for name, value in batch.items()}
    chunks = [dict(zip(split, values, strict=True)) for values in zip(*split.values(), strict=True)]
    buffers = [(buffer, buffer.clone()) for buffer in engine.module.buffers()]
    random_states, parts = [], []
    with torch.no_grad():
        for chunk in chunks:
            random_states.append(_random_state(engine.accelerator.device))
            parts.append(engine.forward(chunk))
        for buffer, before in buffers:
            buffer.copy_(before)

    outputs = {name: torch.cat([part[name] for part in parts]).requires_grad_() for name in parts[0]}
    loss = loss_of(outputs)
    # A loss may have parameters of its own, such as a temperature, which are in no chunk's graph.
    weights = [weight for weight in engine.module.parameters() if weight.requires_grad]
    gradients = torch.autograd.grad(loss, [*outputs.values(), *weights], allow_unused=True)
    output_gradients = dict(zip(outputs, gradients, strict=False))
    of_weights = [
        (weight, gradient)
        for weight, gradient in zip(weights, gradients[len(outputs) :], strict=True)
        if gradient is not None
    ]

    starts = range(0, chunk_size * len(chunks), chunk_size)
    for start, chunk, random_state in zip(starts, chunks, random_states, strict=True):
        is_last_chunk = start == starts[-1]
        with engine.part(is_last=is_last and is_last_chunk):
            _set_random_state(engine.accelerator.device, random_state)
            again = engine.forward(chunk)
            surrogate = torch.zeros((), device=loss.device)
            for name, gradient in output_gradients.items():
                if gradient is not None:
                    surrogate = surrogate + (again[name] * gradient[start : start + chunk_size]).sum()
            for weight, gradient in of_weights if is_last_chunk else ():
                surrogate = surrogate + (weight * gradient).sum()
            engine.backward(surrogate)
    return loss.detach(), {name: value.detach() for name, value in outputs.items()}


def _random_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def _set_random_state(device: torch.device, state: tuple[Tensor, Tensor | None]) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1], device)
