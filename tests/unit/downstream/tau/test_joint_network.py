"""The network of joint scene classification: shapes and parameters by hand, what is frozen, segments by a slow loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from downstream.tau.joint_network import AcousticEncoder, JointNetwork, ResidualBlock, scene_classifier
from downstream.tau.segment_scores import class_wise_scores
from downstream.tau.visual_encoder import VisualEncoder
from pretrain.encoders.encoder import Encoder
from pretrain.weights.encoder_weights import LoadedEncoder


class MeanColours(Encoder):
    """An encoder of three features, so that a test takes milliseconds."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.mean((2, 3)) * self.scale


def visual_encoder() -> VisualEncoder:
    return VisualEncoder(LoadedEncoder(MeanColours(), 3, "colours", "random"))


def acoustic_encoder(bands: int = 290) -> AcousticEncoder:
    torch.manual_seed(0)
    return AcousticEncoder(np.stack([np.zeros((2, bands)), np.ones((2, bands))]).astype(np.float32))


def num_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("bands", "lengths"), [(290, (144, 71, 35, 17)), (256, (127, 63, 31, 15))])
def test_lengths_and_parameters_by_hand(bands: int, lengths: tuple[int, ...]) -> None:
    encoder = acoustic_encoder(bands)
    signal = torch.randn(2, 2, bands)
    for block, length in zip(encoder.blocks, lengths, strict=True):
        signal = block(signal)
        assert signal.shape[2] == length
    # Two convolutions of kernel 3 with bias a block, and a norm.
    blocks = sum(2 * (3 * a * b + b) + 2 * b for a, b in ((2, 4), (4, 8), (8, 16), (16, 32)))
    flat = 2 * bands + 32 * lengths[-1]
    head = (flat * 2048 + 2048 + 2 * 2048) + (2048 * 1024 + 1024 + 2 * 1024)
    assert num_parameters(encoder) == blocks + head
    assert encoder(torch.randn(3, 2, bands)).shape == (3, 1024)
    assert num_parameters(scene_classifier(1280, 10)) == 1280 * 1024 + 1024 + 2 * 1024 + 1024 * 10 + 10


def test_a_block_by_literal_loops() -> None:
    torch.manual_seed(1)
    block = ResidualBlock(2, 3).double().eval()
    signal = torch.randn(1, 2, 11, dtype=torch.float64)
    convolved = torch.zeros(3, 9, dtype=torch.float64)
    conv, norm = block.path[0], block.path[1]
    for channel in range(3):
        for place in range(9):
            total = (conv.weight[channel] * signal[0, :, place : place + 3]).sum() + conv.bias[channel]
            convolved[channel, place] = torch.relu(total / torch.sqrt(torch.tensor(1 + norm.eps)))
    padded = torch.cat([torch.zeros(3, 1), convolved, torch.zeros(3, 1)], 1)
    for place in range(5):
        pooled = padded[:, 2 * place : 2 * place + 3].sum(1) / 3
        skipped = (block.skip.weight * signal[0, :, 2 * place : 2 * place + 3]).sum((1, 2)) + block.skip.bias
        torch.testing.assert_close(block(signal)[0, :, place], pooled + skipped)
    assert block(signal).shape == (1, 3, 5)


def test_the_visual_encoder_never_moves_and_the_acoustic_one_when_it_is_frozen() -> None:
    for freeze in (False, True):
        network = JointNetwork(10, acoustic=acoustic_encoder(), visual=visual_encoder(), freeze_acoustic=freeze)
        network.train()
        assert network.classifier.training
        assert not network.visual.training
        assert network.acoustic.training is not freeze
        moved = {name.split(".")[0] for name, value in network.named_parameters() if value.requires_grad}
        assert moved == ({"classifier"} if freeze else {"classifier", "acoustic"})
        batch = {"acoustic": torch.randn(4, 2, 290), "image": torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)}
        before = {name: value.clone() for name, value in network.acoustic.state_dict().items()}
        network(batch)["logits"].sum().backward()
        changed = any(not torch.equal(before[name], value) for name, value in network.acoustic.state_dict().items())
        assert changed is not freeze
        assert (network.acoustic.head[0].weight.grad is None) is freeze


def test_frames_are_normalised_by_the_statistics() -> None:
    frames = torch.randn(3, 2, 290)
    mean, std = np.full((2, 290), 2.0), np.full((2, 290), 3.0)
    torch.manual_seed(0)
    other = AcousticEncoder(np.stack([mean, std]).astype(np.float32)).eval()
    torch.testing.assert_close(other(frames * 3 + 2), acoustic_encoder().eval()(frames), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("source", ["audio", "video", "both", "embedding"])
def test_segments_are_the_mean_over_their_frames(source: str) -> None:
    torch.manual_seed(2)
    clips = {
        "acoustic": torch.randn(2, 86, 2, 290),
        "image": torch.randint(0, 256, (2, 10, 3, 8, 8), dtype=torch.uint8),
        "embedding": torch.randn(2, 10, 5),
        "label": torch.zeros(2),
    }
    used = {"audio": ["acoustic"], "video": ["image"], "both": ["acoustic", "image"]}.get(
        source, ["acoustic", "embedding"]
    )
    network = JointNetwork(
        10,
        acoustic=acoustic_encoder() if "acoustic" in used else None,
        visual=visual_encoder() if "image" in used else None,
        embedding_width=5 if "embedding" in used else 0,
    ).eval()
    found = network.segment_probabilities({name: clips[name] for name in (*used, "label")})
    for clip in range(2):
        for second in (0, 3, 9):
            of_frames = []
            for frame in range(3 if "acoustic" in used else 1):
                batch = {name: clips[name][clip, second][None] for name in used if name != "acoustic"}
                if "acoustic" in used:
                    batch["acoustic"] = clips["acoustic"][clip, 56 + 3 * second + frame][None]
                of_frames.append(network(batch)["logits"].softmax(1)[0])
            torch.testing.assert_close(found[clip, second], torch.stack(of_frames).mean(0))
    assert found.shape == (2, 10, 10)
    # What the classifier takes in, as the mean over a second's frames.
    inputs: list[torch.Tensor] = []
    network.classifier.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    network.segment_probabilities({name: clips[name] for name in (*used, "label")})
    embeddings = network.segment_embeddings({name: clips[name] for name in (*used, "label")})
    assert embeddings.shape == (2, 10, network.embedding_dim)
    frames = 3 if "acoustic" in used else 1
    torch.testing.assert_close(embeddings, inputs[0].view(2, 10, frames, -1).mean(2))
    if "acoustic" in used:
        assert network.acoustic is not None
        heard = network.acoustic(clips["acoustic"][1, 56 + 9 : 56 + 12]).mean(0)
        torch.testing.assert_close(embeddings[1, 3, :1024], heard)


def test_class_wise_scores_are_scikit_learns() -> None:
    from sklearn.metrics import balanced_accuracy_score, log_loss

    generator = np.random.default_rng(0)
    truth = generator.choice(4, 200, p=[0.6, 0.2, 0.15, 0.05])
    probabilities = generator.dirichlet(np.ones(4), 200).astype(np.float32)
    probabilities[0] = np.eye(4)[(truth[0] + 1) % 4]
    scores = class_wise_scores(truth, probabilities)
    losses = [log_loss(truth[truth == label], probabilities[truth == label], labels=range(4)) for label in range(4)]
    assert scores["log_loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert scores["accuracy"] == pytest.approx(balanced_accuracy_score(truth, probabilities.argmax(1)))
    assert np.isfinite(scores["log_loss"])
    # A class without segments counts for nothing.
    assert class_wise_scores(np.array([2]), np.eye(4, dtype=np.float32)[2:3]) == {"log_loss": 0.0, "accuracy": 1.0}


def test_it_computes_in_bfloat16_too() -> None:
    network = JointNetwork(10, acoustic=acoustic_encoder(), embedding_width=5)
    batch = {"acoustic": torch.randn(4, 2, 290), "embedding": torch.randn(4, 5)}
    clips = {"acoustic": torch.randn(2, 86, 2, 290), "embedding": torch.randn(2, 10, 5)}
    with torch.autocast("cpu", torch.bfloat16):
        assert network.train()(batch)["logits"].shape == (4, 10)
        found = network.eval().segment_probabilities(clips)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, network.segment_probabilities(clips), atol=0.02, rtol=0.1)
