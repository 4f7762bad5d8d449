# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""CFA behind SBM and PFAM."""

from typing import TYPE_CHECKING, Any, Literal

import torch
from anomalib.data import InferenceBatch
from anomalib.models import AnomalibModule
from anomalib.models.components import GaussianBlur2d
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW, Optimizer

from anomalib_plugins.components.checks import check_least, check_positive
from anomalib_plugins.components.inference import mark_non_finite
from anomalib_plugins.components.tiling import cut, merge
from anomalib_plugins.errors import UserError
from anomalib_plugins.models.sbm_pfam.pfam import PfamExtractor
from anomalib_plugins.phases.schedule import Phase, Step

from .base import MEMORY, PfamTraining, SbmPfam
from .hyperspheres import Hyperspheres, hypersphere_loss, weighed_distance

if TYPE_CHECKING:
    from anomalib.data.utils.tiler import Tiler

ADAPTATION = "adaptation"

CfaPfamTraining = Literal["detector", "jigsaw", "none"]


class SbmPfamCfaModel(nn.Module):
    """CFA (Lee et al., 2022) on feature maps with attention.

    Args:
        extractor: Network of the feature maps; the first sets the resolution.
        gamma_c: Number of places of the image per centroid.
        gamma_d: Channels of the maps over channels of the described patches.
        num_nearest_neighbors: Number of centroids that make a patch's score.

    Raises:
        ValueError: If an argument is below 1, or ``gamma_d`` above the number of channels.
    """

    def __init__(
        self, extractor: PfamExtractor, gamma_c: int = 1, gamma_d: int = 1, num_nearest_neighbors: int = 3
    ) -> None:
        super().__init__()
        channels = sum(extractor.out_dims)
        if not 1 <= gamma_d <= channels:
            msg = f"gamma_d must be from 1 to the {channels} channels of the layers, got {gamma_d}"
            raise UserError(msg)
        check_least("num_nearest_neighbors", num_nearest_neighbors)
        self.tiler: Tiler | None = None  # set by anomalib's TilerConfigurationCallback
        self.extractor = extractor
        self.descriptor = nn.Conv2d(channels + 2, channels // gamma_d, 1)  # sees the place, too
        self.spheres = Hyperspheres(gamma_c)
        self.num_nearest_neighbors = num_nearest_neighbors
        self.blur = GaussianBlur2d(sigma=4)

    def embed(self, images: Tensor) -> Tensor:
        """Describe every patch by adapted features of all layers and its place: ``(N, C, h, w)``."""
        maps = self.extractor(cut(images, self.tiler)).values()
        first, *rest = (F.avg_pool2d(each, 3, stride=1, padding=1) for each in maps)
        scaled = [F.interpolate(each, size=first.shape[-2:], mode="bilinear") for each in rest]
        features = merge(torch.cat([first, *scaled], dim=1), self.tiler, images.shape[-2:])
        count, _, height, width = features.shape
        row = torch.linspace(-1, 1, height, device=features.device)[:, None].expand(count, 1, height, width)
        column = torch.linspace(-1, 1, width, device=features.device).expand(count, 1, height, width)
        return self.descriptor(torch.cat([features, row, column], dim=1))

    def patches(self, images: Tensor) -> Tensor:
        """Described patches ``(N, P, C)`` of images ``(N, 3, H, W)``."""
        return self.embed(images).flatten(2).transpose(1, 2)

    def forward(self, images: Tensor) -> Tensor | InferenceBatch:
        """Score images, or describe patches in training mode, as :class:`PatchcoreModel` does.

        Images with a NaN or an infinity get ``spheres.broken`` everywhere, which no other image reaches.
        """
        embedding = self.embed(images)
        if self.training:
            return embedding
        squared = self.spheres(embedding.flatten(2).transpose(1, 2), self.num_nearest_neighbors)
        with torch.autocast(images.device.type, enabled=False):
            weighed = weighed_distance(squared, self.spheres.far)  # (N, P)
            small = weighed.unflatten(1, embedding.shape[2:])[:, None]
            anomaly_map = self.blur(F.interpolate(small, size=images.shape[-2:], mode="bilinear"))
        score = anomaly_map.amax(dim=(1, 2, 3))
        score, anomaly_map = mark_non_finite(images, score, anomaly_map, self.spheres.broken)
        return InferenceBatch(pred_score=score, anomaly_map=anomaly_map)


class SbmPfamCfa(SbmPfam, AnomalibModule):
    """CFA whose backbone learned the shape of the parts, and whose features have attention.

    Phase ``jigsaw`` shuffles the tiles of normal images, half of them with a simulated defect, and trains the backbone
    to name the order (SBM). Phase ``memory`` looks at every image once and keeps the mean patch of every place. Phase
    ``adaptation`` trains a descriptor and the attention (PFAM) to draw patches to the means near them; a patch far from
    all of them is anomalous. Yuan et al., "Anomaly detection of industrial products considering both texture and shape
    information"; Lee et al., "CFA: coupled-hypersphere-based feature adaptation for target-oriented anomaly
    localization" (2022).

    Trains on normal images alone. A shorter ``max_epochs``, ``max_steps`` or ``max_time`` of the trainer shortens
    jigsaw and adaptation alike; the memory always sees all images.

    Args:
        gamma_c: Number of places of the image per centroid; above 1 k-means finds the centroids.
        gamma_d: Channels of the feature maps over channels of the described patches.
        num_nearest_neighbors: Number of centroids that a patch is drawn to, and that make its score.
        num_hard_negative_features: Number of further centroids that the loss looks at.
        radius: Radius of the spheres that patches are drawn into.
        pfam_training: What trains the attention, which starts as the identity: the ``"detector"``, the ``"jigsaw"``, or
            ``"none"``, which leaves it out.
        epochs: Length of the adaptation in passes over the images.
        batch_size: Number of images per optimizer step of the adaptation.
        learning_rate: Learning rate of AdamW in the adaptation.
        kwargs: Arguments of :class:`SbmPfam`, common to the three detectors.
    """

    trainings = ("detector", "jigsaw", "none")

    def __init__(
        self,
        *,
        gamma_c: int = 1,
        gamma_d: int = 1,
        num_nearest_neighbors: int = 3,
        num_hard_negative_features: int = 3,
        radius: float = 1e-5,
        pfam_training: PfamTraining = "detector",
        epochs: int = 30,
        batch_size: int = 4,
        learning_rate: float = 1e-3,
        **kwargs: Any,
    ) -> None:
        check_least("num_hard_negative_features", num_hard_negative_features, 0)
        check_least("radius", radius, 0)
        check_positive("learning_rate", learning_rate)
        super().__init__(pfam_training=pfam_training, **kwargs)
        self.num_hard_negative_features, self.radius = num_hard_negative_features, radius
        self.learning_rate, self.adapts_pfam = learning_rate, pfam_training == "detector"
        self.assemble(
            lambda extractor: SbmPfamCfaModel(extractor, gamma_c, gamma_d, num_nearest_neighbors),
            Phase(ADAPTATION, batch_size, epochs=epochs),
        )

    def detector_step(self, step: Step) -> None:
        """Gather mean patches, or draw patches to them."""
        images, spheres = step.images, self.model.spheres
        self.model.eval()
        if step.phase == MEMORY:
            if step.progress == 0:
                spheres.clear()
            with torch.no_grad():
                spheres.add(self.model.patches(images))
            return
        neighbors = self.model.num_nearest_neighbors
        squared = spheres(self.model.patches(images), neighbors + self.num_hard_negative_features)
        loss = hypersphere_loss(squared, neighbors, self.num_hard_negative_features, self.radius)
        self.take_optimizer_step(self.optimizer_list[-1], loss)

    def complete_memory(self) -> None:
        """Keep the mean patches, which stay as they are from now on."""
        self.model.spheres.finish(self.schedule.seed)

    def configure_optimizers(self) -> list[Optimizer]:
        """Create SGD for what the jigsaw trains, and AdamW for the adaptation."""
        parameters = [*self.model.descriptor.parameters()]
        if self.adapts_pfam:
            parameters += self.extractor.refine.parameters()
        adam = AdamW(parameters, lr=self.learning_rate, weight_decay=5e-4, amsgrad=True)
        return [*super().configure_optimizers(), adam]
