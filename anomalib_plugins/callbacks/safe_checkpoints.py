# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Checkpoints that outlive a full disk, a signal or an error."""

import os
import signal
import threading
from pathlib import Path
from typing import Any

from anomalib.engine.plugins.checkpoint_io import AnomalibCheckpointIO
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from .checkpoint_files import SafeCheckpointIO, refuse_folder, stamp_checkpoint

NAME = "interrupted.ckpt"
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class SafeCheckpoints(Callback):
    """Whole checkpoints, a last one when training is interrupted, and exit codes that tell.

    - Before training: can anything be written to the results folder, and is there room for a checkpoint?
    - While saving: a checkpoint is written beside its place and moved there when it is whole; weights that have become
      NaN stop the run and replace no good ones.
    - On SIGTERM and Ctrl-C training ends with the batch, on any error at once; what was trained is then in
      ``interrupted.ckpt`` beside the other checkpoints, and ``--ckpt_path`` continues from it. The exit code is 143 or
      130. A second signal, or a batch that takes longer than ``grace``, ends the run without.
    - While loading: a checkpoint that is damaged, of another model or unsafe is refused in one line.

    Where checkpoints are switched off (``save_top_k=0``) there is no last one either; nor with several devices, of
    which not all may have met the error or signal.

    Args:
        grace: Seconds a batch may take to end after a signal.
    """

    def __init__(self, grace: float = 30.0) -> None:
        self.grace = grace
        self._signal: int | None = None
        self._process = os.getpid()
        self._handlers: dict[int, Any] = {}  # those we took the place of
        self._timer: threading.Timer | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take over reading and writing of checkpoints from anomalib, unless the user has their own.

        Raises:
            CheckpointError: If checkpoints are to be written and cannot.
        """
        given = trainer.strategy.checkpoint_io
        if type(given) in {TorchCheckpointIO, AnomalibCheckpointIO, SafeCheckpointIO}:
            extra = getattr(given, "extra_safe_globals", ())
            trainer.strategy.checkpoint_io = SafeCheckpointIO(pl_module, extra)
        if stage == TrainerFn.FITTING and _saves(trainer) and trainer.is_global_zero:
            folder = _folder(trainer)
            if "://" not in folder:
                refuse_folder(Path(folder), pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Write into the checkpoint which model it is of."""
        del trainer
        stamp_checkpoint(checkpoint, pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen to signals, in front of Lightning, which ends with exit code 0 and saves nothing."""
        del trainer, pl_module
        self._signal, self._process = None, os.getpid()
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._on_signal) for number in SIGNALS}

    def _on_signal(self, number: int, frame: Any) -> None:
        if os.getpid() != self._process:  # one that loads images: it ends with this one
            return
        if self._signal is not None:  # a second time, or the batch does not end
            raise SystemExit(128 + self._signal)
        self._signal = number
        rank_zero_warn(f"{signal.Signals(number).name}: training ends with this batch; a second one ends it at once.")
        self._timer = threading.Timer(self.grace, os.kill, (os.getpid(), number))
        self._timer.daemon = True
        self._timer.start()
        # Processes that load images may have got the signal, too: torch would raise that they died, in mid-batch.
        if hasattr(signal, "SIGCHLD"):
            self._handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        lightning = self._handlers.get(signal.SIGTERM)
        if callable(lightning):
            lightning(signal.SIGTERM, frame)  # it stops where its loops may be left

    def _stop_listening(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave signals to Lightning again."""
        del trainer, pl_module
        self._stop_listening()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save what was trained, and end with an exit code that tells why."""
        del pl_module
        listening = bool(self._handlers)
        self._stop_listening()
        # Stopped in mid-batch, or diverged: what is there now is nothing to go on from.
        worthless = isinstance(exception, FloatingPointError) or getattr(exception, "code", None) is not None
        if listening and not worthless and trainer.world_size == 1 and _saves(trainer):
            path = f"{_folder(trainer)}/{NAME}"
            try:
                trainer.save_checkpoint(path)
            except Exception as error:  # noqa: BLE001  # the first error is what the user has to see
                rank_zero_warn(f"What was trained could not be saved: {error}")
            else:
                rank_zero_warn(f"What was trained is in {path}: --ckpt_path continues from it.")
        if self._signal is None:
            return
        if isinstance(exception, SystemExit):
            exception.code = 128 + self._signal
        elif "DataLoader worker" in str(exception):  # it died of the same signal
            raise SystemExit(128 + self._signal) from None


def _saves(trainer: Trainer) -> bool:
    saving = trainer.checkpoint_callback
    return saving is not None and getattr(saving, "save_top_k", 1) != 0 and not trainer.fast_dev_run


def _folder(trainer: Trainer) -> str:
    """Where checkpoints of the run are: a path, or a URL."""
    return str(getattr(trainer.checkpoint_callback, "dirpath", None) or trainer.default_root_dir)
