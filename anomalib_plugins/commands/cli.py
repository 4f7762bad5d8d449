# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""anomalib's own command line with a seed that works, suggestions for misspelt names and one-line errors."""

import inspect
import linecache
import logging
import os
import re
import secrets
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

from anomalib.cli import AnomalibCLI
from anomalib.data import AnomalibDataModule
from anomalib.models import AnomalibModule
from lightning.pytorch import Callback, seed_everything
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from anomalib_plugins.components.names import nearest
from anomalib_plugins.errors import UserError
from anomalib_plugins.registry import subclasses

TRACEBACK = "ANOMALIB_PLUGINS_TRACEBACK"
"""Environment variable that, when set, shows the traceback of errors that a user can correct."""

# Loggers of the exporter to ONNX, which write a line about each initializer.
EXPORTERS = ("onnxscript", "onnx_ir", "torch.onnx")
# Beginnings of warnings from Lightning and torch about what a user of anomalib cannot change.
WARNINGS = (
    "`isinstance(treespec, LeafSpec)`",
    "`LightningModule.configure_optimizers` returned `None`",
    "You have overridden `on_after_batch_transfer`",
    "The dirpath has changed",
    "'pin_memory' argument is set as true",
)

READERS = tuple(f"anomalib.data.{part}." for part in ("datamodules", "datasets", "utils"))
"""Modules of anomalib that look at what a user names; errors of its other modules are bugs."""


class SeededCLI(AnomalibCLI):
    """anomalib's command line; 2.7 reads ``--seed_everything`` and does nothing with it."""

    @staticmethod
    def init_parser(**kwargs: Any) -> Any:
        """Create the parser of a command, whose errors suggest known names."""
        parser = AnomalibCLI.init_parser(**kwargs)
        fail = parser.error
        parser.error = lambda message, ex=None: fail(message + suggestions(message, parser), ex)
        return parser

    def before_instantiate_classes(self) -> None:
        """Seed before the model draws its first weights, and keep the seed in the saved configuration.

        ``True``, the default, is a random seed, which the log names.
        """
        super().before_instantiate_classes()
        seed = self._get(self.config, "seed_everything", default=False)
        if seed is False:
            return
        if seed is True:
            # Processes that a distributed run starts find the first one's seed in the environment.
            seed = int(os.environ.get("PL_GLOBAL_SEED", secrets.randbelow(2**32)))
        trains = self.subcommand in {"fit", "train"}
        self.config[self.subcommand]["seed_everything"] = seed_everything(seed, workers=True, verbose=trains)


def suggestions(message: str, parser: Any) -> str:
    """Suggest known names for the unknown ones in an error of the parser.

    Args:
        message: Message of the error.
        parser: Parser that raised it.

    Returns:
        Lines to append to the message; empty if no known name is similar.
    """
    found = {}
    for path, option in re.findall(r"class_path '([\w.]+)':\s+Option '(\w+)' is not accepted", message):
        module, _, name = path.rpartition(".")
        with suppress(AttributeError, ImportError, ValueError):  # not to hide the error that is being explained
            found[option] = nearest(option, inspect.signature(getattr(import_module(module), name)).parameters)
    for name in re.findall(r"Expected a dot import path string: (\w+)\s", message + "\n"):
        bases = (AnomalibModule, AnomalibDataModule, Callback)
        found[name] = nearest(name, {each.__name__ for base in bases for each in subclasses(base)})
    options = {option for each in _parsers(parser) for option in each._option_string_actions}  # noqa: SLF001
    for option in re.findall(r"Unrecognized arguments: (--[\w.]+)", message):
        found[option] = nearest(option, options)
    for group, key in re.findall(r"(?:Group '([\w.]+)'|Subcommand '\w+') does not accept option '([\w.]+)'", message):
        name = f"{group}.{key}".lstrip(".")
        found[name] = nearest(f"--{name}", options).removeprefix("--")
    return "".join(f"\n{wrong!r} is unknown; did you mean {right!r}?" for wrong, right in found.items() if right)


def _parsers(parser: Any) -> list[Any]:
    """The parser and those of its commands."""
    commands = getattr(parser, "_subcommands_action", None)
    return [parser, *(commands.choices or {}).values()] if commands else [parser]


def refusal_in(error: BaseException) -> BaseException | None:
    """Find the error that a user can correct, of this package, anomalib's datamodules or Lightning.

    Args:
        error: Error that ended a command.

    Returns:
        The error itself, or one that jsonargparse wrapped; ``None`` for a bug.
    """
    if isinstance(error, UserError | MisconfigurationException):
        return error
    *_, (frame, line) = [(None, 0), *traceback.walk_tb(error.__traceback__)]
    if frame is None:
        return None
    module = frame.f_globals.get("__name__", "")
    if module.startswith(READERS) and linecache.getline(frame.f_code.co_filename, line).lstrip().startswith("raise "):
        return error
    # jsonargparse tries every type that an option may have and keeps their errors in a variable.
    buried = frame.f_locals.get("exceptions", ()) if module.startswith("jsonargparse.") else ()
    return next((found for each in buried if (found := refusal_in(each))), None)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of anomalib's commands.

    Args:
        argv: Command-line arguments, the command first.

    Returns:
        Exit code: 0, or 2 after an error that the user can correct; other errors are raised.
    """
    # anomalib's configure_logger adds a second handler beside the first, and every line comes twice.
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S", level=logging.INFO)
    for name in EXPORTERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    for beginning in WARNINGS:
        warnings.filterwarnings("ignore", message=re.escape(beginning))
    try:
        SeededCLI(argv)
    except Exception as error:
        refusal = refusal_in(error)
        if os.environ.get(TRACEBACK) or refusal is None:
            raise
        notes = getattr(refusal, "__notes__", ())
        print(f"error: {refusal}", *notes, f"({TRACEBACK}=1 shows where)", sep="\n", file=sys.stderr)
        return 2
    return 0
