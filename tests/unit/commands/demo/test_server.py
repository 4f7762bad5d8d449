# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import base64
import http.client
import io
import json

import numpy as np
import pytest
from PIL import Image

from anomalib_plugins.commands.demo.scorer import Answer
from anomalib_plugins.commands.demo.server import BINARY, MOST

from .conftest import photo


def ask(server, method="GET", path="/", body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), content


def score(server, body, **headers):
    status, _, content = ask(server, "POST", "/score", body, **{"Content_Type": BINARY, **headers})
    return status, json.loads(content)


def pixels(said):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(said["map"]))))


@pytest.mark.parametrize("path", ["/", "/demo.js", "/demo.css", "/model"])
def test_gives_the_page_and_lets_it_load_nothing_from_elsewhere(serve, path):
    status, headers, body = ask(serve(), path=path)
    assert status == 200
    assert body
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert b"http" not in body.replace(b"http-equiv", b"")


def test_gives_no_other_file(serve):
    server = serve()
    for path in ("/../scorer.py", "/%2e%2e/scorer.py", "/index.html?x", "/favicon.ico"):
        assert ask(server, path=path)[0] == 404


def test_scores_a_photo_and_gives_the_map_as_a_picture(serve):
    status, said = score(serve(), photo(0.25))
    assert status == 200
    assert said["score"] == pytest.approx(0.25)
    assert said["milliseconds"] >= 0
    assert pixels(said).shape == (20, 30)
    assert (pixels(said).mean(axis=0) == [255] * 8 + [0] * 22).all()


def test_a_model_without_a_map_gives_a_score(serve):
    assert score(serve(lambda _: Answer(0.75, None)), photo(0))[1]["map"] is None


def test_what_is_no_number_is_a_defect(serve):
    broken = np.array([[np.nan, np.inf], [-np.inf, 0.5]], np.float32)
    said = score(serve(lambda _: Answer(float("nan"), broken)), photo(0))[1]
    assert said["score"] == 1
    assert pixels(said).tolist() == [[255, 255], [255, 128]]


@pytest.mark.parametrize(("body", "why"), [(b"no image", "is not an image"), (photo(0)[:60], "cannot be read")])
def test_says_what_is_wrong_with_a_file(serve, body, why):
    status, said = score(serve(), body)
    assert status == 400
    assert why in said["error"]


def test_refuses_16_bits_which_anomalib_reads_as_white(serve):
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8), 4000, np.uint16)).save(buffer, "PNG")
    status, said = score(serve(), buffer.getvalue())
    assert (status, "more than 8 bits" in said["error"]) == (400, True)


def test_a_failing_model_is_said_and_the_server_lives(serve):
    def fail(_):
        msg = "out of memory"
        raise RuntimeError(msg)

    server = serve(fail)
    for _ in range(2):
        status, said = score(server, photo(0))
        assert status == 500
        assert said["error"] == "the model failed: RuntimeError: out of memory"


def test_refuses_what_is_too_large_before_it_reads_it(serve):
    status, said = score(serve(), b"", Content_Length=str(MOST + 1))
    assert status == 413
    assert "64 MB" in said["error"]


def test_pages_of_other_sites_cannot_ask(serve):
    """A form or script of theirs may send plain text without asking, and can give this machine a name of their own."""
    server = serve()
    assert ask(server, "POST", "/score", photo(0), Content_Type="text/plain")[0] == 415
    assert score(server, photo(0), Host=f"attacker.example:{server.server_port}")[0] == 403
    assert ask(server, Host=f"attacker.example:{server.server_port}")[0] == 403
    assert ask(server, Host=f"localhost:{server.server_port}")[0] == 200
