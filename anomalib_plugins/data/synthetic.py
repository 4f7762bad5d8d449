# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Synthetic anomalies on the photos of any other datamodule."""

import itertools
import logging
import math
from pathlib import Path

import numpy as np
import pandas as pd
from anomalib.data import AnomalibDataModule, AnomalibDataset
from anomalib.data.utils import ValSplitMode
from torch.utils.data import DataLoader

from anomalib_plugins.components.checks import check_least, check_share
from anomalib_plugins.errors import UserError
from anomalib_plugins.synthesis import AnomalyGenerator, SimulatedAnomaly

from .synthetic_dataset import EpochSampler, SyntheticDataset, show_synthetic_images
from .wrapper import SPLITS, Wrapper, instantiate

logger = logging.getLogger(__name__)
ENOUGH = 10  # normal, and anomalous, images of a synthetic split: its photos are repeated to reach it
MOST = 200  # images of a split whose photos are repeated


class SyntheticAnomaly(Wrapper):
    """Photos of another datamodule with synthetic anomalies, which are made while photos are read, not written.

    By default thresholds are calibrated on synthetic anomalies and the test set is the wrapped one, or synthetic too
    where that has no defects. A synthetic validation set takes nothing from the wrapped test set. No photo is in two
    splits: a synthetic split is made of the normal photos of the wrapped split that no other split uses or, if there
    are none, of photos held out of training. Its photos are repeated, with new anomalies, until ten of its images are
    normal and ten anomalous. Two photos in all are enough: one then serves for both validation and test.

    Args:
        datamodule: Datamodule to wrap: an object, or ``class_path`` and ``init_args`` as in a configuration file.
        anomaly_ratio: Share of a synthetic split's images that get an anomaly, in ``[0, 1]``.
        generator: Generator of the anomalies, given like ``datamodule``; default ``SimulatedAnomaly``.
        train: Whether the training split becomes synthetic, with new anomalies in every epoch. Only for models that
            learn from defects: most models want normal images.
        val: Whether the validation split becomes synthetic.
        test: Whether the test split becomes synthetic; ``None`` if the wrapped one has no defects.
        holdout_ratio: Share of the training photos a synthetic split takes where it has none of its own.
        max_size: Longer side, in pixels, to which larger photos are reduced before an anomaly is made, but no shorter
            side below 32 pixels.
        seed: Seed of splits and anomalies, whatever the batch size and number of workers. The wrapped datamodule splits
            by it too unless it has a seed of its own.

    Raises:
        ValueError: If there is no ``datamodule``, a ratio is out of range, a configuration does not fit its class, or
            the wrapped datamodule makes anomalib's own synthetic split.
        TypeError: If ``datamodule`` or ``generator`` is something else.

    Example:
        ``anomalib train --model Padim --data SyntheticAnomaly --data.datamodule MVTecAD
        --data.datamodule.category screw``
    """

    train_data: AnomalibDataset

    def __init__(
        self,
        datamodule: AnomalibDataModule | None = None,
        anomaly_ratio: float = 0.5,
        generator: AnomalyGenerator | None = None,
        train: bool = False,
        val: bool = True,
        test: bool | None = None,
        holdout_ratio: float = 0.2,
        max_size: int | None = 512,
        seed: int = 0,
    ) -> None:
        super().__init__(datamodule, seed=seed, split_seed=seed)
        check_share("anomaly_ratio", anomaly_ratio)
        check_least("max_size", 64 if max_size is None else max_size, 64)
        if not 0 < holdout_ratio < 1:
            msg = f"holdout_ratio must be between 0 and 1, got {holdout_ratio}"
            raise UserError(msg)
        if ValSplitMode.SYNTHETIC in {self.source.val_split_mode, self.source.test_split_mode}:
            msg = (
                f"{self.source.name} makes anomalib's own synthetic split, which is written to disk and not seeded; "
                "set its val_split_mode to none and its test_split_mode to from_dir"
            )
            raise UserError(msg)
        if val and self.source.val_split_mode == ValSplitMode.FROM_TEST:
            self.source.val_split_mode = ValSplitMode.NONE
            logger.info("%s: no test images are taken for validation, which is synthetic.", self.datamodule.name)
        self.anomaly_ratio, self.max_size = anomaly_ratio, max_size
        self.generator = SimulatedAnomaly() if generator is None else instantiate(AnomalyGenerator, generator)
        self.synthetic: dict[str, bool | None] = {"train": train, "val": val, "test": test}
        self.holdout_ratio = holdout_ratio
        self._epochs = itertools.count()

    @property
    def name(self) -> str:
        """Name of the wrapped datamodule and what was done to it, which names the results folder."""
        return f"{self.datamodule.name}_synthetic"

    def setup(self, stage: str | None = None) -> None:
        """Make the splits, once."""
        super().setup(stage)
        if self.trainer is not None and isinstance(self.test_data, SyntheticDataset) and stage in {"test", "predict"}:
            show_synthetic_images(self.trainer, self.test_data)

    def _change_splits(self) -> None:
        synthetic = dict(self.synthetic)
        if synthetic["test"] is None:
            synthetic["test"] = not (hasattr(self, "test_data") and self.test_data.has_anomalous)
        for split in ("test", "val"):
            if synthetic[split]:
                setattr(self, f"{split}_data", self._synthetic(split, self._normal(split)))
        if synthetic["train"]:
            samples = self.train_data.samples
            self.train_data = self._synthetic("train", samples[samples.label_index == 0])

    def _normal(self, split: str) -> pd.DataFrame:
        """Normal photos of the wrapped split that no other split uses, else photos held out of training."""
        others = {"train": self.train_data, "test": getattr(self, "test_data", None)} if split == "val" else {}
        used = {path for data in others.values() if data is not None for path in data.samples.image_path}
        data = getattr(self.datamodule, f"{split}_data", None)
        if data is not None and len(data) > 0:
            free = data.samples[(data.samples.label_index == 0) & ~data.samples.image_path.isin(used)]
            if len(free) > 0:
                return free
        train = self.train_data.samples
        normal = np.flatnonzero(train.label_index == 0)
        if len(normal) < 2:
            return self._shared(split)
        count = min(max(1, round(self.holdout_ratio * len(normal))), len(normal) - 1)
        held_out = np.random.default_rng((self.seed, SPLITS.index(split))).permutation(normal)[:count]
        msg = "%s has no normal images for %s alone: %d of its %d training images are held out for it."
        logger.info(msg, self.datamodule.name, split, count, len(train))
        self.train_data = self.train_data.subsample(np.setdiff1d(np.arange(len(train)), held_out).tolist())
        return train.iloc[np.sort(held_out)]

    def _shared(self, split: str) -> pd.DataFrame:
        """Normal photos of validation for the test, or the other way round, where training can spare none."""
        other, train = "test" if split == "val" else "val", self.train_data.samples
        data = getattr(self, f"{other}_data", None)
        if data is not None and len(data) > 0:
            normal = data.samples if isinstance(data, SyntheticDataset) else data.samples[data.samples.label_index == 0]
            photos = normal[~normal.image_path.isin(train.image_path)].drop_duplicates("image_path")
            if len(photos) > 0:
                msg = "%s has too few photos for validation and test: %s is made of the %d photos of %s, so its scores "
                logger.warning(msg + "flatter.", self.datamodule.name, split, len(photos), other)
                return photos
        folder = Path(train.image_path.iloc[0]).parent if len(train) > 0 else getattr(self.datamodule, "root", None)
        msg = (
            f"{self.datamodule.name} has {len(train)} normal training images in {folder}, too few to hold out {split} "
            "images: at least 2 are needed"
        )
        raise UserError(msg)

    def _synthetic(self, split: str, samples: pd.DataFrame) -> SyntheticDataset:
        seed = int(np.random.default_rng((self.seed, SPLITS.index(split))).integers(2**62))
        photos = len(samples)
        if split != "train" or photos == 1:
            samples = pd.concat([samples] * _repeats(photos, self.anomaly_ratio), ignore_index=True)
        dataset = SyntheticDataset(samples, self.generator, self.anomaly_ratio, seed, self.max_size)
        dataset.category = self.category
        msg = "%s: %d images of %d photos, %d of them with a synthetic anomaly."
        logger.info(msg, split, len(dataset), photos, dataset.samples.label_index.sum())
        return dataset

    def train_dataloader(self) -> DataLoader:
        """The wrapped training images; synthetic ones come in a seeded order that is new in every epoch."""
        if not isinstance(self.train_data, SyntheticDataset):
            return super().train_dataloader()
        return DataLoader(
            dataset=self.train_data,
            sampler=EpochSampler(len(self.train_data), int(self.seed or 0), self._epoch),
            batch_size=self.train_batch_size,
            num_workers=self.num_workers,
            collate_fn=self.external_collate_fn or self.train_data.collate_fn,
        )

    def _epoch(self) -> int:
        return next(self._epochs) if self.trainer is None else self.trainer.current_epoch


def _repeats(photos: int, ratio: float) -> int:
    """How often to use each photo for ``ENOUGH`` normal and anomalous images, their ratio as exact as it gets."""
    rarer = min(ratio, 1 - ratio)
    repeats = math.ceil(min(ENOUGH / rarer, MOST) / photos) if photos and rarer > 0 else 1
    if repeats <= 1:
        return 1
    error = {n: round(abs(n * photos * ratio - round(n * photos * ratio)), 6) for n in range(repeats, 2 * repeats + 1)}
    return min(error, key=lambda n: error[n])
