# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Checks of options, with error messages that say what was expected."""

from collections.abc import Iterable, Sequence
from typing import Any, get_args

from anomalib_plugins.errors import UserError


def check_choice(name: str, value: Any, choices: Any) -> None:
    """Check that an option has one of its choices, which are given by a ``Literal`` or as a collection."""
    known = get_args(choices) or tuple(choices)
    if value not in known:
        msg = f"{name} must be one of {', '.join(map(str, known))}, got {value!r}"
        raise UserError(msg)


def check_least(name: str, value: float, least: float = 1) -> None:
    """Check that a number is at least ``least``."""
    if not value >= least:
        msg = f"{name} must be at least {least}, got {value}"
        raise UserError(msg)


def check_positive(name: str, value: float) -> None:
    """Check that a number is above 0."""
    if not value > 0:
        msg = f"{name} must be above 0, got {value}"
        raise UserError(msg)


def check_share(name: str, value: float, above_zero: bool = False) -> None:
    """Check that a number is in ``[0, 1]``, or above 0 and at most 1."""
    if not 0 <= value <= 1 or (above_zero and value == 0):
        msg = f"{name} must be {'above 0 and at most 1' if above_zero else 'in [0, 1]'}, got {value}"
        raise UserError(msg)


def check_range(name: str, value: Sequence[float]) -> None:
    """Check that two numbers are a range in ``[0, 1]`` that does not end at 0."""
    if len(value) != 2 or not 0 <= value[0] <= value[1] <= 1 or value[1] == 0:
        msg = f"{name} must be two numbers in [0, 1], the smaller first and the larger above 0, got {value}"
        raise UserError(msg)


def check_distinct(name: str, values: Any, known: Iterable[Any]) -> None:
    """Check that a list holds at least one of the known values, and none twice."""
    known = list(known)
    if not values or any(value not in known for value in values) or len(set(values)) < len(values):
        msg = f"{name} must be different ones of {', '.join(map(str, known))}, at least one, got {tuple(values)}"
        raise UserError(msg)
