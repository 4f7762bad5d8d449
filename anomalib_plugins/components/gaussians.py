# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""A Gaussian of normal features for each place of the image: how far from its centre is a patch?"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from anomalib.models.components import DynamicBufferMixin
from torch import Tensor, nn

REGULARISATION = 0.01 + 1e-5  # variance added to each feature, as anomalib does
FAR = 3.0  # times the distance that the largest vector could have: no patch counts as farther
BROKEN = 4.0  # what a broken image scores, times the same
CHUNK = 1 << 24  # numbers of covariances inverted at a time, 64 MB
STRIPS, HALF_STRIPS = 10, 4  # that a triangle is kept in: more hold fewer zeros, but are slower, most so in bfloat16


class Strip(NamedTuple):
    """Some rows of the lower triangles of all places, as far as they reach.

    Attributes:
        start: First row.
        stop: Row after the last, and the number of columns.
        values: The rows, transposed ``(L, stop, stop - start)``.
    """

    start: int
    stop: int
    values: Tensor


class PatchGaussians(DynamicBufferMixin, nn.Module):
    """Mean and covariance of normal patches at every place, and PaDiM's Mahalanobis distances (Defard et al., 2021).

    They are gathered batch by batch in one array of little more than half of ``L * C * C`` numbers, whatever the number
    of images, which becomes the result: at 256 x 256 px 90 MB with 100 features, 2.7 GB with 550.

    Args:
        half: Keep the result in bfloat16, little more than half as large, which turns distances by some thousandths.
    """

    mean: Tensor
    whitening: Tensor
    reach: Tensor

    def __init__(self, half: bool = False) -> None:
        super().__init__()
        self.dtype, self.strips = (torch.bfloat16, HALF_STRIPS) if half else (torch.float32, STRIPS)
        self.register_buffer("mean", torch.empty(0, 0))  # (L, C)
        self.register_buffer(
            "whitening", torch.empty(0, dtype=self.dtype)
        )  # strips of the inverse Cholesky factors, end to end
        self.register_buffer("reach", torch.ones(()))  # norm of the largest vector
        self.count = 0  # images gathered so far
        self._sum: Tensor | None = None  # of the vectors less the first batch's mean (L, C)

    def clear(self) -> None:
        """Forget all images."""
        self.count, self._sum = 0, None

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state, prefix, *args)
        found, wanted = self.whitening.numel(), self._size(*self.mean.shape)
        if self.whitening.ndim != 1 or found != wanted:
            args[-1].append(
                f"{prefix}whitening holds {found} numbers, wanted {wanted} in {self.strips} strips: it is of another "
                "version or another precision (`half`); train again, or give the model the option it was trained with"
            )

    def _size(self, places: int, channels: int) -> int:
        """How many numbers the strips of all places hold."""
        return places * sum(stop * (stop - start) for start, stop in _rows(channels, self.strips))

    def _strips(self) -> Iterator[Strip]:
        """What :attr:`whitening` holds, as views."""
        places, channels = self.mean.shape
        begin = 0
        for start, stop in _rows(channels, self.strips):
            end = begin + places * stop * (stop - start)
            yield Strip(start, stop, self.whitening[begin:end].view(places, stop, stop - start))
            begin = end

    @torch.no_grad()
    def add(self, embedding: Tensor) -> None:
        """Gather images.

        Args:
            embedding: ``(N, C, h, w)``, of the same size each time.
        """
        with torch.autocast(embedding.device.type, enabled=False):
            flat = embedding.float().flatten(2)  # (N, C, L)
            largest = flat.square().sum(dim=1).amax().sqrt()
            if self._sum is None:
                self.mean = flat.mean(dim=0).T.contiguous()
                places, channels = self.mean.shape
                self.whitening = flat.new_zeros(self._size(places, channels))
                self._sum = torch.zeros_like(self.mean)
                self.reach = largest
            # Less about the mean: the squares of large numbers would swallow small variances.
            vectors = _by_place(flat) - self.mean[:, None]  # (L, N, C)
            self._sum += vectors.sum(dim=1)
            for start, stop, values in self._strips():
                values.baddbmm_(vectors[..., :stop].transpose(1, 2), vectors[..., start:stop])
            self.reach = torch.maximum(self.reach, largest)
            self.count += embedding.shape[0]

    @torch.no_grad()
    def finish(self) -> None:
        """Turn what was gathered into means and inverse Cholesky factors of the covariances, in place."""
        mean = self._true_mean()
        identity = torch.eye(mean.shape[1], device=mean.device)
        for here, factor in self._factors():
            inverse = torch.linalg.solve_triangular(factor, identity.expand_as(factor), upper=False)
            for start, stop, values in self._strips():
                values[here] = inverse[:, start:stop, :stop].transpose(1, 2)
        self.mean = mean
        self.reach = torch.where(self.reach > 0, self.reach, torch.ones_like(self.reach))
        self.whitening = self.whitening.to(self.dtype)
        self.clear()

    @torch.no_grad()
    def finish_as_inverses(self) -> tuple[Tensor, Tensor]:
        """Means ``(L, C)`` and inverse covariances ``(L, C, C)`` of what was gathered, which is forgotten."""
        mean = self._true_mean()
        inverses = mean.new_empty(*mean.shape, mean.shape[1])
        for here, factor in self._factors():
            torch.cholesky_inverse(factor, out=inverses[here])
        self.clear()
        return mean, inverses

    def _true_mean(self) -> Tensor:
        """Of all images, while :attr:`mean` is still that of the first batch ``(L, C)``."""
        assert self._sum is not None
        return self.mean + self._sum / self.count

    def _factors(self) -> Iterator[tuple[slice, Tensor]]:
        """Some places, and the Cholesky factors of their covariances ``(l, C, C)``."""
        assert self._sum is not None
        shift = self._sum / self.count
        places, channels = shift.shape
        identity = torch.eye(channels, device=shift.device)
        rows = max(1, CHUNK // identity.numel())
        for begin in range(0, places, rows):
            here = slice(begin, min(begin + rows, places))
            products = shift.new_zeros(here.stop - begin, channels, channels)  # only the lower triangle is filled, read
            for start, stop, values in self._strips():
                products[:, start:stop, :stop] = values[here].transpose(1, 2)
            with torch.autocast(shift.device.type, enabled=False):
                products.baddbmm_(shift[here, :, None], shift[here, None, :], alpha=-self.count)
                # One image has no variance; dividing by 0 would make it NaN.
                covariance = products.div_(max(self.count - 1, 1)).add_(identity, alpha=REGULARISATION)
                yield here, torch.linalg.cholesky(covariance)

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
            vectors = _by_place(embedding.float().flatten(2)) - self.mean[:, None]  # (L, N, C)
            # A sum of squares, not a difference of products: no rounding makes it negative.
            squares = torch.zeros_like(vectors[..., 0])  # (L, N)
            # Not every runtime multiplies bfloat16; those that do choose so themselves.
            vectors = vectors if torch.compiler.is_compiling() else vectors.to(self.dtype)
            for _, stop, values in self._strips():
                white = torch.bmm(vectors[..., :stop], values.to(vectors.dtype))
                squares = squares + white.float().square().sum(dim=2)
        return squares.sqrt().T.minimum(self.far).unflatten(1, (height, width))[:, None]

    @property
    def far(self) -> Tensor:
        """Largest distance that is told from larger ones; a scalar."""
        return FAR / REGULARISATION**0.5 * self.reach

    @property
    def broken(self) -> Tensor:
        """Score for images with NaN or infinity; a scalar, above every other score and of their order."""
        return BROKEN / REGULARISATION**0.5 * self.reach


def _rows(channels: int, strips: int) -> list[tuple[int, int]]:
    """First row and the one after the last, of each strip of a triangle of so many rows."""
    count = -(-channels // strips)
    return [(start, min(start + count, channels)) for start in range(0, channels, max(count, 1))]


def _by_place(flat: Tensor) -> Tensor:
    """``(N, C, L)`` to ``(L, N, C)``, through ``(N, L, C)``: copying straight to it takes four times as long."""
    return flat.transpose(1, 2).contiguous().transpose(0, 1)
