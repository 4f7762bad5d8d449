# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Gaussians of normal features at each position of the image, and Mahalanobis distances to them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from anomalib.models.components import DynamicBufferMixin
from torch import Tensor, nn

from anomalib_plugins.components.limits import Limits, rows_at_a_time
from anomalib_plugins.errors import UntrainedError

REGULARISATION = 0.01 + 1e-5  # variance added to each feature, as in anomalib
STRIPS, HALF_STRIPS = 10, 4  # strips per triangle: more store fewer zeros but are slower, above all in bfloat16


class Strip(NamedTuple):
    """Rows ``start`` to ``stop`` of the lower triangles of all positions, transposed: ``(L, stop, stop - start)``."""

    start: int
    stop: int
    values: Tensor


class PatchGaussians(Limits, DynamicBufferMixin, nn.Module):
    """Mean and covariance of normal patches at every position, and PaDiM's Mahalanobis distances (Defard et al., 2021).

    Statistics of all batches accumulate in one array of little more than ``L * C * C / 2`` numbers, which is then
    converted to the result in place. Its size does not depend on the number of images: at 256 x 256 px it is 90 MB with
    100 features and 2.7 GB with 550.

    Args:
        half: Whether to store the result in bfloat16. It is then little more than half as large, and distances change
            by a few thousandths.
    """

    deviation = REGULARISATION**0.5
    mean: Tensor
    whitening: Tensor

    def __init__(self, half: bool = False) -> None:
        super().__init__()
        self.dtype, self.strips = (torch.bfloat16, HALF_STRIPS) if half else (torch.float32, STRIPS)
        self.register_buffer("mean", torch.empty(0, 0))  # (L, C)
        # Strips of the inverse Cholesky factors, concatenated.
        self.register_buffer("whitening", torch.empty(0, dtype=self.dtype))
        self.register_buffer("reach", torch.ones(()))  # norm of the largest vector
        self.count = 0  # images added so far
        self._sum: Tensor | None = None  # sum of the vectors minus the first batch's mean (L, C)

    def clear(self) -> None:
        """Discard all added images."""
        self.count, self._sum = 0, None

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state, prefix, *args)
        found, wanted = self.whitening.numel(), self._size(*self.mean.shape)
        if self.whitening.ndim != 1 or found != wanted:
            args[-1].append(
                f"{prefix}whitening holds {found} numbers, expected {wanted} in {self.strips} strips: it comes from "
                "another version or precision (`half`); train again, or use the option that the model was trained with"
            )

    def _size(self, places: int, channels: int) -> int:
        """Number of elements in the strips of all positions."""
        return places * sum(stop * (stop - start) for start, stop in _rows(channels, self.strips))

    def _strips(self) -> Iterator[Strip]:
        """Yield the strips of :attr:`whitening` as views."""
        places, channels = self.mean.shape
        begin = 0
        for start, stop in _rows(channels, self.strips):
            end = begin + places * stop * (stop - start)
            yield Strip(start, stop, self.whitening[begin:end].view(places, stop, stop - start))
            begin = end

    @torch.no_grad()
    def add(self, embedding: Tensor) -> None:
        """Add embeddings ``(N, C, h, w)``, of the same size in every call, to the statistics."""
        with torch.autocast(embedding.device.type, enabled=False):
            flat = embedding.float().flatten(2)  # (N, C, L)
            largest = flat.square().sum(dim=1).amax().sqrt()
            if self._sum is None:
                self.mean = flat.mean(dim=0).T.contiguous()
                places, channels = self.mean.shape
                self.whitening = flat.new_zeros(self._size(places, channels))
                self._sum = torch.zeros_like(self.mean)
                self.reach = largest
            # Centred, because small variances would be lost in the squares of large numbers.
            vectors = _by_place(flat) - self.mean[:, None]  # (L, N, C)
            self._sum += vectors.sum(dim=1)
            for start, stop, values in self._strips():
                values.baddbmm_(vectors[..., :stop].transpose(1, 2), vectors[..., start:stop])
            self.reach = torch.maximum(self.reach, largest)
            self.count += embedding.shape[0]

    @torch.no_grad()
    def finish(self) -> None:
        """Convert the statistics in place to means and inverse Cholesky factors of the covariances."""
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
        """Return means ``(L, C)`` and inverse covariances ``(L, C, C)``, and discard the statistics."""
        mean = self._true_mean()
        inverses = mean.new_empty(*mean.shape, mean.shape[1])
        for here, factor in self._factors():
            torch.cholesky_inverse(factor, out=inverses[here])
        self.clear()
        return mean, inverses

    def _true_mean(self) -> Tensor:
        """Mean of all images ``(L, C)``, while :attr:`mean` is still the mean of the first batch."""
        assert self._sum is not None
        return self.mean + self._sum / self.count

    def _factors(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield slices of positions with the Cholesky factors of their covariances ``(l, C, C)``."""
        assert self._sum is not None
        shift = self._sum / self.count
        places, channels = shift.shape
        identity = torch.eye(channels, device=shift.device)
        rows = rows_at_a_time(identity.numel())
        for begin in range(0, places, rows):
            here = slice(begin, min(begin + rows, places))
            products = shift.new_zeros(here.stop - begin, channels, channels)  # only the lower triangle is used
            for start, stop, values in self._strips():
                products[:, start:stop, :stop] = values[here].transpose(1, 2)
            with torch.autocast(shift.device.type, enabled=False):
                products.baddbmm_(shift[here, :, None], shift[here, None, :], alpha=-self.count)
                # A single image has no variance, and dividing by 0 would give NaN.
                covariance = products.div_(max(self.count - 1, 1)).add_(identity, alpha=REGULARISATION)
                yield here, torch.linalg.cholesky(covariance)

    def forward(self, embedding: Tensor) -> Tensor:
        """Compute Mahalanobis distances ``(N, 1, h, w)``, at most :attr:`far`, of embeddings ``(N, C, h, w)``.

        Raises:
            RuntimeError: If there are no Gaussians, or the images have another size than in training.
        """
        if self.whitening.numel() == 0 or self.count:
            msg = "there are no Gaussians: train the model first, or load a checkpoint of a finished training"
            raise UntrainedError(msg)
        height, width = embedding.shape[2:]
        if height * width != len(self.mean):
            msg = f"trained with {len(self.mean)} positions per image, got {height} x {width}: resize as in training"
            raise UntrainedError(msg)
        with torch.autocast(embedding.device.type, enabled=False):
            vectors = _by_place(embedding.float().flatten(2)) - self.mean[:, None]  # (L, N, C)
            # A sum of squares, unlike a difference of products, cannot become negative by rounding.
            squares = torch.zeros_like(vectors[..., 0])  # (L, N)
            # Exported graphs stay in float32: some runtimes cannot multiply bfloat16, others choose it themselves.
            vectors = vectors if torch.compiler.is_compiling() else vectors.to(self.dtype)
            for _, stop, values in self._strips():
                white = torch.bmm(vectors[..., :stop], values.to(vectors.dtype))
                squares = squares + white.float().square().sum(dim=2)
        return squares.sqrt().T.minimum(self.far).unflatten(1, (height, width))[:, None]


def _rows(channels: int, strips: int) -> list[tuple[int, int]]:
    """First row and row after the last of each strip of a triangle with ``channels`` rows."""
    count = -(-channels // strips)
    return [(start, min(start + count, channels)) for start in range(0, channels, max(count, 1))]


def _by_place(flat: Tensor) -> Tensor:
    """Permute ``(N, C, L)`` to ``(L, N, C)`` by way of ``(N, L, C)``; a direct copy takes four times as long."""
    return flat.transpose(1, 2).contiguous().transpose(0, 1)
