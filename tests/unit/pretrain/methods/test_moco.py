"""MoCo: its loss against a literal form, its queue against a list, its shuffled statistics and its momentum encoder."""

from __future__ import annotations

import copy
import math
from contextlib import nullcontext

import pytest
import torch
from accelerate import Accelerator
from hypothesis import given
from hypothesis import strategies as st
from tiny_shards import write_tiny_shards
from torch import Tensor
from torch.nn import functional as F

from pretrain.data.strong_views import StrongImageView
from pretrain.data.views import TwoImageViews
from pretrain.engines.data_parallel import DataParallelEngine
from pretrain.losses import momentum_contrast
from pretrain.losses.momentum_contrast import MomentumContrastLoss, momentum_contrast_loss
from pretrain.methods.moco import Moco, random_order
from pretrain.methods.settings import MocoConfig, MocoSettings
from pretrain.model import TwoTower
from pretrain.model_config import TwoTowerConfig
from pretrain.settings.pretraining import StrongViewSettings
from pretrain.settings.training import OptimizerSettings, RunSettings
from pretrain.training.gradient_cache import backward_part
from shards.errors import UserError
from shards.manifest import Manifest

TEMPERATURE = 0.3


def vectors(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, dtype=torch.float64, generator=generator), dim=-1).to(dtype)


def literal(queries: Tensor, keys: Tensor, queue: Tensor, num_filled: int) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for i in range(len(queries)):
        own = torch.exp(queries[i] @ keys[i] / TEMPERATURE)
        others = sum(torch.exp(queries[i] @ queue[j] / TEMPERATURE) for j in range(num_filled))
        total = total - torch.log(own / (own + others))
    return total / len(queries)


@pytest.mark.parametrize("tile", [3, 8192])
@pytest.mark.parametrize("num_filled", [1, 4, 10])
def test_value_and_gradient_are_those_of_the_literal_form(
    num_filled: int, tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(momentum_contrast, "TILE", tile)
    queries, keys, queue = vectors(6, 5).requires_grad_(), vectors(6, 5, seed=1), vectors(10, 5, seed=2)
    expected = literal(queries, keys, queue, num_filled)
    loss = momentum_contrast_loss(queries, keys, queue, torch.tensor(num_filled), TEMPERATURE)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    (found,) = torch.autograd.grad(3 * loss, queries)
    (wanted,) = torch.autograd.grad(3 * expected, queries)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


def test_two_queries_by_hand() -> None:
    # Similarity 1 with the own key, 0 and −1 with the queue, at temperature 0.5: e² among e², 1 and e⁻².
    queries = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    queue = torch.tensor([[0.0, 1.0], [-1.0, 0.0], [7.0, 7.0]])
    loss = momentum_contrast_loss(queries, queries, queue, torch.tensor(2), 0.5)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-2) + math.exp(-4)))


@pytest.mark.parametrize("num_filled", [0, 3, 8])
def test_embeddings_that_coincide(num_filled: int) -> None:
    same = F.normalize(torch.ones(4, 3), dim=1)
    queries = same.clone().requires_grad_()
    loss = momentum_contrast_loss(queries, same, same[:1].expand(8, 3), torch.tensor(num_filled))
    assert loss.item() == pytest.approx(math.log(1 + num_filled), abs=1e-6)
    (gradient,) = torch.autograd.grad(loss, queries)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-6, rtol=0)


def test_half_precision_is_computed_in_float32() -> None:
    queries, keys, queue = (vectors(6, 5, seed=seed, dtype=torch.bfloat16) for seed in range(3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = momentum_contrast_loss(queries, keys, queue, torch.tensor(6), TEMPERATURE)
    assert loss.dtype == torch.float32
    expected = literal(queries.double(), keys.double(), queue.double(), 6)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_what_does_not_fit_is_refused() -> None:
    queries, queue, filled = vectors(4, 5), vectors(6, 5), torch.tensor(6)
    with pytest.raises(ValueError, match="at least 2 pairs"):
        momentum_contrast_loss(queries[:1], queries[:1], queue, filled)
    with pytest.raises(ValueError, match="one shape"):
        momentum_contrast_loss(queries, queries[:3], queue, filled)
    with pytest.raises(ValueError, match=r"queue must be \(k, 5\), got \(6, 4\)"):
        momentum_contrast_loss(queries, queries, queue[:, :4], filled)
    with pytest.raises(ValueError, match="temperature must be > 0, got 0"):
        momentum_contrast_loss(queries, queries, queue, filled, 0.0)
    loss = momentum_contrast_loss(queries.requires_grad_(), vectors(4, 5, seed=1), queue, filled)
    with pytest.raises(RuntimeError, match="only once"):
        torch.autograd.grad(loss, queries, create_graph=True)


@given(size=st.integers(1, 12), batches=st.lists(st.integers(1, 30), max_size=8))
def test_the_queue_holds_the_last_keys_in_their_order(size: int, batches: list[int]) -> None:
    loss, seen = MomentumContrastLoss(size, 1), 0
    past: list[float] = []
    for n in batches:
        keys = torch.arange(seen, seen + n, dtype=torch.float32)[:, None]
        loss.enqueue(keys)
        past = (past + keys[:, 0].tolist())[-size:]
        seen += n
        filled, following = int(loss.queue_filled), int(loss.queue_next)
        assert filled == len(past)
        oldest = following if filled == size else 0
        assert loss.queue.roll(-oldest, 0)[:filled, 0].tolist() == past


def test_a_batch_is_told_from_the_batches_before_it_alone() -> None:
    loss = MomentumContrastLoss(10, 5, TEMPERATURE)
    batches = [(vectors(4, 5, seed=2 * i).requires_grad_(), vectors(4, 5, seed=2 * i + 1)) for i in range(4)]
    past = torch.empty(0, 5, dtype=torch.float64)
    for queries, keys in batches:
        value = loss(queries, keys)
        expected = literal(queries, keys, past, len(past))
        assert value.item() == pytest.approx(expected.item(), rel=1e-6, abs=1e-12)
        # The keys are in the queue before the backward pass, which must not see them.
        (found,) = torch.autograd.grad(value, queries)
        if len(past):
            (wanted,) = torch.autograd.grad(expected, queries)
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
        else:
            assert found.abs().max() < 1e-12
        past = torch.cat([past, keys])[-10:]


@given(n=st.integers(1, 60), draw=st.integers(0, 10_000))
def test_an_order_is_a_permutation_of_its_draw(n: int, draw: int) -> None:
    order = random_order(n, torch.tensor(draw))
    assert sorted(order.tolist()) == list(range(n))
    assert torch.equal(order, random_order(n, torch.tensor(draw)))


def test_orders_are_spread_evenly() -> None:
    counts = torch.zeros(5, 5)
    for draw in range(2000):
        counts[torch.arange(5), random_order(5, torch.tensor(draw))] += 1
    assert counts.min() > 320  # of 400 each
    assert counts.max() < 480


def moco(norm: str, *, key_groups: int = 2, momentum: float = 0.9) -> Moco:
    """A small one whose momentum encoder has gone another way than the trained one."""
    torch.manual_seed(0)
    towers = TwoTower(TwoTowerConfig(embedding_dim=8, norm=norm, image_size=32))
    views = TwoImageViews(StrongImageView(StrongViewSettings(), 32), 32)
    method = Moco(towers, views, MocoSettings(queue_size=12, key_groups=key_groups, momentum=momentum))
    with torch.no_grad():
        for weight in (*method.momentum_towers.parameters(), *method.momentum_rest_of_head.parameters()):
            weight.add_(0.02 * torch.randn_like(weight))
    return method.train()


def images(n: int = 8) -> Tensor:
    pixels = torch.randint(0, 256, (n, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    return (pixels * torch.linspace(0.2, 1, n).view(n, 1, 1, 1)).to(torch.uint8)


def key_of(method: Moco, group: Tensor) -> Tensor:
    """The momentum encoder's keys of images that are embedded together, without a trace in it."""
    encoder = copy.deepcopy(method)
    with torch.no_grad():
        return F.normalize(encoder.momentum_rest_of_head(encoder.momentum_towers.encode_image(group)), dim=1)


@pytest.mark.parametrize("key_groups", [1, 2, 3])
def test_with_group_norm_shuffled_keys_are_those_of_the_images_in_their_order(key_groups: int) -> None:
    method = moco("group", key_groups=key_groups)
    batch = {"image": images().flip(3), "other_image": images()}
    for draw in range(3):
        assert method.draws == draw
        outputs = method(batch)
        torch.testing.assert_close(outputs["key"], key_of(method, images()), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(outputs["query"].norm(dim=1), torch.ones(8))
    assert not outputs["key"].requires_grad
    assert outputs["query"].requires_grad


def test_batch_statistics_are_those_of_shuffled_groups() -> None:
    method = moco("batch")
    in_order = key_of(method, images())
    for draw in range(3):
        order = random_order(8, torch.tensor(draw))
        expected = torch.empty(8, 8)
        for group in (order[:4], order[4:]):
            expected[group] = key_of(method, images()[group])
        keys = method({"image": images(), "other_image": images()})["key"]
        torch.testing.assert_close(keys, expected, rtol=1e-4, atol=1e-5)
        assert (keys - in_order).norm(dim=1).min() > 1e-2


def test_the_momentum_encoder_follows_exactly_and_alone() -> None:
    method = moco("batch", momentum=0.9)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    method.after_step(nullcontext)
    after = method.state_dict()
    followed = 0
    for name, value in after.items():
        if not name.startswith("momentum_") or "running" in name or "num_batches" in name:
            assert torch.equal(value, before[name]), name
            continue
        target = name.removeprefix("momentum_")
        torch.testing.assert_close(value, 0.9 * before[name] + 0.1 * before[target], rtol=1e-5, atol=1e-7)
        assert not torch.equal(value, before[name])
        followed += 1
    assert followed == len(list(method.towers.image_tower.parameters())) + 2


def test_running_statistics_of_each_encoder_are_of_what_it_saw() -> None:
    method = moco("batch")
    method({"image": images(), "other_image": 255 - images()})
    method.after_step(nullcontext)
    own, followed = (towers.image_tower.trunk.bn1 for towers in (method.towers, method.momentum_towers))
    assert (own.num_batches_tracked, followed.num_batches_tracked) == (1, 2)
    assert (own.running_mean - followed.running_mean).abs().max() > 1e-3


def test_only_the_trained_encoder_has_gradients_and_starts_as_the_other() -> None:
    torch.manual_seed(0)
    towers = TwoTower(TwoTowerConfig(embedding_dim=8, image_size=32))
    method = Moco(towers, TwoImageViews(StrongImageView(StrongViewSettings(), 32), 32), MocoSettings(queue_size=12))
    state = method.state_dict()
    for name, value in state.items():
        if name.startswith("momentum_"):
            assert torch.equal(value, state[name.removeprefix("momentum_")]), name
    trained = {name for name, weight in method.named_parameters() if weight.requires_grad}
    assert {name.split(".")[0] for name in trained} == {"towers", "rest_of_head"}
    assert not any("sound" in name for name in trained)


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_the_embedding_cache_sees_one_draw_and_one_queue_in_both_passes(norm: str) -> None:
    gradients, methods = [], []
    for chunk_size in (0, 4):
        method = moco(norm)
        method.contrast.enqueue(vectors(9, 8, dtype=torch.float32))
        optimizer = torch.optim.Adam(weight for weight in method.parameters() if weight.requires_grad)
        accelerator = Accelerator(cpu=True)
        engine = DataParallelEngine(accelerator, method, optimizer, RunSettings(precision="fp32"), per_process=8)
        batch = {"image": images().flip(3), "other_image": images()}
        backward_part(
            engine,
            batch,
            lambda outputs, method=method: method.loss(outputs, {}),
            is_last=True,
            chunk_size=chunk_size,
        )
        gradients.append(method.rest_of_head[1].weight.grad)
        methods.append(method)
    whole, chunked = methods
    assert (whole.draws, chunked.draws) == (1, 2)
    assert whole.contrast.queue_next == chunked.contrast.queue_next == (9 + 8) % 12
    if norm == "group":
        torch.testing.assert_close(chunked.contrast.queue, whole.contrast.queue, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-6)
    else:
        # Two groups in each of two chunks, counted in the second pass alone.
        assert chunked.momentum_towers.image_tower.trunk.bn1.num_batches_tracked == 4


def test_what_the_processes_do_not_send_around_is_the_queue() -> None:
    method = moco("group")
    assert set(method._ddp_params_and_buffers_to_ignore) <= dict(method.named_buffers()).keys()
    assert method.get_buffer(method._ddp_params_and_buffers_to_ignore[0]).shape == (12, 8)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return Manifest.load(write_tiny_shards(tmp_path_factory.mktemp("moco") / "shards", {"train": 20, "val": 3}))


@pytest.mark.parametrize(
    ("settings", "optimizer", "sentence"),
    [
        (
            MocoSettings(queue_size=21),
            OptimizerSettings(),
            "moco.queue_size must be at most the 20 pairs of the training split, or each image would have its "
            "own past keys as negatives, got 21; 0 takes 10",
        ),
        (
            MocoSettings(queue_size=20, key_groups=5),
            OptimizerSettings(),
            "moco.key_groups must be at most half of the 8 images that a process embeds at once, .* got 5",
        ),
        (
            MocoSettings(queue_size=20, key_groups=2),
            OptimizerSettings(chunk_size=5),
            "at most half of the 3 images that a process embeds at once, .* got 2",
        ),
        (
            MocoSettings(queue_size=20, key_groups=2),
            OptimizerSettings(accumulation=4),
            "at most half of the 2 images that a process embeds at once, .* got 2",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    settings: MocoSettings, optimizer: OptimizerSettings, sentence: str, manifest: Manifest
) -> None:
    with pytest.raises(UserError, match=sentence):
        Moco.from_config(MocoConfig(batch_size=8, moco=settings, optimizer=optimizer), manifest)


@pytest.mark.parametrize("chunk_size", [0, 4, 8])
def test_settings_that_just_fit_are_taken(chunk_size: int, manifest: Manifest) -> None:
    config = MocoConfig(
        batch_size=8, moco=MocoSettings(queue_size=20), optimizer=OptimizerSettings(chunk_size=chunk_size)
    )
    assert len(Moco.from_config(config, manifest).contrast.queue) == 20


def test_the_usual_queue_holds_half_of_the_training_split(manifest: Manifest) -> None:
    assert len(Moco.from_config(MocoConfig(batch_size=8), manifest).contrast.queue) == 10
