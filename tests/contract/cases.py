# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What makes each registered model small: all that a new model adds to the contract test is one row."""

from typing import Any, NamedTuple


class Case(NamedTuple):
    """Constructor arguments beside ``image_size`` and ``seed``, which every model takes.

    The tests train on five images in batches of four and two.

    Attributes:
        small: A fit of seconds: two epochs or more in the first phase and between one and two in the last, so that
            the first checkpoint lies in the first phase and the last but one within the last phase.
        endless: On top of ``small``: a schedule of about a thousand epochs in each phase, for a trainer to shorten.
    """

    small: dict[str, Any]
    endless: dict[str, Any]


# What the three detectors behind SBM and PFAM have in common.
SBM_PFAM: dict[str, Any] = {
    "backbone": "resnet10t",
    "layers": ["layer2", "layer3"],
    "pre_trained": False,
    "jigsaw": {"orders": 5},
    "jigsaw_epochs": 2,
    "jigsaw_batch_size": 2,
    "jigsaw_learning_rate": 1e-3,  # random weights have nothing to keep
    "backbone_bn": "train",
}

CASES = {
    "Slsg": Case(
        small={"seed": 1, "width": 0.25, "pretrain_epochs": 2, "pretrain_batch_size": 2, "steps": 5, "batch_size": 2},
        endless={"pretrain_epochs": 1000, "steps": 3000},
    ),
    "CutSwapPatchcore": Case(
        small={
            "pre_trained": False,
            "saliency": "backbone",
            "steps": 12,
            "batch_size": 5,
            "learning_rate": 0.03,  # random weights have nothing to keep
            "backbone_bn": "train",
            "freeze_steps": 1,
            "coreset_sampling_ratio": 0.1,
        },
        endless={"steps": 3000},
    ),
    "Pouta": Case(small={"epochs": 3, "batch_size": 2}, endless={"epochs": 1000}),
    "SbmPfamPatchcore": Case(
        small={**SBM_PFAM, "coreset_sampling_ratio": 0.1, "matching": "layerwise"},
        endless={"jigsaw_epochs": 1000},
    ),
    "SbmPfamPadim": Case(
        small={**SBM_PFAM, "n_features": 20},
        endless={"jigsaw_epochs": 1000},
    ),
    "SbmPfamCfa": Case(
        small={**SBM_PFAM, "epochs": 2, "batch_size": 2},
        endless={"jigsaw_epochs": 1000, "epochs": 1000},
    ),
}
