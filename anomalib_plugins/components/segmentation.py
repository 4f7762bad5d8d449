# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Two-class logits as probabilities, and the loss that hard pixels weigh most in."""

from torch import Tensor


def anomaly_probability(logits: Tensor) -> Tensor:
    """Softmax over normal and anomalous, of which the anomalous share is kept.

    Args:
        logits: ``(N, 2, H, W)``.

    Returns:
        ``(N, 1, H, W)`` in float32.
    """
    normal, anomalous = logits.float().split(1, dim=1)
    return (anomalous - normal).sigmoid()


def focal_loss(probability: Tensor, target: Tensor, gamma: float = 4.0, eps: float = 1e-5) -> Tensor:
    """Focal loss on probabilities (Lin et al., 2017), without class weights.

    Args:
        probability: Probability of class 1, any shape, in ``[0, 1]``.
        target: Class 0 or 1, same shape.
        gamma: Focus on hard elements; 0 gives cross-entropy.
        eps: The probability of the right class is clamped to ``[eps, 1 - eps]``; beyond, the gradient is 0.

    Returns:
        Mean over all elements, at least 0.

    Raises:
        ValueError: If the shapes differ or ``gamma`` is negative.

    Example:
        >>> focal_loss(torch.tensor([0.5]), torch.tensor([1.0]), gamma=1.0)
        tensor(0.3466)
    """
    if probability.shape != target.shape:
        msg = f"probability has shape {tuple(probability.shape)}, target {tuple(target.shape)}"
        raise ValueError(msg)
    if gamma < 0:
        msg = f"gamma must be >= 0, got {gamma}"
        raise ValueError(msg)
    right = (probability * target + (1 - probability) * (1 - target)).clamp(eps, 1 - eps)
    return -((1 - right) ** gamma * right.log()).mean()
