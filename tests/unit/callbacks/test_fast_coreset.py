# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""anomalib's Patchcore keeps what a slow, exact search keeps, and gets its own sampler back."""

import pytest
import torch
from anomalib.models import Padim, Patchcore
from anomalib.models.components import KCenterGreedy
from anomalib.models.image.patchcore import torch_model

from anomalib_plugins.callbacks.fast_coreset import ExactKCenterGreedy, FastCoreset


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


def test_patchcore_keeps_as_many_patches_from_the_fast_sampler(fit, monkeypatch):
    used = []
    select = ExactKCenterGreedy.select_coreset_idxs
    monkeypatch.setattr(ExactKCenterGreedy, "select_coreset_idxs", lambda self: used.append(self) or select(self))
    options = {"backbone": "resnet18", "pre_trained": False, "coreset_sampling_ratio": 0.1}
    fast, own = fit(Patchcore(**options), FastCoreset()), fit(Patchcore(**options))
    assert len(used) == 1
    assert fast.model.memory_bank.shape == own.model.memory_bank.shape


def test_the_sampler_is_anomalibs_again_after_a_fit_and_after_a_failure(fit, monkeypatch):
    callback = FastCoreset()
    model = Patchcore(backbone="resnet18", pre_trained=False)

    def fail(*_):
        assert torch_model.KCenterGreedy is ExactKCenterGreedy
        raise InterruptedError

    monkeypatch.setattr(model, "training_step", fail)
    with pytest.raises(InterruptedError):
        fit(model, callback)
    assert torch_model.KCenterGreedy is KCenterGreedy
    fit(Patchcore(backbone="resnet18", pre_trained=False), callback)
    assert torch_model.KCenterGreedy is KCenterGreedy


def test_models_without_a_coreset_are_refused(fit):
    with pytest.raises(TypeError, match="only, not with Padim"):
        fit(Padim(backbone="resnet18", pre_trained=False), FastCoreset())
