# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Test whether `DriftWarning` warns when the light on good parts changes, and only then.

``python -m tools.drift --root DATA --model Padim --output drift.json``
"""

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.v2 import Lambda
from torchvision.transforms.v2.functional import gaussian_blur
from torchvision.tv_tensors import Image

from tools.timing import report

Change = Callable[[Tensor], Tensor]


def gain(image: Tensor, red: float, green: float, blue: float) -> Tensor:
    """Change the exposure or the colour of the light.

    Args:
        image: RGB image in ``[0, 1]`` ``(3, H, W)``.
        red: Factor of the red channel.
        green: Factor of the green channel.
        blue: Factor of the blue channel.
    """
    return (image * image.new_tensor([red, green, blue])[:, None, None]).clamp(0, 1)


def noise(image: Tensor, sigma: float) -> Tensor:
    """Add noise, the same to each image.

    Args:
        image: RGB image in ``[0, 1]`` ``(3, H, W)``.
        sigma: Standard deviation of the noise.
    """
    drawn = torch.randn(image.shape, generator=torch.Generator().manual_seed(0)).to(image)
    return (image + sigma * drawn).clamp(0, 1)


CHANGES: dict[str, Change] = {
    "none": lambda image: image,
    "5 % darker": partial(gain, red=0.95, green=0.95, blue=0.95),
    "40 % darker": partial(gain, red=0.6, green=0.6, blue=0.6),
    "50 % brighter": partial(gain, red=1.5, green=1.5, blue=1.5),
    "warmer light": partial(gain, red=1.2, green=1.0, blue=0.8),
    "out of focus": partial(gaussian_blur, kernel_size=[25, 25], sigma=[4.0, 4.0]),
    "noisy camera": partial(noise, sigma=0.05),
    "moved by 8 pixels": partial(torch.roll, shifts=(8, 8), dims=(1, 2)),
}


def measure(model_name: str, root: Path, category: str, size: int, seed: int, window: int) -> Iterator[dict[str, Any]]:
    """Train, validate on half of the test images, and predict changed versions of the good images in the other half.

    Args:
        model_name: Name under which anomalib knows the model.
        root: Folder in MVTec AD's layout.
        category: Name of the category.
        size: Side of the images, in pixels.
        seed: Seed of the training and of the split into halves.
        window: Number of parts per test for drift.

    Yields:
        Row for each change.
    """
    from anomalib.data import MVTecAD
    from anomalib.engine import Engine
    from anomalib.models import get_model
    from torch.utils.data import DataLoader

    from anomalib_plugins.callbacks.drift_warning import DriftWarning

    data = MVTecAD(root, category, train_batch_size=16, num_workers=0, val_split_mode="from_test", seed=seed)
    torch.manual_seed(seed)
    model = get_model(model_name, visualizer=False, evaluator=False)
    model.pre_processor = model.configure_pre_processor((size, size))
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    with tempfile.TemporaryDirectory() as folder:
        watch = DriftWarning(window)
        engine = Engine(default_root_dir=folder, callbacks=[watch], accelerator="cpu", devices=1, **quiet)
        engine.fit(model, datamodule=data)
        good = [row for row, label in enumerate(data.test_data.samples.label_index) if label == 0]
        parts = data.test_data.subsample(good)
        for name, change in CHANGES.items():
            parts.augmentations = Lambda(change, Image)
            loader = DataLoader(parts, batch_size=16, collate_fn=parts.collate_fn)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                batches: Any = engine.predict(model, dataloaders=loader)
            said = [str(each.message) for each in caught if "have moved" in str(each.message)]
            labels = torch.cat([batch.pred_label.flatten() for batch in batches])
            yield {
                "category": category,
                "change": name,
                "good_in_validation": 0 if watch.scores is None else len(watch.scores),
                "good_judged": len(parts),
                "called_defects": int(labels.sum()),
                "warning": " ".join("all defects" if "all been called" in each else "moved" for each in said) or "none",
            }


def main(arguments: list[str] | None = None) -> int:
    """Run the program.

    Args:
        arguments: Command-line arguments. ``None`` uses ``sys.argv``.

    Returns:
        0.
    """
    cli = argparse.ArgumentParser(prog="python -m tools.drift", description=__doc__)
    cli.add_argument("--root", type=Path, required=True, metavar="FOLDER", help="data in MVTec AD's layout")
    cli.add_argument("--categories", nargs="+", metavar="NAME", help="categories to run (default: all)")
    cli.add_argument("--model", default="Padim", help="name of the model in anomalib")
    cli.add_argument("--image-size", type=int, default=128, metavar="PIXELS")
    cli.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="N", help="seeds of training and split")
    cli.add_argument("--window", type=int, default=16, metavar="N", help="number of parts per test")
    cli.add_argument("--output", type=Path, metavar="JSON")
    args = cli.parse_args(arguments)
    categories = args.categories or sorted(path.name for path in args.root.iterdir() if (path / "train").is_dir())
    rows = [
        {"seed": seed, **row}
        for category in categories
        for seed in args.seeds
        for row in measure(args.model, args.root, category, args.image_size, seed, args.window)
    ]
    report(rows, args.output, model=args.model, image_size=args.image_size, window=args.window)
    return 0


if __name__ == "__main__":
    sys.exit(main())
