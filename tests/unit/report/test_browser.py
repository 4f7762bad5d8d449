# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest

from anomalib_plugins.benchmark import predictions, results
from anomalib_plugins.report.page import build

from ...webdriver import Browser, needs_browser
from .conftest import HOSTILE, make_row, predict

pytestmark = needs_browser

SET = (
    "const e = document.getElementById(arguments[0]); e.value = arguments[1]; e.dispatchEvent(new Event(arguments[2]))"
)
COUNTS = "return [...document.querySelectorAll('#counts b')].map(b => Number(b.textContent))"
NAMES = "return [...document.querySelectorAll('#means-table tbody th')].map(th => th.textContent)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def stored(shared_results):
    """Predictions of the first model."""
    row = next(each for each in results.read(shared_results) if each["model"] == "Slsg")
    return predictions.load(predictions.path_of(shared_results, row))


@pytest.fixture
def page(browser, shared_page):
    """The report of hostile results at the width of a desk."""
    browser.command("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
    browser.complaints()
    browser.open(shared_page)
    return browser


def test_nothing_fails_loads_or_runs_that_should_not(page):
    page.run("window.scrollTo(0, document.body.scrollHeight)")
    assert page.complaints() == []
    assert page.run("return window.hacked ?? null") is None
    loaded = page.run("return performance.getEntriesByType('resource').map(entry => entry.name.slice(0, 5))")
    assert set(loaded) <= {"data:"}
    assert page.run("return document.querySelectorAll('#means-table tbody tr').length") == 4


def test_a_click_sorts_and_another_one_turns_the_order(page):
    click = (
        "[...document.querySelectorAll('#means-table th button')].find(b => b.textContent === 'Image AUROC').click()"
    )
    page.run(click)
    descending = ["Pouta", "Padim", "Slsg", f"Patchcore {HOSTILE}"]
    assert page.run(NAMES) == descending
    page.run(click)
    assert page.run(NAMES) == descending[::-1]
    assert page.run("return document.querySelector('#means-table [aria-sort]').ariaSort") == "ascending"


def test_the_keyboard_sorts(page):
    page.run("document.querySelector('#means-table th button').focus()")
    page.press("Enter")
    assert page.run(NAMES) == sorted(["Pouta", "Padim", "Slsg", f"Patchcore {HOSTILE}"])


def test_categories_are_filtered(page):
    visible = "return [...document.querySelectorAll('#categories-table tbody tr')].filter(r => !r.hidden).length"
    assert page.run(visible) == 8
    page.run(SET, "categories-filter", "POUTA screw", "input")
    assert page.run(visible) == 1
    page.run(
        "document.getElementById('categories-filter').value = ''; document.getElementById('categories-paper').click()"
    )
    assert page.run(visible) == 3  # the screw of Slsg, Pouta and Patchcore


def test_the_slider_counts_as_numpy_does(page, stored):
    cuts = np.append(np.unique(stored.scores), np.inf)
    assert page.run("return Number(document.getElementById('threshold').max)") == len(cuts) - 1
    for position in (0, 1, 7, len(cuts) - 2, len(cuts) - 1):
        page.run(SET, "threshold", position, "input")
        flagged = stored.scores >= cuts[position]
        expected = [int((flagged & ~stored.labels).sum()), int((~flagged & stored.labels).sum())]
        assert page.run(COUNTS) == expected
        states = "return ['alarm', 'miss'].map(s => document.querySelectorAll(`.card[data-state=${s}]`).length)"
        assert page.run(states) == expected


def test_a_typed_threshold_and_the_buttons(page, stored):
    threshold = float(np.median(stored.scores))
    page.run(SET, "threshold-score", threshold, "change")
    flagged = stored.scores >= threshold
    assert page.run(COUNTS) == [int((flagged & ~stored.labels).sum()), int((~flagged & stored.labels).sum())]
    page.run("document.getElementById('threshold-misses').click()")
    lowest = stored.scores[stored.labels].min()
    assert page.run(COUNTS) == [int((stored.scores[~stored.labels] >= lowest).sum()), 0]
    page.run("document.getElementById('threshold-alarms').click()")
    highest = stored.scores[~stored.labels].max()
    assert page.run(COUNTS) == [0, int((stored.scores[stored.labels] <= highest).sum())]


def test_the_first_threshold_has_the_best_f1(page, stored):
    alarms, misses = page.run(COUNTS)
    found = stored.labels.sum() - misses
    best = 0.0
    for cut in stored.scores:
        flagged = stored.scores >= cut
        best = max(best, 2 * (flagged & stored.labels).sum() / (flagged.sum() + stored.labels.sum()))
    assert 2 * found / (found + alarms + stored.labels.sum()) == pytest.approx(best)


def test_the_keyboard_walks_the_gallery_and_enlarges(page):
    focused = "return document.activeElement.querySelector('.caption span').textContent"
    order = page.run("return [...document.querySelectorAll('.card')].map(c => c.item.name)")
    page.run("document.querySelector('.card[tabindex=\"0\"]').focus()")
    page.press("ArrowRight", "ArrowRight", "ArrowLeft")
    assert page.run(focused) == order[1]
    page.press("Enter")
    assert page.run("return [large.open, large.querySelectorAll('img').length > 1]") == [True, True]
    page.press("ArrowRight")
    assert page.run("return document.getElementById('large-title').textContent") == order[2]
    page.press("Escape")
    assert page.run("return large.open") is False
    assert page.run(focused) == order[2]


def test_models_are_switched_off_in_the_legend(page):
    lines = "return document.querySelectorAll('#curves-plots figure:first-child .line').length"
    assert page.run(lines) == 4
    page.run("document.querySelector('#curves-legend button').click()")
    assert page.run(lines) == 3
    assert page.run("return document.activeElement.ariaPressed") == "false"


def test_dark_is_dark_and_light_is_light(page):
    frame = "await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));"
    colour = frame + "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
    for scheme in ("dark", "light"):
        page.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        assert (sum(page.run(colour)) < 384) is (scheme == "dark")


@pytest.mark.parametrize("width", [360, 768])
def test_a_narrow_window_does_not_scroll_sideways(page, width):
    page.command("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
    assert page.run("return document.documentElement.scrollWidth") <= width


def test_hundreds_of_images_are_not_all_decoded(browser, tmp_path):
    path = tmp_path / "large.csv"
    row = make_row()
    results.append(path, row)
    predictions.save(predictions.path_of(path, row), predict(tmp_path, count=400))
    page = path.with_suffix(".html")
    page.write_text(build(results.read(path), path), encoding="utf-8")
    browser.open(page)
    assert browser.run("return document.querySelectorAll('.card').length") == 400
    browser.run("window.scrollTo(0, document.body.scrollHeight / 2)")
    assert browser.run("return new Promise(done => setTimeout(() => done(document.images.length), 500))") in range(
        1, 300
    )


def test_the_front_names_models_that_nothing_cheaper_beats(browser, tmp_path):
    costs = {"Slsg": (0.8, 10), "Pouta": (0.9, 20), "Padim": (0.9, 30), "Cfa": (0.7, 15), "Stfpm": (0.95, 40)}
    rows = [
        make_row(model, value=value, latency_ms=1, train_cpu_seconds=seconds)
        for model, (value, seconds) in costs.items()
    ]
    path = tmp_path / "page.html"
    path.write_text(build(rows, tmp_path / "results.csv"), encoding="utf-8")
    browser.open(path)
    front = "return document.getElementById('speed-front').textContent"
    assert browser.run(front) == "On the front: Stfpm."  # all are as fast
    browser.run(SET, "speed-cost", "train_cpu_seconds", "input")
    assert browser.run(front) == "On the front: Slsg, Pouta, Stfpm."
    assert browser.complaints() == []
