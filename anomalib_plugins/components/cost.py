# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Parameters and operations of networks."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


class Variant(NamedTuple):
    """Network whose size is to be measured, with published values if there are any.

    Args:
        name: Name of the network in the paper.
        build: Function that builds the network.
        image_size: Side of the square input, in pixels.
        parameters: Published number of parameters, if any.
        macs: Published multiply-accumulates for one image, if any.
    """

    name: str
    build: Callable[[], nn.Module]
    image_size: int
    parameters: float | None = None
    macs: float | None = None


class Cost(NamedTuple):
    """Measured size of a network.

    Args:
        parameters: Number of parameters, including frozen ones but no buffers.
        macs: Multiply-accumulates of convolutions and matrix products for one image.
    """

    parameters: int
    macs: int


def measure(variant: Variant) -> Cost:
    """Build a network and measure it with one image on the CPU, in evaluation mode."""
    with torch.inference_mode():
        return count(variant.build().eval(), torch.empty(1, 3, variant.image_size, variant.image_size))


def count(network: nn.Module, image: Tensor) -> Cost:
    """Count the parameters of a network in evaluation mode and its operations for one image ``(1, C, H, W)``."""
    with FlopCounterMode(display=False) as counter:
        network(image)
    # FlopCounterMode counts a multiply-accumulate as two operations.
    return Cost(sum(p.numel() for p in network.parameters()), counter.get_total_flops() // 2)
