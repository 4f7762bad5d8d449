# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""anomalib's own command line, with a seed that seeds, a word for typing errors and refusals in one line."""

import difflib
import dis
import inspect
import logging
import os
import re
import secrets
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

from anomalib.cli import AnomalibCLI
from anomalib.data import AnomalibDataModule
from anomalib.models import AnomalibModule
from lightning.pytorch import Callback, seed_everything
from lightning.pytorch.utilities.exceptions import MisconfigurationException

TRACEBACK = "ANOMALIB_PLUGINS_TRACEBACK"
"""Environment variable that, when set, has refusals shown with their traceback."""

READERS = tuple(f"anomalib.data.{part}." for part in ("datamodules", "datasets", "utils"))
"""Modules of anomalib that look at what a user names; its validators find bugs."""

REFUSALS = (ArithmeticError, MisconfigurationException, OSError, RuntimeError, TypeError, ValueError)


class SeededCLI(AnomalibCLI):
    """anomalib's command line; 2.7 reads ``--seed_everything`` and does nothing with it."""

    @staticmethod
    def init_parser(**kwargs: Any) -> Any:
        """The parser of a command, whose errors name what may have been meant."""
        parser = AnomalibCLI.init_parser(**kwargs)
        fail = parser.error
        parser.error = lambda message, ex=None: fail(message + did_you_mean(message, parser), ex)
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
        self.config[self.subcommand]["seed_everything"] = seed_everything(seed, workers=True)


def did_you_mean(message: str, parser: Any) -> str:
    """The known names nearest to the unknown ones in an error of the parser, as lines to add to it.

    Args:
        message: The error.
        parser: Whose it is.
    """
    nearest = {}
    for path, option in re.findall(r"class_path '([\w.]+)':\s+Option '(\w+)' is not accepted", message):
        module, _, name = path.rpartition(".")
        with suppress(AttributeError, ImportError, ValueError):  # not to hide the error that is being explained
            nearest[option] = _nearest(option, inspect.signature(getattr(import_module(module), name)).parameters)
    for name in re.findall(r"Expected a dot import path string: (\w+)\s", message + "\n"):
        nearest[name] = _nearest(name, _class_names())
    options = {option for each in _parsers(parser) for option in each._option_string_actions}  # noqa: SLF001
    for option in re.findall(r"Unrecognized arguments: (--[\w.]+)", message):
        nearest[option] = _nearest(option, options)
    for group, key in re.findall(r"(?:Group '([\w.]+)'|Subcommand '\w+') does not accept option '([\w.]+)'", message):
        name = f"{group}.{key}".lstrip(".")
        nearest[name] = _nearest(f"--{name}", options).removeprefix("--")
    return "".join(f"\n{wrong!r} is unknown; did you mean {right!r}?" for wrong, right in nearest.items() if right)


def _parsers(parser: Any) -> list[Any]:
    """A parser and those of its commands."""
    commands = getattr(parser, "_subcommands_action", None)
    return [parser, *(commands.choices or {}).values()] if commands else [parser]


def _nearest(name: str, known: Iterable[str]) -> str:
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), "")


def _class_names() -> set[str]:
    """Names of all models, datamodules and callbacks that have been imported."""
    names: set[str] = set()
    classes: list[type] = [AnomalibModule, AnomalibDataModule, Callback]
    while classes:
        subclasses: list[type] = classes.pop().__subclasses__()
        names.update(each.__name__ for each in subclasses)
        classes.extend(subclasses)
    return names


def refusal_in(error: BaseException) -> BaseException | None:
    """What was said to be wrong with a command's input, if that is what ended it, and no bug of anybody's.

    This package says so, and so do anomalib's datamodules and, with an exception of its own, Lightning.

    Args:
        error: As it was caught.
    """
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None or not isinstance(error, REFUSALS):
        return None
    frame = last.tb_frame
    module = frame.f_globals.get("__name__", "")
    says = module.startswith((f"{__package__}.", *READERS)) or isinstance(error, MisconfigurationException)
    # A bug fails at any other instruction than `raise`.
    if says and frame.f_code.co_code[last.tb_lasti] == dis.opmap["RAISE_VARARGS"]:
        return error
    # jsonargparse tries every type that an option may have, and buries what each of them said.
    buried = frame.f_locals.get("exceptions", ()) if frame.f_globals.get("__package__") == "jsonargparse" else ()
    return next((found for each in buried if (found := refusal_in(each))), None)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of anomalib's commands.

    Args:
        argv: Command-line arguments, the command first.

    Returns:
        Exit code: 0, or 2 where the input was refused; other failures raise.
    """
    # anomalib's configure_logger adds a second handler beside the first, and every line comes twice.
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S", level=logging.INFO)
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
