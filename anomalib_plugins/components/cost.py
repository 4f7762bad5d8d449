# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Count the parameters and operations of a network."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


class Variant(NamedTuple):
    """A network whose size is published, or worth knowing.

    Args:
        name: What the paper calls it.
        build: Returns the network.
        image_size: Side of the square input, in pixels.
        parameters: Published number of parameters, ``None`` where there is none.
        macs: Published multiply-accumulates for one image, ``None`` where there are none.
    """

    name: str
    build: Callable[[], nn.Module]
    image_size: int
    parameters: float | None = None
    macs: float | None = None


class Cost(NamedTuple):
    """Measured size of a network.

    Args:
        parameters: Elements of all parameters, frozen ones included, buffers not.
        macs: Multiply-accumulates of convolutions and matrix products, for one image.
    """

    parameters: int
    macs: int


def measure(variant: Variant) -> Cost:
    """Build a variant and run one image through it, on the CPU.

    Args:
        variant: The network; it is put into evaluation mode.
    """
    with torch.inference_mode():
        return count(variant.build().eval(), torch.empty(1, 3, variant.image_size, variant.image_size))


def count(network: nn.Module, image: Tensor) -> Cost:
    """Run one image through a network and count.

    Args:
        network: The network, in evaluation mode.
        image: Its input ``(1, C, H, W)``.
    """
    with FlopCounterMode(display=False) as counter:
        network(image)
    # The counter counts a multiplication and an addition as two.
    return Cost(sum(p.numel() for p in network.parameters()), counter.get_total_flops() // 2)
