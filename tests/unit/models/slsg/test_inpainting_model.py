# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch

from anomalib_plugins.models.slsg.encoder import SlsgEncoder
from anomalib_plugins.models.slsg.inpainting_model import InpaintingDecoder, PatchDiscriminator


def _count(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


def test_generator_and_discriminator_have_the_specified_number_of_parameters():
    assert _count(SlsgEncoder(), InpaintingDecoder()) == 16_413_318
    assert _count(PatchDiscriminator()) == 2_765_633


def test_a_judgement_depends_on_70_by_70_pixels():
    torch.manual_seed(0)
    discriminator = PatchDiscriminator().eval()
    images = torch.randn(1, 3, 128, 128, requires_grad=True)
    discriminator(images)[0, 0, 7, 7].backward()
    rows, columns = images.grad[0].abs().sum(dim=0).nonzero().unbind(dim=1)
    assert rows.max() - rows.min() + 1 == 70
    assert columns.max() - columns.min() + 1 == 70


@pytest.fixture(scope="module")
def painter():
    torch.manual_seed(0)
    return SlsgEncoder(), InpaintingDecoder()


@pytest.mark.parametrize("size", [(32, 32), (64, 48)])
def test_reconstructions_have_the_images_size(painter, size):
    encoder, decoder = painter
    reconstruction, aux = decoder(encoder(torch.randn(2, 3, *size)))
    assert reconstruction.shape == aux.shape == (2, 3, *size)


def test_both_reconstructions_train_the_encoders_bottleneck_and_every_decoder_parameter(painter):
    encoder, decoder = painter
    reconstruction, aux = decoder(encoder(torch.randn(2, 3, 64, 64)))
    for output in (reconstruction, aux):
        encoder.zero_grad()
        output.square().mean().backward(retain_graph=True)
        assert encoder.layer4[1].conv2.weight.grad.abs().sum() > 0
    assert all(p.grad is not None for p in decoder.parameters())
