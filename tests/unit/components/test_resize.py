# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch
from anomalib.pre_processing import PreProcessor
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close
from torchvision.transforms.v2 import CenterCrop, Compose, Resize

from anomalib_plugins.components.resize import AntialiasedPreProcessor, antialiased_resize


@pytest.mark.parametrize("size", [(511, 700), (48, 64), (20, 30), (33, 300), (1, 2000)])
def test_it_is_torchs_antialiased_resize(size: tuple[int, int]) -> None:
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(images, (48, 64), mode="bilinear", antialias=True)
    assert_close(antialiased_resize(images, (48, 64)), expected, rtol=0, atol=1e-5)


def test_a_pixel_that_is_no_number_is_never_lost() -> None:
    images = torch.zeros(2, 3, 300, 300)
    images[1, 0, 1, 1] = torch.nan
    resized = antialiased_resize(images, (32, 32))
    assert resized[0].isfinite().all()
    assert not resized[1].isfinite().all()


class Exported(torch.nn.Module):
    """A pre-processor as the exporter sees it."""

    def __init__(self, pre_processor: PreProcessor) -> None:
        super().__init__()
        self.pre_processor = pre_processor

    def forward(self, images: Tensor) -> Tensor:
        return self.pre_processor(images)


@pytest.mark.parametrize("kind", [AntialiasedPreProcessor, PreProcessor])
def test_photos_shrink_in_exported_graphs_as_in_training_which_anomalibs_do_not(kind: type[PreProcessor]) -> None:
    pre_processor = kind(transform=Compose([Resize((32, 48), antialias=True)]))
    images = torch.rand(1, 3, 200, 300, generator=torch.Generator().manual_seed(0))
    in_training = pre_processor.transform(images)
    exported = torch.export.export(Exported(pre_processor), (images,)).module()(images)
    largest = float((exported - in_training).abs().max())
    assert (largest < 1e-5) == (kind is AntialiasedPreProcessor)
    assert (largest > 0.1) == (kind is PreProcessor)


def test_a_transform_that_is_more_than_a_resize_is_anomalibs_affair() -> None:
    transform = Compose([Resize((32, 32), antialias=True), CenterCrop((16, 16))])
    images = torch.rand(1, 3, 64, 64)
    assert_close(AntialiasedPreProcessor(transform=transform)(images), PreProcessor(transform=transform)(images))
