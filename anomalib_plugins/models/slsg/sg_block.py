# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""The self-attentive graph block: how every patch relates to all others and to its nearest look-alikes."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomalib_plugins.errors import UserError

AttnScale = Literal["none", "sqrt"]
ValueConv = Literal["reference", "1x1"]


def position_similarity(height: int, width: int, channels: int = 512, device: torch.device | None = None) -> Tensor:
    """Cosine similarity of 2-D sine-cosine position codes, W_p.

    Half of the channels encode the column, half the row, each as ``[sin(p w_k), cos(p w_k)]`` with
    ``w_k = 10000 ** (-k / (channels / 4))``. As ``sin a sin b + cos a cos b = cos(a - b)`` and all codes have the same
    length, the similarity of two patches is the mean of ``cos(d w_k)`` over both distances d and all k: the codes
    themselves are never built.

    Args:
        height: Rows of patches.
        width: Columns of patches.
        channels: Length of a code, divisible by 4.
        device: Where to compute.

    Returns:
        ``(P, P)`` with ``P = height * width`` patches in raster order; 1 on the diagonal.
    """
    frequencies = 10000.0 ** (-torch.arange(channels // 4, device=device) / (channels // 4))

    def along_axis(length: int) -> Tensor:
        position = torch.arange(length, device=device)
        distance = position[:, None] - position  # (L, L)
        return (distance[..., None] * frequencies).cos().mean(dim=-1)

    rows = along_axis(height)[:, None, :, None]
    columns = along_axis(width)[None, :, None, :]
    return ((rows + columns) / 2).reshape(height * width, height * width)  # (H, W, H, W) -> (P, P)


def dilated_neighbors(similarity: Tensor, k: int, dilation: int) -> Tensor:
    """For each patch, every ``dilation``-th of its ``k * dilation`` most similar patches.

    Args:
        similarity: ``(N, P, P)``, keys last.
        k: Neighbours per patch, K. Fewer where an image has not ``k * dilation`` patches.
        dilation: Distance of two chosen ranks: 3 takes the ranks 0, 3, 6, ...

    Returns:
        Indices ``(N, P, K)``, most similar first.
    """
    # sym_min instead of min: the traced graph of an export keeps the choice open when the image size is dynamic.
    candidates = torch.sym_min(k * dilation, similarity.shape[-1])
    return similarity.topk(candidates, dim=-1).indices[..., ::dilation]


def max_relative(nodes: Tensor, neighbors: Tensor) -> Tensor:
    """Largest difference to a neighbour, channel by channel: ``m_i = max_j (x_j - x_i)``.

    Args:
        nodes: Patch vectors x ``(N, C, P)``.
        neighbors: Indices ``(N, P, K)``.

    Returns:
        m ``(N, C, P)``.
    """
    batch, channels, patches = nodes.shape
    rows = nodes.transpose(1, 2).reshape(batch * patches, channels)
    offset = torch.arange(batch, device=nodes.device)[:, None, None] * patches
    near = rows[neighbors + offset]  # (N, P, K, C)
    # x_i is the same for all j, so it is subtracted once, after the maximum.
    return near.amax(dim=2).transpose(1, 2) - nodes


class SelfAttentiveGraphBlock(nn.Module):
    """Attention over all patches and max-relative graph convolution over similar ones, X -> X' (SG block).

    Args:
        channels: Channels C of X, divisible by 8.
        use_attention: Mix in all patches, weighted by similarity. ``False`` leaves only the graph convolution, over
            patches compared without a learned projection.
        use_gcn: Mix in the differences to the graph's neighbours. ``False`` leaves only attention; with neither, the
            block returns X and has no parameters.
        remove_pos_sim: Subtract the similarity of positions from that of features before neighbours are chosen, so
            that a patch's neighbours are not just the ones beside it.
        k: Neighbours per patch, K; at most as many as the image has patches.
        knn_dilation: Neighbours are every ``knn_dilation``-th of the most similar patches; 1 takes the nearest K.
        attn_scale: ``"sqrt"`` divides the attention logits by the root of their dimension, as the paper prints;
            ``"none"`` is what the authors' release does.
        value_conv: ``"reference"``: 3x3 convolution over the raster-ordered list of patches, as in the authors'
            release; it reaches each patch's predecessor and successor. ``"1x1"``: as the paper prints.

    Raises:
        ValueError: If ``k`` or ``knn_dilation`` is less than 1, or an option is unknown.
    """

    def __init__(
        self,
        channels: int = 512,
        use_attention: bool = True,
        use_gcn: bool = True,
        remove_pos_sim: bool = True,
        k: int = 9,
        knn_dilation: int = 3,
        attn_scale: AttnScale = "none",
        value_conv: ValueConv = "reference",
    ) -> None:
        super().__init__()
        if k < 1 or knn_dilation < 1:
            msg = f"k and knn_dilation must be at least 1, got {k} and {knn_dilation}"
            raise UserError(msg)
        if attn_scale not in get_args(AttnScale) or value_conv not in get_args(ValueConv):
            msg = (
                f"attn_scale must be one of {get_args(AttnScale)}, value_conv one of {get_args(ValueConv)}; "
                f"got {attn_scale!r} and {value_conv!r}"
            )
            raise UserError(msg)
        self.use_attention = use_attention
        self.use_gcn = use_gcn
        self.remove_pos_sim = remove_pos_sim
        self.k = k
        self.knn_dilation = knn_dilation
        self.channels = channels
        self.scale = (channels // 2) ** -0.5 if attn_scale == "sqrt" else 1.0
        if not (use_attention or use_gcn):
            return
        self.entry = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels))
        if use_attention:
            # One projection for query and key (f = g), as in the authors' release.
            self.project = nn.Sequential(nn.Conv2d(channels, channels // 2, 1), nn.BatchNorm2d(channels // 2))
            kernel = 3 if value_conv == "reference" else 1
            self.value = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)
            self.attended = nn.Conv2d(channels, channels, 1)
        self.update = nn.Sequential(
            nn.Conv2d(2 * channels if use_gcn else channels, 2 * channels, 1, groups=4),
            nn.BatchNorm2d(2 * channels),
            nn.GELU(),
            nn.Conv2d(2 * channels, channels, 1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Relate patches.

        Args:
            features: X ``(N, C, H, W)``.

        Returns:
            X' ``(N, C, H, W)``.
        """
        if not (self.use_attention or self.use_gcn):
            return features
        x = self.entry(features)
        # Only attention trains the projection: without it, the graph compares x itself.
        f = (self.project(x) if self.use_attention else x).flatten(2)  # (N, C/2 or C, P)
        z = x + self.attend(x, f) if self.use_attention else x
        if self.use_gcn:
            neighbors = self.neighbors(f, features.shape[-2], features.shape[-1])
            m = max_relative(x.flatten(2), neighbors).unflatten(2, x.shape[-2:])
            z = torch.stack((z, m), dim=2).flatten(1, 2)  # [z_0, m_0, z_1, m_1, ...] (N, 2C, H, W)
        return self.update(z) + features

    def graph(self, features: Tensor) -> Tensor:
        """Choose the neighbours of each patch as `forward` does.

        Args:
            features: X ``(N, C, H, W)``.

        Returns:
            Indices of patches in raster order ``(N, P, K)``, most similar first.
        """
        x = self.entry(features)
        f = (self.project(x) if self.use_attention else x).flatten(2)
        return self.neighbors(f, *features.shape[-2:])

    def attend(self, x: Tensor, f: Tensor) -> Tensor:
        """Sum all patches' values, weighted by similarity.

        Args:
            x: ``(N, C, H, W)``.
            f: Queries and keys ``(N, C/2, P)``.

        Returns:
            ``(N, C, H, W)``.
        """
        value = self.value(x.flatten(2).unsqueeze(-1)).squeeze(-1)  # (N, C, P, 1) -> (N, C, P)
        weights = self.attention(f).to(value.dtype)
        return self.attended((value @ weights.transpose(1, 2)).unflatten(2, x.shape[-2:]))

    def attention(self, f: Tensor) -> Tensor:
        """Dense weights W_d.

        Args:
            f: Queries and keys ``(N, C/2, P)``.

        Returns:
            ``(N, P, P)`` in float32; rows, one a query, sum to 1.
        """
        # Unscaled logits over 256 channels reach the hundreds: half precision would be off by more than 1.
        with torch.autocast(f.device.type, enabled=False):
            f = f.float()
            return (self.scale * f.transpose(1, 2) @ f).softmax(dim=-1)

    def semantic_similarity(self, f: Tensor, height: int, width: int) -> Tensor:
        """Similarity S that ranks neighbours: cosine of features, without that of positions if so configured.

        Args:
            f: What patches are compared by ``(N, C/2 or C, P)``.
            height: Rows of patches.
            width: Columns of patches; ``P = height * width``.

        Returns:
            ``(N, P, P)`` in float32.
        """
        with torch.autocast(f.device.type, enabled=False):
            f = F.normalize(f.float(), dim=1)
            similarity = f.transpose(1, 2) @ f
        if self.remove_pos_sim:
            similarity = similarity - position_similarity(height, width, self.channels, f.device)
        return similarity

    @torch.no_grad()
    def neighbors(self, f: Tensor, height: int, width: int) -> Tensor:
        """Choose neighbours; no gradient flows through the choice.

        Args:
            f: What patches are compared by ``(N, C/2 or C, P)``.
            height: Rows of patches.
            width: Columns of patches.

        Returns:
            Indices ``(N, P, K)``.
        """
        return dilated_neighbors(self.semantic_similarity(f, height, width), self.k, self.knn_dilation)
