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
        use_focal: Focal loss of the probabilities, weight 0.4.
        use_l1: Mean absolute difference of probabilities and mask, weight 0.6.
        use_aux: The same for the auxiliary head, weight 0.3.
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
        """Compute the loss.

        Args:
            logits: ``(N, 2, H, W)``.
            aux_logits: ``(N, 2, H, W)``.
            mask: 1 where anomalous, else 0 ``(N, 1, H, W)``.

        Returns:
            Scalar, at least 0.
        """
        mask = mask.float()
        probability, aux_probability = anomaly_probability(logits), anomaly_probability(aux_logits)
        return (
            self.focal_weight * focal_loss(probability, mask, self.gamma)
            + self.l1_weight * F.l1_loss(probability, mask)
            + self.aux_weight * F.l1_loss(aux_probability, mask)
        )


def adversarial_loss(fake_scores: Tensor) -> Tensor:
    """Least-squares loss of a generator whose images should pass as real, L_G (Mao et al., 2017).

    Args:
        fake_scores: The discriminator's opinion of generated images, any shape.

    Returns:
        Scalar, 0 where all pass as real (score 1).
    """
    return (fake_scores.float() - 1).square().mean() / 2


def discriminator_loss(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """Least-squares loss of a discriminator, L_D.

    Args:
        real_scores: Its opinion of real images, any shape.
        fake_scores: Its opinion of generated images, which must be detached from the generator.

    Returns:
        Scalar, 0 where all real images score 1 and all generated ones 0.
    """
    return ((real_scores.float() - 1).square().mean() + fake_scores.float().square().mean()) / 2


def inpainting_loss(adversarial: Tensor, reconstruction: Tensor, aux: Tensor, target: Tensor) -> Tensor:
    """Loss of the inpainting generator, L_R: pass as real, match the image, match it from the bottleneck alone.

    Args:
        adversarial: L_G of the reconstruction, weight 1.
        reconstruction: ``(N, 3, H, W)``; its mean absolute error over the whole image has weight 0.8.
        aux: The bottleneck's reconstruction ``(N, 3, H, W)``; its mean squared error has weight 1.
        target: Unmasked images, in the same space ``(N, 3, H, W)``.

    Returns:
        Scalar, at least 0.
    """
    target = target.float()
    return adversarial + 0.8 * F.l1_loss(reconstruction.float(), target) + F.mse_loss(aux.float(), target)
