# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""A Gaussian of normal features for each place of the image: how far from its centre is a patch?"""

import torch
from anomalib.models.components import DynamicBufferMixin
from torch import Tensor, nn

REGULARISATION = 0.01 + 1e-5  # variance added to each feature, as anomalib does
FAR = 3.0  # times the distance that the largest vector could have: no patch counts as farther
BROKEN = 4.0  # what a broken image scores, times the same
CHUNK = 1 << 24  # numbers of covariances inverted at a time, 64 MB


class PatchGaussians(DynamicBufferMixin, nn.Module):
    """Mean and covariance of normal patches at every place, and PaDiM's Mahalanobis distances (Defard et al., 2021).

    They are gathered batch by batch in one array of ``L * C * C`` numbers, whatever the number of images, which becomes
    the result: at 256 x 256 px 164 MB with 100 features, 5 GB with 550.
    """

    mean: Tensor
    whitening: Tensor
    reach: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.empty(0, 0))  # (L, C)
        self.register_buffer("whitening", torch.empty(0, 0, 0))  # inverse Cholesky factors (L, C, C), lower triangles
        self.register_buffer("reach", torch.ones(()))  # norm of the largest vector
        self.count = 0  # images gathered so far
        self._sum: Tensor | None = None  # of the vectors less the first batch's mean (L, C)

    def clear(self) -> None:
        """Forget all images."""
        self.count, self._sum = 0, None

    @torch.no_grad()
    def add(self, embedding: Tensor) -> None:
        """Gather images.

        Args:
            embedding: ``(N, C, h, w)``, of the same size each time.
        """
        with torch.autocast(embedding.device.type, enabled=False):
            vectors = embedding.float().flatten(2).permute(2, 0, 1)  # (L, N, C)
            largest = vectors.norm(dim=2).amax()
            if self._sum is None:
                places, _, channels = vectors.shape
                self.mean = vectors.mean(dim=1)
                self.whitening = vectors.new_zeros(places, channels, channels)
                self._sum = torch.zeros_like(self.mean)
                self.reach = largest
            # Less about the mean: the squares of large numbers would swallow small variances.
            vectors = vectors - self.mean[:, None]
            self._sum += vectors.sum(dim=1)
            self.whitening.baddbmm_(vectors.transpose(1, 2), vectors)
            self.reach = torch.maximum(self.reach, largest)
            self.count += embedding.shape[0]

    @torch.no_grad()
    def finish(self) -> None:
        """Turn what was gathered into means and inverse Cholesky factors of the covariances, in place."""
        assert self._sum is not None
        shift = self._sum / self.count
        identity = torch.eye(shift.shape[1], device=shift.device)
        self.reach = torch.where(self.reach > 0, self.reach, torch.ones_like(self.reach))
        size = max(1, CHUNK // identity.numel())
        with torch.autocast(shift.device.type, enabled=False):
            for products, offset in zip(self.whitening.split(size), shift.split(size), strict=True):
                products.baddbmm_(offset[:, :, None], offset[:, None, :], alpha=-self.count)
                # One image has no variance; dividing by 0 would make it NaN.
                covariance = products / max(self.count - 1, 1) + REGULARISATION * identity
                factor = torch.linalg.cholesky(covariance)
                products.copy_(torch.linalg.solve_triangular(factor, identity.expand_as(factor), upper=False))
        self.mean = self.mean + shift
        self.clear()

    def forward(self, embedding: Tensor) -> Tensor:
        """Mahalanobis distances of embeddings ``(N, C, h, w)`` to their places' means ``(N, 1, h, w)``, at most `far`.

        Raises:
            RuntimeError: If there are no Gaussians, or they are of images of another size.
        """
        if self.whitening.numel() == 0 or self.count:
            msg = "there are no Gaussians: train the model first, or load a checkpoint of a finished training"
            raise RuntimeError(msg)
        height, width = embedding.shape[2:]
        if height * width != len(self.mean):
            msg = f"trained with {len(self.mean)} places an image, got {height} x {width}: resize as in training"
            raise RuntimeError(msg)
        with torch.autocast(embedding.device.type, enabled=False):
            vectors = embedding.float().flatten(2).permute(2, 0, 1) - self.mean[:, None]  # (L, N, C)
            # A sum of squares, not a difference of products: no rounding makes it negative.
            white = torch.bmm(vectors, self.whitening.transpose(1, 2))
            distances = white.square().sum(dim=2).sqrt().T  # (N, L)
        return distances.minimum(self.far).unflatten(1, (height, width))[:, None]

    @property
    def far(self) -> Tensor:
        """Largest distance that is told from larger ones; a scalar."""
        return FAR / REGULARISATION**0.5 * self.reach

    @property
    def broken(self) -> Tensor:
        """Score for images with NaN or infinity; a scalar, above every other score and of their order."""
        return BROKEN / REGULARISATION**0.5 * self.reach
