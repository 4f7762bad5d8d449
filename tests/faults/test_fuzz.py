# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Files that nobody thought of."""

import io
import zlib

import numpy as np
import pytest
from anomalib.data.utils import read_image, read_mask
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anomalib_plugins.inspection.image_files import read_file

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))
KINDS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP")


def encoded(kind, mode="RGB"):
    buffer = io.BytesIO()
    PICTURE.convert(mode).save(buffer, kind)
    return buffer.getvalue()


FILES = {kind: encoded(kind) for kind in KINDS}


@st.composite
def damaged(draw):
    """A good file with bytes changed, cut off or put in."""
    data = bytearray(FILES[draw(st.sampled_from(KINDS))])
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data) - 1))
        how = draw(st.sampled_from(("change", "cut", "insert")))
        if how == "change":
            data[at] = draw(st.integers(0, 255))
        elif how == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=20))
        elif at > 0:
            del data[at:]
    return bytes(data)


@pytest.mark.parametrize("mask", [False, True])
@settings(max_examples=150, deadline=None)
@given(data=st.one_of(damaged(), st.binary(max_size=200)))
def test_what_passes_the_check_is_what_anomalib_reads(tmp_path_factory, mask, data):
    path = (
        tmp_path_factory.getbasetemp() / f"{zlib.crc32(data)}.png"
    )  # a file that changes within a tick is not seen to
    path.write_bytes(data)
    found = read_file(str(path), mask=mask)
    if found.problem is None:
        height, width = (read_mask if mask else read_image)(path, as_tensor=True).shape[-2:]
        assert found.size == (width, height)
    else:
        assert found.problem.startswith(("is ", "has "))
