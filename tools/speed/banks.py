# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Accuracy that PatchCore and PaDiM lose on real images when their memory is stored in lower precision."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from anomalib.data import MVTecAD
from anomalib.data.datasets.base.image import AnomalibDataset
from torch import Tensor, nn
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resize

from anomalib_plugins.components.gaussians import PatchGaussians
from anomalib_plugins.metrics.ranking import auroc
from anomalib_plugins.models.cutswap_patchcore.torch_model import CutSwapPatchcoreModel
from anomalib_plugins.models.sbm_pfam.padim import SbmPfamPadimModel
from anomalib_plugins.models.sbm_pfam.pfam import PfamExtractor
from tools.speed import Options
from tools.speed.search import eight_bits, stored
from tools.timing import Measurement

SIDE = 128  # pixels
SHARE = 0.01  # share of the patches that PatchCore keeps
BATCH = 16
QUICK = 10  # a quick run uses one in QUICK images


class Images(NamedTuple):
    """Images of a category.

    Attributes:
        images: RGB images in ``[0, 1]`` ``(N, 3, H, W)``.
        labels: Labels ``(N,)``, 1 for images with a defect.
        masks: Masks ``(N, H, W)``, 1 for defective pixels.
    """

    images: Tensor
    labels: Tensor
    masks: Tensor


def read(dataset: AnomalibDataset, step: int) -> Images:
    """Read every ``step``-th image of a dataset."""
    items = [dataset[number] for number in range(0, len(dataset), step)]
    images = [resize(item.image, [SIDE, SIDE], antialias=True) for item in items]
    masks = [
        torch.zeros(SIDE, SIDE)
        if item.gt_mask is None
        else resize(item.gt_mask[None].float(), [SIDE, SIDE], InterpolationMode.NEAREST)[0]
        for item in items
    ]
    return Images(torch.stack(images), torch.tensor([int(item.gt_label) for item in items]), torch.stack(masks))


def rows(
    what: str, model: nn.Module, part: str, variants: Mapping[str, nn.Module], test: Images
) -> Iterator[Measurement]:
    """Yield a row for each variant of a model's memory.

    Args:
        what: Description of the work.
        model: Model that scores the images.
        part: Attribute of the model that holds its memory.
        variants: Variants of the memory by name. Losses are relative to the first.
        test: Images to score.
    """
    first: tuple[float, float] | None = None
    for way, variant in variants.items():
        setattr(model, part, variant)
        found = [model(batch) for batch in test.images.split(BATCH)]
        image = 100 * auroc(torch.cat([each.pred_score for each in found]), test.labels).item()
        pixel = 100 * auroc(torch.cat([each.anomaly_map[:, 0] for each in found]), test.masks).item()
        first = first or (image, pixel)
        yield {
            "work": what,
            "way": way,
            "image_auroc": round(image, 2),
            "image_points_lost": round(first[0] - image, 2) + 0.0,
            "pixel_auroc": round(pixel, 2),
            "pixel_points_lost": round(first[1] - pixel, 2) + 0.0,  # no -0.0
        }


def patchcore(category: str, train: Images, test: Images) -> Iterator[Measurement]:
    """Yield rows of PatchCore's memory bank."""
    model = CutSwapPatchcoreModel().eval()
    model.backbone.load()
    patches = torch.cat([
        model.embed(batch)[0].permute(0, 2, 3, 1).flatten(0, 2) for batch in train.images.split(BATCH)
    ])
    model.banks[0].fill(patches, max(model.banks[0].num_neighbors, int(SHARE * len(patches))), progress=False)
    variants = {
        "float32": model.banks[0],
        "float16": stored(model.banks[0], lambda vectors: vectors.half().float()),
        "bfloat16": stored(model.banks[0], lambda vectors: vectors.bfloat16().float()),
        "8 bits": stored(model.banks[0], eight_bits),
    }
    banks = {way: nn.ModuleList([bank]) for way, bank in variants.items()}
    yield from rows(f"PatchCore, ResNet-18, {category}, {SIDE} px", model, "banks", banks, test)


def padim(category: str, train: Images, test: Images) -> Iterator[Measurement]:
    """Yield rows of PaDiM's Gaussians."""
    model = SbmPfamPadimModel(PfamExtractor("resnet18", pfam=False)).eval()
    model.extractor.backbone.load()
    variants = {"float32": PatchGaussians(), "bfloat16": PatchGaussians(half=True)}
    for gaussians in variants.values():
        for batch in train.images.split(BATCH):
            gaussians.add(model.embed(batch))
        gaussians.finish()
    yield from rows(f"PaDiM, ResNet-18, {category}, {SIDE} px", model, "gaussians", variants, test)


@torch.inference_mode()
def measure(options: Options) -> Iterator[Measurement]:
    """Yield rows of all categories in ``options.data``. ImageNet weights are downloaded unless they are cached."""
    assert options.data is not None
    for folder in sorted(options.data.glob("*/train")):
        data = MVTecAD(options.data, folder.parent.name, num_workers=0)
        data.setup()
        step = QUICK if options.quick else 1
        train, test = read(data.train_data, step), read(data.test_data, step)
        for detector in (patchcore, padim):
            torch.manual_seed(0)
            yield from detector(data.category, train, test)
