# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import io
import threading

import numpy as np
import pytest
from PIL import Image

from anomalib_plugins.commands.demo.scorer import Answer
from anomalib_plugins.commands.demo.server import DemoServer


def photo(share, size=(60, 40), **options):
    """A blue PNG file, the left ``share`` of which is red."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[..., 2] = 255
    pixels[:, : round(share * size[0])] = (255, 0, 0)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", **options)
    return buffer.getvalue()


def redness(pixels):
    return Answer(float(pixels[..., 0].mean()), pixels[::2, ::2, 0])


@pytest.fixture
def serve():
    running = []

    def serve(scorer=redness, name="red.xml"):
        server = DemoServer(("127.0.0.1", 0), scorer, name)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        running.append((server, thread))
        return server

    yield serve
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()
