# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""A fast coreset for anomalib's own memory-bank models."""

import sys

import torch
from anomalib.models.components import KCenterGreedy
from lightning.pytorch import LightningModule

from anomalib_plugins.callbacks.stand_in import Part, StandIn
from anomalib_plugins.components.coreset import greedy_coreset

NAME = "KCenterGreedy"


class ExactKCenterGreedy(KCenterGreedy):
    """anomalib's sampler with the selection of :func:`greedy_coreset`: exact, on all channels, tens of times faster.

    anomalib selects on a random projection of the features; without one the farthest feature lies nearer to the
    coreset. The first pick is drawn from torch's generator, as anomalib's is.
    """

    def select_coreset_idxs(self) -> list[int]:
        """Numbers of the features that are kept, in the order of picking."""
        seed = int(torch.randint(2**31, ()))
        picks: list[int] = greedy_coreset(self.embedding.flatten(1), self.coreset_size, seed).tolist()
        return picks


class FastCoreset(StandIn):
    """Let anomalib's ``Patchcore`` or ``AnomalyDINO`` choose its memory in seconds instead of minutes.

    ``anomalib train --model Patchcore --trainer.callbacks FastCoreset``. What the model keeps is chosen by the same
    greedy rule; predictions, checkpoints and exports are anomalib's own. Models without such a coreset are refused.
    """

    def parts(self, model: LightningModule) -> list[Part]:
        """The fast sampler, where the model's module has anomalib's."""
        host = sys.modules[type(getattr(model, "model", model)).__module__]
        if not issubclass(getattr(host, NAME, type), KCenterGreedy):
            msg = f"FastCoreset is for anomalib's models with a coreset (Patchcore), not for {type(model).__name__}"
            raise TypeError(msg)
        return [Part(host, NAME, ExactKCenterGreedy)]
