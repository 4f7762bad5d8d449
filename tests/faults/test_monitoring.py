# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""A model in use: light that changes, and thresholds that have to."""

import logging
import re
import shutil
import sys
import warnings
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from anomalib.data import Folder, InferenceBatch
from anomalib.deploy import OpenVINOInferencer
from anomalib.models import AnomalibModule
from lightning.pytorch import Callback
from lightning.pytorch.cli import SaveConfigCallback
from PIL import Image, ImageEnhance
from torch import nn
from torch.testing import assert_close

from anomalib_plugins.callbacks import DataCheck, DriftWarning
from anomalib_plugins.callbacks.checkpoint_files import SafeCheckpointIO
from anomalib_plugins.commands.threshold import main
from anomalib_plugins.components.drift import DriftMonitor
from anomalib_plugins.components.normal_scores import NormalScores
from anomalib_plugins.models.base import PluginModule

from ..photos import draw
from .conftest import SIZE, datamodule, engine

GOOD = 30


class Darkness(nn.Module):
    """Maps how dark an image is; its score is the mean."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, images):
        anomaly_map = self.scale * (1 - images.mean(dim=1, keepdim=True))
        return InferenceBatch(pred_score=anomaly_map.mean(dim=(1, 2, 3)), anomaly_map=anomaly_map)


class Dark(PluginModule, AnomalibModule):
    """The smallest model that can be used: dark parts are defects."""

    trainer_arguments = property(lambda self: {})

    def __init__(self, visualizer=False):
        super().__init__(visualizer=visualizer, pre_processor=self.configure_pre_processor(SIZE))
        self.model = Darkness()

    def training_step(self, batch, *args):
        return 0 * self.model(batch.image).pred_score.sum()

    def validation_step(self, batch, *args):
        return batch.update(**self.model(batch.image)._asdict())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def photos(folder, brightness=1.0, seed=1, count=GOOD):
    """Good photos in another light."""
    for number in range(count):
        path = folder / f"{number}.png"
        draw(path, np.random.default_rng([seed, number]))
        ImageEnhance.Brightness(Image.open(path)).enhance(brightness).save(path)
    return folder


@pytest.fixture(scope="module")
def used(original, tmp_path_factory):
    """A checkpoint of a model that has seen 33 good photos in validation, and 6 defects."""
    folder = tmp_path_factory.mktemp("used")
    part = shutil.copytree(original, folder / "part")
    photos(part / "test/good/more", seed=2)
    for path in (part / "test/good/more").iterdir():
        path.rename(part / f"test/good/more_{path.name}")
    engine(folder, max_epochs=1).fit(Dark(), datamodule=datamodule(part))
    return folder / "weights/model.ckpt"


def predict(checkpoint, folder, tmp_path):
    """What a model of a checkpoint says of photos, and whether it warns."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        batches = engine(tmp_path).predict(Dark(), data_path=folder, ckpt_path=checkpoint)
    scores, labels = (torch.cat([getattr(batch, name) for batch in batches]) for name in ("pred_score", "pred_label"))
    return scores, labels, [str(each.message) for each in caught if "have moved" in str(each.message)]


def exported(checkpoint, folder):
    """The model of a checkpoint in OpenVINO, on one photo at a time."""
    path = Dark.load_from_checkpoint(checkpoint).to_openvino(folder)
    inferencer = OpenVINOInferencer(path, device="CPU", config={"INFERENCE_PRECISION_HINT": "f32"})

    def predict(photos):
        predictions = [inferencer.predict(photo) for photo in sorted(photos.iterdir())]
        return np.array([each.pred_score.item() for each in predictions]), [
            each.pred_label.item() for each in predictions
        ]

    return predict


def test_light_that_changes_is_warned_of_once_and_light_that_does_not_is_not(used, tmp_path):
    *_, said = predict(used, photos(tmp_path / "same"), tmp_path)
    assert not said
    _, labels, said = predict(used, photos(tmp_path / "darker", brightness=0.97), tmp_path)
    assert not labels.any()
    assert len(said) == 1
    assert re.search(r"median is 0\.\d+ in the last 30 parts, 0\.\d+ in validation \(p = .*Has the light", said[0])


def test_a_photo_that_validation_shows_twice_is_one_good_part():
    watch, labels = DriftWarning(), torch.tensor([False, False, True])
    for paths, scores in ((["a", "b", "c"], [0.1, 0.2, 0.9]), (["a", "d", "b"], [0.1, 0.3, 0.8])):
        outputs = SimpleNamespace(pred_score=torch.tensor(scores), gt_label=labels)
        watch.on_validation_batch_end(None, None, outputs, SimpleNamespace(image_path=paths))
    watch.on_validation_epoch_end(SimpleNamespace(sanity_checking=False), None)
    assert_close(watch.scores, torch.tensor([0.1, 0.2, 0.3]))
    for scores in ([0.4, 0.5, 0.6], [0.4, 0.7, 0.8]):  # photos without a path are all different
        outputs = SimpleNamespace(pred_score=torch.tensor(scores), gt_label=labels.flip(0))
        watch.on_validation_batch_end(None, None, outputs, SimpleNamespace(image_path=None))
    watch.on_validation_epoch_end(SimpleNamespace(sanity_checking=False), None)
    assert_close(watch.scores, torch.tensor([0.1, 0.2, 0.3, 0.5, 0.6, 0.7, 0.8]))


def test_prediction_ends_with_how_many_images_are_anomalous_and_where_their_heatmaps_are(used, tmp_path, caplog):
    folder = photos(tmp_path / "same", count=2)
    (dark,) = photos(folder / "dark", brightness=0.3, count=1).iterdir()
    Image.open(dark).resize((200, 100)).save(dark)
    with caplog.at_level(logging.INFO):
        batches = engine(tmp_path).predict(Dark(visualizer=True), data_path=folder, ckpt_path=used)
    bad = sum(int(batch.pred_label.sum()) for batch in batches)
    said = re.search(r"(\d) of 3 images judged anomalous.\s+Heatmaps: (\S+)", caplog.text)
    assert int(said[1]) == bad == 1
    assert len(list(Path(said[2]).rglob("*.png"))) == 3
    rows = pd.read_csv(re.search(r"Scores: (\S+)", caplog.text)[1])
    assert [Path(path).parent.name for path in rows.image_path[rows.pred_label == 1]] == ["dark"]
    assert_close(torch.tensor(rows.pred_score), torch.cat([batch.pred_score for batch in batches]).double())
    found = pd.read_csv(re.search(r"Defects: (\S+)", caplog.text)[1])
    assert set(found.image_path) == {str(dark)}
    assert (found.left + found.width).max() == 200  # in pixels of the photo, not of the model's image
    assert (found.top + found.height).max() == 100
    marked = sum(int(batch.pred_mask.sum()) for batch in batches if batch.pred_label.all())
    assert found.share.sum() == pytest.approx(marked / (SIZE[0] * SIZE[1]), abs=1e-3)


class Kept(Callback):
    """Counts the batches that are still in memory."""

    def __init__(self):
        self.seen = []

    def on_predict_batch_end(self, trainer, pl_module, outputs, *args):
        self.seen.append(weakref.ref(outputs))
        self.batches = sum(each() is not None for each in self.seen)


class CommandLine(SaveConfigCallback):
    """What tells the command line from Python."""

    def setup(self, *args, **kwargs):
        pass


def test_the_command_line_keeps_no_images_of_a_prediction(used, tmp_path):
    folder, kept = photos(tmp_path / "same", count=6), Kept()
    assert engine(tmp_path, kept, CommandLine(None, None)).predict(Dark(), data_path=folder, ckpt_path=used) is None
    assert kept.batches <= 2
    assert len(pd.read_csv(next(tmp_path.rglob("predictions.csv")))) == 6
    assert len(engine(tmp_path).predict(Dark(), data_path=folder, ckpt_path=used)) == 6


@pytest.mark.skipif(sys.platform != "linux", reason="forks processes")
def test_several_devices_write_every_photo_once_in_order(used, tmp_path):
    folder = photos(tmp_path / "same", count=5)
    good = sorted(map(str, folder.iterdir()))
    (folder / "2a.png").write_bytes(b"")
    two = engine(tmp_path, DataCheck("skip"), devices=2, strategy="ddp_fork")
    two.predict(Dark(), data_path=folder, ckpt_path=used)
    table = pd.read_csv(next(tmp_path.rglob("predictions.csv")))
    assert list(table.image_path) == good


def trained_on(call):
    """What a test or a prediction says of photos that were trained on."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(each.message) for each in caught if "were trained on" in str(each.message)]


def test_photos_that_were_trained_on_are_named_in_test_and_prediction(used, original, tmp_path):
    held_out = {"root": original, "normal_dir": "train/good", "abnormal_dir": "test/hole", "num_workers": 0}
    first, other = (Folder(name="part", **held_out, test_split_ratio=0.5, seed=seed) for seed in (0, 1))
    engine(tmp_path, max_epochs=1).fit(Dark(), datamodule=first)
    checkpoint = tmp_path / "weights/model.ckpt"
    assert not trained_on(lambda: engine(tmp_path).test(Dark(), datamodule=first, ckpt_path=checkpoint))
    (said,) = trained_on(lambda: engine(tmp_path).test(Dark(), datamodule=other, ckpt_path=checkpoint))
    both = set(first.train_data.samples.image_path) & set(other.test_data.samples.image_path)
    assert both
    assert f"{len(both)} of {len(other.test_data)} images were trained on" in said
    assert set(re.findall(r"\S+\.png", said)) == both
    good = original / "train/good"
    (said,) = trained_on(lambda: engine(tmp_path).predict(Dark(), data_path=good, ckpt_path=used))
    assert "6 of 6 images were trained on" in said


def test_a_datamodule_without_a_seed_splits_alike_in_every_command(original, tmp_path):
    held_out = {"root": original, "normal_dir": "train/good", "abnormal_dir": "test/hole", "num_workers": 0}
    splits = []
    for _ in range(4):
        data = Folder(name="part", **held_out, test_split_ratio=0.5)
        engine(tmp_path).test(Dark(), datamodule=data)
        splits.append(sorted(data.test_data.samples.image_path))
    assert splits[1:] == splits[:-1]


def test_thresholds_of_a_checkpoint_are_those_of_predictions_and_of_the_exported_model(used, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where anomalib's inferencer leaves its cache
    new, told = tmp_path / "new.ckpt", tmp_path / "normal.json"
    parts = photos(tmp_path / "same")
    before, labels, _ = predict(used, parts, tmp_path)
    assert not labels.any()
    line = float(before.median())
    assert main([str(used), "--image-threshold", str(line), "--output", str(new), "--scores", str(told)]) == 0
    scores, labels, _ = predict(new, parts, tmp_path)
    assert torch.equal(labels, before > line)
    assert torch.equal(labels, scores > 0.5)
    judge = exported(new, tmp_path / "export")
    exported_scores, exported_labels = judge(parts)
    assert exported_labels == labels.tolist()
    assert exported_scores == pytest.approx(scores.numpy(), abs=1e-4)
    normal = NormalScores.load(told)
    assert normal.threshold == pytest.approx(0.5)
    monitor = DriftMonitor(normal, window=20)
    assert monitor.update(exported_scores) is None
    assert monitor.finish() is None
    assert monitor.update(judge(photos(tmp_path / "darker", brightness=0.97))[0]).defects


def test_false_alarms_of_validation_are_what_was_asked_for(used, tmp_path, capsys):
    assert main([str(used), "--false-alarms", "0.1", "--output", str(tmp_path / "new.ckpt")]) == 0
    saved = SafeCheckpointIO().load_checkpoint(tmp_path / "new.ckpt")
    scores = saved["callbacks"]["DriftWarning"]["scores"]
    assert len(scores) == 33
    assert (
        int((scores > saved["state_dict"]["post_processor._image_threshold"]).sum()) == 2
    )  # 3 of 34 with the next one
    assert "Of these good parts, 2 would be false alarms;\nof others, likely " in capsys.readouterr().out


def test_a_folder_is_no_checkpoint_and_three_parts_tell_no_rates(used, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(used.parent)])
    assert "weights is a folder: name the file in it" in capsys.readouterr().err
    content = SafeCheckpointIO().load_checkpoint(used)
    content["callbacks"]["DriftWarning"]["scores"] = torch.tensor([0.1, 0.2, 0.3])
    torch.save(content, tmp_path / "x.ckpt")
    assert main([str(tmp_path / "x.ckpt")]) == 0
    assert "3 good parts: too few for a rate of false alarms below 25%" in capsys.readouterr().out


def test_the_pixel_threshold_is_set_alone(used, tmp_path):
    assert main([str(used), "--pixel-threshold", "0.4", "--output", str(tmp_path / "new.ckpt")]) == 0
    old, new = (SafeCheckpointIO().load_checkpoint(path)["state_dict"] for path in (used, tmp_path / "new.ckpt"))
    moved = [name for name in old if not torch.equal(old[name], new[name])]
    assert moved == ["post_processor._pixel_threshold"]
    extent = old["post_processor.pixel_max"] - old["post_processor.pixel_min"]
    torch.testing.assert_close(new[moved[0]], old[moved[0]] - 0.1 * extent)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--false-alarms", "0.001"], "33 good parts are too few"),
        (["--false-alarms", "2"], "false_alarms must be a share between 0 and 1"),
        (["--image-threshold", "5"], "nothing in validation would be a defect"),
        (["--image-threshold", "-5"], "everything in validation would be a defect"),
        (["--image-threshold", "nan"], "must be a number"),
        (["--pixel-threshold", "5"], "as pixel threshold nothing"),
        (["--output", "x.ckpt"], "--output needs a threshold to set"),
        (["--pixel-threshold", "0.4", "--output", "model.ckpt"], "model.ckpt exists"),
    ],
)
def test_thresholds_that_make_no_sense_are_refused(used, arguments, says, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(used.parent)
    before = used.read_bytes()
    with pytest.raises(SystemExit) as exit_:
        main([used.name, *arguments])
    assert exit_.value.code == 2
    assert says in capsys.readouterr().err
    assert used.read_bytes() == before
    assert [path.name for path in used.parent.iterdir()] == ["model.ckpt"]


def test_a_checkpoint_without_thresholds_or_scores_is_refused(used, tmp_path, capsys):
    whole = SafeCheckpointIO().load_checkpoint(used)
    low = "post_processor.image_min"
    spoilt = {
        "without anomalib's normalisation": {**whole, "state_dict": {}},
        "was not validated": {**whole, "state_dict": {**whole["state_dict"], low: torch.tensor(torch.nan)}},
        "does not tell how good parts score": {**whole, "callbacks": {}},
    }
    for says, content in spoilt.items():
        torch.save(content, tmp_path / "x.ckpt")
        with pytest.raises(SystemExit):
            main([str(tmp_path / "x.ckpt")])
        assert says in capsys.readouterr().err


def test_without_scores_of_good_parts_nothing_is_watched(used, tmp_path):
    content = SafeCheckpointIO().load_checkpoint(used)
    content["callbacks"].pop("DriftWarning")
    torch.save(content, tmp_path / "x.ckpt")
    *_, said = predict(tmp_path / "x.ckpt", photos(tmp_path / "darker", brightness=0.9), tmp_path)
    assert not said


@pytest.mark.parametrize("options", [{"window": 0}, {"false_warnings": 2.0}])
def test_impossible_options_of_the_warning_are_refused(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        DriftWarning(**options)
