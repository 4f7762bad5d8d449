# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Growth of cost with images, patches, resolution and batch size."""

from collections.abc import Iterator
from functools import partial

import torch

from tools.latency import build, in_torch
from tools.speed import Options, coreset, padim
from tools.speed.inference import MODELS
from tools.timing import Measurement, side_by_side

IMAGES = (15, 30, 60, 120)
PATCHES = (2_500, 5_000, 10_000, 20_000)
PICKED = 0.05
SIDES = (128, 192, 256)
BATCHES = (1, 2, 4, 8)


def images(options: Options) -> Iterator[Measurement]:
    """Yield rows of PaDiM's fit by number of images."""
    for count in (4, 6) if options.quick else IMAGES:
        batches = padim.smooth_embeddings(count, 8 if options.quick else 64).split(padim.BATCH)
        ways = {"anomalib Padim": partial(padim.theirs, batches), "SbmPfamPadim": partial(padim.ours, batches)}
        for row in side_by_side("PaDiM's fit", ways, 1):
            yield {"by": "images", "value": count, **row}


def patches(options: Options) -> Iterator[Measurement]:
    """Yield rows of the coreset by number of patches."""
    for count in (300, 600) if options.quick else PATCHES:
        picks = int(PICKED * count)
        for row in coreset.coreset_rows(count, picks):
            yield {"by": "patches", "value": count, **row}


def resolution_and_batch(options: Options) -> Iterator[Measurement]:
    """Yield rows of inference of whole models in torch with float32, by resolution and by batch size."""
    sides = (64, 96) if options.quick else SIDES
    batches = (1, 2) if options.quick else BATCHES
    names = list(MODELS)[-2:] if options.quick else list(MODELS)
    for side in sides:
        models = {name: build(name, side, MODELS[name]) for name in reversed(names)}
        for batch in batches if side == sides[0] else (1,):
            image = torch.rand(batch, 3, side, side)
            ways = {name: partial(next(in_torch(name, model)).call, image) for name, model in models.items()}
            for row in side_by_side(
                f"inference, batch {batch}, {side} px, torch float32", ways, min(3, options.rounds)
            ):
                if batch == 1:
                    yield {"by": "resolution", "value": side, **row}
                if side == sides[0]:
                    yield {"by": "batch", "value": batch, **row}


def measure(options: Options) -> Iterator[Measurement]:
    """Yield rows that name the varied quantity in ``by`` and its value in ``value``."""
    yield from images(options)
    yield from patches(options)
    yield from resolution_and_batch(options)
