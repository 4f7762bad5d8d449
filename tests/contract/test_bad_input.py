# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What every registered model does with data as users have it, through anomalib's engine."""

import shutil

import numpy as np
import pytest
import torch
from anomalib.data import Folder, PredictDataset
from anomalib.pre_processing import PreProcessor
from PIL import Image
from torchvision.transforms.v2 import Compose, Normalize, Resize

from anomalib_plugins.callbacks.data_check import DataCheckError
from anomalib_plugins.data import SyntheticAnomaly


@pytest.fixture
def folder(photos, tmp_path):
    """A copy of the photos, to be spoilt."""
    return shutil.copytree(photos, tmp_path / "photos")


def parts(folder, **arguments):
    """A datamodule of the folder."""
    folders = {"normal_dir": "good", "abnormal_dir": "bad", "normal_test_dir": "good_test", "mask_dir": "mask"}
    return Folder(name="discs", root=folder, num_workers=0, seed=0, **{"train_batch_size": 4, **folders, **arguments})


def refuse_training(monkeypatch, model):
    """Fail at the first training step: what is refused must be refused before."""

    def step(*args, **kwargs):
        pytest.fail("training began")

    monkeypatch.setattr(type(model), "training_step", step)
    return model


def pixels(path):
    return np.asarray(Image.open(path))


def spoil(how, path):
    """Make a file something that cannot be trained on."""
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:200])
    elif how == "text":
        path.write_text("not an image")
    elif how == "empty":
        path.write_bytes(b"")
    else:
        Image.fromarray(pixels(path)[..., 0].astype(np.uint16) * 257).save(path)


@pytest.mark.parametrize("split", ["good", "bad"])
@pytest.mark.parametrize(
    ("how", "problem"),
    [("truncated", "is damaged"), ("text", "is not an image"), ("empty", "is empty"), ("16-bit", "has 16-bit")],
)
def test_unusable_file_is_named_before_training(build, fit, folder, monkeypatch, how, problem, split):
    path = folder / split / "3.png"
    spoil(how, path)
    with pytest.raises(DataCheckError, match=rf"{path} {problem}"):
        fit(refuse_training(monkeypatch, build()), data=parts(folder))


def test_empty_training_folder_is_named(build, fit, folder, monkeypatch):
    shutil.rmtree(folder / "good")
    (folder / "good").mkdir()
    with pytest.raises(RuntimeError, match=rf"Found 0 .* images in {folder}/good with extensions"):  # anomalib's own
        fit(refuse_training(monkeypatch, build()), data=parts(folder))


def test_defects_in_the_training_split_are_named(build, fit, folder, monkeypatch):
    data = parts(folder)
    read_folder = data._setup

    def with_defects(stage=None):
        read_folder(stage)
        data.train_data.samples.loc[:2, "label_index"] = 1

    monkeypatch.setattr(data, "_setup", with_defects)
    with pytest.raises(DataCheckError, match=rf"3 of 5 training images are defects(.|\n)*{folder}/good"):
        fit(refuse_training(monkeypatch, build()), data=data)


def test_anomalies_made_for_training_are_refused(build, fit, folder, monkeypatch):
    data = SyntheticAnomaly(parts(folder), train=True, anomaly_ratio=0.6)
    with pytest.raises(DataCheckError, match=r"train of SyntheticAnomaly, .* must stay false"):
        fit(refuse_training(monkeypatch, build()), data=data)


def test_pre_processor_that_normalises_is_refused(plugin, build, fit, folder, monkeypatch):
    normalising = PreProcessor(Compose([Resize((64, 64)), Normalize([0.5] * 3, [0.5] * 3)]))
    with pytest.raises(ValueError, match=f"{plugin.name} normalises inside its network"):
        fit(refuse_training(monkeypatch, build(pre_processor=normalising)), data=parts(folder))


def test_single_training_image_is_warned_about_and_works(build, fit, folder):
    for path in (folder / "good").glob("[1-9].png"):
        path.unlink()
    with pytest.warns(UserWarning, match="There is one training image"):
        done = fit(build(), data=parts(folder))
    assert all(each.isfinite().all() for name, each in done.state.items() if not name.startswith("post_processor"))


@pytest.fixture(scope="module")
def mixed(photos, tmp_path_factory):
    """Photos of which one is grey, one RGBA, one with a palette, and one of another size."""
    folder = shutil.copytree(photos, tmp_path_factory.mktemp("mixed") / "photos")
    good = folder / "good"
    for i, mode in enumerate(("L", "RGBA", "P")):
        Image.open(good / f"{i}.png").convert(mode).save(good / f"{i}.png")
    Image.open(good / "3.png").resize((80, 50)).save(good / "3.png")
    return folder


@pytest.fixture(scope="module")
def trained_on_mixed(build, fit, mixed):
    """Trained at a size divisible by nothing, one image at a time."""
    return fit(build(image_size=(73, 101)), data=parts(mixed, train_batch_size=1))


def test_images_of_any_kind_and_size_train_one_by_one(trained_on_mixed):
    assert trained_on_mixed.model.schedule.finished
    assert trained_on_mixed.model.input_size == (73, 101)


def test_grey_and_transparent_images_score_as_their_colours_do(trained_on_mixed, mixed, tmp_path):
    model, engine = trained_on_mixed[:2]
    image = Image.open(mixed / "good" / "4.png").convert("L")
    for mode in ("L", "RGB", "RGBA"):
        image.convert(mode).save(tmp_path / f"{mode}.png")
    batches = engine.predict(model, dataset=PredictDataset(tmp_path))
    scores = torch.cat([batch.pred_score for batch in batches])
    assert len(scores) == 3
    assert scores.unique().numel() == 1
