"""What MLflow's page shows of the experiment: its runs as model training, and their scores as columns of the list."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

KIND_TAG, TRAINING_KIND = "mlflow.experimentKind", "custom_model_development"
"""Versions of MLflow that ask for an experiment's kind open it as GenAI without this tag."""
VIEW_NAME = "scores"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW_NAME}"
"""A shared view of the list of runs, opened by `?workflowType=machine_learning&viewStateShareKey=scores`.

MLflow 3.17 opens on GenAI unless the address, or the reader's last visit, has that `workflowType`, whatever the kind.
"""

COLUMNS = (
    *("val/image_to_sound/recall_at_10", "val/image_to_sound/median_rank"),
    *("val/sound_to_image/recall_at_10", "val/sound_to_image/median_rank"),
    *("val/view_to_view/recall_at_10", "val/view_to_view/median_rank"),
    *("test/image_to_sound/recall_at_10", "test/image_to_sound/median_rank"),
    *("test/sound_to_image/recall_at_10", "test/sound_to_image/median_rank"),
    *("test/accuracy", "test/f1", "test/overall_accuracy", "test/mean_iou", "test/both/f1", "test/log_loss"),
    *("rows/done", "rows/planned"),  # of a comparison's parent run
)
"""Metrics that the list shows; MLflow leaves out those that no run has."""


def missing_tags(tags: Mapping[str, Any]) -> dict[str, str]:
    """The tags that an experiment with these tags still needs; those that it has are kept as they are."""
    return {name: value for name, value in _tags().items() if name not in tags}


def _tags() -> dict[str, str]:
    columns = [f"metrics.`{name}`" for name in COLUMNS]
    return {KIND_TAG: TRAINING_KIND, VIEW_TAG: json.dumps({"selectedColumns": columns})}
