# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What tests of callbacks share."""

import pytest
import torch
from anomalib.data import ImageBatch, ImageItem
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader


@pytest.fixture
def fit():
    """Train one of anomalib's models on four images, three and one, with callbacks."""

    def run(model, *callbacks):
        images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        items = [ImageItem(image=image, gt_label=torch.tensor(0)) for image in images]
        data = DataLoader(items, batch_size=3, collate_fn=ImageBatch.collate)
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        arguments = {"accelerator": "cpu", "max_epochs": 1, "enable_model_summary": False, **model.trainer_arguments}
        Trainer(callbacks=list(callbacks), limit_val_batches=0, **quiet, **arguments).fit(model, data)
        return model

    return run
