# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Few training images of any other datamodule."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from anomalib.data import AnomalibDataModule, AnomalibDataset
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from anomalib_plugins.components.checks import check_least
from anomalib_plugins.errors import UserError
from anomalib_plugins.inspection.findings import about

from .wrapper import Wrapper


class FewShot(Wrapper):
    """Another datamodule with ``k`` of its normal training images; validation and test sets stay whole.

    The images are the first ``k`` of one seeded order of all, so those of a smaller ``k`` are among those of a larger.
    Their names are logged, and are in `chosen_images` and every checkpoint; results folders are named by k and seed.

    With ``SyntheticAnomaly`` around it there are ``k`` images in all, and those that become a synthetic validation or
    test set are missing in training; with ``SyntheticAnomaly`` inside, such a set is made of images besides the ``k``.

    Args:
        datamodule: Datamodule to wrap: an object, or ``class_path`` and ``init_args`` as in a configuration file.
        k: Number of training images, at least 1.
        seed: Seed of the choice. The test set does not depend on it: a wrapped datamodule that splits at random does so
            by its own seed, 0 where it has none.

    Raises:
        ValueError: If there is no ``datamodule``, its configuration does not fit its class, or ``k`` is below 1; in
            ``setup``, if there are fewer than ``k`` training images or defects among them.
        TypeError: If ``datamodule`` is something else.

    Example:
        ``anomalib train --model Padim --data FewShot --data.k 4 --data.datamodule MVTecAD
        --data.datamodule.category screw``
    """

    train_data: AnomalibDataset

    def __init__(self, datamodule: AnomalibDataModule | None = None, k: int = 4, seed: int = 0) -> None:
        super().__init__(datamodule, seed=seed)
        check_least("k", k)
        self.k = k
        self.chosen_images: list[str] = []  # paths, known after setup

    @property
    def name(self) -> str:
        """Name of the wrapped datamodule, k and seed."""
        return f"{self.datamodule.name}_k{self.k}_s{self.seed}"

    def state_dict(self) -> dict[str, Any]:
        """Chosen images, for the checkpoint."""
        return {**super().state_dict(), "chosen_images": self.chosen_images}

    def _change_splits(self) -> None:
        samples = self.train_data.samples
        total, where = len(samples), self.datamodule.name
        what = f"of {total} training images of {where} is/are defective, but FewShot chooses normal ones"
        way_out = "Move them to the test split; SyntheticAnomaly with train=True goes around FewShot."
        for finding in about(samples.image_path[samples.label_index == 1], what, way_out):
            raise UserError(str(finding))
        if self.k > total:
            msg = f"k={self.k}, but {where} has {total} training images: choose a k of at most {total}"
            raise UserError(msg)
        chosen = np.random.default_rng(self.seed).permutation(total)[: self.k]
        self.train_data = self.train_data.subsample(chosen.tolist())
        self.chosen_images = self.train_data.samples.image_path.tolist()
        folder = os.path.commonpath([Path(path).parent for path in self.chosen_images])
        names = ", ".join(os.path.relpath(path, folder) for path in self.chosen_images)
        rank_zero_info(
            f"FewShot, seed {self.seed}: {self.k} of {total} training images of {where} in {folder}: {names}"
        )
