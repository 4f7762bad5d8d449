# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest
from PIL import Image

from anomalib_plugins.benchmark import predictions, results
from anomalib_plugins.report.page import build

HOSTILE = """</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"&{{ 7 * 7 }}"""


def make_row(model="Slsg", category="screw", seed=0, value=0.9, **columns):
    """A row of results, all metrics the same."""
    known = {
        "model": model,
        "dataset": "MVTecAD",
        "category": category,
        "seed": seed,
        **dict.fromkeys(results.METRICS, value),
        "image_size": 128,
        "schedule": "own schedule",
        "options": "{}",
        "latency_ms": 10 * len(model),
        "machine": "a machine",
        "versions": "some 1.0",
        "job": f"{model}{category}{seed}",
    }
    return {**dict.fromkeys(results.COLUMNS, ""), **{key: str(value) for key, value in {**known, **columns}.items()}}


def predict(folder, count=20, size=24, seed=0):
    """Predictions of generated images: every second one has a square defect, which most maps see."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 2 == 1
    masks = np.zeros((count, size, size), bool)
    maps = generator.random((count, size, size)).astype(np.float32)
    paths = []
    for index in range(count):
        path = folder / ("bad" if labels[index] else "good") / f"{index:04}.png"
        if labels[index]:
            masks[index, 4:10, 4:10] = True
            maps[index, 4:10, 4:10] += generator.random()
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            Image.fromarray((maps[index] * 100).astype(np.uint8)).resize((40, 30)).save(path)
        paths.append(str(path))
    return predictions.Predictions(maps.max(axis=(1, 2)), labels, np.array(paths), maps, masks)


@pytest.fixture
def row():
    return make_row


@pytest.fixture
def hostile():
    return HOSTILE


def write_results(folder):
    """Two of our models and two others on two categories, every text hostile; predictions of one category."""
    path = folder / "results" / "bench.csv"
    values = {"Slsg": 0.8, "Pouta": 0.95, "Padim": 0.9, f"Patchcore {HOSTILE}": 0.7}
    images = folder / "it's <b>here</b>"
    for number, (model, value) in enumerate(values.items()):
        for category in ("screw", HOSTILE):
            each = make_row(
                model, category, value=value, machine=HOSTILE, versions=HOSTILE, job=f"job{number}{category}"
            )
            results.append(path, each)
            if category == "screw":
                predictions.save(predictions.path_of(path, each), predict(images, seed=number))
    return path


@pytest.fixture
def results_file(tmp_path):
    return write_results(tmp_path)


@pytest.fixture(scope="session")
def shared_results(tmp_path_factory):
    return write_results(tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="session")
def shared_page(shared_results):
    page = shared_results.with_suffix(".html")
    page.write_text(build(results.read(shared_results), shared_results), encoding="utf-8")
    return page
