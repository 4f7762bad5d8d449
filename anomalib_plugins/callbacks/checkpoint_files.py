# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Checkpoints that are whole or not there, and errors that say what is wrong with one."""

import os
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from anomalib.engine.plugins.checkpoint_io import AnomalibCheckpointIO
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from anomalib_plugins import __version__
from anomalib_plugins.components.files import atomic_write
from anomalib_plugins.errors import UserError

STAMP = "anomalib_plugins"
"""Key of a checkpoint that says which model wrote it, and which version of this package."""


class CheckpointError(UserError, RuntimeError):
    """A checkpoint cannot be written, read or used."""


class SafeCheckpointIO(AnomalibCheckpointIO):
    """Writes a checkpoint beside its place and moves it there when it is whole; reads nothing that runs code.

    Lightning writes to the temporary folder, from where a file is copied: where the disk is full, half a checkpoint
    stays under the final name.

    Args:
        model: What checkpoints are to be read into.
        extra_safe_globals: Types a checkpoint may hold beside tensors, numbers and anomalib's own.
    """

    def __init__(self, model: LightningModule | None = None, extra_safe_globals: Any = None) -> None:
        super().__init__(extra_safe_globals)
        self.model = model

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: What to write.
            path: Its final place; a URL is left to Lightning.
            storage_options: For URLs.

        Raises:
            CheckpointError: If it cannot be written or the weights are NaN; what was there before is untouched.
        """
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        path = Path(path)
        if self.model is not None:
            refuse_diverged(path, self.model)
        try:
            with atomic_write(path) as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:
            cause = error.__context__ if isinstance(error.__context__, OSError) else error  # torch's writer hides it
            kept = "; the one before is untouched" if path.exists() else ""
            msg = (
                f"the checkpoint {path} could not be written ({cause}){kept}. It needs "
                f"{tensor_bytes(checkpoint) / 2**20:.0f} MB; {_free(path.parent)}"
            )
            raise CheckpointError(msg) from error

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint.

        Args:
            path: Where it is.
            map_location: As in ``torch.load``.
            weights_only: ``False`` runs whatever code the file brings; anything else does not.

        Raises:
            CheckpointError: If there is none, or it is damaged, unsafe or of another model.
        """
        with as_checkpoint_error(path):
            checkpoint = super().load_checkpoint(path, map_location, weights_only is not False)
        if self.model is not None:
            refuse_other_model(path, checkpoint, self.model)
        return checkpoint


@contextmanager
def as_checkpoint_error(path: Any) -> Generator[None, None, None]:
    """Turn any error of loading a file into one line, without torch's advice to load it unsafely.

    Raises:
        CheckpointError: In place of whatever is raised within.
    """
    try:
        yield
    except CheckpointError:
        raise
    except FileNotFoundError:
        msg = f"there is no checkpoint {path}"
        raise CheckpointError(msg) from None
    except IsADirectoryError:
        msg = f"{path} is a folder: name the checkpoint in it"
        raise CheckpointError(msg) from None
    except Exception as error:  # noqa: BLE001  # unpickling garbage raises anything
        if "unsupported global" in str(error).lower():  # a function that torch's safe mode does not call
            why = "would run code when loaded, which no checkpoint of ours does: use it only if you made it yourself"
        else:
            why = f"is damaged or no checkpoint ({Path(path).stat().st_size} bytes): use an earlier one"
        msg = f"{path} {why}"
        raise CheckpointError(msg) from None


def refuse_other_model(path: Any, checkpoint: Mapping[str, Any], model: LightningModule) -> None:
    """Refuse the checkpoint of another model, and warn of one by another version of this package.

    Raises:
        CheckpointError: If it is of another model, or of one with tensors of other shapes.
    """
    stamp, wanted = checkpoint.get(STAMP, {}), type(model).__name__
    written_by, version = stamp.get("model", wanted), stamp.get("version", __version__)
    given, own = checkpoint.get("state_dict", {}), dict(model.named_parameters())
    fitting = sum(name in given and given[name].shape == tensor.shape for name, tensor in own.items())
    if written_by != wanted or ("model" not in stamp and 2 * fitting < len(own)):
        other = "another model, or of other options" if written_by == wanted else written_by
        msg = (
            f"{path} is a checkpoint of {other}, not of this {wanted}: {fitting} of {len(own)} tensors match. "
            "Choose the model and options it was trained with, or another checkpoint"
        )
        raise CheckpointError(msg)
    parts = {name for name, _ in model.named_modules()}
    differing = [
        *(name for name, tensor in own.items() if name not in given or given[name].shape != tensor.shape),
        *(name for name in given if name.rpartition(".")[0] not in parts),
    ]
    if differing:
        name = differing[0]
        there, here = (tuple(each[name].shape) if name in each else "missing" for each in (given, own))
        msg = (
            f"{path} is of a {wanted} with other options{_differing_options(checkpoint, model)}: {len(differing)} "
            f"tensors differ, {name} is {there} there and {here} here. Give the options it was trained with, or its -c "
            "FILE"
        )
        raise CheckpointError(msg)
    if version != __version__:
        rank_zero_warn(f"{path} was written by version {version} of anomalib_plugins; this is {__version__}.")


def _differing_options(checkpoint: Mapping[str, Any], model: LightningModule) -> str:
    """Options that the checkpoint's model had and this one has not, as far as both tell."""
    there, here = checkpoint.get("hyper_parameters", {}), model.hparams
    names = [name for name in there if name in here and there[name] != here[name]]
    told = ", ".join(f"{name} is {there[name]!r} there and {here[name]!r} here" for name in names)
    return f" ({told})" if told else ""


def refuse_file(path: Any, model: type) -> None:
    """Refuse a checkpoint file before a model of a class is made of it; a URL is left to Lightning.

    Raises:
        CheckpointError: If the file cannot be used, or says that it is of another model.
    """
    if "://" in str(path):
        return
    written_by = SafeCheckpointIO().load_checkpoint(path, "cpu").get(STAMP, {}).get("model", model.__name__)
    if written_by != model.__name__:
        msg = (
            f"{path} is a checkpoint of {written_by}, not of {model.__name__}: choose that model, or another checkpoint"
        )
        raise CheckpointError(msg)


def refuse_diverged(path: Path, model: LightningModule) -> None:
    """Refuse to replace a checkpoint by weights that are NaN or infinite.

    Raises:
        CheckpointError: If the model has such weights.
    """
    broken = [name for name, weights in model.named_parameters() if not torch.isfinite(weights).all()]
    if broken:
        kept = f"{path} still has the last good ones" if path.exists() else "nothing was saved"
        msg = (
            f"training has diverged: {len(broken)} tensors, {broken[0]} among them, hold NaN or infinity; {kept}. "
            "Lower the learning rate, or train in 32-true precision"
        )
        raise CheckpointError(msg)


def stamp_checkpoint(checkpoint: dict[str, Any], model: LightningModule) -> None:
    """Write the model's name and this package's version into a checkpoint."""
    checkpoint[STAMP] = {"model": type(model).__name__, "version": __version__}


def refuse_folder(folder: Path, model: LightningModule) -> None:
    """Refuse a folder, before training, to which checkpoints of a model cannot be written.

    Raises:
        CheckpointError: If nothing can be written there, or there is no room for a checkpoint.
    """
    need = 3 * tensor_bytes(list(model.parameters()))  # weights, and Adam's two moments of them
    trial = folder / f".{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial.write_bytes(b"checkpoint")
        trial.unlink()
    except OSError as error:
        msg = f"checkpoints cannot be written to {folder} ({error}): choose another default_root_dir"
        raise CheckpointError(msg) from None
    if shutil.disk_usage(folder).free < need:
        msg = (
            f"a checkpoint needs up to {need / 2**20:.0f} MB, but {_free(folder)}: free some, or choose another folder"
        )
        raise CheckpointError(msg)


def tensor_bytes(content: Any) -> int:
    """Bytes of the tensors in nested dicts and lists."""
    if isinstance(content, torch.Tensor):
        return content.numel() * content.element_size()
    if isinstance(content, Mapping):
        content = list(content.values())
    return sum(map(tensor_bytes, content)) if isinstance(content, list | tuple) else 0


def _free(folder: Path) -> str:
    return f"{shutil.disk_usage(folder).free / 2**20:.0f} MB are free in {folder}" if folder.is_dir() else "no folder"
