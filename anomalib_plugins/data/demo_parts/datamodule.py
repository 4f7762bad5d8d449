# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Demo data that the package draws by itself: one machined part, good and with ten kinds of defects."""

import json
import logging
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from anomalib.data import AnomalibDataModule, MVTecADDataset
from anomalib.data.utils import Split, TestSplitMode, ValSplitMode
from torchvision.transforms.v2 import Transform

from anomalib_plugins.components.checks import check_choice, check_least
from anomalib_plugins.errors import UserError

from .defects import LOGICAL, STRUCTURAL
from .flange import Flange, build
from .photo import shade

logger = logging.getLogger(__name__)

DRAWING = 1  # raise when the drawing changes, so that folders of an older drawing are made anew
RECIPE = "recipe.json"
VISIBLE = 4  # grey levels (of 255) from which a changed pixel counts as changed


def draw_part(seed: int | list[int], size: int = 256, defect: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Draw a photo of one part.

    Args:
        seed: Seed of pose, light, texture, noise and the place of the defect. Equal seeds with and without a defect
            give the same photo outside the mask.
        size: Side of the square image in pixels.
        defect: Name of a defect, ``None`` for a good part.

    Returns:
        RGB image ``(H, W, 3)`` and the mask of the defect ``(H, W)`` of 0 and 255, both uint8.

    Raises:
        ValueError: If there is no defect of that name.
    """
    check_choice("defect", defect, [None, *STRUCTURAL, *LOGICAL])
    scene_seed, light_seed, defect_seed = np.random.SeedSequence(seed).spawn(3)
    scene, trouble = np.random.default_rng(scene_seed), np.random.default_rng(defect_seed)
    pose = (float(scene.uniform(-1, 1) * np.deg2rad(3)), *scene.uniform(-0.015, 0.015, 2).tolist())
    angles = scene.uniform(0, np.pi / 3, 4).tolist()

    good = shade(build(Flange(), pose, angles, size), np.random.default_rng(light_seed))
    if defect is None:
        return good, np.zeros((size, size), dtype=np.uint8)
    layout = LOGICAL[defect](Flange(), trouble) if defect in LOGICAL else Flange()
    surface = build(layout, pose, angles, size)
    if defect in STRUCTURAL:
        STRUCTURAL[defect](surface, trouble)
    bad = shade(surface, np.random.default_rng(light_seed))
    mask = _changed(good, bad)
    return np.where(mask[..., None] > 0, bad, good), mask


def _changed(good: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """Mask of the visible change, drawn as a person would: without pin holes and single pixels."""
    changed = (np.abs(good.astype(np.int16) - bad).max(axis=2) >= VISIBLE).astype(np.uint8)
    changed = cv2.morphologyEx(changed, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    _, regions, stats, _ = cv2.connectedComponentsWithStats(changed, connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= 8
    large[0] = False
    return np.where(large[regions], np.uint8(255), np.uint8(0))


class DemoParts(AnomalibDataModule):
    """A machined flange in 256-pixel photos, drawn by the package on first use; nothing is downloaded.

    The files are ordinary PNGs in the folder layout of MVTec AD (``train/good``, ``test/<defect>``,
    ``ground_truth/<defect>``), so they also show how a folder of one's own has to look. Five defects are structural
    (scratch, dent, stain, chipped edge, crack), five logical (a screw missing, a hole too many, the label upside
    down or crooked, the wrong connector).

    Args:
        root: Folder the category folder ``flange`` is written to. Written once; written anew when the arguments
            below that decide its content change.
        num_train: Good photos for training.
        num_test_good: Good photos in the test set.
        num_per_defect: Test photos of each of the ten defects.
        image_size: Side of the square photos in pixels, at least 64; or height and width, which are equal.
        seed: Seed of the drawing and of anomalib's splits. The same seed gives the same files.
        train_batch_size: Images in a training batch.
        eval_batch_size: Images in a validation or test batch.
        num_workers: Loader processes.
        augmentations: Applied to the images of every split.
        val_split_mode: Where validation images come from, see anomalib.
        val_split_ratio: Their share.

    Raises:
        ValueError: If a count is below 1, ``image_size`` below 64, or ``root / "flange"`` holds other files.

    Example:
        >>> DemoParts(num_train=60).category
        'flange'
    """

    def __init__(
        self,
        root: Path | str = "./datasets/demo_parts",
        num_train: int = 60,
        num_test_good: int = 20,
        num_per_defect: int = 5,
        image_size: int | Sequence[int] = 256,
        seed: int = 0,
        train_batch_size: int = 8,
        eval_batch_size: int = 8,
        num_workers: int = 0,
        augmentations: Transform | None = None,
        val_split_mode: ValSplitMode | str = ValSplitMode.SAME_AS_TEST,
        val_split_ratio: float = 0.5,
    ) -> None:
        counts = {"num_train": num_train, "num_test_good": num_test_good, "num_per_defect": num_per_defect}
        for name, count in counts.items():
            check_least(name, count)
        # anomalib's benchmark makes a pair of every image_size.
        sides = {image_size} if isinstance(image_size, int) else set(image_size)
        side = min(sides, default=0)
        if len(sides) != 1 or side < 64:
            msg = f"image_size must be one side of at least 64 pixels for the part to be recognisable, got {image_size}"
            raise UserError(msg)
        super().__init__(
            train_batch_size=train_batch_size,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            augmentations=augmentations,
            val_split_mode=val_split_mode,
            val_split_ratio=val_split_ratio,
            test_split_mode=TestSplitMode.FROM_DIR,
            seed=seed,
        )
        self.root = Path(root)
        self.category = "flange"
        self.recipe = {"drawing": DRAWING, "image_size": side, "seed": seed, **counts}

    @property
    def folder(self) -> Path:
        """Folder of the photos."""
        return self.root / self.category

    def prepare_data(self) -> None:
        """Draw the photos unless they are there already.

        Raises:
            ValueError: If the folder exists and was not written by this class.
        """
        if self._is_drawn():
            return
        if self.folder.exists() and not (self.folder / RECIPE).is_file():
            msg = f"{self.folder} holds files that DemoParts did not write; choose another root or remove it"
            raise UserError(msg)
        self.root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".flange-", dir=self.root) as unfinished:
            drawn = Path(unfinished) / self.category
            self._draw_all(drawn)
            if self._is_drawn():  # another process was faster, and may be reading its photos
                return
            shutil.rmtree(self.folder, ignore_errors=True)
            drawn.rename(self.folder)

    def _is_drawn(self) -> bool:
        recipe = self.folder / RECIPE
        return recipe.is_file() and json.loads(recipe.read_text(encoding="utf-8")) == self.recipe

    def _draw_all(self, folder: Path) -> None:
        """Draw every photo and mask of the recipe."""
        splits: list[tuple[str, str | None, int]]
        splits = [("train", None, self.recipe["num_train"]), ("test", None, self.recipe["num_test_good"])]
        splits += [("test", defect, self.recipe["num_per_defect"]) for defect in (*STRUCTURAL, *LOGICAL)]
        logger.info("Drawing %d photos of the demo part to %s", sum(count for *_, count in splits), self.folder)
        for number, (split, defect, count) in enumerate(splits):
            photos, masks = folder / split / (defect or "good"), folder / "ground_truth" / (defect or "")
            for directory in (photos, masks):
                directory.mkdir(parents=True, exist_ok=True)
            for i in range(count):
                image, mask = draw_part([self.recipe["seed"], number, i], self.recipe["image_size"], defect)
                cv2.imwrite(str(photos / f"{i:03d}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
                if defect:
                    cv2.imwrite(str(masks / f"{i:03d}_mask.png"), mask)
        (folder / RECIPE).write_text(json.dumps(self.recipe, indent=2) + "\n", encoding="utf-8")

    def _setup(self, _stage: str | None = None) -> None:
        self.prepare_data()  # no trainer has, where a notebook calls datamodule.setup()
        self.train_data = MVTecADDataset(root=self.root, category=self.category, split=Split.TRAIN)
        self.test_data = MVTecADDataset(root=self.root, category=self.category, split=Split.TEST)
