# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Which files a prediction leaves and what a test logs; what is in them is in ``tests/faults/test_monitoring.py``."""

from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from anomalib.data import ImageBatch
from anomalib.loggers import AnomalibTensorBoardLogger
from anomalib.visualization import ImageVisualizer
from lightning.pytorch import Trainer
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from anomalib_plugins.callbacks.logged_heatmaps import MOST, LoggedHeatmaps
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
    summary.on_predict_end(trainer, None)
    assert (tmp_path / "predictions_2.csv").is_file(), "the first prediction was overwritten"


def test_heatmaps_of_the_first_test_images_are_logged(tmp_path):
    (tmp_path / "bad").mkdir()
    logger = AnomalibTensorBoardLogger(str(tmp_path))
    trainer, model = Trainer(logger=logger, accelerator="cpu"), SimpleNamespace(visualizer=ImageVisualizer())
    count, callback = MOST // 2 + 1, LoggedHeatmaps()
    for step in range(3):
        maps = {"anomaly_map": torch.rand(count, 8, 8), "pred_mask": torch.ones(count, 8, 8)}
        paths = [str(tmp_path / f"bad/{step}_{number}.png") for number in range(count)]
        for path in paths:
            Image.new("RGB", (8, 8)).save(path)
        batch = ImageBatch(torch.rand(count, 3, 8, 8), image_path=paths, **maps)
        callback.on_test_batch_end(trainer, model, batch, batch, step)
    logger.experiment.flush()
    events = EventAccumulator(logger.log_dir).Reload()
    names = events.Tags()["images"]
    assert len(names) == MOST
    assert {"bad/0_0.png", f"bad/1_{MOST - count - 1}.png"} <= set(names)
    assert events.Images(names[0])[0].width > 256
