# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Callbacks that make parts of anomalib faster while one of its models is fitted."""

import sys
from abc import ABC, abstractmethod
from contextlib import ExitStack
from typing import Any
from unittest import mock

import torch
from anomalib.models.components import KCenterGreedy, MultiVariateGaussian
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from anomalib_plugins.components.coreset import greedy_coreset
from anomalib_plugins.components.gaussians import PatchGaussians
from anomalib_plugins.errors import UserTypeError


class _Replacement(ABC, Callback):
    """Replaces attributes from the start of a fit to its end or an error."""

    def __init__(self) -> None:
        self._replaced = ExitStack()

    @abstractmethod
    def replacements(self, model: LightningModule) -> list[tuple[Any, str, Any]]:
        """Owner, name and new value of each attribute."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Replace them before fitting."""
        del trainer
        if stage == "fit":
            for replacement in self.replacements(pl_module):
                self._replaced.enter_context(mock.patch.object(*replacement))

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Restore them after fitting."""
        del trainer, pl_module, stage
        self._replaced.close()

    def on_exception(self, *args: Any) -> None:
        """Restore them after an error."""
        del args
        self._replaced.close()


class ExactKCenterGreedy(KCenterGreedy):
    """Replacement for anomalib's sampler that selects by :func:`greedy_coreset`: exact and several times faster.

    anomalib selects on a random projection of the features. Selection on all channels leaves the farthest feature
    closer to the coreset. The first pick is drawn from torch's generator, as in anomalib.
    """

    def select_coreset_idxs(self) -> list[int]:
        """Select the coreset and return the indices of its features in picking order."""
        seed = int(torch.randint(2**31, ()))
        picks: list[int] = greedy_coreset(self.embedding.flatten(1), self.coreset_size, seed).tolist()
        return picks


class FastCoreset(_Replacement):
    """Speeds up the coreset selection of anomalib's ``Patchcore`` or ``AnomalyDINO`` from minutes to seconds.

    ``anomalib train --model Patchcore --trainer.callbacks FastCoreset``. Features are chosen by the same greedy rule.
    Predictions, checkpoints and exports remain anomalib's. Models without such a coreset are refused.
    """

    def replacements(self, model: LightningModule) -> list[tuple[Any, str, Any]]:
        """Sampler in the module of the model."""
        host = sys.modules[type(getattr(model, "model", model)).__module__]
        if not issubclass(getattr(host, "KCenterGreedy", type), KCenterGreedy):
            msg = f"FastCoreset works with anomalib's Patchcore and AnomalyDINO only, not with {type(model).__name__}"
            raise UserTypeError(msg)
        return [(host, "KCenterGreedy", ExactKCenterGreedy)]


class Gathered(list[Tensor]):  # noqa: FURB189  # torch.vstack takes nothing but a list or a tuple
    """Replacement for anomalib's list of embeddings that stores their sums instead.

    Args:
        gaussian: Gaussian of the model, to which the result is written.
    """

    def __init__(self, gaussian: MultiVariateGaussian) -> None:
        super().__init__()
        self.gaussian = gaussian
        self.sums = PatchGaussians()

    def append(self, embedding: Tensor) -> None:
        """Add embeddings ``(N, C, h, w)`` to the sums, and an empty tensor to the list."""
        self.sums.add(embedding)
        super().append(embedding.new_empty(0, *embedding.shape[1:]))

    def fit(self, embedding: Tensor) -> list[Tensor]:
        """Replace ``fit`` of anomalib's ``MultiVariateGaussian``; the concatenated list is not used.

        Returns:
            Means ``(C, L)`` and inverse covariances ``(L, C, C)``, which are also set on the Gaussian.
        """
        del embedding
        mean, inverses = self.sums.finish_as_inverses()
        self.sums = PatchGaussians()
        self.gaussian.mean, self.gaussian.inv_covariance = mean.T.contiguous(), inverses
        return [self.gaussian.mean, self.gaussian.inv_covariance]


class FastGaussians(_Replacement):
    """Fits anomalib's ``Padim`` in less than half the time, with memory that does not grow with the number of images.

    ``anomalib train --model Padim --trainer.callbacks FastGaussians``. Batches are summed as they arrive. Predictions
    change only by rounding. Checkpoints and exports remain anomalib's. Other models are refused.
    """

    def replacements(self, model: LightningModule) -> list[tuple[Any, str, Any]]:
        """List of embeddings, and the ``fit`` of the Gaussian."""
        network = getattr(model, "model", None)
        gaussian = getattr(network, "gaussian", None)
        if not isinstance(gaussian, MultiVariateGaussian):
            msg = f"FastGaussians works with anomalib's Padim only, not with {type(model).__name__}"
            raise UserTypeError(msg)
        gathered = Gathered(gaussian)
        return [(network, "memory_bank", gathered), (gaussian, "fit", gathered.fit)]
