# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Loss of reconstruction and of segmentation, trained together; all computes in float32."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from kornia.metrics import ssim
from torch import Tensor, nn
from torch.nn import functional as F

from anomalib_plugins.components.segmentation import anomaly_probability, focal_loss

from .torch_model import Segmentation

SSIM_WINDOW = 11


def reconstruction_loss(reconstruction: Tensor, target: Tensor) -> Tensor:
    """Mean squared error and lack of structural similarity, L_rec.

    Args:
        reconstruction: ``(N, 3, H, W)``.
        target: Images without anomalies in ``[0, 1]`` ``(N, 3, H, W)``.

    Returns:
        Scalar, 0 where both are the same.
    """
    with torch.autocast(target.device.type, enabled=False):  # before version 0.9 kornia would filter in half precision
        reconstruction, target = reconstruction.float(), target.float()
        return F.mse_loss(reconstruction, target) + 1 - ssim(reconstruction, target, SSIM_WINDOW).mean()


def segmentation_loss(logits: Tensor, mask: Tensor, gamma: float = 4.0) -> Tensor:
    """Focal loss and mean absolute error of the probabilities.

    Args:
        logits: ``(N, 2, H, W)``.
        mask: 1 where anomalous, else 0 ``(N, 1, H, W)``.
        gamma: Exponent of the focal loss.

    Returns:
        Scalar, at least 0.
    """
    probability, mask = anomaly_probability(logits), mask.float()
    return focal_loss(probability, mask, gamma) + F.l1_loss(probability, mask)


class LossTerms(NamedTuple):
    """What is added up, scalars.

    Attributes:
        reconstruction: L_rec.
        prediction: L_pre, of the prediction from all levels.
        levels: L_MSS, weighted sum over the predictions from single levels; 0 without them.
    """

    reconstruction: Tensor
    prediction: Tensor
    levels: Tensor

    @property
    def total(self) -> Tensor:
        """L_total."""
        return self.reconstruction + self.prediction + self.levels


class PoutaLoss(nn.Module):
    """Loss of all that ``PoutaModel`` predicts in training.

    Args:
        gamma: Exponent of the focal losses, at least 0.
        lambdas: Weights of the four levels in the multi-scale supervision, finest first.

    Raises:
        ValueError: If ``gamma`` or a weight is negative, or there are not four weights.
    """

    def __init__(self, gamma: float = 4.0, lambdas: Sequence[float] = (0.4, 0.3, 0.2, 0.1)) -> None:
        super().__init__()
        if gamma < 0 or len(lambdas) != 4 or min(lambdas) < 0:
            msg = f"gamma and the four lambdas must be at least 0, got {gamma} and {lambdas}"
            raise ValueError(msg)
        self.gamma = gamma
        self.lambdas = tuple(lambdas)

    def forward(self, predicted: Segmentation, images: Tensor, mask: Tensor) -> LossTerms:
        """Compute the terms.

        Args:
            predicted: Of the images with anomalies.
            images: The images without, in ``[0, 1]`` ``(N, 3, H, W)``.
            mask: 1 where anomalous, else 0 ``(N, 1, H, W)``.

        Returns:
            The terms; their sum is what to minimise.
        """
        prediction = segmentation_loss(predicted.logits, mask, self.gamma)
        levels = prediction.new_zeros(())
        for weight, logits in zip(self.lambdas, predicted.level_logits, strict=False):  # none without supervision
            levels = levels + weight * segmentation_loss(logits, mask, self.gamma)
        return LossTerms(reconstruction_loss(predicted.reconstruction, images), prediction, levels)
