# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Looks at every image file before hours of training, instead of in the middle of them."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from anomalib import LearningType
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn

from .image_files import ImageFile, read_files

SHOWN = 20
SPLITS: dict[str, tuple[str, ...]] = {"fit": ("train", "val", "test"), "validate": ("val",), "test": ("test",)}
WAY_OUT = (
    "Repair, replace or remove these files, or let them be left out with DataCheck(on_bad_image='skip'), on the "
    "command line --trainer.callbacks DataCheck --trainer.callbacks.on_bad_image skip. "
    "To make 8 bits of 16 in another folder, whose images you then train on: "
    "cv2.imwrite(new_path, (cv2.imread(path, cv2.IMREAD_UNCHANGED) / 257).astype('uint8')); "
    "of a 12-bit camera's, divide by 16; of floats in [0, 1], multiply by 255."
)


class DataCheckError(ValueError):
    """The image files cannot be trained, tested or predicted on."""


class DataCheck(Callback):
    """Decodes every image and mask once before training, testing or predicting, and reports all faults together.

    Refused are files that cannot be decoded, images of more than 8 bits (anomalib reads them as white or black), an
    empty training split, and defects in the training split of a model that learns from normal images only. One
    training image, constant training images, transparent images and masks of another size than their image are
    warned about. A thousand images of 256 pixels take about two seconds, and none the second time.

    Args:
        on_bad_image: ``"raise"`` stops with one report; ``"skip"`` leaves bad images out and says how many.

    Raises:
        ValueError: If ``on_bad_image`` is something else.
    """

    def __init__(self, on_bad_image: Literal["raise", "skip"] = "raise") -> None:
        if on_bad_image not in {"raise", "skip"}:
            msg = f"on_bad_image must be 'raise' or 'skip', got {on_bad_image!r}"
            raise ValueError(msg)
        self.on_bad_image = on_bad_image

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check the splits of the datamodule.

        Raises:
            DataCheckError: If there is something to refuse.
        """
        datamodule = getattr(trainer, "datamodule", None)
        if datamodule is None:
            return
        splits = {name: getattr(datamodule, f"{name}_data", None) for name in SPLITS.get(stage, ())}
        self.check([data for data in splits.values() if data is not None])
        if stage == TrainerFn.FITTING and splits["train"] is not None:
            check_training_split(splits["train"], getattr(pl_module, "learning_type", None))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check loaders that came without a datamodule."""
        del pl_module
        if getattr(trainer, "datamodule", None) is None:
            self.check(_datasets(trainer.train_dataloader))

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check loaders that came without a datamodule."""
        del pl_module
        if getattr(trainer, "datamodule", None) is None:
            self.check(_datasets(trainer.test_dataloaders))

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the images to predict on."""
        del pl_module
        self.check(_datasets(trainer.predict_dataloaders))

    def check(self, datasets: Sequence[Any]) -> None:
        """Check the files of datasets; those that are no image datasets are passed over.

        Args:
            datasets: With anomalib's ``samples`` table or a list ``image_filenames``.

        Raises:
            DataCheckError: If there are bad images and they are not to be skipped.
        """
        files = read_files(path for data in datasets for path in (*_images(data), *_masks(data).values()))
        bad = {path: file.problem for path, file in files.items() if file.problem}
        if bad and self.on_bad_image == "raise":
            msg = f"{len(bad)} of {len(files)} image files cannot be used:\n{_listing(bad)}\n{WAY_OUT}"
            raise DataCheckError(msg)
        if bad:
            left_out = sum(_leave_out(data, bad) for data in datasets)
            rank_zero_warn(f"{left_out} images were left out, their files cannot be used:\n{_listing(bad)}")
        _warn_about_odd_files(datasets, files)
        rank_zero_info(f"Checked {len(files)} image files, {len(bad)} of them bad.")


def check_training_split(data: Any, learning_type: LearningType | None) -> None:
    """Refuse a training split without images or, for one-class models, with defects.

    Args:
        data: The training dataset.
        learning_type: What the model learns from.

    Raises:
        DataCheckError: If the split is refused.
    """
    images = _images(data)
    if not images:
        msg = f"there are no training images {_where(data)}"
        raise DataCheckError(msg)
    defects = [path for path, label in zip(images, _labels(data), strict=True) if label == 1]
    if defects and learning_type == LearningType.ONE_CLASS and hasattr(data, "anomaly_ratio"):  # it makes anomalies
        msg = (
            "this model learns from normal images only, or makes its own anomalies of them: train of SyntheticAnomaly, "
            f"which put anomalies into {len(defects)} of {len(images)} good training images, must stay false"
        )
        raise DataCheckError(msg)
    if defects and learning_type == LearningType.ONE_CLASS:
        msg = (
            f"{len(defects)} of {len(images)} training images are defects, but this model learns from normal images "
            f"only:\n{_listing(dict.fromkeys(defects, ''))}\nMove them to the test split."
        )
        raise DataCheckError(msg)
    if len(images) == 1:
        rank_zero_warn(f"There is one training image, {images[0]}: the model cannot learn what varies normally.")
    constant = [path for path, file in read_files(images).items() if file.constant]
    if constant:
        listing = _listing(dict.fromkeys(constant, ""))
        rank_zero_warn(f"{len(constant)} of {len(images)} training images have one single colour:\n{listing}")


def _warn_about_odd_files(datasets: Iterable[Any], files: dict[str, ImageFile]) -> None:
    pairs = {image: mask for data in datasets for image, mask in _masks(data).items()}
    sizes = {image: (files[image].size, files[mask].size) for image, mask in pairs.items() if not files[mask].problem}
    unequal = {image: f"is {i[0]} x {i[1]}, its mask {m[0]} x {m[1]}" for image, (i, m) in sizes.items() if i != m}
    if unequal:
        rank_zero_warn(f"{len(unequal)} masks have another size than their image:\n{_listing(unequal)}")
    transparent = {path: "" for path, file in files.items() if file.transparent}
    if transparent:
        rank_zero_warn(
            f"{len(transparent)} images are partly transparent; anomalib drops the transparency and sees the colour "
            f"below it:\n{_listing(transparent)}",
        )


def _datasets(loaders: Any) -> list[Any]:
    """Datasets of a loader, of a collection of loaders, or of nothing."""
    if isinstance(loaders, dict):
        loaders = list(loaders.values())
    some = loaders if isinstance(loaders, list | tuple) else [loaders]
    return [loader.dataset for loader in some if hasattr(loader, "dataset")]


def _table(data: Any) -> Any:
    samples = getattr(data, "samples", None)
    return samples if "image_path" in getattr(samples, "columns", ()) else None


def _images(data: Any) -> list[str]:
    """Image paths of a dataset, in its order."""
    table = _table(data)
    paths = getattr(data, "image_filenames", ()) if table is None else table["image_path"]
    return [str(path) for path in paths]


def _masks(data: Any) -> dict[str, str]:
    """Mask path of each image that has one."""
    table = _table(data)
    if table is None or "mask_path" not in table.columns:
        return {}
    pairs = zip(table["image_path"], table["mask_path"], strict=True)
    return {str(image): str(mask) for image, mask in pairs if isinstance(mask, str | Path) and str(mask)}


def _labels(data: Any) -> list[int]:
    table = _table(data)
    if table is None or "label_index" not in table.columns:
        return [0] * len(_images(data))
    return [int(label) for label in table["label_index"]]


def _leave_out(data: Any, bad: dict[str, str]) -> int:
    """Remove images that are bad, or whose mask is, from a dataset; returns how many."""
    masks = _masks(data)
    images = _images(data)
    keep = [row for row, image in enumerate(images) if image not in bad and masks.get(image) not in bad]
    if len(keep) == len(images):
        return 0
    if _table(data) is not None:
        data.subsample(keep, inplace=True)
    else:
        data.image_filenames = [data.image_filenames[row] for row in keep]
    return len(images) - len(keep)


def _listing(problems: dict[str, str]) -> str:
    """The first paths, one a line, and how many more there are."""
    lines = [f"  {path} {problem}".rstrip() for path, problem in problems.items()]
    rest = len(lines) - SHOWN
    return "\n".join([*lines[:SHOWN], *([f"  ... and {rest} more"] if rest > 0 else [])])


def _where(data: Any) -> str:
    """Which folder was looked in for which files, as far as the dataset says."""
    root, normal = getattr(data, "root_category", None) or getattr(data, "root", None), getattr(data, "normal_dir", "")
    folder = Path(root or ".") / str(normal or "train/good")
    endings = getattr(data, "extensions", None) or getattr(sys.modules[type(data).__module__], "IMG_EXTENSIONS", ())
    return f"in {folder}" + (f" (endings looked for: {', '.join(endings)})" if endings else "")
