# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Words of messages: suggestions for unknown names, and numbers with their nouns."""

import difflib
import re
from collections.abc import Iterable
from operator import itemgetter


def nearest(name: str, known: Iterable[str]) -> str:
    """Nearest known name to an unknown one; empty if none is similar."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), "")


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
    return f"; did you mean {found!r}?" if (found := nearest(name, known)) else ""


def counted(count: int, text: str) -> str:
    """Put a number before a text.

    Args:
        count: Number.
        text: Text in which ``a/b`` stands for the singular and the plural.

    Example:
        >>> counted(1, "image/images is/are empty"), counted(2, "image/images is/are empty")
        ('1 image is empty', '2 images are empty')
    """
    return f"{count} " + re.sub(r"\b(\w+)/(\w+)", itemgetter(1 if count == 1 else 2), text)
