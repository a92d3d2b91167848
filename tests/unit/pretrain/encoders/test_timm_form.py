"""Encoders as networks of timm's registry: same features, and none where timm has no such network."""

from __future__ import annotations

import pytest
import timm
import torch

from pretrain.encoders.building import build_encoder
from pretrain.encoders.encoder import Encoder


def encoder_of(name: str, channels: int, norm: str) -> Encoder:
    """An encoder in evaluation mode, whose weights and statistics all matter."""
    torch.manual_seed(0)
    encoder = build_encoder(name, channels=channels, input_size=(64, 64), norm=norm)
    with torch.no_grad():
        for key, value in encoder.state_dict().items():
            if key.endswith("running_mean"):
                value.normal_(0, 0.1)
            elif key.endswith(("running_var", "bn2.weight", "bn3.weight")):
                value.uniform_(0.7, 1.4)
    return encoder.eval()


@pytest.mark.parametrize(
    ("name", "channels", "norm", "is_exact"),
    [
        ("resnet18", 3, "batch", True),
        ("resnet18", 1, "group", True),
        ("resnet50", 1, "sync", True),
        ("timm:resnet10t.c3_in1k", 1, "batch", True),
        ("timm:vit_tiny_patch16_224", 3, "batch", True),
        ("narrow-resnet10", 3, "batch", False),
        ("narrow-resnet10", 1, "sync", False),
        ("soundingearth-resnet50", 1, "batch", False),
    ],
)
def test_timm_builds_the_same_function(name: str, channels: int, norm: str, is_exact: bool) -> None:
    encoder = encoder_of(name, channels, norm)
    form = encoder.timm_form()
    assert form is not None
    assert form.is_exact == is_exact
    assert "." not in form.architecture
    network = timm.create_model(form.architecture, num_classes=0, **form.arguments)
    network.load_state_dict(form.state)  # strict: no weight is missing
    inputs = torch.randn(2, channels, 64, 64)
    with torch.inference_mode():
        ours, theirs = encoder(inputs), network.eval()(inputs)
    assert ours.abs().max() > 0
    if is_exact:
        assert torch.equal(ours, theirs)
    torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-5 * float(ours.abs().max()))


@pytest.mark.parametrize(
    ("name", "norm"),
    [
        # Its first block has a projection where timm's, of as many channels as timm's stem, has none.
        ("soundingearth-resnet18", "batch"),
        # A wider stem would change the groups.
        ("narrow-resnet10", "group"),
        ("efficientnet-v2-s", "batch"),
        ("tile2vec-resnet18", "batch"),
    ],
)
def test_networks_that_timm_can_not_build(name: str, norm: str) -> None:
    assert encoder_of(name, 3, norm).timm_form() is None
