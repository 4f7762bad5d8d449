# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Serves the page and scores what is dropped on it, with nothing but the standard library."""

import base64
import io
import json
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

import numpy as np
from PIL import Image

from .scorer import Answer, Scorer, read_photo

PAGE = {
    "/": ("index.html", "text/html"),
    "/demo.js": ("demo.js", "text/javascript"),
    "/demo.css": ("demo.css", "text/css"),
}
MOST = 64 * 2**20  # bytes of a photo
BINARY = "application/octet-stream"  # a type that no page of another site may send without asking
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'"


class DemoServer(ThreadingHTTPServer):
    """Answers on one address; photos are scored one after the other and kept nowhere.

    Args:
        address: Host and port; port 0 takes a free one.
        scorer: Says what it thinks of a photo.
        name: What the page calls the model.
    """

    daemon_threads = True

    def __init__(self, address: tuple[str, int], scorer: Scorer, name: str) -> None:
        super().__init__(address, Handler)
        self.scorer, self.name = scorer, name
        self.lock = threading.Lock()  # a model computes one thing at a time

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{self.server_address[0]!s}:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: DemoServer

    def do_GET(self) -> None:
        """Give a part of the page, or the model's name."""
        if not self._is_for_us():
            return
        if self.path == "/model":
            self._send(HTTPStatus.OK, "application/json", json.dumps({"name": self.server.name}).encode())
        elif self.path in PAGE:
            name, kind = PAGE[self.path]
            self._send(HTTPStatus.OK, f"{kind}; charset=utf-8", (files(__package__) / "page" / name).read_bytes())
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such page")

    def do_POST(self) -> None:
        """Score a photo, which is the body of the request."""
        if not self._is_for_us():
            return
        length = int(self.headers.get("Content-Length") or 0)
        if self.path != "/score":
            self._refuse(HTTPStatus.NOT_FOUND, "photos go to /score")
        elif self.headers.get("Content-Type") != BINARY:
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send the photo itself, as Content-Type: {BINARY}")
        elif not 0 < length <= MOST:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a photo may have 1 byte to {MOST // 2**20} MB")
        else:
            self._score(self.rfile.read(length))

    def _score(self, data: bytes) -> None:
        try:
            photo = read_photo(data)
        except ValueError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
            return
        with self.server.lock:
            start = time.perf_counter()
            try:
                answer = self.server.scorer(photo)
            except Exception as error:  # noqa: BLE001  # whatever a model raises, the page has to say it
                self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, f"the model failed: {type(error).__name__}: {error}")
                return
        said = {**in_words(answer), "milliseconds": round(1000 * (time.perf_counter() - start), 1)}
        self._send(HTTPStatus.OK, "application/json", json.dumps(said).encode())

    def _is_for_us(self) -> bool:
        """Whether the browser knows this machine by its own name: another one's page may have given it ours."""
        host, ours = self.headers.get("Host", "").rpartition(":")[0], self.server.server_address[0]
        local = {"127.0.0.1", "localhost", "[::1]"}
        if ours in local and host not in local:
            self._refuse(HTTPStatus.FORBIDDEN, f"open {self.server.url} instead")
            return False
        return True

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self.close_connection = True  # the rest of a body that nobody reads
        self._send(status, "application/json", json.dumps({"error": why}).encode())

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class calls it so
        """Say nothing of every request."""


def in_words(answer: Answer) -> dict[str, Any]:
    """An answer as JSON takes it, its map as a grey PNG in base64; what is no finite number counts as a defect.

    Args:
        answer: What the model said.
    """
    score = answer.score if np.isfinite(answer.score) else 1.0
    if answer.anomaly_map is None:
        return {"score": score, "map": None}
    levels = np.nan_to_num(answer.anomaly_map, nan=1.0, posinf=1.0, neginf=1.0).clip(0, 1) * 255
    buffer = io.BytesIO()
    Image.fromarray(levels.round().astype(np.uint8)).save(buffer, "PNG")
    return {"score": score, "map": base64.b64encode(buffer.getvalue()).decode("ascii")}
