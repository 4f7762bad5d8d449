# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Lightning's trainer without an engine around it, and what a training changed."""

import torch
from anomalib.data import ImageBatch, ImageItem
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader


def quiet_trainer(**options):
    """Writes nothing and shows nothing."""
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    return Trainer(**{"accelerator": "cpu", **quiet, **options})


def good_images(count=4, size=(32, 32), batch_size=4, **options):
    """A loader of noise without defects."""
    images = torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(0))
    items = [
        ImageItem(image=image, gt_label=torch.tensor(0), image_path=f"{number}.png")
        for number, image in enumerate(images)
    ]
    return DataLoader(items, batch_size=batch_size, collate_fn=ImageBatch.collate, **options)


def state(module):
    return {name: each.clone() for name, each in module.state_dict().items()}


def moved(before, module):
    """Names of the tensors that are no longer what they were."""
    return {name for name, each in module.state_dict().items() if not torch.equal(each, before[name])}


def fit(model, data=None, **options):
    """Train with the model's own callbacks."""
    quiet_trainer(**options).fit(model, data or good_images())
    return model
