# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Normal photos of which a seeded share gets a synthetic anomaly while it is read."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from anomalib.data import AnomalibDataset, ImageItem
from anomalib.data.utils import read_image
from pandas import DataFrame
from torch import Tensor
from torch.utils.data import Sampler
from torchvision.transforms.v2 import Transform
from torchvision.transforms.v2.functional import resize
from torchvision.tv_tensors import Image, Mask

from anomalib_plugins.errors import UserError
from anomalib_plugins.inspection.findings import Finding
from anomalib_plugins.inspection.image_files import read_files
from anomalib_plugins.synthesis import AnomalyGenerator
from anomalib_plugins.synthesis.base import MIN_SIZE


class SyntheticDataset(AnomalibDataset):
    """Reads normal images and puts an anomaly into some of them; nothing is written to disk.

    Which images are chosen depends on the seed, the epoch and how many images there are; the anomaly of an image on
    the seed, the epoch, its number and the photo it copies from. Loader processes, batch size and the order of
    reading change nothing.

    Args:
        samples: Rows of normal images as in anomalib's datasets. A photo in several rows gets several anomalies.
        generator: Makes the anomalies.
        anomaly_ratio: Share of the images that get one, in ``[0, 1]``. Strictly between 0 and 1, there is always at
            least one anomalous and one normal image (given two).
        seed: Source of all randomness.
        max_size: Images whose longer side, in pixels, exceeds it are reduced to it first, but no shorter side below
            ``MIN_SIZE``. ``None``: never.
        augmentations: Applied to image and mask after the anomaly.

    Raises:
        ValueError: If there are images too small for an anomaly.
    """

    def __init__(
        self,
        samples: DataFrame,
        generator: AnomalyGenerator,
        anomaly_ratio: float = 0.5,
        seed: int = 0,
        max_size: int | None = 512,
        augmentations: Transform | None = None,
    ) -> None:
        super().__init__(augmentations=augmentations)
        _refuse_small(samples.image_path.unique())
        self.generator, self.anomaly_ratio, self.seed, self.max_size = generator, anomaly_ratio, seed, max_size
        self.samples = samples.drop(columns=["mask_path", "label", "label_index", "number"], errors="ignore")
        self._samples = self.samples.assign(mask_path=None, number=np.arange(len(samples)))
        anomalous = self.anomalous(epoch=0)
        self._samples["label_index"] = anomalous.astype(int)
        self._samples["label"] = np.where(anomalous, "synthetic", "good")
        self._samples.attrs["task"] = "segmentation"
        self._total = len(samples)

    def anomalous(self, epoch: int) -> np.ndarray:
        """Which rows get an anomaly in this epoch, bool ``(len(self),)``."""
        total = getattr(self, "_total", len(self.samples))  # a subset keeps the choice made for the whole
        count = round(self.anomaly_ratio * total)
        if 0 < self.anomaly_ratio < 1 and total > 1:
            count = min(max(count, 1), total - 1)
        chosen: np.ndarray = np.zeros(total, dtype=bool)
        chosen[np.random.default_rng((self.seed, epoch)).permutation(total)[:count]] = True
        return chosen[self.samples["number"].to_numpy()]

    def __getitem__(self, index: int | tuple[int, int]) -> ImageItem:
        """Read one image.

        Args:
            index: Row, or row and epoch; the epoch is 0 by default.

        Returns:
            The item. ``image_path`` is the photo the image was made from.
        """
        row, epoch = index if isinstance(index, tuple) else (index, 0)
        sample = self.samples.iloc[row]
        image, anomalous = self._read(sample.image_path), bool(self.anomalous(epoch)[row])
        if anomalous:
            image, mask = self._make_anomalous(image, row, epoch)
        else:
            mask = torch.zeros(image.shape[-2:], dtype=torch.uint8)
        image, mask = Image(image), Mask(mask)
        if self.augmentations:
            image, mask = self.augmentations(image, mask)
        label = torch.tensor(int(anomalous))
        return ImageItem(image=image, gt_mask=mask, gt_label=label, image_path=sample.image_path)

    def _make_anomalous(self, image: Tensor, row: int, epoch: int) -> tuple[Tensor, Tensor]:
        draws = np.random.default_rng((self.seed, epoch, int(self.samples.number.iloc[row])))
        photos = self.samples.image_path.unique()
        (own,) = np.flatnonzero(photos == self.samples.image_path.iloc[row])
        other = photos[(own + draws.integers(1, max(len(photos), 2))) % len(photos)]
        pool = resize(self._read(other), list(image.shape[-2:]), antialias=True)[None]
        generator = torch.Generator().manual_seed(int(draws.integers(2**62)))
        made = self.generator(image[None], generator=generator, pool=pool)
        return made.image[0], made.mask[0, 0].to(torch.uint8)

    def _read(self, path: str) -> Tensor:
        image = torch.as_tensor(read_image(path, as_tensor=True)).as_subclass(Tensor)
        shorter, longer = sorted(image.shape[-2:])
        scale = 1.0 if self.max_size is None else max(self.max_size / longer, MIN_SIZE / shorter)
        if scale >= 1:
            return image
        return resize(image, [round(side * scale) for side in image.shape[-2:]], antialias=True).clamp(0, 1)


def _refuse_small(paths: Iterable[str]) -> None:
    sizes = {path: file.size for path, file in read_files(paths).items() if not file.problem}  # DataCheck reports those
    small = {path: f"is {size[0]} x {size[1]}" for path, size in sizes.items() if min(size) < MIN_SIZE}
    if small:
        what = f"{len(small)} photos have a side below {MIN_SIZE} pixels, too small for an anomaly"
        raise UserError(str(Finding(what, small)))


class EpochSampler(Sampler[tuple[int, int]]):
    """Shuffled ``(row, epoch)`` pairs, so that loader processes know which epoch they read for.

    Args:
        length: Number of rows.
        seed: Seed of the order, which is new in every epoch and the same on every device.
        epoch: Tells the epoch whenever a new one begins.
    """

    def __init__(self, length: int, seed: int, epoch: Callable[[], int]) -> None:
        self.length, self.seed, self.epoch = length, seed, epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch = self.epoch()
        order = np.random.default_rng((self.seed, epoch)).permutation(self.length)
        return ((int(row), epoch) for row in order)
