"""A trained network of TAU's scenes on disk: it comes back whole, and its acoustic encoder alone; mistakes are said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from downstream.tau.joint_network import AcousticEncoder, JointNetwork
from downstream.tau.kind import TauRunSettings
from downstream.tau.network_files import read_acoustic_encoder, read_network, write_joint_network
from downstream.tau.settings import TauSettings
from shards.errors import UserError

AUDIO = TauRunSettings(benchmark="tau-scenes", tau=TauSettings(strategy="audio"))


def network(seed: int) -> JointNetwork:
    generator = np.random.default_rng(seed)
    torch.manual_seed(seed)
    return JointNetwork(10, acoustic=AcousticEncoder(generator.uniform(1, 2, (2, 2, 290)).astype(np.float32)))


def test_a_network_comes_back_and_so_does_its_encoder(tmp_path: Path) -> None:
    written = network(0)
    write_joint_network(tmp_path, written, AUDIO)
    batch = {"acoustic": torch.randn(3, 2, 290)}
    expected = written.eval()(batch)["logits"]
    torch.testing.assert_close(read_network(tmp_path, network(1)).eval()(batch)["logits"], expected)
    encoder = read_acoustic_encoder(tmp_path, "scalogram").eval()
    torch.testing.assert_close(encoder(batch["acoustic"]), written.acoustic(batch["acoustic"]))


def test_networks_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no network in .*model\.safetensors: .*; give the folder of a finished run"):
        read_acoustic_encoder(tmp_path, "scalogram")
    write_joint_network(tmp_path, network(0), AUDIO)
    with pytest.raises(UserError, match=r"tau.features must be that of .*, scalogram, got fbank"):
        read_acoustic_encoder(tmp_path, "fbank")
    write_joint_network(tmp_path, network(0), replace(AUDIO, tau=TauSettings(strategy="joint")))
    with pytest.raises(UserError, match=r"was trained under tau.strategy joint, .*; give a run of tau.strategy audio"):
        read_acoustic_encoder(tmp_path, "scalogram")
    write_joint_network(tmp_path, network(0), AUDIO)
    with pytest.raises(UserError, match=r"the network in .* can't be loaded: .*; start again with another --out"):
        read_network(tmp_path, JointNetwork(10, embedding_width=4))
    write_joint_network(tmp_path, JointNetwork(10, embedding_width=4), AUDIO)
    with pytest.raises(UserError, match=r"holds no acoustic encoder; give a run of tau.strategy audio"):
        read_acoustic_encoder(tmp_path, "scalogram")
