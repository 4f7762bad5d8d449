# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from anomalib.data import ImageBatch
from lightning.pytorch import LightningModule
from PIL import Image
from torch.utils.data import DataLoader

from anomalib_plugins.callbacks import SynthesisPreview
from anomalib_plugins.callbacks.preview import draw_preview
from anomalib_plugins.components.pictures import CELL, GAP, HEADER, heat, stretch, table
from anomalib_plugins.synthesis import SimulatedAnomaly, SyntheticBatch

from ...training import quiet_trainer

GENERATOR = SimulatedAnomaly(foreground="none")
IMAGE = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))


class Taught(LightningModule):
    """Learns from random numbers, so that a disturbed random state shows in its weights."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)
        self.seen = 0

    def preview_anomalies(self, images):
        self.seen += 1
        return GENERATOR(images + 0 * torch.rand(()))

    def training_step(self, batch):
        return (self.layer(batch.image.mean((2, 3)) + torch.rand(1)) ** 2).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(folder, *callbacks, model=None):
    torch.manual_seed(0)
    model = model or Taught()
    images = [ImageBatch(image=torch.rand(4, 3, 40, 64)) for _ in range(3)]
    trainer = quiet_trainer(default_root_dir=folder, max_epochs=2, callbacks=list(callbacks))
    trainer.fit(model, DataLoader(images, batch_size=None, shuffle=True))
    return model


def test_training_with_and_without_the_preview_is_identical(tmp_path):
    plain, shown = fit(tmp_path), fit(tmp_path, SynthesisPreview())
    assert shown.seen == 1
    assert torch.equal(plain.layer.weight, shown.layer.weight)
    assert torch.equal(plain.layer.bias, shown.layer.bias)


def test_one_picture_is_saved_in_the_results_folder(tmp_path):
    fit(tmp_path, SynthesisPreview(num_images=3))
    (path,) = tmp_path.iterdir()
    assert path.name == "synthesis_preview.png"
    assert Image.open(path).size == (GAP + 3 * (CELL + GAP), HEADER + 3 * (CELL * 40 // 64 + GAP))


def test_the_picture_goes_where_it_is_asked_to(tmp_path):
    fit(tmp_path, SynthesisPreview(num_images=99, path=tmp_path / "new" / "look.png"))
    assert (tmp_path / "new" / "look.png").is_file()


def test_a_second_fit_saves_again(tmp_path):
    preview = SynthesisPreview()
    model = fit(tmp_path, preview)
    (tmp_path / "synthesis_preview.png").unlink()
    fit(tmp_path, preview, model=model)
    assert (tmp_path / "synthesis_preview.png").is_file()


def test_other_ranks_save_nothing(tmp_path):
    trainer = SimpleNamespace(is_global_zero=False, default_root_dir=tmp_path)
    SynthesisPreview().on_train_batch_start(trainer, Taught(), ImageBatch(image=torch.rand(1, 3, 40, 40)), 0)
    assert not list(tmp_path.iterdir())


def test_a_model_without_anomalies_is_warned_about_and_trained(tmp_path):
    trainer = SimpleNamespace(is_global_zero=True, default_root_dir=tmp_path)
    with pytest.warns(UserWarning, match="Linear has no preview_anomalies"):
        SynthesisPreview().on_train_batch_start(trainer, torch.nn.Linear(1, 1), ImageBatch(image=IMAGE), 0)
    assert not list(tmp_path.iterdir())


def test_a_model_with_nothing_to_show_is_warned_about(tmp_path):
    model, trainer = Taught(), SimpleNamespace(is_global_zero=True, default_root_dir=tmp_path)
    model.preview_anomalies = lambda images: None
    with pytest.warns(UserWarning, match="No preview: .* or none to show"):
        SynthesisPreview().on_train_batch_start(trainer, model, ImageBatch(image=IMAGE), 0)
    assert not list(tmp_path.iterdir())


def test_saliency_has_a_column_where_the_model_gives_it(tmp_path):
    shown = []
    for maps in (None, torch.rand(1, 1, 40, 40)):
        model, trainer = Taught(), SimpleNamespace(is_global_zero=True, default_root_dir=tmp_path)
        model.preview_saliency = lambda images, maps=maps: maps
        SynthesisPreview().on_train_batch_start(trainer, model, ImageBatch(image=IMAGE), 0)
        shown.append(Image.open(tmp_path / "synthesis_preview.png").width)
    assert shown == [GAP + columns * (CELL + GAP) for columns in (3, 4)]


def test_heat_is_the_grey_image_at_zero_and_most_yellow_at_one():
    images = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    grey = images.mean(dim=1, keepdim=True).expand_as(images)
    assert torch.equal(heat(images, torch.zeros(1, 1, 4, 4)), grey)
    red, green, blue = heat(images, torch.ones(1, 1, 4, 4)).unbind(dim=1)
    assert (red == green).all()
    assert (red > blue + 0.7).all()


def test_cells_show_input_anomaly_and_mask():
    images = torch.rand(2, 3, CELL, CELL, generator=torch.Generator().manual_seed(0))
    made = GENERATOR(images, torch.Generator().manual_seed(1))
    picture = np.asarray(draw_preview(images, made._replace(kind=torch.zeros(2, dtype=torch.long))))
    row = HEADER + CELL + GAP
    for column, expected in enumerate((images, made.image, made.mask.expand(-1, 3, -1, -1))):
        left = GAP + column * (CELL + GAP)
        cell = picture[row : row + CELL, left : left + CELL]
        away_from_the_label = np.s_[30:]
        wanted = (expected[1].permute(1, 2, 0).numpy() * 255)[away_from_the_label]
        assert np.abs(cell[away_from_the_label] - wanted).max() <= 1


def test_rows_say_which_kind_they_show():
    images = torch.full((1, 3, 64, 64), 0.5)
    pictures = [
        np.asarray(draw_preview(images, SyntheticBatch(images, images[:, :1], torch.tensor([kind]))))
        for kind in range(3)
    ]
    for i in range(3):
        changed = np.argwhere((pictures[i] != pictures[i - 1]).any(axis=-1))
        assert len(changed) > 0
        assert changed[:, 0].max() < HEADER + 30  # the label, and nothing else
        assert changed[:, 1].min() > GAP + CELL


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="num_images must be at least 1, got 0"):
        SynthesisPreview(num_images=0)


def test_across_turns_rows_into_columns():
    images = torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    series = {"one": images, "other": images[:, :1]}
    down, across = (np.asarray(table(series, cell=40, across=across)) for across in (False, True))
    assert down.shape == (HEADER + 3 * (40 + GAP), GAP + 2 * (40 + GAP), 3)
    assert across.shape == (2 * (HEADER + 40 + GAP), GAP + 3 * (40 + GAP), 3)
    for place in range(2):
        for number in range(3):
            top, left = HEADER + number * (40 + GAP), GAP + place * (40 + GAP)
            there = across[HEADER + place * (HEADER + 40 + GAP) :, GAP + number * (40 + GAP) :][:40, :40]
            assert (there == down[top : top + 40, left : left + 40]).all()


def test_heat_takes_smaller_maps():
    assert heat(IMAGE, torch.ones(1, 1, 10, 10)).shape == IMAGE.shape


def test_stretch_reaches_from_the_median_to_the_highest_pixel():
    assert stretch(torch.tensor([0.5, 0.6, 0.7, 0.8, 0.9])).tolist() == pytest.approx([0, 0, 0, 0.5, 1])
    assert stretch(torch.full((2, 2), 0.5)).eq(0).all()
