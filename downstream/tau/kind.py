"""Audiovisual scenes of TAU's clips: settings and scores, as Chen et al. (2022) have them."""

from __future__ import annotations

from dataclasses import dataclass, field

from downstream.kinds import Kind
from downstream.protocols import BenchmarkProtocol
from downstream.settings import DownstreamSettings
from downstream.tau import tables
from downstream.tau.settings import TauSettings
from pretrain.settings.training import OptimizerSettings


@dataclass(frozen=True)
class TauRunSettings(DownstreamSettings):
    """A strategy of Chen et al. (2022) on TAU's clips."""

    tau: TauSettings = field(default_factory=TauSettings)


TAU = Kind(
    name="tau",
    title="audiovisual scenes of TAU",
    protocols=(
        BenchmarkProtocol(
            # Ours, for the paper names none: the momentum, and periods of 10, 20, 40 and 80 epochs, which make up its
            # 150.
            TauRunSettings(
                epochs=150,
                optimizer=OptimizerSettings(
                    name="sgd",
                    learning_rate=1e-2,
                    momentum=0.9,
                    warmup_epochs=0.0,
                    final_fraction=1e-3,
                    restart_epochs=10.0,
                    restart_growth=2.0,
                ),
            ),
            "as Chen et al. (2022), section 3.2",
        ),
    ),
    reporting=tables.TAU,
    checker="downstream.tau.running:check_tau",
    runner="downstream.tau.running:run_tau",
)
