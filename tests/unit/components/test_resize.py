# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch
from anomalib.pre_processing import PreProcessor
from torch.nn import functional as F
from torch.testing import assert_close
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import CenterCrop, Compose, Pad, Resize

from anomalib_plugins.components.resize import antialiased_resize, prepared, refuse_unexportable


@pytest.mark.parametrize("size", [(511, 700), (48, 64), (20, 30), (33, 300), (1, 2000)])
def test_it_is_torchs_antialiased_resize(size):
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(images, (48, 64), mode="bilinear", antialias=True)
    assert_close(antialiased_resize(images, (48, 64)), expected, rtol=0, atol=1e-5)


def test_a_pixel_that_is_no_number_is_never_lost():
    images = torch.zeros(2, 3, 300, 300)
    images[1, 0, 1, 1] = torch.nan
    resized = antialiased_resize(images, (32, 32))
    assert resized[0].isfinite().all()
    assert not resized[1].isfinite().all()


class Exported(torch.nn.Module):
    """A pre-processor as the exporter sees it."""

    def __init__(self, pre_processor):
        super().__init__()
        self.pre_processor = pre_processor

    def forward(self, images):
        return prepared(self.pre_processor, images)


TRANSFORMS = [
    Resize((32, 48)),
    Compose([Resize((40, 60)), CenterCrop((32, 48))]),
    Compose([Compose([Resize((32, 32))]), Pad([8, 0])]),
    Compose([Pad(4), Resize((32, 48))]),
    Resize(32),
    Resize(32, max_size=40),
    Resize(None, max_size=48),
    Resize((32, 48), antialias=False),
]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda transform: " ".join(repr(transform).split()))
def test_photos_shrink_in_exported_graphs_as_in_training(transform):
    pre_processor = PreProcessor(transform=transform)
    images = torch.rand(1, 3, 200, 300, generator=torch.Generator().manual_seed(0))
    in_training = pre_processor.transform(images)
    exported = torch.export.export(Exported(pre_processor), (images,)).module()
    assert_close(exported(images), in_training, rtol=0, atol=1e-5)
    assert_close(prepared(pre_processor, images), in_training, rtol=0, atol=0)
    assert "_aa" not in str(exported.graph), "an operation that OpenVINO takes seconds for"


def test_a_module_of_the_users_own_does_what_it_does():
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(prepared(torch.nn.MaxPool2d(2), images), torch.nn.MaxPool2d(2)(images))
    assert prepared(None, images) is images


@pytest.mark.parametrize(
    ("transform", "size", "problem"),
    [
        (Resize((32, 32), InterpolationMode.BICUBIC), (64, 64), "take the bilinear interpolation"),
        (Compose([Resize(32), CenterCrop(32)]), None, "add theirs, e.g. --input_size"),
    ],
)
def test_what_cannot_be_exported_as_it_trains_is_refused(transform, size, problem):
    with pytest.raises(ValueError, match=f"Resize.* cannot be exported.*{problem}"):
        refuse_unexportable(PreProcessor(transform=transform), size)
    refuse_unexportable(PreProcessor(transform=Compose([Resize((32, 32)), CenterCrop(32)])), None)
