"""Collapse: what spread and effective rank say of known embeddings, and when the warning comes."""

from __future__ import annotations

import pytest
import torch

from pretrain.training.collapse import PATIENCE, CollapseWatch, EmbeddingHealth, embedding_health


def test_equal_spread_over_k_axes_has_effective_rank_k() -> None:
    embeddings = torch.cat([torch.eye(6)[:4], -torch.eye(6)[:4]])
    health = embedding_health(embeddings)
    assert health.effective_rank == pytest.approx(4.0)
    assert health.relative_spread == pytest.approx(1.0)


def test_embeddings_on_a_line_have_effective_rank_one() -> None:
    health = embedding_health(torch.arange(10.0)[:, None] * torch.tensor([[1.0, 2.0, 3.0]]))
    assert health.effective_rank == pytest.approx(1.0, abs=1e-6)
    assert health.is_collapsed


@pytest.mark.parametrize("value", [0.0, 1.0, 1e6])
def test_embeddings_that_coincide_are_collapsed(value: float) -> None:
    assert embedding_health(torch.full((8, 4), value)) == EmbeddingHealth(0.0, 1.0)


def test_random_embeddings_are_healthy() -> None:
    embeddings = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
    health = embedding_health(embeddings)
    assert not health.is_collapsed
    assert 12 < health.effective_rank <= 16


def test_warns_once_when_the_loss_falls_into_collapse() -> None:
    watch = CollapseWatch()
    healthy, dead = EmbeddingHealth(0.9, 10.0), EmbeddingHealth(0.001, 1.0)
    assert watch.observe(1, 1.2, {"image": healthy}, first_loss=None) is None
    assert watch.observe(2, 1.1, {"image": healthy}, first_loss=1.2) is None
    warning = watch.observe(3, 1.0, {"image": dead, "sound": healthy}, first_loss=1.2)
    assert warning is not None
    assert "step 3" in warning
    assert "image" in warning
    assert "sound" not in warning
    assert watch.observe(4, 1.0, {"image": dead}, first_loss=1.2) is None


def test_does_not_warn_of_an_untrained_network() -> None:
    watch = CollapseWatch()
    narrow = EmbeddingHealth(0.001, 1.0)
    assert watch.observe(1, 1.0, {"image": narrow}, first_loss=None) is None
    assert watch.observe(2, 1.3, {"image": narrow}, first_loss=1.0) is None


DEAD, HEALTHY = EmbeddingHealth(0.001, 1.0), EmbeddingHealth(0.9, 10.0)


def first_warning(healths: list[EmbeddingHealth], losses: list[float], first_loss: float | None) -> tuple[int, str]:
    """The number of the observation that warns, and what it says."""
    watch = CollapseWatch()
    for number, (health, loss) in enumerate(zip(healths, losses, strict=True), start=1):
        warning = watch.observe(10 * number, loss, {"image": HEALTHY, "other": health}, first_loss=first_loss)
        if warning:
            return number, warning
    return 0, ""


def test_warns_of_embeddings_that_stay_collapsed_under_a_loss_that_does_not_fall() -> None:
    number, warning = first_warning([DEAD] * 9, [1.5] * 9, 1.2)
    assert number == PATIENCE
    assert f"have collapsed and stayed so until step {10 * PATIENCE}, while the loss went from 1.2 to 1.5" in warning
    assert "other: relative spread 0.001" in warning
    assert "image" not in warning


def test_embeddings_that_recover_in_between_begin_anew() -> None:
    healths = [DEAD] * (PATIENCE - 1) + [HEALTHY] + [DEAD] * PATIENCE
    assert first_warning(healths, [1.5] * len(healths), 1.2)[0] == 2 * PATIENCE
    assert first_warning(healths[:-1], [1.5] * (len(healths) - 1), 1.2)[0] == 0


def test_a_loss_that_falls_at_last_needs_no_patience() -> None:
    assert first_warning([DEAD] * 3, [1.5, 1.5, 1.1], 1.2)[0] == 3


def test_warns_once_of_embeddings_that_stay_collapsed() -> None:
    watch = CollapseWatch()
    warnings = [watch.observe(step, 1.5, {"image": DEAD}, first_loss=1.2) for step in range(5 * PATIENCE)]
    assert sum(warning is not None for warning in warnings) == 1


def test_collapse_before_the_first_logged_loss_counts_too() -> None:
    watch = CollapseWatch()
    assert watch.observe(1, 1.2, {"image": DEAD}, first_loss=None) is None
    later = [watch.observe(step, 1.3, {"image": DEAD}, first_loss=1.2) for step in range(2, PATIENCE + 1)]
    assert [warning is not None for warning in later] == [False] * (PATIENCE - 2) + [True]
