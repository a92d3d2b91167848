"""Trackers, which record a run in addition to metrics.jsonl; a new one is a file here and a line in `TRACKERS`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shards.registry import Registry

if TYPE_CHECKING:
    from pretrain.trackers.tracker import Tracker

TRACKERS: Registry[type[Tracker]] = Registry(
    "tracker",
    {
        "mlflow": "pretrain.trackers.mlflow_tracker:MlflowTracker",
        "tensorboard": "pretrain.trackers.tensorboard_tracker:TensorBoardTracker",
        "wandb": "pretrain.trackers.wandb_tracker:WandbTracker",
        "none": "pretrain.trackers.no_tracker:NoTracker",
    },
    takes_outside_code=True,
    subclass_of="pretrain.trackers.tracker:Tracker",
)
