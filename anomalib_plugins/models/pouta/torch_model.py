# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Network of POUTA and of its paper's baseline, Vanilla."""

from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from anomalib.data import InferenceBatch
from anomalib.models.image.draem.torch_model import DiscriminativeSubNetwork
from torch import Tensor, nn
from torch.nn import functional as F

from anomalib_plugins.components.checks import check_choice
from anomalib_plugins.components.inference import mark_non_finite
from anomalib_plugins.components.segmentation import anomaly_probability
from anomalib_plugins.components.tiling import cut, merge
from anomalib_plugins.errors import UserError

from .autoencoder import AutoEncoder
from .contrast import ContrastNetwork, FcmAct, HsgGate

if TYPE_CHECKING:
    from anomalib.data.utils.tiler import Tiler

NetworkVariant = Literal["pouta", "vanilla"]
Init = Literal["torch", "draem"]

VANILLA_WIDTH = 48
VANILLA_STRIDE = 32  # sides are halved five times


class Segmentation(NamedTuple):
    """All outputs of the network for images ``(N, 3, H, W)``; inference needs only the logits.

    Attributes:
        reconstruction: Reconstructed images I_r ``(N, 3, H, W)``, without activation.
        logits: Logits of the normal and the anomalous class ``(N, 2, H, W)``.
        level_logits: Logits from each level alone, finest first; none without multi-scale supervision.
    """

    reconstruction: Tensor
    logits: Tensor
    level_logits: list[Tensor]


class PoutaModel(nn.Module):
    """Auto-encoder that repairs anomalies, and a discriminative network that predicts where it did.

    The discriminative network uses the features of encoder and decoder instead of image and reconstruction (Wang et
    al., "Produce once, utilize twice for anomaly detection"). Images may have any size from 32 px on.

    Args:
        variant: Network, ``"pouta"`` or ``"vanilla"``. The latter has the same auto-encoder, followed by Draem's U-Net,
            whose input is only image and reconstruction.
        use_hsg: Whether each level is guided by the next deeper one (hierarchical semantics guidance).
        use_mss: Whether each level is supervised in training (multi-scale supervision).
        fcm_act: Activation of the discriminative convolutions, ``"relu"`` or ``"none"``.
        hsg_gate: Activation of the gates of the guidance, ``"sigmoid"`` or ``"none"``.
        init: Initial weights: ``"torch"`` uses torch's defaults, ``"draem"`` draws from a normal distribution with a
            standard deviation of 0.02.
        score_window: Side of the square window in pixels, odd. The score of an image is the largest mean probability
            in a window.

    Raises:
        ValueError: If an option is unknown, or ``score_window`` is even or below 1.
    """

    def __init__(
        self,
        variant: NetworkVariant = "pouta",
        use_hsg: bool = True,
        use_mss: bool = True,
        fcm_act: FcmAct = "relu",
        hsg_gate: HsgGate = "sigmoid",
        init: Init = "torch",
        score_window: int = 21,
    ) -> None:
        super().__init__()
        check_choice("variant", variant, NetworkVariant)
        check_choice("fcm_act", fcm_act, FcmAct)
        check_choice("hsg_gate", hsg_gate, HsgGate)
        check_choice("init", init, Init)
        if not isinstance(score_window, int) or score_window < 1 or score_window % 2 == 0:
            msg = f"score_window must be an odd number of pixels, got {score_window}"
            raise UserError(msg)
        self.tiler: Tiler | None = None  # set by anomalib's TilerConfigurationCallback
        self.score_window = score_window
        self.autoencoder = AutoEncoder()
        self.discriminator: ContrastNetwork | DiscriminativeSubNetwork = (
            DiscriminativeSubNetwork(in_channels=6, out_channels=2, base_width=VANILLA_WIDTH)
            if variant == "vanilla"
            else ContrastNetwork(use_hsg, use_mss, fcm_act, hsg_gate)
        )
        if init == "draem":
            self.apply(_init_as_draem)

    def segment(self, images: Tensor) -> Tensor:
        """Compute only the logits ``(N, 2, H, W)`` of images ``(N, 3, H, W)``."""
        if isinstance(self.discriminator, DiscriminativeSubNetwork):
            return self.segment_all(images).logits
        return self.discriminator.segment(self.discriminator(self.autoencoder(images)))

    def segment_all(self, images: Tensor) -> Segmentation:
        """Compute all supervised outputs of images ``(N, 3, H, W)``."""
        pyramids = self.autoencoder(images)
        reconstruction = self.autoencoder.reconstruct(pyramids.decoded)
        if isinstance(self.discriminator, DiscriminativeSubNetwork):
            return Segmentation(reconstruction, self._compare(images, reconstruction), [])
        levels = self.discriminator(pyramids)
        return Segmentation(
            reconstruction, self.discriminator.segment(levels), self.discriminator.segment_levels(levels)
        )

    def _compare(self, images: Tensor, reconstruction: Tensor) -> Tensor:
        """Compute the logits of the U-Net on images that are padded with zeros to a multiple of 32 px."""
        height, width = images.shape[-2:]
        missing = (0, -width % VANILLA_STRIDE, 0, -height % VANILLA_STRIDE)
        return self.discriminator(F.pad(torch.cat((images, reconstruction), dim=1), missing))[..., :height, :width]

    def forward(self, images: Tensor) -> Segmentation | InferenceBatch:
        """Segment images, and score them unless in training mode.

        Args:
            images: RGB images in ``[0, 1]`` ``(N, 3, H, W)``.

        Returns:
            All supervised outputs in training mode, else anomaly probabilities ``(N, 1, H, W)`` and scores ``(N,)``.
            Both are in ``[0, 1]``, except for images with a NaN or an infinity, which get 2 everywhere.
        """
        if self.training:
            return self.segment_all(images)
        probability = anomaly_probability(self.segment(cut(images, self.tiler)))
        anomaly_map = merge(probability, self.tiler, images.shape[-2:])
        pred_score, anomaly_map = mark_non_finite(images, window_score(anomaly_map, self.score_window), anomaly_map)
        return InferenceBatch(pred_score=pred_score, anomaly_map=anomaly_map)


def window_score(anomaly_map: Tensor, side: int = 21) -> Tensor:
    """Largest mean ``(N,)`` over any square window of each map ``(N, 1, H, W)``; zeros beyond the border count.

    Example:
        >>> window_score(torch.ones(1, 1, 3, 3), side=3)
        tensor([1.])
    """
    with torch.autocast(anomaly_map.device.type, enabled=False):
        # Rows, then columns: the same mean from 2 * side instead of side**2 pixels.
        rows = F.avg_pool2d(anomaly_map.float(), (1, side), stride=1, padding=(0, side // 2))
        means = F.avg_pool2d(rows, (side, 1), stride=1, padding=(side // 2, 0))
    return means.flatten(1).amax(dim=1)


def _init_as_draem(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
