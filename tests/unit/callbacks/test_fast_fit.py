# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch
from anomalib.models import Padim, Patchcore
from anomalib.models.components import KCenterGreedy, MultiVariateGaussian
from anomalib.models.image.patchcore import torch_model
from torch.testing import assert_close

from anomalib_plugins.callbacks.fast_fit import ExactKCenterGreedy, FastCoreset, FastGaussians, Gathered

from ... import training


def fit(model, *callbacks):
    options = {"max_epochs": 1, "limit_val_batches": 0, **model.trainer_arguments}
    return training.fit(model, training.good_images(size=(64, 64), batch_size=3), callbacks=list(callbacks), **options)


def build(model, **options):
    torch.manual_seed(0)
    return model(backbone="resnet18", pre_trained=False, **options)


def slow_picks(features, first, count):
    """Always the farthest of all from those already picked."""
    picks = [first]
    while len(picks) < count:
        picks.append(int(torch.cdist(features, features[picks]).amin(dim=1).argmax()))
    return picks


def test_it_keeps_what_the_slow_search_keeps():
    features = torch.rand(300, 12, generator=torch.Generator().manual_seed(0))
    picks = ExactKCenterGreedy(features, sampling_ratio=0.1).select_coreset_idxs()
    assert picks == slow_picks(features, picks[0], 30)


def test_the_first_pick_follows_torchs_seed():
    features = torch.rand(300, 12)
    firsts = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        firsts.append(ExactKCenterGreedy(features, 0.01).select_coreset_idxs()[0])
    assert firsts[0] == firsts[1] != firsts[2]


def test_patchcore_keeps_as_many_patches_from_the_fast_sampler(monkeypatch):
    used = []
    select = ExactKCenterGreedy.select_coreset_idxs
    monkeypatch.setattr(ExactKCenterGreedy, "select_coreset_idxs", lambda self: used.append(self) or select(self))
    fast, own = (fit(build(Patchcore, coreset_sampling_ratio=0.1), *each) for each in ([FastCoreset()], []))
    assert len(used) == 1
    assert fast.model.memory_bank.shape == own.model.memory_bank.shape
    assert torch_model.KCenterGreedy is KCenterGreedy


def test_padim_learns_and_predicts_the_same_without_anomalibs_fit(monkeypatch):
    own = fit(build(Padim, pre_processor=False))
    monkeypatch.delattr(MultiVariateGaussian, "forward")
    fast = fit(build(Padim, pre_processor=False), FastGaussians())
    assert is_anomalibs(fast)
    # Inverse covariances reach 100.
    assert_close(fast.state_dict(), own.state_dict(), rtol=0, atol=1e-3, equal_nan=True)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    assert_close(fast.model(images), own.model(images), rtol=1e-4, atol=1e-4)


def test_no_embedding_is_kept():
    gathered = Gathered(MultiVariateGaussian())
    for seed in range(3):
        gathered.append(torch.rand(2, 5, 3, 4, generator=torch.Generator().manual_seed(seed)))
    assert torch.vstack(gathered).shape == (0, 5, 3, 4)
    assert all(each.untyped_storage().nbytes() == 0 for each in gathered)


def is_anomalibs(model):
    if isinstance(model, Patchcore):
        return torch_model.KCenterGreedy is KCenterGreedy
    return type(model.model.memory_bank) is list and "fit" not in vars(model.model.gaussian)


@pytest.mark.parametrize(("model", "callback"), [(Patchcore, FastCoreset), (Padim, FastGaussians)])
def test_the_model_is_anomalibs_again_after_a_failure(monkeypatch, model, callback):
    model = build(model)

    def fail(*_):
        assert not is_anomalibs(model)
        raise InterruptedError

    monkeypatch.setattr(model, "training_step", fail)
    with pytest.raises(InterruptedError):
        fit(model, callback())
    assert is_anomalibs(model)


@pytest.mark.parametrize(("model", "callback"), [(Padim, FastCoreset), (Patchcore, FastGaussians)])
def test_other_models_are_refused(model, callback):
    with pytest.raises(TypeError, match=f"{callback.__name__} works with .* only, not with {model.__name__}"):
        callback().setup(None, build(model), "fit")
