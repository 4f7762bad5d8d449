# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

from types import SimpleNamespace

from anomalib.loggers.base import ImageLoggerBase
from anomalib.visualization import ImageVisualizer

from anomalib_plugins.callbacks.logged_heatmaps import MOST, LoggedHeatmaps


class Logger(ImageLoggerBase):
    def __init__(self):
        self.names = []

    def add_image(self, image, name=None, **kwargs):
        self.names.append(name)


class Pictures(ImageVisualizer):
    def visualize(self, item):
        return [[0]]


def test_the_first_images_of_each_test_are_logged():
    logger, callback = Logger(), LoggedHeatmaps()
    trainer, model = SimpleNamespace(loggers=[logger], global_step=0), SimpleNamespace(visualizer=Pictures())
    items = [SimpleNamespace(image_path=f"a/b/good/{number}.png") for number in range(MOST + 1)]
    for test in (1, 2):
        callback.on_test_start(trainer, model)
        for index, batch in enumerate((items[: MOST - 1], items[MOST - 1 :])):
            callback.on_test_batch_end(trainer, model, None, batch, index)
        assert len(logger.names) == test * MOST
    assert logger.names[:2] == ["good/0.png", "good/1.png"]
