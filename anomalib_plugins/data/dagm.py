# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""DAGM 2007: textures with defects that ellipses roughly mark."""

import re
from pathlib import Path

from anomalib.data import AnomalibDataModule, AnomalibDataset
from anomalib.data.utils import LabelName, Split, TestSplitMode, ValSplitMode
from anomalib.utils.path import resolve_dataset_root
from pandas import DataFrame
from torchvision.transforms.v2 import Transform

from anomalib_plugins.components.checks import check_choice
from anomalib_plugins.components.names import counted
from anomalib_plugins.errors import MissingFileError

CATEGORIES = tuple(f"Class{number}" for number in range(1, 11))
SHOWN = 10
LAYOUT = """
Expected, for each of Class1 to Class10 (a folder of its name around it, as some unpackers make, is fine too):
  Class1/Train/0576.PNG ...                  images, the same in Class1/Test
  Class1/Train/Label/0576_label.PNG ...      the mask of each image that has a defect
The archives are at https://hci.iwr.uni-heidelberg.de/content/weakly-supervised-learning-industrial-optical-inspection
and are not downloaded for you."""


class DagmDataset(AnomalibDataset):
    """Split of a class of DAGM 2007; the training split without its defective images.

    Args:
        root: Folder of the classes.
        category: ``Class1`` to ``Class10``.
        split: ``Split.TRAIN`` or ``Split.TEST``.

    Raises:
        FileNotFoundError: If files are missing, or not where the archives have them.
    """

    def __init__(self, root: Path, category: str, split: Split) -> None:
        super().__init__()
        self.root_category, self.split, self.category = root / category, split, category
        folder = _split_folder(root, category, split.value.capitalize())
        images, masks = _pictures(folder), _pictures(folder / "Label")
        _refuse_incomplete(folder, images, masks)
        rows = [(str(path), str(masks.get(f"{name}_label", ""))) for name, path in images.items()]
        samples = DataFrame(rows, columns=["image_path", "mask_path"])
        defective = samples.mask_path.str.len() > 0
        samples["split"] = split.value
        samples["label"] = defective.map({False: "good", True: "defect"})
        samples["label_index"] = defective.map({False: int(LabelName.NORMAL), True: int(LabelName.ABNORMAL)})
        if split == Split.TRAIN:
            samples = samples[~defective].reset_index(drop=True)
        samples.attrs["task"] = "segmentation"
        self.samples = samples


def _split_folder(root: Path, category: str, name: str) -> Path:
    candidates = (root / category / name, root / category / category / name)
    for folder in candidates:
        if folder.is_dir():
            return folder
    nearest = next(path for path in (root / category, root, *root.absolute().parents) if path.is_dir())
    msg = f"{candidates[0]} is not there; {nearest} holds {_contents(nearest)}."
    if (root / f"{category}_def").exists():
        msg += f" {category} and {category}_def are the competition's first archives, which have no test split."
    raise MissingFileError(msg + LAYOUT)


def _pictures(folder: Path) -> dict[str, Path]:
    """PNG files of a folder by their stem; they end with .PNG in the archives, with .png in some copies."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return {path.stem: path for path in paths if path.suffix.lower() == ".png"}


def _refuse_incomplete(folder: Path, images: dict[str, Path], masks: dict[str, Path]) -> None:
    """Raise an error if there are no images or masks, or if some that others refer to are missing."""
    for what, where, found in (("images", folder, images), ("masks of defects", folder / "Label", masks)):
        if not found:
            msg = f"no {what} in {where}; it holds {_contents(where)}.{LAYOUT}"
            raise MissingFileError(msg)
    table = folder / "Label" / "Labels.txt"  # not in all copies
    text = table.read_text(encoding="utf-8", errors="replace") if table.is_file() else ""
    named = {*re.findall(r"(\w+_label)\.png", text, flags=re.IGNORECASE), *masks}
    lost = [f"Label/{name}.PNG" for name in named - masks.keys()]
    lost += [f"{name.removesuffix('_label')}.PNG" for name in named if name.removesuffix("_label") not in images]
    if lost:
        count = counted(len(lost), "file/files that others refer to is/are")
        msg = f"{count} missing in {folder}: {_shown(sorted(lost))}. Unpack the archive once more."
        raise MissingFileError(msg)


def _contents(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return _shown(names) or "nothing"


def _shown(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


class Dagm(AnomalibDataModule):
    """DAGM 2007: ten classes of grey textures of 512 x 512 pixels, each with one kind of defect.

    Trains on the training split without its defective images and tests on the whole test split. The masks are ellipses
    roughly around a defect, so that pixel metrics say little. Nothing is downloaded; errors name the archives.

    Args:
        root: Folder of the classes; ``None`` is the folder ``DAGM2007`` in anomalib's folder for datasets.
        category: ``Class1`` to ``Class10``.
        train_batch_size: Images in a training batch.
        eval_batch_size: Images in a validation or test batch.
        num_workers: Loader processes.
        train_augmentations: Applied to training images.
        val_augmentations: Applied to validation images.
        test_augmentations: Applied to test images.
        augmentations: Applied to the images of every split that has none of its own.
        val_split_mode: Source of validation images, see anomalib.
        val_split_ratio: Share of validation images.
        seed: Seed of a random validation split.

    Raises:
        ValueError: If there is no such category.

    Example:
        ``anomalib train --model Padim --data Dagm --data.category Class3``
    """

    def __init__(
        self,
        root: Path | str | None = "./datasets/DAGM2007",
        category: str = "Class1",
        train_batch_size: int = 32,
        eval_batch_size: int = 32,
        num_workers: int = 8,
        train_augmentations: Transform | None = None,
        val_augmentations: Transform | None = None,
        test_augmentations: Transform | None = None,
        augmentations: Transform | None = None,
        val_split_mode: ValSplitMode | str = ValSplitMode.SAME_AS_TEST,
        val_split_ratio: float = 0.5,
        seed: int | None = None,
    ) -> None:
        check_choice("category", category, CATEGORIES)
        super().__init__(
            train_batch_size=train_batch_size,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            train_augmentations=train_augmentations,
            val_augmentations=val_augmentations,
            test_augmentations=test_augmentations,
            augmentations=augmentations,
            val_split_mode=val_split_mode,
            val_split_ratio=val_split_ratio,
            test_split_mode=TestSplitMode.FROM_DIR,
            seed=seed,
        )
        self.root = resolve_dataset_root(root, "DAGM2007")
        self.category = category

    def _setup(self, _stage: str | None = None) -> None:
        self.train_data = DagmDataset(Path(self.root), self.category, Split.TRAIN)
        self.test_data = DagmDataset(Path(self.root), self.category, Split.TEST)
