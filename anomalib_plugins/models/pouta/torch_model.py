# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""The network of POUTA and of the baseline that its paper calls Vanilla."""

from typing import Literal, NamedTuple, get_args

import torch
from anomalib.data import InferenceBatch
from anomalib.models.image.draem.torch_model import DiscriminativeSubNetwork
from torch import Tensor, nn
from torch.nn import functional as F

from anomalib_plugins.components.inference import never_normal, window_score
from anomalib_plugins.components.segmentation import anomaly_probability

from .autoencoder import AutoEncoder
from .contrast import ContrastNetwork, FcmAct, HsgGate

NetworkVariant = Literal["pouta", "vanilla"]
Init = Literal["torch", "draem"]

VANILLA_WIDTH = 48
VANILLA_STRIDE = 32  # five times halved


class Segmentation(NamedTuple):
    """All that the network says of images ``(N, 3, H, W)``; only training asks for more than the logits.

    Attributes:
        reconstruction: I_r ``(N, 3, H, W)``, linear.
        logits: Normal and anomalous ``(N, 2, H, W)``.
        level_logits: The same from each level of the network alone, finest first; none without multi-scale supervision.
    """

    reconstruction: Tensor
    logits: Tensor
    level_logits: list[Tensor]


class PoutaModel(nn.Module):
    """An auto-encoder and a network that finds what it repaired, one anomaly probability per pixel.

    The discriminative network sees the features of encoder and decoder: the image and its reconstruction once more
    (Wang et al., "Produce once, utilize twice for anomaly detection"). Images of any size from 32 px on are taken.

    Args:
        variant: ``"pouta"``, or ``"vanilla"``: the same auto-encoder, followed by the U-Net of Draem, which sees image
            and reconstruction alone.
        use_hsg: Guide each level by the next deeper one (hierarchical semantics guidance).
        use_mss: Supervise each level in training (multi-scale supervision).
        fcm_act: Activation of the discriminative convolutions, ``"relu"`` or ``"none"``.
        hsg_gate: Activation of the gates of the guidance, ``"sigmoid"`` or ``"none"``.
        init: ``"torch"`` leaves the initial weights to torch; ``"draem"`` draws them from a normal distribution with a
            standard deviation of 0.02.
        score_window: Side of the square whose largest mean probability is the score of an image, in pixels; odd.

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
        _check_choices(
            variant=(variant, NetworkVariant),
            fcm_act=(fcm_act, FcmAct),
            hsg_gate=(hsg_gate, HsgGate),
            init=(init, Init),
        )
        if not isinstance(score_window, int) or score_window < 1 or score_window % 2 == 0:
            msg = f"score_window must be an odd number of pixels, got {score_window}"
            raise ValueError(msg)
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
        """Compute the logits of normal and anomalous, and nothing that they do not need.

        Args:
            images: RGB in ``[0, 1]`` ``(N, 3, H, W)``.

        Returns:
            ``(N, 2, H, W)``.
        """
        if isinstance(self.discriminator, DiscriminativeSubNetwork):
            return self.segment_all(images).logits
        return self.discriminator.segment(self.discriminator(self.autoencoder(images)))

    def segment_all(self, images: Tensor) -> Segmentation:
        """Compute everything that is supervised.

        Args:
            images: RGB in ``[0, 1]`` ``(N, 3, H, W)``.

        Returns:
            Reconstruction and logits.
        """
        pyramids = self.autoencoder(images)
        reconstruction = self.autoencoder.reconstruct(pyramids.decoded)
        if isinstance(self.discriminator, DiscriminativeSubNetwork):
            return Segmentation(reconstruction, self._compare(images, reconstruction), [])
        levels = self.discriminator(pyramids)
        return Segmentation(
            reconstruction, self.discriminator.segment(levels), self.discriminator.segment_levels(levels)
        )

    def _compare(self, images: Tensor, reconstruction: Tensor) -> Tensor:
        """Logits of the U-Net, which takes multiples of 32 px: the rest is filled with zeros and cut off again."""
        height, width = images.shape[-2:]
        missing = (0, -width % VANILLA_STRIDE, 0, -height % VANILLA_STRIDE)
        return self.discriminator(F.pad(torch.cat((images, reconstruction), dim=1), missing))[..., :height, :width]

    def forward(self, images: Tensor) -> Segmentation | InferenceBatch:
        """Segment, and score if not training.

        Args:
            images: RGB in ``[0, 1]`` ``(N, 3, H, W)``.

        Returns:
            In training, all that is supervised. Else probabilities of anomaly ``(N, 1, H, W)`` and scores ``(N,)``,
            both in ``[0, 1]`` except for images that hold a NaN or an infinity: these get 2 everywhere, see
            :func:`~anomalib_plugins.components.inference.never_normal`.
        """
        if self.training:
            return self.segment_all(images)
        anomaly_map = anomaly_probability(self.segment(images))
        pred_score, anomaly_map = never_normal(images, window_score(anomaly_map, self.score_window), anomaly_map)
        return InferenceBatch(pred_score=pred_score, anomaly_map=anomaly_map)


def _check_choices(**options: tuple[str, object]) -> None:
    for name, (value, choices) in options.items():
        if value not in get_args(choices):
            msg = f"{name} must be one of {get_args(choices)}, got {value!r}"
            raise ValueError(msg)


def _init_as_draem(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
