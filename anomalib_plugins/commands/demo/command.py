# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""``python -m anomalib_plugins demo MODEL``: a page on this machine that scores the photos you drop on it."""

import argparse
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> int:
    """Load a model and serve the page until Ctrl-C.

    Args:
        argv: Command-line arguments; those of the process by default.

    Returns:
        0, or 1 if the model cannot be used or the port is taken.
    """
    parser = argparse.ArgumentParser(prog="anomalib-plugins demo", description=__doc__)
    parser.add_argument(
        "path", type=Path, metavar="MODEL", help="checkpoint (.ckpt), OpenVINO (.xml) or ONNX (.onnx) file"
    )
    parser.add_argument("--model", metavar="CLASS", help="of a checkpoint that does not say it, e.g. Padim")
    parser.add_argument(
        "--host", default="127.0.0.1", help="who may open it; 0.0.0.0: everybody (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, default=7860, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--no-browser", action="store_true", help="do not open the page")
    args = parser.parse_args(argv)

    from anomalib_plugins.callbacks.checkpoint_files import CheckpointError

    from .scorer import load
    from .server import DemoServer

    try:
        server = DemoServer((args.host, args.port), load(args.path, args.model), args.path.name)
    except (ValueError, OSError, OverflowError, ImportError, CheckpointError) as error:  # a port of 99999 overflows
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{args.path.name} answers at {server.url}  (Ctrl-C ends it)", flush=True)
    if not args.no_browser:
        webbrowser.open(server.url)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
    return 0
