"""The towers on the device: autocast beside float32, chunks beside the whole batch, compiled beside eager."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from gpu.closeness import in_full_float32, require_close
from gpu.items import Place
from torch import Tensor, nn
from torch.nn import functional as F

from pretrain.losses.batch_triplet import batch_triplet_loss

if TYPE_CHECKING:
    from pretrain.model import TwoTower

LEAST_COSINE = 0.9
"""Between a gradient in bf16 and in float32, over all weights of towers with group norm: 0.97 on a CPU. With batch norm
and random weights it is 0.93."""
MOST_APART = 0.03
"""Embeddings in bf16 and float32, relative to their length: 0.008 on a CPU."""
CHUNK_TOLERANCE, COMPILED_TOLERANCE = 1e-5, 2e-2


def towers_and_inputs(place: Place, norm: str = "batch") -> tuple[TwoTower, Tensor, Tensor]:
    """The towers of `soundingearth-resnet18` on the device, channels last, and a batch of uint8."""
    from pretrain.model import TwoTower
    from pretrain.model_config import TwoTowerConfig

    pairs, size = (64, 192) if place.is_gpu else (4, 32)
    torch.manual_seed(0)
    towers = TwoTower(TwoTowerConfig(image_size=size, norm=norm)).to(place.device)  # type: ignore[arg-type]
    towers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images, sounds = torch.randint(0, 256, (pairs, 3, size, size)), torch.randint(0, 256, (pairs, 1, 128, 128))
    return towers, images.byte().to(place.device), sounds.byte().to(place.device)


def loss_and_gradient(embed: Any, module: nn.Module, *inputs: Tensor, precision: str) -> tuple[Tensor, Tensor, Tensor]:
    """The batch triplet loss, the gradient of all weights, (weights,), and the embeddings of both sides."""
    from pretrain.precision import autocast

    with autocast(inputs[0].device, precision):
        embeddings = embed(*inputs)
        loss = batch_triplet_loss(*embeddings)
    assert loss.dtype == torch.float32, f"the loss is {loss.dtype}"
    gradients = torch.autograd.grad(loss, [weight for weight in module.parameters() if weight.requires_grad])
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    return loss.detach(), flat, torch.cat([rows.detach().float() for rows in embeddings])


def autocast_stays_near_float32(place: Place) -> dict[str, Any]:
    """bf16 where the device has it: loss in float32, weights in float32, and a gradient that points the same way.

    Raises:
        AssertionError: it does not.
    """
    from pretrain.precision import resolve_precision
    from pretrain.settings.training import RunSettings

    in_full_float32()
    towers, images, sounds = towers_and_inputs(place, "group")
    exact, exact_gradient, reference = loss_and_gradient(both(towers), towers, images, sounds, precision="fp32")
    loss, gradient, embeddings = loss_and_gradient(both(towers), towers, images, sounds, precision="bf16")
    apart = ((embeddings - reference).norm() / reference.norm()).item()
    assert 0 < apart <= MOST_APART, (
        f"embeddings differ by {apart:.2g} of their length, allowed {MOST_APART}; 0: no bf16"
    )
    assert gradient.dtype == torch.float32, f"gradients of the weights are {gradient.dtype}"
    cosine = F.cosine_similarity(gradient, exact_gradient, dim=0).item()
    assert cosine >= LEAST_COSINE, f"gradients in bf16 and float32 have a cosine of {cosine:.4f}, wanted {LEAST_COSINE}"
    chosen = resolve_precision(RunSettings()).precision
    if place.is_gpu and torch.cuda.get_device_capability() >= (8, 0):
        assert chosen == "bf16", f"precision auto became {chosen} on this card"
    return {
        "auto": chosen,
        "cosine": cosine,
        "embeddings apart": apart,
        "loss_bf16": loss.item(),
        "loss_fp32": exact.item(),
    }


def both(towers: TwoTower) -> Any:
    """The function from images and sounds to both embeddings."""
    return lambda images, sounds: (towers.encode_image(images), towers.encode_sound(sounds))


class Dropping(nn.Module):
    """Two small towers with dropout, whose second pass must drop the same units as the first."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Linear(6, 32), nn.GroupNorm(2, 32), nn.Dropout(0.5), nn.Linear(32, 5))
        self.sound = nn.Linear(6, 5)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Both embeddings."""
        return {"image": self.image(batch["image"]), "sound": self.sound(batch["sound"])}


def chunks_equal_the_whole(place: Place) -> dict[str, Any]:
    """The embedding cache (`optimizer.chunk_size`): the gradient of chunks, embedded literally one after another.

    Raises:
        AssertionError: the gradient differs, such as by other dropped units in the second pass.
    """
    from accelerate import Accelerator

    from pretrain.engines.data_parallel import DataParallelEngine
    from pretrain.settings.training import RunSettings
    from pretrain.training.gradient_cache import backward_part

    in_full_float32()
    torch.manual_seed(0)
    towers, pairs, chunk = Dropping().to(place.device), 10, 4
    batch = {name: torch.randn(pairs, 6).to(place.device) for name in ("image", "sound")}

    def loss_of(outputs: dict[str, Tensor]) -> Tensor:
        return batch_triplet_loss(outputs["image"], outputs["sound"])

    optimizer = torch.optim.Adam(towers.parameters())
    accelerator = Accelerator(cpu=not place.is_gpu)
    engine = DataParallelEngine(accelerator, towers, optimizer, RunSettings(precision="fp32"), per_process=pairs)
    torch.manual_seed(7)
    loss, _ = backward_part(engine, batch, loss_of, is_last=True, chunk_size=chunk)
    ours = [weight.grad.clone() for weight in towers.parameters() if weight.grad is not None]
    towers.zero_grad()
    torch.manual_seed(7)
    parts = [towers({name: rows[i : i + chunk] for name, rows in batch.items()}) for i in range(0, pairs, chunk)]
    literal = loss_of({name: torch.cat([part[name] for part in parts]) for name in batch})
    theirs = torch.autograd.grad(literal, list(towers.parameters()))
    found = [require_close("loss in chunks", loss, literal, CHUNK_TOLERANCE)]
    found += [require_close("gradient in chunks", *pair, CHUNK_TOLERANCE) for pair in zip(ours, theirs, strict=True)]
    return {"worst": max(found)}


def compiled_equals_eager(place: Place) -> dict[str, Any]:
    """Loss and gradient of the compiled towers in float32.

    Raises:
        AssertionError: they differ.
    """
    in_full_float32()
    towers, images, sounds = towers_and_inputs(place)
    eager = both(towers)
    ours, theirs = (
        loss_and_gradient(embed, towers, images, sounds, precision="fp32") for embed in (torch.compile(eager), eager)
    )
    found = [
        require_close(f"{what} of compiled towers", one, other, COMPILED_TOLERANCE)
        for what, one, other in zip(("loss", "gradient", "embeddings"), ours, theirs, strict=True)
    ]
    return {"worst": max(found)}
