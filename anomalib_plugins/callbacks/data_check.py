# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Looks at every image file before hours of training, instead of in the middle of them."""

import logging
from collections.abc import Sequence
from typing import Any, Literal

import torch
from anomalib import LearningType
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn

from anomalib_plugins.components.inference import usable
from anomalib_plugins.errors import UserError
from anomalib_plugins.inspection.findings import Files, Finding, findings, look_at
from anomalib_plugins.inspection.folders import folder_faults, unread_beside
from anomalib_plugins.inspection.photos import leave_out, makes_anomalies, photos_of, where

logger = logging.getLogger(__name__)

SPLITS: dict[str, tuple[str, ...]] = {"fit": ("train", "val", "test"), "validate": ("val",), "test": ("test",)}
SKIP = (
    "Or let them be left out with DataCheck(on_bad_image='skip'), on the command line "
    "--trainer.callbacks DataCheck --trainer.callbacks.on_bad_image skip."
)

CUT_OFF = (ConnectionResetError, EOFError)  # of a loader process that dies while it hands over images


class DataCheckError(UserError):
    """The image files cannot be trained, tested or predicted on."""


class DataCheck(Callback):
    """Decodes every image and mask once before training, testing or predicting, and reports all faults together.

    Refused are files that cannot be decoded, images of more than 8 bits (anomalib reads them as white or black), an
    empty training split, and defects in the training split of a model that learns from normal images only. What makes
    a training poor or a test misleading is warned about: `anomalib_plugins.inspection.findings` has the list. A
    thousand images of 256 pixels take about two seconds, and none the second time.

    Checkpoints remember the photos they were trained on, by their content: testing or predicting on one of them is
    warned about. When a run breaks off, the files are looked at again, and the error says which of them have changed
    meanwhile.

    Args:
        on_bad_image: ``"raise"`` stops with one report; ``"skip"`` leaves bad images out and says how many.

    Raises:
        ValueError: If ``on_bad_image`` is something else.
    """

    def __init__(self, on_bad_image: Literal["raise", "skip"] = "raise") -> None:
        if on_bad_image not in {"raise", "skip"}:
            msg = f"on_bad_image must be 'raise' or 'skip', got {on_bad_image!r}"
            raise UserError(msg)
        self.on_bad_image = on_bad_image
        self._checked: list[tuple[str, Any]] = []  # split and dataset
        self._files = Files([], {}, {})
        self._trained: set[str] = set()  # digests of the photos that the weights have seen

    def state_dict(self) -> dict[str, Any]:
        """What goes into a checkpoint."""
        return {"trained": sorted(self._trained)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what was in a checkpoint."""
        self._trained = set(state_dict["trained"])

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check the splits of the datamodule.

        Raises:
            DataCheckError: If there is something to refuse.
        """
        datamodule = getattr(trainer, "datamodule", None)
        if datamodule is None:
            return
        splits = {name: getattr(datamodule, f"{name}_data", None) for name in SPLITS.get(stage, ())}
        self.check([(name, data) for name, data in splits.items() if data is not None])
        if stage == TrainerFn.FITTING:
            self._trained = set()
        if stage == TrainerFn.FITTING and splits["train"] is not None:
            check_training_split(splits["train"], getattr(pl_module, "learning_type", None))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check loaders that came without a datamodule, and remember what is trained on."""
        del pl_module
        if getattr(trainer, "datamodule", None) is None:
            self.check(_datasets("train", trainer.train_dataloader))
        self._trained |= {file.digest.hex() for photo, file in self._files.usable() if photo.split == "train"}

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Refuse images that augmentations have made NaN, infinite or of another scale, before the weights learn of it.

        Raises:
            DataCheckError: If there are any.
        """
        del trainer, pl_module
        images = getattr(batch, "image", None)
        if images is None or usable(images).all():
            return
        broken = (~usable(images)).nonzero().flatten().tolist()
        paths = getattr(batch, "image_path", None) or [f"image {row}" for row in range(len(images))]
        low, high = images[broken].aminmax()
        hold = f"pixels from {low:.4g} to {high:.4g} in place of 0 to 1"
        hold = hold if torch.isfinite(images).all() else "NaN or infinity"
        what = f"{len(broken)} of {len(images)} images of training batch {batch_idx} hold {hold}"
        way_out = "Their files do not: look at the augmentations."
        raise DataCheckError(str(Finding(what, {str(paths[row]): "" for row in broken}, way_out)))

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check loaders that came without a datamodule."""
        del pl_module
        if getattr(trainer, "datamodule", None) is None:
            self.check(_datasets("test", trainer.test_dataloaders))
        self._warn_of_trained()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the images to predict on."""
        del pl_module
        self.check(_datasets("predict", trainer.predict_dataloaders))
        if self._files.bad:  # and left out: each device is to have its share of the others
            trainer.predict_loop.setup_data()
            trainer.predict_loop.reset()
        self._warn_of_trained()

    def _warn_of_trained(self) -> None:
        """Say which of the photos the weights have seen."""
        digests = {photo.path: file.digest.hex() for photo, file in self._files.usable()}
        seen = {path: "" for path, digest in digests.items() if digest in self._trained}
        if seen:
            what = f"{len(seen)} of {len(digests)} images were trained on, so scores look better than on new ones"
            way_out = "A datamodule without a seed splits anew in each command: give it one, e.g. --data.seed 0."
            rank_zero_warn(str(Finding(what, seen, way_out)))

    def check(self, datasets: Sequence[tuple[str, Any]]) -> None:
        """Check the files of datasets; those that are no image datasets are passed over.

        Args:
            datasets: Split and dataset; with anomalib's ``samples`` table or a list ``image_filenames``.

        Raises:
            DataCheckError: If there is something to refuse, and not bad images only that are to be skipped.
        """
        self._checked = list(datasets)
        files = self._files = look_at(photos_of(datasets))
        found = [*findings(files), *unread_beside(files.photos)]
        skip = self.on_bad_image == "skip"
        refused = [finding for finding in found if finding.refused and not (skip and finding.files == files.bad)]
        if refused:
            raise DataCheckError("\n".join([*map(str, refused), *([SKIP] if files.bad and not skip else [])]))
        if files.bad:
            left_out = sum(leave_out(data, files.bad) for _, data in datasets)
            what = f"{left_out} images were left out, their files cannot be used"
            rank_zero_warn(str(Finding(what, files.bad)))
        for finding in found:
            if not finding.refused:
                rank_zero_warn(str(finding))
        count = len(files.images) + len(files.masks)
        rank_zero_info(f"Checked {count} image files, {len(files.bad)} of them bad.")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Say which files, if any, are behind an error that does not name them."""
        del pl_module
        if isinstance(exception, DataCheckError):
            return
        bad = look_at(photos_of(self._checked)).bad
        if bad:
            what = f"{len(bad)} image files have changed since they were checked"
            _explain(exception, Finding(what, bad, "Train on a copy that nobody writes to."))
        elif "DataLoader worker" in str(exception) or (_has_loaders(trainer) and isinstance(exception, CUT_OFF)):
            way_out = "Mostly for want of memory: fewer loader processes (num_workers, 0 is none) or smaller batches."
            _explain(exception, Finding("A process that loads images has been killed", {}, way_out))
        elif not self._checked:  # the datamodule could not be set up
            for finding in folder_faults(getattr(trainer, "datamodule", None)):
                _explain(exception, finding)


def _has_loaders(trainer: Trainer) -> bool:
    return getattr(getattr(trainer, "datamodule", None), "num_workers", 0) > 0


def _explain(exception: BaseException, finding: Finding) -> None:
    """Put a finding below an error's message."""
    if hasattr(exception, "add_note"):
        exception.add_note(str(finding))
    else:  # Python 3.10
        logger.error("%s", finding)


def check_training_split(data: Any, learning_type: LearningType | None) -> None:
    """Refuse a training split without images or, for one-class models, with defects.

    Args:
        data: The training dataset.
        learning_type: What the model learns from.

    Raises:
        DataCheckError: If the split is refused.
    """
    photos = photos_of([("train", data)])
    if not photos:
        msg = f"there are no training images {where(data)}"
        raise DataCheckError(msg)
    if learning_type != LearningType.ONE_CLASS:
        return
    if makes_anomalies(data):
        made = int(data.samples.label_index.sum())
        if made:
            msg = (
                "this model learns from normal images only, or makes its own anomalies of them: train of "
                f"SyntheticAnomaly, which put anomalies into {made} of {len(photos)} good training images, "
                "must stay false"
            )
            raise DataCheckError(msg)
    defects = [photo.path for photo in photos if photo.label == 1]
    if defects:
        what = (
            f"{len(defects)} of {len(photos)} training images are defects, but this model learns from normal ones only"
        )
        raise DataCheckError(str(Finding(what, dict.fromkeys(defects, ""), "Move them to the test split.")))


def _datasets(split: str, loaders: Any) -> list[tuple[str, Any]]:
    """Datasets of a loader, of a collection of loaders, or of nothing."""
    if isinstance(loaders, dict):
        loaders = list(loaders.values())
    some = loaders if isinstance(loaders, list | tuple) else [loaders]
    return [(split, loader.dataset) for loader in some if hasattr(loader, "dataset")]
