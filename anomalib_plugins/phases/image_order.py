# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Order of the training images, which depends on seed and epoch alone, also in resumed runs."""

import torch
from lightning.pytorch import Trainer
from torch.utils.data import DistributedSampler, RandomSampler

from anomalib_plugins.compat import fetch_anew

from .phase import mix_seed


def order_images(trainer: Trainer, seed: int) -> None:
    """Set the order of the images in the epoch that begins.

    Args:
        trainer: Trainer, in ``on_train_epoch_start``.
        seed: Seed of the run.
    """
    _seed_sampler(trainer, seed)
    loop = trainer.fit_loop
    if trainer.current_epoch == 0 or loop.is_resuming:
        # Lightning has asked for the images already, and loader processes have drawn the order.
        fetch_anew(trainer)


def continue_epoch(trainer: Trainer, seed: int) -> None:
    """Skip the images that were trained on before a checkpoint in the middle of an epoch.

    Args:
        trainer: Trainer, in ``on_train_start``.
        seed: Seed of the run.
    """
    loop = trainer.fit_loop
    if loop.restarted_mid_epoch:
        _seed_sampler(trainer, seed)
        images = fetch_anew(trainer)
        for _ in range(loop.epoch_loop.batch_progress.current.ready):
            next(images)


def _seed_sampler(trainer: Trainer, seed: int) -> None:
    sampler = getattr(trainer.train_dataloader, "sampler", None)
    seed = mix_seed(seed, trainer.current_epoch)
    if isinstance(sampler, RandomSampler):
        sampler.generator = torch.Generator().manual_seed(seed)
    elif isinstance(sampler, DistributedSampler):
        sampler.seed = seed - sampler.epoch  # it adds the epoch: the order is that of a single process
