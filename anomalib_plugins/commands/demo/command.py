# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Command ``demo``: a page on this machine that scores the photos dropped on it."""

import argparse
import sys
import webbrowser
from collections.abc import Sequence

from anomalib_plugins.commands.arguments import existing_file
from anomalib_plugins.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Load a model and serve the page until Ctrl-C.

    Args:
        argv: Command-line arguments after ``demo``.

    Returns:
        0, or 1 if the model cannot be used or the port is taken.
    """
    parser = argparse.ArgumentParser(
        prog="anomalib-plugins demo", description="Serve a page on this machine that scores the photos dropped on it."
    )
    files = "checkpoint (.ckpt), OpenVINO (.xml) or ONNX (.onnx) file"
    parser.add_argument("path", type=existing_file, metavar="MODEL", help=files)
    parser.add_argument("--model", metavar="CLASS", help="class of a checkpoint that does not name it, e.g. Padim")
    parser.add_argument("--host", default="127.0.0.1", help="address to serve; 0.0.0.0 for all (default: %(default)s)")
    parser.add_argument("--port", type=int, default=7860, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--no-browser", action="store_true", help="do not open the page")
    args = parser.parse_args(argv)

    from .scorer import load
    from .server import DemoServer

    try:
        server = DemoServer((args.host, args.port), load(args.path, args.model), args.path.name)
    except (UserError, OSError, OverflowError) as error:  # a port of 99999 overflows
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"The demo of {args.path.name} is at {server.url}  (Ctrl-C ends it)", flush=True)
    if not args.no_browser:
        webbrowser.open(server.url)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
    return 0
