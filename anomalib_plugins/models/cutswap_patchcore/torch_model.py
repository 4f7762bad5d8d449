# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""PatchCore's network on a backbone that can be trained, and the classifier of the pretext."""

from collections.abc import Sequence

from torch import Tensor, nn

from anomalib_plugins.components.backbone import Backbone
from anomalib_plugins.components.checks import check_least
from anomalib_plugins.components.memory_bank import Search
from anomalib_plugins.components.patchcore import Matching, PatchcoreModel


class CutSwapPatchcoreModel(PatchcoreModel):
    """Features of a backbone's stages, and their distances to a memory of normal ones.

    Args:
        backbone: Name of the network in timm.
        layers: Stages whose features are joined; the first sets the resolution. ``None`` as in :class:`Backbone`.
        num_neighbors: Number of neighbours that weight the image's score, see :class:`MemoryBank`.
        search: Search for nearest vectors, see :class:`MemoryBank`.
        matching: Way to compare patches, see :class:`PatchcoreModel`.
        head: Stage whose mean features a pretext sees, see :class:`Backbone`.

    Raises:
        ValueError: If an argument does not fit the network.
    """

    def __init__(
        self,
        backbone: str = "resnet18",
        layers: Sequence[str] | None = None,
        num_neighbors: int = 9,
        search: Search = "exact",
        matching: Matching = "joint",
        head: str | None = None,
    ) -> None:
        network = Backbone(backbone, layers, head=head)
        super().__init__(network.out_dims, num_neighbors, search, matching)
        self.backbone = network

    def features(self, images: Tensor) -> list[Tensor]:
        """Feature maps of the layers ``(N, C, h, w)`` of RGB images in ``[0, 1]``."""
        return self.backbone.features(images)


class PretextHead(nn.Sequential):
    """Classifier of the pretext: linear layers with batch normalisation and ReLU between them.

    Args:
        width: Length of the backbone's vectors, D.
        dims: Widths of the hidden layers, each at least 1.
        classes: Number of classes.
    """

    def __init__(self, width: int = 512, dims: Sequence[int] = (512, 128), classes: int = 3) -> None:
        check_least("each of head_dims", min(dims, default=1))
        layers: list[nn.Module] = []
        for dim in dims:
            # Without a bias, which the normalisation would cancel.
            layers += [nn.Linear(width, dim, bias=False), nn.BatchNorm1d(dim), nn.ReLU(inplace=True)]
            width = dim
        super().__init__(*layers, nn.Linear(width, classes))
