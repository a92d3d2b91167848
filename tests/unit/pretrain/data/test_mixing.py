"""FuseMix: one share for both modalities, the same partner, and Beta-distributed shares."""

from __future__ import annotations

import pytest
import torch

from pretrain.data.mixing import mixed_pairs


def test_both_modalities_are_mixed_by_the_same_share_with_the_same_partner() -> None:
    torch.manual_seed(0)
    # Pair i has i in every image feature and 100 i in every sound feature, so a mixture shows what it is of.
    numbers = torch.arange(16.0)[:, None]
    image, sound = mixed_pairs(numbers.expand(16, 3), 100 * numbers.expand(16, 5), alpha=1.0)
    assert image.shape == (16, 3)
    assert sound.shape == (16, 5)
    torch.testing.assert_close(100 * image[:, :1].expand(16, 5), sound)
    assert not torch.equal(image, numbers.expand(16, 3))
    assert image.min() >= 0
    assert image.max() <= 15


@pytest.mark.parametrize(("alpha", "variance"), [(0.2, 0.25 / 1.4), (1.0, 1 / 12), (5.0, 0.25 / 11)])
def test_shares_are_beta_distributed(alpha: float, variance: float) -> None:
    torch.manual_seed(1)
    features = torch.eye(4000)
    mixed, _ = mixed_pairs(features, features, alpha)
    own = mixed.diagonal()
    torch.testing.assert_close(mixed.sum(1), torch.ones(4000))
    # Beta(a, a) has mean 1/2 and variance 1 / (4 (2 a + 1)).
    assert float(own.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(own.var()) == pytest.approx(variance, rel=0.1)


def test_the_same_random_state_gives_the_same_mixture() -> None:
    features = torch.randn(8, 3)
    torch.manual_seed(2)
    first = mixed_pairs(features, features, 1.0)
    torch.manual_seed(2)
    second = mixed_pairs(features, features, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
