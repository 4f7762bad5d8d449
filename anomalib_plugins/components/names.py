# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Names that are not known."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """What to add to the message about an unknown name.

    Args:
        name: The unknown one.
        known: Those that are.

    Returns:
        ``"; did you mean 'NEAREST'?"``, or nothing where none is near.

    Example:
        >>> did_you_mean("Slgs", ["Slsg", "Pouta"])
        "; did you mean 'Slsg'?"
    """
    return "".join(f"; did you mean {each!r}?" for each in difflib.get_close_matches(name, list(known), n=1))
