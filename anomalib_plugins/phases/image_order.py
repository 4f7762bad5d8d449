# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""The order of the training images: by seed and epoch alone, however they are loaded and wherever a run goes on."""

import torch
from lightning.pytorch import Trainer
from torch.utils.data import DistributedSampler, RandomSampler

from .phase import mix_seed


def order_images(trainer: Trainer, seed: int) -> None:
    """Order the images of the epoch that begins.

    Args:
        trainer: In ``on_train_epoch_start``.
        seed: Of the run.
    """
    _seed_sampler(trainer, seed)
    loop = trainer.fit_loop
    if trainer.current_epoch == 0 or loop.is_resuming:
        # Lightning has asked for the images already, and loader processes have drawn the order.
        iter(loop._data_fetcher)  # noqa: SLF001


def continue_epoch(trainer: Trainer, seed: int) -> None:
    """Pass over the images of an epoch that a checkpoint was saved in the middle of.

    Args:
        trainer: In ``on_train_start``.
        seed: Of the run.
    """
    loop = trainer.fit_loop
    if loop.restarted_mid_epoch:
        _seed_sampler(trainer, seed)
        images = iter(loop._data_fetcher).iterator  # noqa: SLF001
        for _ in range(loop.epoch_loop.batch_progress.current.ready):
            next(images)


def _seed_sampler(trainer: Trainer, seed: int) -> None:
    sampler = getattr(trainer.train_dataloader, "sampler", None)
    seed = mix_seed(seed, trainer.current_epoch)
    if isinstance(sampler, RandomSampler):
        sampler.generator = torch.Generator().manual_seed(seed)
    elif isinstance(sampler, DistributedSampler):
        sampler.seed = seed - sampler.epoch  # it adds the epoch: the order is that of a single process
