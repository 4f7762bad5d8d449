# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Without attention the networks are anomalib's; how they differ from each other is in ``tests/contract``."""

import pytest
import torch
import torchvision
from anomalib.models.image.cfa import torch_model as cfa
from anomalib.models.image.cfa.torch_model import CfaModel
from anomalib.models.image.padim.torch_model import PadimModel
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from torch.nn import functional as F
from torch.testing import assert_close
from torchvision.models.feature_extraction import create_feature_extractor

from anomalib_plugins.models.sbm_pfam.cfa import SbmPfamCfaModel
from anomalib_plugins.models.sbm_pfam.padim import SbmPfamPadimModel
from anomalib_plugins.models.sbm_pfam.patchcore import SbmPfamPatchcoreModel
from anomalib_plugins.models.sbm_pfam.pfam import PfamExtractor

LAYERS = ("layer1", "layer2", "layer3")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def images(count=3, seed=0):
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def plain(layers=LAYERS):
    return PfamExtractor("resnet18", layers, pfam=False).eval()


def normalized(extractor, batch):
    return extractor.backbone.normalize(batch)


def same_weights(extractor, theirs):
    theirs.load_state_dict(extractor.backbone.network.state_dict(), strict=False)


@torch.no_grad()
def test_padim_is_anomalibs():
    ours = SbmPfamPadimModel(plain(), n_features=30).eval()
    theirs = PadimModel("resnet18", list(LAYERS), pre_trained=False, n_features=30)
    same_weights(ours.extractor, theirs.feature_extractor.feature_extractor)
    theirs.idx.copy_(ours.index)
    train, test = images(6), images(2, seed=1)
    ours.gaussians.add(ours.embed(train))
    ours.gaussians.finish()
    theirs.train()(normalized(ours.extractor, train))
    theirs.fit()
    expected = theirs.eval()(normalized(ours.extractor, test))
    got = ours(test)
    assert_close(got.anomaly_map, expected.anomaly_map, rtol=1e-4, atol=1e-4)
    assert_close(got.pred_score, expected.pred_score.flatten(), rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("neighbors", [1, 9])
def test_patchcore_is_anomalibs(neighbors):
    ours = SbmPfamPatchcoreModel(plain(LAYERS[1:]), neighbors).eval()
    theirs = PatchcoreModel(LAYERS[1:], "resnet18", pre_trained=False, num_neighbors=neighbors).eval()
    same_weights(ours.extractor, theirs.feature_extractor.feature_extractor)
    ours.banks[0].fill(ours.embed(images(6))[0].flatten(2).transpose(1, 2).flatten(0, 1), 100)
    theirs.memory_bank = ours.banks[0].vectors + ours.banks[0].centre
    test = images(2, seed=1)
    expected, got = theirs(normalized(ours.extractor, test)), ours(test)
    assert_close(got.anomaly_map, expected.anomaly_map, rtol=1e-4, atol=1e-4)
    assert_close(got.pred_score, expected.pred_score, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_cfa_is_anomalibs(monkeypatch):
    offline = create_feature_extractor(torchvision.models.resnet18(weights=None), list(LAYERS)).eval()
    monkeypatch.setattr(cfa, "get_feature_extractor", lambda *args: offline)
    ours = SbmPfamCfaModel(plain()).eval()
    theirs = CfaModel("resnet18", 1, 1, 3, 3, 1e-5).eval()
    same_weights(ours.extractor, theirs.feature_extractor)
    theirs.descriptor.layer.conv2d.load_state_dict(ours.descriptor.state_dict())
    ours.spheres.add(ours.patches(images(6)))
    ours.spheres.finish()
    theirs.memory_bank = (ours.spheres.vectors + ours.spheres.centre).T
    test = images(2, seed=1)
    expected, got = theirs(normalized(ours.extractor, test)), ours(test)
    assert_close(got.anomaly_map[:, 0], expected.anomaly_map, rtol=1e-4, atol=1e-4)
    assert_close(got.pred_score, expected.pred_score, rtol=1e-4, atol=1e-4)


def test_padim_keeps_as_many_features_as_its_paper():
    assert len(SbmPfamPadimModel(plain()).index) == 100
    other = SbmPfamPadimModel(PfamExtractor("mobilenetv2_100", ["blocks.1", "blocks.2"], pfam=False))
    assert (len(other.index), int(other.stride)) == (56, 8)


@torch.no_grad()
def test_padim_averages_finer_maps_over_its_stride():
    fine, coarse = (SbmPfamPadimModel(plain(), n_features=448, stride=stride).eval() for stride in (4, 8))
    coarse.load_state_dict({**fine.state_dict(), "stride": torch.tensor(8), "index": torch.arange(448)})
    fine.index.copy_(torch.arange(448))
    ours, theirs = coarse.embed(images(1)), fine.embed(images(1))
    assert ours.shape[-1] * 2 == theirs.shape[-1]
    assert_close(ours[:, :192], F.avg_pool2d(theirs[:, :192], 2))


@torch.no_grad()
def test_padim_repeats_maps_at_the_stride_of_the_first_layer_whatever_their_order():
    model = SbmPfamPadimModel(plain(("layer2", "layer1")), n_features=192).eval()
    model.index.copy_(torch.arange(192))
    second, first = model.extractor(images(1)).values()
    assert_close(model.embed(images(1)), torch.cat([second, F.interpolate(first, second.shape[-2:])], dim=1))
    assert int(model.stride) == 8


@torch.no_grad()
def test_padim_of_an_older_version_keeps_its_grid():
    old = SbmPfamPadimModel(
        mobile := PfamExtractor("mobilenetv2_100", ["blocks.1", "blocks.2"], pfam=False), 20, stride=4
    )
    old.eval().gaussians.add(old.embed(images(3)))
    old.gaussians.finish()
    new = SbmPfamPadimModel(mobile).eval()
    new.load_state_dict({name: value for name, value in old.state_dict().items() if name != "stride"})
    assert_close(new(images(1)).anomaly_map, old(images(1)).anomaly_map, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: SbmPfamPadimModel(plain(), n_features=449),
            "n_features must be from 1 to the 448 channels .* got 449",
        ),
        (lambda: SbmPfamPadimModel(plain(), stride=6), "stride must be a multiple of 4, .* got 6"),
        (lambda: SbmPfamCfaModel(plain(), gamma_d=0), "gamma_d must be from 1 to the 448 channels .* got 0"),
        (lambda: SbmPfamCfaModel(plain(), num_nearest_neighbors=0), "num_nearest_neighbors must be at least 1, got 0"),
    ],
)
def test_impossible_options_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_patches_are_compared_as_published_with_the_papers_networks():
    networks = [PfamExtractor(name, pfam=False, strides=(8, 16)) for name in ("resnet18", "tf_efficientnet_lite0")]
    assert [len(SbmPfamPatchcoreModel(each).banks) for each in networks] == [1, 2]
