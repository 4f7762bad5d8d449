# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What names an image's class from the backbone's pooled features, and is dropped afterwards."""

from collections.abc import Sequence

from torch import nn

from anomalib_plugins.errors import UserError


class PretextHead(nn.Sequential):
    """Linear layers with batch normalisation and ReLU between them.

    Args:
        width: Length of the backbone's vectors, D.
        dims: Widths of the hidden layers.
        classes: Number of classes.

    Raises:
        ValueError: If a width is below 1.
    """

    def __init__(self, width: int = 512, dims: Sequence[int] = (512, 128), classes: int = 3) -> None:
        if any(each < 1 for each in dims):
            msg = f"head_dims must be at least 1 each, got {tuple(dims)}"
            raise UserError(msg)
        layers: list[nn.Module] = []
        for dim in dims:
            # Without a bias: the normalisation would take it off again.
            layers += [nn.Linear(width, dim, bias=False), nn.BatchNorm1d(dim), nn.ReLU(inplace=True)]
            width = dim
        super().__init__(*layers, nn.Linear(width, classes))
