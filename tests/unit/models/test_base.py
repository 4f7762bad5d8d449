# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch
from anomalib.data import ImageBatch, InferenceBatch
from anomalib.data.utils.tiler import Tiler
from anomalib.models import AnomalibModule, list_models
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from lightning.pytorch import Trainer
from onnxruntime import InferenceSession
from torch import nn
from torch.testing import assert_close
from torchvision.transforms.v2 import Compose, Resize, Transform

from anomalib_plugins.callbacks import DataCheck, SafeCheckpoints
from anomalib_plugins.callbacks.checkpoint_files import CheckpointError
from anomalib_plugins.components.tiling import settings_of
from anomalib_plugins.metrics import RawScoreEvaluator, threshold_free_metrics
from anomalib_plugins.models.base import PluginModule, check_size


class Brightness(nn.Module):
    """Scores an image by its mean, as a network that a NaN passes by: it is not checked here."""

    def forward(self, images):
        anomaly_map = images.nan_to_num().mean(dim=1, keepdim=True)
        return InferenceBatch(pred_score=anomaly_map.amax(dim=(1, 2, 3)) + 0 * images.sum(), anomaly_map=anomaly_map)


class Smallest(PluginModule, AnomalibModule):
    trainer_arguments = None

    def __init__(self, **components):
        super().__init__(**components)
        self.model = Brightness()


def test_no_model_of_anomalibs_list():
    assert "plugin_module" not in list_models()


@pytest.mark.parametrize(("size", "expected"), [(None, (256, 256)), ((96, 64), (96, 64)), ([40, 50], (40, 50))])
def test_pre_processor_resizes_and_does_nothing_else(size, expected):
    pre_processor = PluginModule.configure_pre_processor(size)
    assert torch.equal(pre_processor.transform(torch.full((1, 3, 10, 20), 0.25)), torch.full((1, 3, *expected), 0.25))


@pytest.mark.parametrize("size", [(), (64,), (64, 64, 3), (31, 64), (64, 0), 64, "64", (64.0, 64.0)])
def test_impossible_image_size_is_refused(size):
    with pytest.raises(ValueError, match=r"image_size must be \(height, width\), each at least 32 px"):
        check_size(size)


def test_a_size_that_no_network_takes_makes_a_pre_processor_all_the_same():
    assert PluginModule.configure_pre_processor((10, 10)).transform.size == [10, 10]


@pytest.mark.parametrize("pre_processor", [True, False, PreProcessor(Resize((8, 8))), PreProcessor()])
def test_other_pre_processors_are_taken(pre_processor):
    Smallest(pre_processor=pre_processor).on_fit_start()


def attached(model, *callbacks):
    model.trainer = Trainer(callbacks=[*callbacks], logger=False, enable_checkpointing=False, accelerator="cpu")
    return model.configure_callbacks()


def test_data_are_checked_first_and_raw_scores_seen_before_post_processing():
    callbacks = attached(Smallest())
    kinds = [type(callback) for callback in callbacks]
    assert kinds[:2] == [SafeCheckpoints, DataCheck]
    evaluator = next(callback for callback in callbacks if isinstance(callback, RawScoreEvaluator))
    assert callbacks.index(evaluator.raw_scores) < kinds.index(PostProcessor) < callbacks.index(evaluator)


@pytest.mark.parametrize("own", [DataCheck("skip"), SafeCheckpoints(grace=1)], ids=["data check", "checkpoints"])
def test_the_users_own_callback_is_the_only_one_of_its_kind(own):
    assert not [callback for callback in attached(Smallest(), own) if type(callback) is type(own)]


def test_shrinking_does_not_step_over_a_broken_pixel():
    """Sixteen of these pixels become one, of which an exported resize reads four."""
    image = torch.full((1, 3, 256, 256), 0.5)
    image[0, 0, 0, 0] = torch.nan
    model = Smallest(pre_processor=PluginModule.configure_pre_processor((64, 64)), post_processor=False)
    assert not model(image).pred_score.isfinite()


def test_pixels_of_another_scale_are_told_of_once(recwarn):
    model = Smallest(pre_processor=False, post_processor=False)
    with pytest.warns(UserWarning, match="pixels from 0 to 255 in place of 0 to 1: they are judged anomalous") as said:
        prediction = model(torch.arange(256.0).expand(2, 3, 32, 256))
    assert prediction.pred_score.isnan().all()
    model(torch.full((1, 3, 32, 32), 255.0))
    assert len(said) == 1
    assert not recwarn


def test_the_callers_images_are_not_changed():
    images = torch.full((1, 3, 32, 32), 255.0)
    Smallest(pre_processor=False, post_processor=False)(images)
    assert (images == 255).all()


def test_the_engine_averages_no_bright_pixel_away():
    batch = ImageBatch(image=torch.full((2, 3, 64, 64), 0.5))
    batch.image[1, 0, 5, 7] = 255
    model = Smallest()
    attached(model)
    assert model.on_after_batch_transfer(batch, 0).image.isnan().flatten(1).all(dim=1).tolist() == [False, True]


class Shifted(Transform):
    """A transform that anomalib cannot store."""

    def transform(self, inpt, params):
        del params
        return inpt.roll(3, dims=-1)


def loaded(checkpoint, **components):
    model = Smallest(**components)
    model.on_load_checkpoint(checkpoint)
    return model


@pytest.mark.parametrize("own", [PreProcessor(Shifted()), nn.MaxPool2d(2)], ids=["transform", "module"])
def test_a_pre_processor_that_no_checkpoint_holds_is_kept_or_asked_for(own, recwarn):
    checkpoint = {}
    Smallest(pre_processor=own).on_save_checkpoint(checkpoint)
    assert loaded(checkpoint, pre_processor=own).pre_processor is own
    if isinstance(own, PreProcessor):
        assert isinstance(own.transform, Shifted)
    assert not recwarn
    for other in (True, PreProcessor(Resize((8, 8)))):
        with pytest.raises(CheckpointError, match=r"trained with a pre-processor that it cannot hold, \w+\(.*: give"):
            loaded(checkpoint, pre_processor=other)
    with pytest.warns(UserWarning, match="was trained with .*, this model has Compose"):
        loaded(checkpoint, pre_processor=PreProcessor(Compose([Shifted()])))


def test_a_pre_processor_that_a_checkpoint_holds_comes_back():
    checkpoint = {}
    Smallest(pre_processor=PreProcessor(Resize((40, 50)))).on_save_checkpoint(checkpoint)
    assert loaded(checkpoint).input_size == (40, 50)


@pytest.mark.parametrize("evaluator", [True, False], ids=["default", "none"])
def test_a_checkpoint_loads_without_the_evaluator_it_was_trained_with(evaluator):
    trained = Smallest(evaluator=RawScoreEvaluator(val_metrics=threshold_free_metrics()))
    checkpoint = {"state_dict": trained.state_dict()}
    trained.on_save_checkpoint(checkpoint)
    loaded(checkpoint, evaluator=evaluator).load_state_dict(checkpoint["state_dict"])


def test_tiles_come_back_and_others_are_told_of():
    model, checkpoint, whole = Smallest(), {}, {}
    model.on_save_checkpoint(whole)
    model.model.tiler = Tiler((32, 48), (16, 24))
    model.on_save_checkpoint(checkpoint)
    again = loaded(checkpoint)
    assert settings_of(again.model.tiler) == settings_of(model.model.tiler)
    with pytest.warns(UserWarning, match="is not used: the checkpoint was trained with whole images"):
        again.on_load_checkpoint(whole)
    assert again.model.tiler is None


def test_an_exported_file_gives_raw_scores_if_asked_for(tmp_path):
    model, images = Smallest(pre_processor=False), torch.rand(2, 3, 32, 32)
    post = model.post_processor
    for name, value in (("image_min", 0.2), ("image_max", 0.9), ("_image_threshold", 0.5), ("_pixel_threshold", 0.5)):
        getattr(post, name).fill_(value)
    post.enable_normalization = False
    session = InferenceSession(model.to_onnx(tmp_path, input_size=(32, 32)))
    names = [each.name for each in session.get_outputs()]
    found = dict(zip(names, session.run(None, {"input": images.numpy()}), strict=True))
    assert_close(torch.tensor(found["pred_score"]), model.model(images).pred_score)


def test_export_without_any_size_says_what_to_pass(tmp_path):
    with pytest.raises(ValueError, match="needs input_size"):
        Smallest(pre_processor=False).to_onnx(tmp_path)
