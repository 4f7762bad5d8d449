# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""PatchCore behind SBM and PFAM."""

from typing import Any

from anomalib.models import AnomalibModule
from torch import Tensor

from anomalib_plugins.components.memory_bank import Search
from anomalib_plugins.components.patchcore import Matching, PatchcoreModel, PatchMemory
from anomalib_plugins.models.sbm_pfam.pfam import PfamExtractor
from anomalib_plugins.phases.schedule import Step

from .base import SbmPfam

PUBLISHED = ("resnet18", "wide_resnet50_2")  # the paper's networks, whose patches are compared as it does


class SbmPfamPatchcoreModel(PatchcoreModel):
    """PatchCore on feature maps with attention.

    Args:
        extractor: Network of the feature maps.
        num_neighbors: Number of neighbours that weight the image's score, see :class:`MemoryBank`.
        search: Search for nearest vectors, see :class:`MemoryBank`.
        matching: Way to compare patches, see :class:`PatchcoreModel`; ``None`` as in
            :class:`SbmPfamPatchcore`.
    """

    def __init__(
        self,
        extractor: PfamExtractor,
        num_neighbors: int = 9,
        search: Search = "exact",
        matching: Matching | None = None,
    ) -> None:
        if matching is None:
            matching = "joint" if extractor.backbone.name in PUBLISHED else "layerwise"
        super().__init__(extractor.out_dims, num_neighbors, search, matching)
        self.extractor = extractor

    def features(self, images: Tensor) -> list[Tensor]:
        """Feature maps ``(N, C, h, w)`` of RGB images in ``[0, 1]`` ``(N, 3, H, W)``."""
        return list(self.extractor(images).values())


class SbmPfamPatchcore(SbmPfam, AnomalibModule):
    """PatchCore whose backbone learned the shape of the parts, and whose features have attention.

    Phase ``jigsaw`` shuffles the tiles of normal images, half of them with a simulated defect, and trains the backbone
    (SBM) and the attention (PFAM) to name the order. Phase ``memory`` then looks at every image once and keeps a
    coreset of its patches; a patch far from all of them is anomalous. Yuan et al., "Anomaly detection of industrial
    products considering both texture and shape information"; Roth et al., "Towards total recall in industrial anomaly
    detection" (2022).

    Trains on normal images alone. A shorter ``max_epochs``, ``max_steps`` or ``max_time`` of the trainer shortens the
    jigsaw; the memory always sees all images.

    Args:
        coreset_sampling_ratio: Share of all patches that is kept; at least ``num_neighbors`` are.
        num_neighbors: Number of neighbours that weight the image's score in joint matching; 1 takes the largest
            distance as it is.
        search: ``"faiss"`` looks at the nearest cells of the memory only: faster from some ten thousand patches on, and
            nearly exact. Exported models are exact.
        matching: ``"layerwise"`` keeps a memory per layer, at its resolution: the map is the geometric mean of the
            distances, and its largest value scores the image. ``"joint"`` joins the layers, as published. ``None``
            takes ``"joint"`` for the paper's networks, ResNet-18 and WideResNet-50-2, and ``"layerwise"`` for others.
        max_bank_size: Largest number of patches to keep. More are refused before training, with an estimate of the
            memory.
        kwargs: Arguments of :class:`SbmPfam`, common to the three detectors.
    """

    strides = (8, 16)

    def __init__(
        self,
        *,
        coreset_sampling_ratio: float = 0.1,
        num_neighbors: int = 9,
        search: Search = "exact",
        matching: Matching | None = None,
        max_bank_size: int = 100_000,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.assemble(lambda extractor: SbmPfamPatchcoreModel(extractor, num_neighbors, search, matching))
        self.memory = PatchMemory(self.model, coreset_sampling_ratio, max_bank_size)

    def on_train_start(self) -> None:
        """Refuse a memory that is too large."""
        super().on_train_start()
        loader = self.trainer.train_dataloader
        example = self.resized(loader.dataset[0].image)
        self.memory.check(len(loader.dataset), example.to(self.device))

    def detector_step(self, step: Step) -> None:
        """Gather the patches of unchanged images."""
        if step.progress == 0:
            self.memory.clear()
        self.memory.gather(step.paths, step.images)

    def complete_memory(self) -> None:
        """Keep a coreset of the patches."""
        self.memory.fill(self.schedule.seed)
