# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""A headless Chromium, driven over the W3C's WebDriver protocol with nothing but the standard library."""

import json
import re
import shutil
import subprocess
import urllib.request

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver")

KEYS = {"ArrowRight": "\ue014", "ArrowDown": "\ue015", "ArrowLeft": "\ue012", "Enter": "\ue007", "Escape": "\ue00c"}
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Browser:
    """One window; close it with :meth:`quit`.

    Args:
        profile: New, empty folder for what it writes.
    """

    def __init__(self, profile):
        self.process = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, text=True)
        # It says which port it took once it listens there.
        port = next(
            found[1] for line in self.process.stdout if (found := re.search(r"successfully on port (\d+)", line))
        )
        self.url = f"http://127.0.0.1:{port}/session"
        options = {"binary": CHROMIUM, "args": [*FLAGS, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        try:
            session = self._call("", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        except OSError:
            self.process.kill()  # a browser that does not start must not leave its driver behind
            raise
        self.url = f"{self.url}/{session}"

    def _call(self, path, body):
        request = urllib.request.Request(self.url + path, json.dumps(body).encode())
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def open(self, page):
        """Open a file or an address and wait until it has loaded."""
        self._call("/url", {"url": page if isinstance(page, str) else page.as_uri()})

    def run(self, script, *arguments):
        """Run a function's body in the page; what it returns is waited for."""
        return self._call("/execute/sync", {"script": script, "args": arguments})

    def press(self, *keys):
        """Press keys one after the other, where the focus is."""
        actions = [{"type": kind, "value": KEYS[key]} for key in keys for kind in ("keyDown", "keyUp")]
        self._call("/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def command(self, name, **parameters):
        """Run a command of Chromium's DevTools."""
        return self._call("/goog/cdp/execute", {"cmd": name, "params": parameters})

    def complaints(self):
        """Errors and warnings since the last call: exceptions, refused scripts, attempts at loading something."""
        return [entry["message"] for entry in self._call("/se/log", {"type": "browser"})]

    def quit(self):
        """Close the browser and its driver."""
        request = urllib.request.Request(self.url, method="DELETE")
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60):
            self.process.terminate()
        self.process.wait(timeout=60)
