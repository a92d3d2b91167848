"""A part of a step in chunks: the gradients of the whole, at a chunk's memory."""

from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from pretrain.engines.data_parallel import DataParallelEngine
from pretrain.losses.batch_triplet import batch_triplet_loss
from pretrain.settings.training import RunSettings
from pretrain.training.gradient_cache import backward_part

PAIRS, FEATURES, DIM = 10, 6, 5


class Towers(nn.Module):
    """Two small towers, and a loss with a weight of its own."""

    def __init__(self, norm: nn.Module, dropout: float) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Linear(FEATURES, 8), norm, nn.Dropout(dropout), nn.Linear(8, DIM))
        self.sound = nn.Linear(FEATURES, DIM)
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.seen: list[int] = []

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        self.seen.append(len(batch["image"]))
        return {"image": self.image(batch["image"]), "sound": self.sound(batch["sound"])}

    def loss(self, outputs: dict[str, Tensor]) -> Tensor:
        return batch_triplet_loss(outputs["image"] * self.scale, outputs["sound"])


def batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(PAIRS, FEATURES, generator=generator) for name in ("image", "sound")}


def gradients(chunk_size: int, *, norm: nn.Module | None = None, dropout: float = 0.0) -> tuple[Towers, Tensor]:
    torch.manual_seed(0)
    towers = Towers(norm or nn.GroupNorm(2, 8), dropout)
    settings = RunSettings(precision="fp32")
    optimizer = torch.optim.Adam(towers.parameters())
    engine = DataParallelEngine(Accelerator(cpu=True), towers, optimizer, settings, per_process=PAIRS)
    torch.manual_seed(7)
    loss, outputs = backward_part(engine, batch(), towers.loss, is_last=True, chunk_size=chunk_size)
    assert len(outputs["image"]) == PAIRS
    assert not outputs["image"].requires_grad
    return towers, loss


@pytest.mark.parametrize("chunk_size", [1, 3, 5, 9])
def test_gradients_are_those_of_the_whole(chunk_size: int) -> None:
    whole, expected = gradients(0)
    chunked, loss = gradients(chunk_size)
    assert loss == pytest.approx(expected.item(), rel=1e-6)
    for (name, weight), other in zip(chunked.named_parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(weight.grad, other.grad, rtol=1e-5, atol=1e-7, msg=name)
    assert whole.scale.grad is not None
    assert whole.scale.grad != 0
    assert max(chunked.seen) == chunk_size
    assert sum(chunked.seen) == 2 * PAIRS


@pytest.mark.parametrize("chunk_size", [0, PAIRS, PAIRS + 1])
def test_a_chunk_that_holds_everything_is_embedded_once(chunk_size: int) -> None:
    assert gradients(chunk_size)[0].seen == [PAIRS]


def test_both_passes_drop_the_same_units() -> None:
    # With other units dropped in the second pass, the gradient would be of a loss that was never computed. Shown by
    # the literal computation: each chunk once, with its random numbers in turn.
    chunked, loss = gradients(4, dropout=0.5)
    torch.manual_seed(0)
    literal = Towers(nn.GroupNorm(2, 8), 0.5)
    torch.manual_seed(7)
    parts = [literal({name: value[i : i + 4] for name, value in batch().items()}) for i in range(0, PAIRS, 4)]
    expected = literal.loss({name: torch.cat([part[name] for part in parts]) for name in ("image", "sound")})
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(chunked.image[0].weight.grad, literal.image[0].weight.grad, rtol=1e-5, atol=1e-7)


def test_running_statistics_see_each_chunk_once() -> None:
    chunked, _ = gradients(5, norm=nn.BatchNorm1d(8))
    norm = chunked.image[1]
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.num_batches_tracked == PAIRS // 5
