# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Time each part of CutSwapPatchcore's training except for loading images: ``python -m tools.cutswap_time``."""

import argparse
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from anomalib_plugins.benchmark.measure import machine, versions
from anomalib_plugins.models.cutswap_patchcore import CutSwapPatchcore
from anomalib_plugins.models.cutswap_patchcore.saliency import vgg16_saliency
from tools.timing import Work, times

IMAGES = 1000


def parts(model: CutSwapPatchcore, images: Tensor, pairs: int) -> dict[str, tuple[Work, float]]:
    """Define the parts of training to time.

    Args:
        model: Model with the paper's schedule, on the images' device.
        images: RGB images ``(N, 3, H, W)`` in ``[0, 1]``.
        pairs: Number of pairs of an image and a layer per step.

    Returns:
        Function that runs each part, and its number of runs for a thousand images, by name.
    """
    pretext, optimizer = model.pretext, model.configure_optimizers()
    assert pretext is not None
    assert optimizer is not None
    saliency = vgg16_saliency(pre_trained=False)
    saliency.network.to(images.device)
    maps = saliency(images)
    batch = images.repeat(-(-pairs // len(images)), 1, 1, 1)[:pairs]
    places = torch.ones(pairs, *images.shape[-2:], dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    examples, classes = pretext.task(batch, generator, places)

    def learn() -> None:
        model.train()
        F.cross_entropy(model.head(model.model.backbone(examples)).float(), classes).backward()
        optimizer.step()
        optimizer.zero_grad()

    @torch.no_grad()
    def remember() -> None:
        model.eval().model.embed(images)

    steps = IMAGES * pretext.maps / pairs
    return {
        "saliency: five maps": (lambda: saliency(images), IMAGES / len(images)),
        "saliency: clusters": (lambda: pretext.anchors.of_maps(maps), IMAGES / len(images)),
        "pretext, one pass: swapping": (lambda: pretext.task(batch, generator, places), steps),
        "pretext, one pass: learning": (learn, steps),
        "memory: features": (remember, IMAGES / len(images)),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table: CPU time, or wall time on a GPU.

    Args:
        arguments: Command-line arguments. ``None`` uses ``sys.argv``.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "gpu"])
    parser.add_argument("--size", type=int, default=256, help="side of the images in pixels")
    parser.add_argument("--precision", default="bf16-mixed", choices=["bf16-mixed", "32-true"])
    parser.add_argument("--pairs", type=int, default=64, help="pairs of an image and a layer per step")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args(arguments)
    if args.device == "cpu":
        torch.set_num_threads(1)
    device = torch.device("cuda" if args.device == "gpu" else "cpu")
    model = CutSwapPatchcore(image_size=(args.size, args.size), pre_trained=False, seed=0).to(device)
    images = torch.rand(8, 3, args.size, args.size, device=device)
    print(f"Seconds for {IMAGES} images of {args.size} px, {args.precision}, {machine(device)}; {versions()}")
    with torch.autocast(device.type, torch.bfloat16, enabled=args.precision == "bf16-mixed"):
        for name, (work, count) in parts(model, images, args.pairs).items():
            each = times([work], args.repeats)[int(args.device == "cpu")].median().item()
            print(f"{name:32s} {each * count:9.1f}   ({each:.3f} a time, {count:.0f} times)")


if __name__ == "__main__":
    main()
