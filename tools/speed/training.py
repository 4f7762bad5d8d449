# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Training steps with several precisions, memory layouts and compilation, with shares of loading and synthesis."""

import tempfile
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from anomalib.data import AnomalibDataModule
from anomalib.models import AnomalibModule, get_model

from anomalib_plugins.data import DemoParts
from tools.speed import Options
from tools.step_time import LAYOUTS, MODEL_ARGS, shares, timed
from tools.timing import Measurement, summarise

MODELS = {"Slsg": True, "Pouta": False}  # whether to compile the model too, which takes minutes
BATCH = 2  # images per step
TURNS = 2  # largest number of timings


class Training(NamedTuple):
    """Way to train.

    Attributes:
        precision: Lightning's name of the precision.
        layout: Memory layout of the weights, a key of `LAYOUTS`.
        compiled: Whether the model is compiled by ``torch.compile``.
    """

    precision: str
    layout: str
    compiled: bool = False


WAYS = {
    "float32": Training("32-true", "contiguous"),
    "float32, channels_last": Training("32-true", "channels_last"),
    "bfloat16": Training("bf16-mixed", "contiguous"),
    "bfloat16, channels_last": Training("bf16-mixed", "channels_last"),
    "bfloat16, channels_last, torch.compile": Training("bf16-mixed", "channels_last", compiled=True),
}


def made(name: str, side: int, way: Training) -> AnomalibModule:
    """Build a model with random weights that starts with the phase of simulated anomalies."""
    size = {"image_size": [side, side], "batch_size": BATCH}
    model = get_model(name, seed=0, visualizer=False, evaluator=False, **size, **MODEL_ARGS.get(name, {}))
    model.to(memory_format=LAYOUTS[way.layout])
    if way.compiled:
        model.model.compile()
    return model


def rows(
    name: str, side: int, ways: Mapping[str, Training], turns: int, data: AnomalibDataModule
) -> Iterator[Measurement]:
    """Yield a row for each way to train one model, timed in turns.

    Args:
        name: Name of the model in anomalib.
        side: Side of the images, in pixels.
        ways: Ways to train, by name. Others are compared with the first.
        turns: Number of timings of each.
        data: Training data with batches of `BATCH` images.
    """
    models = {label: made(name, side, way) for label, way in ways.items()}
    rounds = [
        torch.cat([timed(models[label], data, "cpu", way.precision, 1, warm_up=1) for label, way in ways.items()])
        for _ in range(turns)
    ]
    seconds = torch.stack(rounds, dim=-1)  # (ways, 3, 2, turns)
    for row, parts in zip(
        summarise(f"{name}, a step of {BATCH} images of {side} px", list(ways), seconds.sum(dim=1).transpose(0, 1)),
        seconds[:, :, 1].quantile(0.5, dim=-1),
        strict=True,
    ):
        yield row | dict(zip(("loading", "synthesis"), shares(parts), strict=True))


def measure(options: Options) -> Iterator[Measurement]:
    """Yield rows of both models at 256 px, on demo parts that are loaded between steps."""
    side = 64 if options.quick else 256
    with tempfile.TemporaryDirectory() as folder:
        data = DemoParts(folder, image_size=side, train_batch_size=BATCH, num_workers=0)
        for name, compiled in MODELS.items():
            ways = {label: way for label, way in WAYS.items() if not way.compiled or (compiled and not options.quick)}
            yield from rows(name, side, ways, min(TURNS, options.rounds), data)
