# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch
from torch import nn

from anomalib_plugins.models.slsg.encoder import SlsgEncoder, TimmEncoder
from anomalib_plugins.models.slsg.inpainting_model import InpaintingDecoder, PatchDiscriminator


def _count(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


def test_generator_and_discriminator_have_the_specified_number_of_parameters():
    assert _count(SlsgEncoder(), InpaintingDecoder()) == 16_413_318
    assert _count(PatchDiscriminator()) == 2_765_633


def test_discriminator_judges_30_by_30_patches_of_a_256_px_image():
    with torch.device("meta"):
        assert PatchDiscriminator()(torch.empty(2, 3, 256, 256)).shape == (2, 1, 30, 30)


def test_a_judgement_depends_on_70_by_70_pixels():
    torch.manual_seed(0)
    discriminator = PatchDiscriminator().eval()
    images = torch.randn(1, 3, 128, 128, requires_grad=True)
    discriminator(images)[0, 0, 7, 7].backward()
    rows, columns = images.grad[0].abs().sum(dim=0).nonzero().unbind(dim=1)
    assert rows.max() - rows.min() + 1 == 70
    assert columns.max() - columns.min() + 1 == 70


def test_discriminator_is_linear_at_its_end_and_leaky_before():
    discriminator = PatchDiscriminator()
    assert isinstance(discriminator.layers[-1], nn.Conv2d)
    assert {m.negative_slope for m in discriminator.modules() if isinstance(m, nn.LeakyReLU)} == {0.2}


@pytest.fixture(scope="module")
def painter():
    torch.manual_seed(0)
    return SlsgEncoder(), InpaintingDecoder()


@pytest.mark.parametrize("size", [(32, 32), (64, 48)])
def test_reconstructions_have_the_images_size(painter, size):
    encoder, decoder = painter
    reconstruction, aux = decoder(encoder(torch.randn(2, 3, *size)))
    assert reconstruction.shape == aux.shape == (2, 3, *size)


def test_an_odd_size_is_reached_when_it_is_told(painter):
    encoder, decoder = painter
    reconstruction, aux = decoder(encoder(torch.randn(2, 3, 45, 61)), size=(45, 61))
    assert reconstruction.shape == aux.shape == (2, 3, 45, 61)


def test_both_reconstructions_train_the_encoders_bottleneck_and_every_decoder_parameter(painter):
    encoder, decoder = painter
    reconstruction, aux = decoder(encoder(torch.randn(2, 3, 64, 64)))
    for output in (reconstruction, aux):
        encoder.zero_grad()
        output.square().mean().backward(retain_graph=True)
        assert encoder.layer4[1].conv2.weight.grad.abs().sum() > 0
    assert all(p.grad is not None for p in decoder.parameters())


def test_any_encoder_and_width_can_inpaint():
    encoder = TimmEncoder("tf_efficientnet_lite0")
    decoder = InpaintingDecoder(encoder.channels, widths=(8, 16, 32, 64))
    reconstruction, aux = decoder(encoder(torch.randn(2, 3, 64, 48)))
    assert reconstruction.shape == aux.shape == (2, 3, 64, 48)
