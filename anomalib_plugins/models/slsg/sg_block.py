# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""The self-attentive graph block: how every patch relates to all others and to its nearest look-alikes."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomalib_plugins.components.checks import check_choice, check_least

AttnScale = Literal["none", "sqrt"]
ValueConv = Literal["reference", "1x1"]


def position_similarity(height: int, width: int, channels: int = 512, device: torch.device | None = None) -> Tensor:
    """Cosine similarity W_p of 2-D sine-cosine position codes: ``(P, P)`` for ``height * width`` patches.

    Half of the channels encode the column, half the row, each as ``[sin(p w_k), cos(p w_k)]`` with
    ``w_k = 10000 ** (-k / (channels / 4))``. As ``sin a sin b + cos a cos b = cos(a - b)`` and all codes have the same
    length, the similarity of two patches is the mean of ``cos(d w_k)`` over both distances d and all k.
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
    """Indices ``(N, P, K)`` of every ``dilation``-th of the ``k * dilation`` patches most similar to each patch.

    The similarity ``(N, P, P)`` has its keys last. Images with fewer patches give fewer neighbours.
    """
    # sym_min instead of min: the traced graph of an export keeps the choice open when the image size is dynamic.
    candidates = torch.sym_min(k * dilation, similarity.shape[-1])
    return similarity.topk(candidates, dim=-1).indices[..., ::dilation]


def max_relative(nodes: Tensor, neighbors: Tensor) -> Tensor:
    """Largest difference ``m_i = max_j (x_j - x_i)`` of vectors x ``(N, C, P)`` to neighbours ``(N, P, K)``."""
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
        use_attention: Whether to mix in all patches, weighted by similarity. ``False`` leaves only the graph
            convolution, over patches compared without a learned projection.
        use_gcn: Whether to mix in the differences to the graph's neighbours. With neither part, the block returns X
            and has no parameters.
        remove_pos_sim: Whether to subtract the similarity of positions from that of features before neighbours are
            chosen, so that a patch's neighbours are not just the ones beside it.
        k: Number of neighbours per patch, K; at most as many as the image has patches.
        knn_dilation: Step between the ranks of neighbours among the most similar patches; 1 takes the nearest K.
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
        check_least("k", k)
        check_least("knn_dilation", knn_dilation)
        check_choice("attn_scale", attn_scale, AttnScale)
        check_choice("value_conv", value_conv, ValueConv)
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
        """Relate the patches of features X ``(N, C, H, W)``; the result X' has the same shape."""
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
        """Sum the values of all patches x ``(N, C, H, W)``, weighted by the similarity of f ``(N, C/2, P)``."""
        value = self.value(x.flatten(2).unsqueeze(-1)).squeeze(-1)  # (N, C, P, 1) -> (N, C, P)
        weights = self.attention(f).to(value.dtype)
        return self.attended((value @ weights.transpose(1, 2)).unflatten(2, x.shape[-2:]))

    def attention(self, f: Tensor) -> Tensor:
        """Dense weights W_d ``(N, P, P)`` of queries and keys f ``(N, C/2, P)`` in float32; rows sum to 1."""
        # Unscaled logits over 256 channels reach the hundreds: half precision would be off by more than 1.
        with torch.autocast(f.device.type, enabled=False):
            f = f.float()
            return (self.scale * f.transpose(1, 2) @ f).softmax(dim=-1)

    def semantic_similarity(self, f: Tensor, height: int, width: int) -> Tensor:
        """Similarity S ``(N, P, P)`` that ranks neighbours: cosine of f ``(N, C/2 or C, P)``, minus that of positions.

        The latter only with ``remove_pos_sim``. There are ``P = height * width`` patches.
        """
        with torch.autocast(f.device.type, enabled=False):
            f = F.normalize(f.float(), dim=1)
            similarity = f.transpose(1, 2) @ f
        if self.remove_pos_sim:
            similarity = similarity - position_similarity(height, width, self.channels, f.device)
        return similarity

    @torch.no_grad()
    def neighbors(self, f: Tensor, height: int, width: int) -> Tensor:
        """Indices ``(N, P, K)`` of the neighbours of each patch; no gradient flows through the choice."""
        return dilated_neighbors(self.semantic_similarity(f, height, width), self.k, self.knn_dilation)
