# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Assembly of the report as a single self-contained HTML file."""

import base64
import hashlib
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from anomalib_plugins.benchmark.predictions import Predictions, load, path_of
from anomalib_plugins.benchmark.results import Row
from anomalib_plugins.errors import UserError
from anomalib_plugins.report import pictures
from anomalib_plugins.report.curves import curves_of
from anomalib_plugins.report.groups import NAMES, Group, Place, groups_of, metrics_of, place_of, sentences
from anomalib_plugins.report.tables import AXES, COSTS, category_rows, mean_rows, run_facts

logger = logging.getLogger(__name__)

FOLDER = Path(__file__).with_name("template")
SCRIPTS = ("core.js", "tables.js", "plots.js", "gallery.js")


@dataclass
class Gallery:
    """Predictions of all jobs in the form that the page stores.

    Args:
        side: Largest width and height of a picture, in pixels.
        most: Largest number of pictures per job. Curves and counts always use all images.
        jobs: Job of each prediction, with its curves.
        scores: Scores, labels and heatmaps of each job.
        images: Pictures by place and image files; jobs share them.
    """

    side: int = 192
    most: int = 1000
    jobs: list[dict[str, Any]] = field(default_factory=list)
    scores: list[dict[str, Any]] = field(default_factory=list)
    images: dict[tuple[Place, bytes], dict[str, Any]] = field(default_factory=dict)

    def add(self, group: int, row: Row, predictions: Predictions) -> None:
        """Add curves, scores and pictures of one job, given the index of its group and its row of the results."""
        place, count = place_of(row), len(predictions.labels)
        chosen = np.linspace(0, count - 1, min(self.most, count), dtype=int)
        images = predictions.paths if predictions.images is None else predictions.images
        key = place, hashlib.sha256("\0".join(images).encode()).digest()
        if key not in self.images:
            self.images[key] = self._images(predictions, chosen.tolist())
        heatmaps: list[str] = []
        if predictions.maps is not None:
            scale = pictures.scale_of(predictions.maps)
            heatmaps = [pictures.heatmap_of(predictions.maps[index], scale, self.side // 2) for index in chosen]
        self.jobs.append({
            "group": group,
            "dataset": place[0],
            "category": place[1],
            "seed": row["seed"],
            "images": list(self.images).index(key),
            "curves": curves_of(predictions),
        })
        self.scores.append({
            "scores": [_plain(score) for score in predictions.scores],
            "labels": predictions.labels.astype(int).tolist(),
            "heatmaps": heatmaps,
        })

    def _images(self, predictions: Predictions, chosen: Sequence[int]) -> dict[str, Any]:
        items = []
        for index in chosen:
            path = Path(predictions.paths[index])
            made = None if predictions.images is None else io.BytesIO(base64.b64decode(predictions.images[index]))
            picture = pictures.image_of(made or path, self.side)
            mask = None if predictions.masks is None else pictures.mask_of(predictions.masks[index], self.side)
            items.append({
                "index": int(index),
                "name": f"{path.parent.name}/{path.name}",
                "image": picture and picture.data,
                "ratio": picture.ratio if picture else 1,
                "mask": mask,
            })
        return {"items": items, "masks": predictions.masks is not None}

    @property
    def missing(self) -> int:
        """Number of images that were not found where the jobs read them."""
        return sum(item["image"] is None for each in self.images.values() for item in each["items"])


def collect(groups: Sequence[Group], results: Path, gallery: Gallery) -> None:
    """Add the predictions, saved beside the results, of the first seed of every model and category to the gallery."""
    for number, group in enumerate(groups):
        for place in group.places:
            for row in (each for each in group.rows if place_of(each) == place and each.get("job")):
                path = path_of(results, row)
                try:
                    gallery.add(number, row, load(path))
                except FileNotFoundError:
                    continue
                except (OSError, ValueError) as error:
                    logger.warning("%s is left out: %s", path, error)
                    continue
                break


def build(
    rows: Sequence[Row], results: Path, gallery: Gallery | None = None, alias: Mapping[str, Place] | None = None
) -> str:
    """Build the page.

    Args:
        rows: Rows of the results file; at least one.
        results: Results file; predictions are in a folder beside it.
        gallery: Gallery to fill, with its size of pictures.
        alias: Published data set and category to use for a category of the results, by its name.

    Returns:
        HTML that loads nothing and runs only its own script.

    Raises:
        UserError: If there are no rows.
    """
    if not rows:
        msg = f"{results} has no results yet: run a benchmark first"
        raise UserError(msg)
    gallery = gallery or Gallery()
    groups, metrics = groups_of(rows), metrics_of(rows)
    collect(groups, results, gallery)
    means = mean_rows(groups, metrics)
    costs = {column: COSTS[column] for column in COSTS if any(row["costs"][column] is not None for row in means)}
    style, *scripts = ((FOLDER / name).read_text(encoding="utf-8") for name in ("style.css", *SCRIPTS))
    script = "".join(scripts)
    return _template().render(
        title=results.stem,
        written=f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
        rows=rows,
        several=len({dataset for group in groups for dataset, _ in group.places}) > 1,
        metrics={metric: NAMES[metric] for metric in metrics},
        costs=costs,
        means=means,
        categories=category_rows(groups, metrics, alias or {}),
        sentences=sentences(groups, metrics),
        rivals=any(not group.is_ours for group in groups),
        facts=run_facts(groups),
        gallery=gallery,
        data={
            "metrics": {metric: NAMES[metric] for metric in metrics},
            "costs": {column: ", ".join(costs[column][:2]) for column in AXES if column in costs},
            "groups": [{"name": group.name, "ours": group.is_ours} for group in groups],
            "means": [{key: row[key] for key in ("group", "dataset", "metrics", "costs")} for row in means],
            "jobs": gallery.jobs,
        },
        style=Markup(style),  # noqa: S704  (files of this package)
        script=Markup(script),  # noqa: S704
        policy=f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'",
    )


def _plain(score: np.float32) -> float | None:
    """Convert a score to the shortest exact number; NaN and infinity, the most anomalous scores, become ``None``."""
    return None if np.isnan(score) or score == np.inf else float(str(max(score, np.finfo(np.float32).min)))


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "separators": (",", ":")}
    environment.filters["number"] = lambda value, digits=3: "–" if value is None else f"{value:.{digits}f}"
    environment.filters["signed"] = lambda value: "–" if value is None else f"{value:+.3f}".replace("-", "−")
    environment.filters["size"] = lambda value: "–" if value is None else f"{value:,.{0 if value >= 100 else 1}f}"
    return environment.get_template("page.html")


def _hash(text: str) -> str:
    """Hash by which a content security policy allows an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
