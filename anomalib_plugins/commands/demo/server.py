# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Server of the demo's page, of nothing but the standard library."""

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

from anomalib_plugins.errors import UserError

from .scorer import Answer, Scorer, read_photo

PAGE = {
    "/": ("index.html", "text/html"),
    "/demo.js": ("demo.js", "text/javascript"),
    "/demo.css": ("demo.css", "text/css"),
}
MOST = 64 * 2**20  # bytes of a photo
BINARY = "application/octet-stream"  # a type that no page of another site may send without asking
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class DemoServer(ThreadingHTTPServer):
    """Server that scores photos one after the other and keeps none.

    Args:
        address: Host and port; port 0 takes a free one.
        scorer: Function that scores a photo.
        name: Name of the model on the page.
    """

    daemon_threads = True

    def __init__(self, address: tuple[str, int], scorer: Scorer, name: str) -> None:
        super().__init__(address, Handler)
        self.scorer, self.name = scorer, name
        self.lock = threading.Lock()  # a model computes one thing at a time

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://{self.server_address[0]!s}:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: DemoServer

    def do_GET(self) -> None:
        """Send a part of the page, or the name of the model."""
        if self._is_foreign():
            return
        if self.path == "/model":
            self._send(HTTPStatus.OK, {"name": self.server.name})
        elif self.path in PAGE:
            name, kind = PAGE[self.path]
            self._send(HTTPStatus.OK, (files(__package__) / "page" / name).read_bytes(), f"{kind}; charset=utf-8")
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such page")

    def do_POST(self) -> None:
        """Score the photo in the body of the request."""
        if self._is_foreign():
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
        with self.server.lock:
            start = time.perf_counter()
            try:
                answer = self.server.scorer(read_photo(data))
            except UserError as error:
                self._refuse(HTTPStatus.BAD_REQUEST, str(error))
            except Exception as error:  # noqa: BLE001  # whatever a model raises, the page has to show it
                self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, f"the model failed: {type(error).__name__}: {error}")
            else:
                milliseconds = round(1000 * (time.perf_counter() - start), 1)
                self._send(HTTPStatus.OK, {**plain(answer), "milliseconds": milliseconds})

    def _is_foreign(self) -> bool:
        """Refuse a page of another site that gave this machine a name of its own (DNS rebinding)."""
        host, ours = self.headers.get("Host", "").rpartition(":")[0], self.server.server_address[0]
        local = {"127.0.0.1", "localhost", "[::1]"}
        foreign = ours in local and host not in local
        if foreign:
            self._refuse(HTTPStatus.FORBIDDEN, f"open {self.server.url} instead")
        return foreign

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self.close_connection = True  # the rest of a body that nobody reads
        self._send(status, {"error": why})

    def _send(self, status: HTTPStatus, content: bytes | dict[str, Any], kind: str = "application/json") -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class calls it so
        """Log nothing."""


def plain(answer: Answer) -> dict[str, Any]:
    """Convert an answer to JSON, its map to a grey PNG in base64; scores and pixels that are NaN or infinite become 1.

    Args:
        answer: Result for a photo.
    """
    score = answer.score if np.isfinite(answer.score) else 1.0
    if answer.anomaly_map is None:
        return {"score": score, "map": None}
    levels = np.nan_to_num(answer.anomaly_map, nan=1.0, posinf=1.0, neginf=1.0).clip(0, 1) * 255
    buffer = io.BytesIO()
    Image.fromarray(levels.round().astype(np.uint8)).save(buffer, "PNG")
    return {"score": score, "map": base64.b64encode(buffer.getvalue()).decode("ascii")}
