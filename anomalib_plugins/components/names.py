# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Suggestions for unknown names."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suggest the nearest known name, to be appended to an error message.

    Args:
        name: Unknown name.
        known: Known names.

    Returns:
        ``"; did you mean 'NEAREST'?"``, or an empty text if no known name is similar.

    Example:
        >>> did_you_mean("Slgs", ["Slsg", "Pouta"])
        "; did you mean 'Slsg'?"
    """
    return "".join(f"; did you mean {each!r}?" for each in difflib.get_close_matches(name, list(known), n=1))
