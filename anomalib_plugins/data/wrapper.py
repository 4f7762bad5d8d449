# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Base of datamodules that wrap another one."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from anomalib.data import AnomalibDataModule, AnomalibDataset
from anomalib.data.datasets.base.video import AnomalibVideoDataset
from jsonargparse import ArgumentError, ArgumentParser
from omegaconf import DictConfig, OmegaConf
from torch.utils.data import DataLoader

from anomalib_plugins.errors import UserError, UserTypeError

SPLITS = ("train", "val", "test")


class Wrapper(AnomalibDataModule):
    """Datamodule with the splits of another one, which a subclass changes. Wrappers can wrap each other.

    Batch sizes, loader processes, augmentations and category are those of the wrapped datamodule. Subclasses add what
    they do to its ``name``, which names results folders.

    Args:
        datamodule: Datamodule to wrap: an object, or ``class_path`` and ``init_args`` as in a configuration file.
        seed: Seed of what the subclass draws.
        split_seed: Seed of the wrapped datamodule's splits if it has none of its own.

    Raises:
        ValueError: If there is no ``datamodule``, or its configuration does not fit its class.
        TypeError: If ``datamodule`` is something else.
    """

    def __init__(
        self,
        datamodule: AnomalibDataModule | None = None,
        seed: int = 0,
        split_seed: int = 0,
    ) -> None:
        if datamodule is None:
            msg = f"{type(self).__name__} wraps a datamodule: give datamodule, e.g. --data.datamodule Folder"
            raise UserError(msg)
        wrapped = instantiate(AnomalibDataModule, datamodule)
        if wrapped.seed is None:
            wrapped.seed = split_seed  # anomalib would split differently in every run
        super().__init__(
            train_batch_size=wrapped.train_batch_size,
            eval_batch_size=wrapped.eval_batch_size,
            num_workers=wrapped.num_workers,
            train_augmentations=wrapped.train_augmentations,
            val_augmentations=wrapped.val_augmentations,
            test_augmentations=wrapped.test_augmentations,
            seed=seed,
        )
        self.datamodule = wrapped
        self.category = wrapped.category

    @property
    def source(self) -> AnomalibDataModule:
        """Innermost datamodule, which finds the files and splits them."""
        return self.datamodule.source if isinstance(self.datamodule, Wrapper) else self.datamodule

    def prepare_data(self) -> None:
        """Prepare the wrapped datamodule."""
        self.datamodule.prepare_data()

    def state_dict(self) -> dict[str, Any]:
        """State of the wrapped datamodule, for the checkpoint."""
        return self.datamodule.state_dict()

    def setup(self, stage: str | None = None) -> None:
        """Make the wrapped splits, then change them."""
        self.datamodule.trainer = self.trainer
        self.datamodule.setup(stage)
        super().setup(stage)

    def _setup(self, _stage: str | None = None) -> None:
        wrapped = self.datamodule
        for split in SPLITS:
            data = getattr(wrapped, f"{split}_data", None)
            if data is None:
                continue
            if not isinstance(data, AnomalibDataset) or isinstance(data, AnomalibVideoDataset):
                msg = f"{wrapped.name}: the {split} data are {type(data).__name__}, not images of an AnomalibDataset"
                raise UserTypeError(msg)
            setattr(self, f"{split}_data", data)
        self._change_splits()

    @abstractmethod
    def _change_splits(self) -> None:
        """Change ``train_data``, ``val_data`` or ``test_data``, which are the wrapped ones."""

    def _create_test_split(self) -> None:
        """Do nothing: the wrapped datamodule has split already."""

    def _create_val_split(self) -> None:
        """Do nothing: the wrapped datamodule has split already."""

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """Load validation images; none if ``val_split_mode`` is none, with which anomalib 2.7 cannot train."""
        return super().val_dataloader() if hasattr(self, "val_data") else []


def instantiate(base: Any, config: Any) -> Any:
    """Create an object from ``class_path`` and ``init_args``, as anomalib's command line does.

    Args:
        base: Class of the object.
        config: Configuration, or a finished object, which is returned.

    Raises:
        ValueError: If the configuration does not fit the class.
        TypeError: If ``config`` is neither.
    """
    if isinstance(config, base):
        return config
    if not isinstance(config, Mapping | DictConfig):
        msg = f"expected a {base.__name__} or a mapping with class_path and init_args, got {config!r}"
        raise UserTypeError(msg)
    plain = OmegaConf.to_container(config, resolve=True) if isinstance(config, DictConfig) else dict(config)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(base, "object", required=True, fail_untyped=False)
    try:
        return parser.instantiate_classes(parser.parse_object({"object": plain})).object
    except ArgumentError as error:
        msg = f"cannot make a {base.__name__} from {plain}: {error}"
        raise UserError(msg) from error
