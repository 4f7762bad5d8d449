# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Errors that a user can correct: the command line shows their message alone, without a traceback."""


class UserError(ValueError):
    """Argument, file or environment that does not allow what was asked for. The message says what to do."""


class UserTypeError(UserError, TypeError):
    """Argument of a wrong type."""


class MissingFileError(UserError, FileNotFoundError):
    """File or folder that is needed and missing."""


class UntrainedError(UserError, RuntimeError):
    """Use of a model before it was trained."""


class DivergedError(UserError, FloatingPointError):
    """Training that ended in NaN or infinite values."""
