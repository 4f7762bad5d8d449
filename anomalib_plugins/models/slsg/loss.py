# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Losses of segmentation and of inpainting; all compute in float32."""

from torch import Tensor, nn
from torch.nn import functional as F

from anomalib_plugins.components.segmentation import anomaly_probability, focal_loss
from anomalib_plugins.errors import UserError


class SegmentationLoss(nn.Module):
    """Weighted sum of focal loss, l1 distance and the auxiliary head's l1 distance, L_S.

    Args:
        use_focal: Whether to add the focal loss of the probabilities, weight 0.4.
        use_l1: Whether to add the mean absolute difference of probabilities and mask, weight 0.6.
        use_aux: Whether to add the same for the auxiliary head, weight 0.3.
        gamma: Exponent of the focal loss.

    Raises:
        ValueError: If all terms are off.
    """

    def __init__(
        self,
        use_focal: bool = True,
        use_l1: bool = True,
        use_aux: bool = True,
        gamma: float = 4.0,
    ) -> None:
        super().__init__()
        if not (use_focal or use_l1 or use_aux):
            msg = "no term is left to learn from: leave one of use_focal, use_l1 and use_aux on"
            raise UserError(msg)
        self.focal_weight = 0.4 * use_focal
        self.l1_weight = 0.6 * use_l1
        self.aux_weight = 0.3 * use_aux
        self.gamma = gamma

    def forward(self, logits: Tensor, aux_logits: Tensor, mask: Tensor) -> Tensor:
        """Compute the loss of logits ``(N, 2, H, W)`` for masks ``(N, 1, H, W)``, 1 where anomalous: a scalar."""
        mask = mask.float()
        probability, aux_probability = anomaly_probability(logits), anomaly_probability(aux_logits)
        return (
            self.focal_weight * focal_loss(probability, mask, self.gamma)
            + self.l1_weight * F.l1_loss(probability, mask)
            + self.aux_weight * F.l1_loss(aux_probability, mask)
        )


def adversarial_loss(fake_scores: Tensor) -> Tensor:
    """Least-squares loss of a generator, L_G (Mao et al., 2017): 0 if all generated images score 1."""
    return (fake_scores.float() - 1).square().mean() / 2


def discriminator_loss(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """Least-squares loss of a discriminator, L_D: 0 if all real images score 1 and all generated ones 0.

    Generated images must be detached from the generator.
    """
    return ((real_scores.float() - 1).square().mean() + fake_scores.float().square().mean()) / 2


def inpainting_loss(adversarial: Tensor, reconstruction: Tensor, aux: Tensor, target: Tensor) -> Tensor:
    """Loss of the inpainting generator, L_R: a scalar, at least 0.

    Args:
        adversarial: L_G of the reconstruction, weight 1.
        reconstruction: Reconstruction ``(N, 3, H, W)``; its mean absolute error has weight 0.8.
        aux: Reconstruction from the bottleneck alone ``(N, 3, H, W)``; its mean squared error has weight 1.
        target: Unmasked images in the same space ``(N, 3, H, W)``.
    """
    target = target.float()
    return adversarial + 0.8 * F.l1_loss(reconstruction.float(), target) + F.mse_loss(aux.float(), target)
