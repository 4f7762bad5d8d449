# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Takes the picture of the demo's page: ``python -m docs.images.demo MODEL PHOTO...``."""

import argparse
import base64
import io
import sys
import tempfile
import threading
import time
from pathlib import Path

from PIL import Image

from anomalib_plugins.commands.demo.scorer import load
from anomalib_plugins.commands.demo.server import DemoServer
from tests.webdriver import Browser

FOLDER = Path(__file__).parent
ROWS = "return document.querySelectorAll('#table tbody tr').length"


def main() -> int:
    """Serve a model, choose the photos and save what the browser shows beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("photos", type=Path, nargs="+")
    args = parser.parse_args()
    server = DemoServer(("127.0.0.1", 0), load(args.model), args.model.name)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(Path(profile))
        browser.command("Emulation.setDeviceMetricsOverride", width=960, height=640, deviceScaleFactor=1, mobile=False)
        browser.open(server.url)
        root = browser.command("DOM.getDocument")["root"]["nodeId"]
        field = browser.command("DOM.querySelector", nodeId=root, selector="#files")["nodeId"]
        browser.command("DOM.setFileInputFiles", nodeId=field, files=[str(photo.resolve()) for photo in args.photos])
        while browser.run(ROWS) < len(args.photos):
            time.sleep(0.1)
        shot = base64.b64decode(browser.command("Page.captureScreenshot", format="png")["data"])
        browser.quit()
    Image.open(io.BytesIO(shot)).convert("RGB").save(FOLDER / "demo.jpg", quality=80, optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
