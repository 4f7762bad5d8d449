# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import base64
import time

import pytest

from ....webdriver import Browser, needs_browser
from .conftest import photo

pytestmark = needs_browser

DROP = """
const transfer = new DataTransfer();
for (const [name, data] of arguments[0]) {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  transfer.items.add(new File([bytes], name));
}
document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true }));
"""
ROWS = """
const rows = [...document.querySelectorAll("#table tbody tr")];
return rows.map((row) => [...row.cells].slice(0, 3).map((cell) => cell.textContent));
"""
ALPHA = """
const heat = document.getElementById("heat"), pen = heat.getContext("2d");
return [1, heat.width - 2].map((x) => pen.getImageData(x, 1, 1, 1).data[3]);
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.quit()


@pytest.fixture
def page(browser, serve):
    browser.complaints()
    browser.open(serve().url)
    return browser


def text(page, name):
    return page.run("return document.getElementById(arguments[0]).textContent", name)


def drop(page, **photos):
    page.run(DROP, [[name, base64.b64encode(data).decode()] for name, data in photos.items()])
    wait_for(page, len(photos))


def wait_for(page, count):
    end = time.monotonic() + 20
    while len(page.run(ROWS)) < count:
        assert time.monotonic() < end, "no answer"
        time.sleep(0.02)


def test_dropped_photos_get_heatmap_score_and_verdict(page):
    drop(page, good=photo(0.2), bad=photo(0.8))
    assert page.run(ROWS) == [["good", "0.200", "ok"], ["bad", "0.800", "DEFECT"]]
    assert text(page, "verdict") == "DEFECT  0.800"
    assert text(page, "counts") == "1 of 2 photos above the threshold"
    assert page.complaints() == []
    left, right = page.run(ALPHA)
    assert left == pytest.approx(0.8 * 255, abs=1)
    assert right == 0
    assert text(page, "model") == "red.xml"


def test_the_threshold_moves_by_keyboard_and_verdicts_follow(page):
    drop(page, one=photo(0.5), other=photo(0.55))
    assert [row[2] for row in page.run(ROWS)] == ["ok", "DEFECT"]
    page.run("document.getElementById('threshold').focus()")
    page.press(*["ArrowRight"] * 6)
    assert text(page, "threshold-value") == "0.56"
    assert [row[2] for row in page.run(ROWS)] == ["ok", "ok"]
    page.press(*["ArrowLeft"] * 10)
    assert [row[2] for row in page.run(ROWS)] == ["DEFECT", "DEFECT"]


def test_chosen_files_work_and_a_click_shows_an_earlier_photo(page, tmp_path):
    for name, share in (("a.png", 0.1), ("b.png", 0.9)):
        (tmp_path / name).write_bytes(photo(share))
    root = page.command("DOM.getDocument")["root"]["nodeId"]
    node = page.command("DOM.querySelector", nodeId=root, selector="#files")["nodeId"]
    page.command("DOM.setFileInputFiles", nodeId=node, files=[str(tmp_path / name) for name in ("a.png", "b.png")])
    wait_for(page, 2)
    assert text(page, "verdict") == "DEFECT  0.900"
    page.run("[...document.querySelectorAll('#table button')].find(b => b.textContent === 'a.png').click()")
    assert text(page, "verdict") == "ok  0.100"


def test_a_file_that_is_no_image_is_said_and_counts_for_nothing(page):
    drop(page, **{"<img src=x onerror=window.hacked=1>": b"no image", "good": photo(0)})
    assert page.run(ROWS)[0] == ["<img src=x onerror=window.hacked=1>", "", "not read"]
    assert text(page, "counts") == "0 of 1 photos above the threshold"
    assert page.run("return window.hacked ?? null") is None
