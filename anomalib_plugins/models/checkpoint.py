# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What a checkpoint says beside what anomalib writes: the tiles, and a pre-processor that it cannot hold."""

from typing import Any

import torch
from anomalib.data.utils.tiler import Tiler
from anomalib.models import AnomalibModule
from anomalib.pre_processing import PreProcessor
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import nn

from anomalib_plugins.callbacks.checkpoint_files import STAMP, CheckpointError
from anomalib_plugins.components.tiling import settings_of

TILES = "tiles"
PRE_PROCESSOR = "pre_processor_not_stored"
IMAGENET_MEAN = (0.485, 0.456, 0.406)


def write_down(checkpoint: dict[str, Any], model: AnomalibModule) -> None:
    """Add the tiles to a checkpoint, and a description of a pre-processor that anomalib does not store."""
    checkpoint[TILES] = settings_of(getattr(model.model, "tiler", None))
    checkpoint[PRE_PROCESSOR] = None if is_storable(model.pre_processor) else in_words(model.pre_processor)


def restored(checkpoint: dict[str, Any], model: AnomalibModule) -> dict[str, Any]:
    """Give a model the tiles it was trained with, and let it keep a pre-processor that the checkpoint cannot hold.

    Returns:
        Checkpoint without what anomalib must not load.

    Raises:
        CheckpointError: If the model was given no such pre-processor, or the checkpoint is of version 0.1 and
            would be misread.
    """
    refuse_version_1(checkpoint, model)
    if TILES in checkpoint:
        take_tiles(checkpoint[TILES], model.model)
    wanted = checkpoint.get(PRE_PROCESSOR)
    if wanted is None:
        return checkpoint
    if is_storable(model.pre_processor):  # the default one: what was given had been stored
        msg = (
            f"the checkpoint was trained with a pre-processor that it cannot hold, {wanted}: give the same, with "
            "-c FILE or load_from_checkpoint(..., pre_processor=...). To export, load it in Python and call to_onnx"
        )
        raise CheckpointError(msg)
    if in_words(model.pre_processor) != wanted:
        rank_zero_warn(f"The checkpoint was trained with {wanted}, this model has {in_words(model.pre_processor)}.")
    return {name: each for name, each in checkpoint.items() if name != "anomalib_pre_processor_config"}


def refuse_version_1(checkpoint: dict[str, Any], model: AnomalibModule) -> None:
    """Refuse a checkpoint of version 0.1 whose tensors fit, but would mean something else in this version.

    Raises:
        CheckpointError: If it is one.
    """
    if not checkpoint.get(STAMP, {}).get("version", "").startswith("0.1."):
        return
    names = {name.rpartition(".")[2]: each for name, each in model.named_buffers()}
    mean = names.get("pixel_mean", torch.tensor(IMAGENET_MEAN)).flatten()
    if not torch.equal(mean.cpu(), torch.tensor(IMAGENET_MEAN)):
        reason = f"normalised images with ImageNet's mean, not with {[round(each, 3) for each in mean.tolist()]}"
    elif "interleaved" in names:
        reason = "joined the branches of its attention in another order"
    else:
        return
    msg = f"the checkpoint is of version 0.1, which {reason}: train the model again"
    raise CheckpointError(msg)


def take_tiles(tiles: dict[str, Any] | None, network: Any) -> None:
    """Make a network cut images into the tiles it learned from, and warn if it has others."""
    given = settings_of(getattr(network, "tiler", None))
    if given == tiles:
        return
    if given is not None:
        rank_zero_warn(f"The tiling {given} is not used: the checkpoint was trained with {tiles or 'whole images'}.")
    network.tiler = None if tiles is None else Tiler(**tiles)


def is_storable(pre_processor: nn.Module | None) -> bool:
    """Whether anomalib stores a pre-processor in checkpoints, as it does with the commonest transforms."""
    if pre_processor is None or type(pre_processor) is not PreProcessor:
        return pre_processor is None
    return pre_processor.transform is None or pre_processor.checkpoint_config()["transform"] is not None


def in_words(pre_processor: nn.Module | None) -> str:
    """Description of a pre-processor in one line."""
    return " ".join(repr(getattr(pre_processor, "transform", pre_processor)).split())
