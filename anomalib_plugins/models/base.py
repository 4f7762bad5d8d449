# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What every model of this package adds to anomalib's module."""

import copy
import inspect
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from anomalib import LearningType
from anomalib.data import AnomalibDataModule, InferenceBatch
from anomalib.data.utils import ValSplitMode
from anomalib.metrics import Evaluator
from anomalib.pre_processing import PreProcessor
from lightning.pytorch import Callback
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from omegaconf import OmegaConf
from torch import Tensor
from torchvision.transforms.v2 import CenterCrop, Compose, Normalize, Resize

from anomalib_plugins.callbacks.checkpoint_files import refuse_file
from anomalib_plugins.callbacks.data_check import DataCheck
from anomalib_plugins.callbacks.drift_warning import DriftWarning
from anomalib_plugins.callbacks.logged_heatmaps import LoggedHeatmaps
from anomalib_plugins.callbacks.prediction_summary import PredictionSummary
from anomalib_plugins.callbacks.safe_checkpoints import SafeCheckpoints
from anomalib_plugins.components.inference import as_rgb, spread_unusable, usable
from anomalib_plugins.components.names import did_you_mean
from anomalib_plugins.components.resize import prepared
from anomalib_plugins.errors import UserError, UserTypeError
from anomalib_plugins.metrics import default_evaluator, with_raw_scores
from anomalib_plugins.models.calibration import calibrate_on_training, has_thresholds, tell_missing_threshold
from anomalib_plugins.models.checkpoint import restored, write_down
from anomalib_plugins.models.export import ExportModule

MIN_IMAGE_SIZE = 32


def plain(value: Any) -> Any:
    """Turn tuples and OmegaConf's containers into lists and dicts, which a checkpoint may hold."""
    if OmegaConf.is_config(value):
        value = OmegaConf.to_container(value)
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


def options_of(owner: type, options: Mapping[str, Any] | None, given: Container[str] = ()) -> dict[str, Any]:
    """Check nested options of a model against the class they are for.

    Args:
        owner: Class whose constructor takes them.
        options: Arguments by name; ``None`` is none.
        given: Arguments the model fills in by itself.

    Returns:
        Plain dicts and lists.

    Raises:
        TypeError: If the constructor has no such argument, or the model fills it in.
    """
    checked = cast("dict[str, Any]", OmegaConf.to_container(OmegaConf.create(dict(options or {}))))
    names = [name for name in inspect.signature(owner).parameters if name not in given]
    for name in checked:
        if name not in names:
            hint = did_you_mean(name, names) or "."
            msg = f"{owner.__name__} has no option {name!r} here{hint} Its options: {', '.join(names)}"
            raise UserTypeError(msg)
    return checked


def check_size(image_size: Sequence[int], smallest: int = MIN_IMAGE_SIZE, name: str = "image_size") -> list[int]:
    """Check a height and width.

    Args:
        image_size: Value of the user.
        smallest: Least length of a side in pixels.
        name: Name of the option.

    Raises:
        ValueError: If it is not two integers of at least ``smallest``.
    """
    is_pair = isinstance(image_size, Sequence) and len(image_size) == 2
    if not is_pair or not all(isinstance(side, int) and side >= smallest for side in image_size):
        msg = f"{name} must be (height, width), each at least {smallest} px, got {image_size!r}"
        raise UserError(msg)
    return list(image_size)


class PluginModule(ExportModule):
    """Mixin in front of ``AnomalibModule``: ``class Slsg(PluginModule, AnomalibModule)``."""

    _scale_is_told = False
    _validated = False  # in this fit

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.make_hparams_plain()

    def make_hparams_plain(self, **changes: Any) -> None:
        """Make hyper-parameters lists, dictionaries and numbers: checkpoints are read with ``weights_only=True``.

        Args:
            changes: Values to replace.
        """
        self.hparams.update(plain({**self.hparams, **changes}))
        self._hparams_initial = copy.deepcopy(self.hparams)  # what loggers write

    @staticmethod
    def configure_pre_processor(
        image_size: Sequence[int] | None = None, center_crop: Sequence[int] | None = None
    ) -> PreProcessor:
        """Resize, and crop if wanted; the networks take RGB in ``[0, 1]`` and normalise inside.

        Args:
            image_size: Height and width in pixels; default 256 x 256.
            center_crop: Height and width to cut out of the middle.

        Raises:
            ValueError: If a size is not two positive integers, or the crop is smaller than 32 or larger than the image.
        """
        # Smaller than the networks take, too: anomalib's tiled ensemble asks for 10 x 10 and uses it for nothing.
        size = check_size((256, 256) if image_size is None else image_size, smallest=1)
        resize = Resize(tuple(size), antialias=True)
        if center_crop is None:
            return PreProcessor(transform=resize)
        crop = check_size(center_crop, name="center_crop")
        if crop[0] > size[0] or crop[1] > size[1]:
            msg = f"center_crop {tuple(crop)} must fit into image_size {tuple(size)}"
            raise UserError(msg)
        return PreProcessor(transform=Compose([resize, CenterCrop(crop)]))

    @staticmethod
    def configure_evaluator() -> Evaluator:
        """Image and pixel AUROC and F1, AUPRO and pixel AP; the threshold-free ones on raw scores."""
        return default_evaluator()

    @property
    def learning_type(self) -> LearningType:
        """Trained on normal images alone."""
        return LearningType.ONE_CLASS

    @property
    def _transform(self) -> Any:
        """Transform of the pre-processor, if both are there: a tiled ensemble's pre-processor has none."""
        return getattr(self.pre_processor, "transform", None)

    def resized(self, image: Tensor) -> Tensor:
        """Image as the network sees it."""
        return self._transform(image) if self._transform else image

    # Training

    def configure_callbacks(self) -> Sequence[Callback]:
        """Look after checkpoints, data and drift in front of anomalib's own components; sum up after them."""
        datamodule = getattr(self.trainer, "datamodule", None)
        if datamodule is not None and getattr(datamodule, "seed", 0) is None:
            # anomalib would split anew in every command and on every device, and test on what was trained on.
            datamodule.seed = 0
        # A model's callback replaces the trainer's of the same type: the user's own settings must win.
        theirs = {type(callback) for callback in self.trainer.callbacks}
        guards = [kind() for kind in (SafeCheckpoints, DataCheck, DriftWarning) if kind not in theirs]
        return [*guards, *with_raw_scores(super().configure_callbacks()), PredictionSummary(), LoggedHeatmaps()]

    def setup(self, stage: str) -> None:
        """Give a datamodule without validation images an empty loader, which anomalib 2.7 forgets."""
        super().setup(stage)
        data = getattr(self._trainer, "datamodule", None)
        splits_none = isinstance(data, AnomalibDataModule) and data.val_split_mode == ValSplitMode.NONE
        if data is not None and splits_none and not hasattr(data, "val_data"):
            data.val_dataloader = lambda: []  # noqa: PIE807  # list has not what Lightning asks of a hook

    def on_fit_start(self) -> None:
        """Refuse a pre-processor that normalises, which the network would do a second time.

        Raises:
            ValueError: If the pre-processor holds a ``Normalize``.
        """
        if any(isinstance(part, Normalize) for part in getattr(self._transform, "transforms", [self._transform])):
            msg = f"{type(self).__name__} normalises inside its network: take Normalize out of the pre-processor."
            raise UserError(msg)
        self._validated = False

    def on_validation_end(self) -> None:
        """Note that the thresholds are of this fit's weights."""
        super().on_validation_end()
        self._validated = True

    def on_train_epoch_end(self) -> None:
        """Take thresholds from the training photos if nothing was validated by the end."""
        super().on_train_epoch_end()
        if self.trainer.should_stop and not self._validated and has_thresholds(self):
            calibrate_on_training(self, self.trainer.train_dataloader)

    # Checkpoints

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Path | str, *args: Any, **kwargs: Any) -> Any:
        """Make a model of a checkpoint, as anomalib does.

        Args:
            checkpoint_path: File of the checkpoint.
            args: As in anomalib.
            kwargs: As in anomalib; with ``weights_only=False`` the file is not looked at before.

        Raises:
            CheckpointError: If the file is damaged, would run code, or is of another model.
        """
        if kwargs.get("weights_only", True):
            refuse_file(checkpoint_path, cls)
        return super().load_from_checkpoint(checkpoint_path, *args, **kwargs)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write down what anomalib does not, see :mod:`anomalib_plugins.models.checkpoint`."""
        super().on_save_checkpoint(checkpoint)
        write_down(checkpoint, self)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the checkpoint's tiles, and keep this model's evaluator and a pre-processor that no checkpoint can hold.

        Raises:
            CheckpointError: If such a pre-processor was not given.
        """
        states = checkpoint.get("state_dict", {})
        for name in [name for name in states if name.startswith("evaluator.")]:
            del states[name]  # arguments of metrics, which may be others than this model's
        states.update({} if self.evaluator is None else self.evaluator.state_dict(prefix="evaluator."))
        super().on_load_checkpoint(restored(checkpoint, self))

    # Prediction

    def on_test_start(self) -> None:
        """Warn if labels mean nothing."""
        super().on_test_start()
        tell_missing_threshold(self)

    def on_predict_start(self) -> None:
        """Warn if labels mean nothing."""
        super().on_predict_start()
        tell_missing_threshold(self)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Mark images that no network may call normal, before a pre-processor averages their pixels.

        Training refuses such images, see :class:`DataCheck`.
        """
        batch = super().on_after_batch_transfer(batch, dataloader_idx)
        images = getattr(batch, "image", None)
        if isinstance(images, Tensor) and not self.trainer.training:
            batch.image = self._marked(images)
        return batch

    def _marked(self, images: Tensor) -> Tensor:
        """Make images with pixels of another scale NaN, and warn of the first."""
        if not (torch.compiler.is_compiling() or self._scale_is_told or usable(images).all()):
            self._scale_is_told = True
            low, high = images.aminmax()
            rank_zero_warn(
                f"Images have pixels from {low:.4g} to {high:.4g} in place of 0 to 1: they are judged anomalous. "
                "Divide 8-bit pixels by 255, and do not normalise them. This is said once."
            )
        return spread_unusable(images)

    def forward(self, batch: Tensor, *args: Any, **kwargs: Any) -> InferenceBatch:
        """Pre-process, predict and post-process, as an exported model does.

        Args:
            batch: Images ``(N, 3, H, W)`` in ``[0, 1]``. Grey ones, RGBA and bytes are taken, too.
            args: Not used.
            kwargs: Not used.

        Raises:
            ValueError: If it has another shape.
            TypeError: If the pixels are other integers than bytes.
        """
        del args, kwargs
        prediction = self.model(prepared(self.pre_processor, self._marked(as_rgb(batch))))
        return self.post_processor(prediction) if self.post_processor else prediction
