# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Thresholds where there are no validation images."""

from itertools import islice
from typing import Any

import torch
from anomalib.models import AnomalibModule
from anomalib.post_processing import PostProcessor
from lightning.pytorch.utilities.rank_zero import rank_zero_warn


def has_thresholds(model: AnomalibModule) -> bool:
    """Whether a model makes labels by thresholds."""
    return isinstance(model.post_processor, PostProcessor) and model.post_processor.enable_thresholding


def lacks_threshold(model: AnomalibModule) -> bool:
    """Whether a model compares scores with a threshold that was never set."""
    return has_thresholds(model) and bool(model.post_processor.image_threshold.isnan())


def tell_missing_threshold(model: AnomalibModule) -> None:
    """Warn if labels mean nothing."""
    if lacks_threshold(model):
        rank_zero_warn(
            f"This {type(model).__name__} has no threshold: its scores are raw, and labels compare them with 0.5. "
            "Load a checkpoint of a finished training."
        )


@torch.no_grad()
def calibrate_on_training(model: AnomalibModule, loader: Any) -> None:
    """Set the thresholds of a trained model to the highest scores of its training photos, and warn."""
    training, post, trainer = model.training, model.post_processor, model.trainer
    model.eval()
    transform = getattr(model.pre_processor, "transform", None)
    count, ranges = 0, {kind: [torch.inf, -torch.inf] for kind in ("image", "pixel")}
    with torch.random.fork_rng(devices=[]):  # the loader draws from it
        for batch in islice(loader, 1) if trainer.fast_dev_run else loader:
            images = batch.image.to(model.device)
            with trainer.precision_plugin.val_step_context():  # as test and prediction will score
                prediction = model.model(transform(images) if transform else images)
            count += len(images)
            for kind, values in (("image", prediction.pred_score), ("pixel", prediction.anomaly_map)):
                low, high = ranges[kind]
                ranges[kind] = [min(low, values.min().item()), max(high, values.max().item())]
    count = int(_of_all_devices(model, count, "sum"))
    for kind, (lowest, highest) in ranges.items():
        low, high = _of_all_devices(model, lowest, "min"), _of_all_devices(model, highest, "max")
        for name, value in ((f"{kind}_min", low), (f"{kind}_max", high), (f"_{kind}_threshold", high)):
            getattr(post, name).fill_(value)
    model.train(training)
    rank_zero_warn(
        f"There are no validation images: thresholds are the highest scores of the {count} training photos. Expect "
        "false alarms, most of all from models with a memory, to which training photos are no news. Better give "
        "validation images."
    )


def _of_all_devices(model: AnomalibModule, value: float, operation: str) -> float:
    """Sum, minimum or maximum over all devices."""
    return float(model.trainer.strategy.reduce(torch.tensor(float(value), device=model.device), reduce_op=operation))
