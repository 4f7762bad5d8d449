# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Tests of what is refused, as tables."""

import re

import pytest


def refusals(make, *cases):
    """A test that ``make`` refuses what each case says: options, their error if not ``ValueError``, and its words."""

    # Without addresses of objects: every worker of pytest-xdist must collect the same names.
    @pytest.mark.parametrize("case", cases, ids=lambda case: re.sub(r" at 0x\w+", "", str(case)))
    def test(case):
        options, *error, message = case
        with pytest.raises(*error or [ValueError], match=message):
            make(**options)

    return test
