# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Which files a prediction leaves; what is in them is in ``tests/faults/test_monitoring.py``."""

import pandas as pd
import pytest
import torch
from anomalib.data import ImageBatch
from lightning.pytorch import Trainer

from anomalib_plugins.callbacks.prediction_summary import PredictionSummary


@pytest.mark.parametrize(("label", "written"), [(0, True), (1, False)], ids=["no defect", "a defect of unknown place"])
def test_defects_are_written_if_the_places_of_all_are_known(tmp_path, label, written):
    trainer, summary = Trainer(default_root_dir=tmp_path, logger=False, accelerator="cpu"), PredictionSummary()
    image, label = torch.zeros(1, 3, 8, 8), torch.tensor([label])
    batch = ImageBatch(image, image_path=["gone.png"], pred_score=torch.ones(1), pred_label=label)
    summary.on_predict_start(trainer, None)
    summary.write_on_batch_end(trainer, None, batch, [0], batch, 0, 0)
    summary.on_predict_end(trainer, None)
    assert (tmp_path / "predictions.csv").is_file()
    assert (tmp_path / "defects.csv").is_file() == written
    assert not written or pd.read_csv(tmp_path / "defects.csv").empty
