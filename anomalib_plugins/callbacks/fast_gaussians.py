# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Faster fit with less memory for anomalib's own PaDiM."""

from anomalib.models.components import MultiVariateGaussian
from lightning.pytorch import LightningModule
from torch import Tensor

from anomalib_plugins.callbacks.stand_in import Part, StandIn
from anomalib_plugins.components.gaussians import PatchGaussians
from anomalib_plugins.errors import UserTypeError


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
        """Replace ``fit`` of anomalib's ``MultiVariateGaussian``.

        Args:
            embedding: Concatenation of the list; not used.

        Returns:
            Means ``(C, L)`` and inverse covariances ``(L, C, C)``, which are also set on the Gaussian.
        """
        del embedding
        mean, inverses = self.sums.finish_as_inverses()
        self.sums = PatchGaussians()
        self.gaussian.mean, self.gaussian.inv_covariance = mean.T.contiguous(), inverses
        return [self.gaussian.mean, self.gaussian.inv_covariance]


class FastGaussians(StandIn):
    """Fits anomalib's ``Padim`` in less than half the time, with memory that does not grow with the number of images.

    ``anomalib train --model Padim --trainer.callbacks FastGaussians``. Batches are summed as they arrive. Predictions
    change only by rounding. Checkpoints and exports remain anomalib's. Other models are refused.
    """

    def parts(self, model: LightningModule) -> list[Part]:
        """Replace the model's list of embeddings and the ``fit`` of its Gaussian."""
        network = getattr(model, "model", None)
        gaussian = getattr(network, "gaussian", None)
        if not isinstance(gaussian, MultiVariateGaussian):
            msg = f"FastGaussians works with anomalib's Padim only, not with {type(model).__name__}"
            raise UserTypeError(msg)
        gathered = Gathered(gaussian)
        return [Part(network, "memory_bank", gathered), Part(gaussian, "fit", gathered.fit)]
