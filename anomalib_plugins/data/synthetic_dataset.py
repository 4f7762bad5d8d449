# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Normal photos with synthetic anomalies that are made while they are read, and pictures of them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from anomalib.data import AnomalibDataset, ImageItem
from anomalib.data.utils import read_image
from anomalib.utils.path import generate_output_filename
from anomalib.visualization import ImageVisualizer
from lightning.pytorch import Trainer
from pandas import DataFrame
from torch import Tensor
from torch.utils.data import Sampler
from torchvision.transforms.v2.functional import resize
from torchvision.tv_tensors import Image, Mask

from anomalib_plugins.errors import UserError
from anomalib_plugins.inspection.findings import about
from anomalib_plugins.inspection.image_files import read_files
from anomalib_plugins.synthesis import AnomalyGenerator
from anomalib_plugins.synthesis.base import MIN_SIZE


class SyntheticDataset(AnomalibDataset):
    """Normal images, some of which get an anomaly when they are read; nothing is written to disk.

    The chosen images depend on the seed, the epoch and the number of images; the anomaly of an image on the seed, the
    epoch, its number and the photo it copies from. Loader processes, batch size and order of reading change nothing.

    Args:
        samples: Rows of normal images as in anomalib's datasets. A photo in several rows gets several anomalies.
        generator: Generator of the anomalies.
        anomaly_ratio: Share of images with an anomaly, in ``[0, 1]``. Strictly between 0 and 1, there is always at
            least one anomalous and one normal image (given two).
        seed: Seed of all randomness.
        max_size: Longer side, in pixels, to which larger images are reduced first, but no shorter side below
            ``MIN_SIZE``. ``None`` reduces none.

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
    ) -> None:
        super().__init__()
        # DataCheck reports files that cannot be read.
        sizes = {path: file.size for path, file in read_files(samples.image_path).items() if not file.problem}
        small = {
            path: f"is {width} x {height}" for path, (width, height) in sizes.items() if min(width, height) < MIN_SIZE
        }
        what = f"photo/photos has/have a side below {MIN_SIZE} pixels, too small for an anomaly"
        for finding in about(small, what):
            raise UserError(str(finding))
        self.generator, self.anomaly_ratio, self.seed, self.max_size = generator, anomaly_ratio, seed, max_size
        self.samples = samples.drop(columns=["mask_path", "label", "label_index", "number"], errors="ignore")
        self._samples = self.samples.assign(mask_path=None, number=np.arange(len(samples)))
        anomalous = self.anomalous(epoch=0)
        self._samples["label_index"] = anomalous.astype(int)
        self._samples["label"] = np.where(anomalous, "synthetic", "good")
        self._samples.attrs["task"] = "segmentation"
        self._total = len(samples)

    def anomalous(self, epoch: int) -> np.ndarray:
        """Rows with an anomaly in this epoch, bool ``(len(self),)``."""
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
            Item whose ``image_path`` is the photo that the image was made from.
        """
        row, epoch = index if isinstance(index, tuple) else (index, 0)
        path = self.samples.iloc[row].image_path
        image, anomalous = self._read(path), bool(self.anomalous(epoch)[row])
        mask = torch.zeros(image.shape[-2:], dtype=torch.uint8)
        if anomalous:
            image, mask = self._make_anomalous(image, row, epoch)
        image, mask = Image(image), Mask(mask)
        if self.augmentations:
            image, mask = self.augmentations(image, mask)
        return ImageItem(image=image, gt_mask=mask, gt_label=torch.tensor(int(anomalous)), image_path=path)

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


class EpochSampler(Sampler[tuple[int, int]]):
    """Sampler of shuffled ``(row, epoch)`` pairs, from which loader processes know the epoch.

    Args:
        length: Number of rows.
        seed: Seed of the order, which is new in every epoch and the same on every device.
        epoch: Function that returns the epoch.
    """

    def __init__(self, length: int, seed: int, epoch: Callable[[], int]) -> None:
        self.length, self.seed, self.epoch = length, seed, epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch = self.epoch()
        order = np.random.default_rng((self.seed, epoch)).permutation(self.length)
        return ((int(row), epoch) for row in order)


class SyntheticVisualizer(ImageVisualizer):
    """anomalib's visualizer with the images of a synthetic dataset.

    anomalib's own reads each picture from its ``image_path`` and would show the normal photo under the mask and heatmap
    of an anomaly. Here the image is made once more.

    Args:
        visualizer: Visualizer with the settings to use.
        dataset: Dataset of the images; others are read from their file.
    """

    def __init__(self, visualizer: ImageVisualizer, dataset: SyntheticDataset) -> None:
        super().__init__()
        self.__dict__.update(vars(visualizer))
        self.dataset = dataset

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Save a picture of each item of the batch, anomalous images in a folder of their own."""
        del pl_module, outputs, dataloader_idx
        folder, data = Path(self.output_dir or Path(trainer.default_root_dir) / "images"), trainer.datamodule
        for item, path in self.items(trainer, batch, batch_idx):
            picture = self.visualize(item)
            if picture is not None:
                names = (data.name, data.category) if data else (None, None)
                picture.save(generate_output_filename(path, folder, *names))

    def items(self, trainer: Trainer, batch: Any, batch_idx: int) -> Iterator[tuple[ImageItem, str]]:
        """Yield each item of a batch with the image that was made, and the path that names its picture."""
        data, paths = trainer.datamodule, self.dataset.samples.image_path
        first = batch_idx * data.eval_batch_size if data else 0
        for i, item in enumerate(batch):
            path = item.image_path or ""
            row = ((first + i) * trainer.world_size + trainer.global_rank) % len(paths)  # devices take turns
            if data and path == paths.iloc[row]:
                path = self._file_name(row)
                item.image, item.image_path = self.dataset[row].image, None
            yield item, path

    def _file_name(self, row: int) -> str:
        """Path of the photo; in a folder ``synthetic`` for an anomalous image, numbered if there are several."""
        samples = self.dataset.samples
        photo, label = samples.image_path.iloc[row], samples.label_index.iloc[row]
        same, path = np.flatnonzero((samples.image_path == photo) & (samples.label_index == label)), Path(photo)
        name = f"{path.stem}_{int(np.searchsorted(same, row))}{path.suffix}" if len(same) > 1 else path.name
        return str(path.parent.parent / "synthetic" / name if label else path.with_name(name))

    on_predict_batch_end = on_test_batch_end


def show_synthetic_images(trainer: Trainer, dataset: SyntheticDataset) -> None:
    """Replace the image visualizer of a trainer by one that shows the images of a dataset."""
    if any(type(callback) is ImageVisualizer for callback in trainer.callbacks):
        others = [callback for callback in trainer.callbacks if not isinstance(callback, SyntheticVisualizer)]
        trainer.callbacks = [SyntheticVisualizer(c, dataset) if type(c) is ImageVisualizer else c for c in others]
