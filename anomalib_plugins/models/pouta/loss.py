# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Losses of reconstruction and segmentation, computed in float32."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from kornia.metrics import ssim
from torch import Tensor, nn
from torch.nn import functional as F

from anomalib_plugins.components.segmentation import anomaly_probability, focal_loss
from anomalib_plugins.errors import UserError

from .torch_model import Segmentation

SSIM_WINDOW = 11


def reconstruction_loss(reconstruction: Tensor, target: Tensor) -> Tensor:
    """Compute L_rec, the sum of mean squared error and 1 - SSIM of images ``(N, 3, H, W)`` in ``[0, 1]``."""
    with torch.autocast(target.device.type, enabled=False):  # kornia before 0.9 would filter in half precision
        reconstruction, target = reconstruction.float(), target.float()
        return F.mse_loss(reconstruction, target) + 1 - ssim(reconstruction, target, SSIM_WINDOW).mean()


def segmentation_loss(logits: Tensor, mask: Tensor, gamma: float = 4.0) -> Tensor:
    """Compute the sum of focal loss, with exponent ``gamma``, and mean absolute error of the anomaly probabilities.

    Logits are ``(N, 2, H, W)``, masks ``(N, 1, H, W)``, 1 where anomalous.
    """
    probability, mask = anomaly_probability(logits), mask.float()
    return focal_loss(probability, mask, gamma) + F.l1_loss(probability, mask)


class LossTerms(NamedTuple):
    """Terms of the loss, scalars.

    Attributes:
        reconstruction: Reconstruction loss L_rec.
        prediction: Loss L_pre of the prediction from all levels.
        levels: Loss L_MSS, the weighted sum over predictions from single levels; 0 without them.
    """

    reconstruction: Tensor
    prediction: Tensor
    levels: Tensor

    @property
    def total(self) -> Tensor:
        """Total loss L_total."""
        return self.reconstruction + self.prediction + self.levels


class PoutaLoss(nn.Module):
    """Loss of ``PoutaModel`` in training.

    Args:
        gamma: Exponent of the focal losses, at least 0.
        lambdas: Weights of the four levels in multi-scale supervision, finest first.

    Raises:
        ValueError: If ``gamma`` or a weight is negative, or there are not four weights.
    """

    def __init__(self, gamma: float = 4.0, lambdas: Sequence[float] = (0.4, 0.3, 0.2, 0.1)) -> None:
        super().__init__()
        if gamma < 0 or len(lambdas) != 4 or min(lambdas) < 0:
            msg = f"gamma and the four lambdas must be at least 0, got {gamma} and {lambdas}"
            raise UserError(msg)
        self.gamma = gamma
        self.lambdas = tuple(lambdas)

    def forward(self, predicted: Segmentation, images: Tensor, mask: Tensor) -> LossTerms:
        """Compute the terms of the loss.

        Args:
            predicted: Predictions for images with anomalies.
            images: Images without anomalies in ``[0, 1]`` ``(N, 3, H, W)``.
            mask: Ground truth ``(N, 1, H, W)``, 1 where anomalous, else 0.

        Returns:
            Terms of the loss, whose sum is to be minimised.
        """
        prediction = segmentation_loss(predicted.logits, mask, self.gamma)
        levels = prediction.new_zeros(())
        for weight, logits in zip(self.lambdas, predicted.level_logits, strict=False):  # none without supervision
            levels = levels + weight * segmentation_loss(logits, mask, self.gamma)
        return LossTerms(reconstruction_loss(predicted.reconstruction, images), prediction, levels)
