# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Whatever a program imports first, every lookup of anomalib finds every plugin."""

import pytest


@pytest.mark.parametrize(
    "first",
    [
        "import torch",
        "import anomalib.data",
        "import anomalib.cli",
        "from anomalib.models.image.padim import Padim",  # imports anomalib.models first
        # Ours is half imported when anomalib, which it imports, is done.
        "from anomalib_plugins.models.slsg.lightning_model import Slsg",
    ],
)
def test_every_door_is_open(closed_doors, first):
    assert closed_doors(first) == []
