# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Parts of networks that segment anomalies: a block of layers, the anomaly probability and the focal loss."""

from torch import Tensor, nn

from anomalib_plugins.errors import UserError


def conv_bn_relu(in_channels: int, out_channels: int, kernel_size: int = 3, bias: bool = True) -> nn.Sequential:
    """Create a block of convolution, batch normalisation and ReLU that keeps height and width (odd kernels)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def anomaly_probability(logits: Tensor) -> Tensor:
    """Softmax probability ``(N, 1, H, W)``, float32, of the second of two classes with logits ``(N, 2, H, W)``."""
    normal, anomalous = logits.float().split(1, dim=1)
    return (anomalous - normal).sigmoid()


def focal_loss(probability: Tensor, target: Tensor, gamma: float = 4.0, eps: float = 1e-5) -> Tensor:
    """Focal loss on probabilities (Lin et al., 2017), without class weights.

    Args:
        probability: Probability of class 1 in ``[0, 1]``, of any shape.
        target: Class 0 or 1, of the same shape.
        gamma: Focus on hard elements; 0 gives cross-entropy.
        eps: Margin of the clamp: the probability of the right class is clamped to ``[eps, 1 - eps]``. The gradient is 0
            outside.

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
        raise UserError(msg)
    if gamma < 0:
        msg = f"gamma must be >= 0, got {gamma}"
        raise UserError(msg)
    right = (probability * target + (1 - probability) * (1 - target)).clamp(eps, 1 - eps)
    return -((1 - right) ** gamma * right.log()).mean()
