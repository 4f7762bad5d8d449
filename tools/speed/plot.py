# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Plot of the growth of cost."""

from collections.abc import Sequence
from pathlib import Path

from tools.timing import Measurement

LABELS = {
    "images": "training images (PaDiM's fit)",
    "patches": "patches (coreset of 5 %)",
    "resolution": "side of the image in pixels (inference, batch 1)",
    "batch": "images in a batch (inference, 128 px)",
}


def draw(rows: Sequence[Measurement], path: Path) -> None:
    """Plot CPU time over each varied quantity in its own panel, with logarithmic axes.

    Args:
        rows: Rows of the subject growth.
        path: SVG or PNG file to write.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "speed", "font.size": 8}):  # reproducible file
        figure = Figure(figsize=(9, 6), layout="constrained")
        for panel, (by, label) in zip(figure.subplots(2, 2).flat, LABELS.items(), strict=True):
            # Without a suffix such as "(100 picks made)".
            here = [{**row, "way": row["way"].partition(" (")[0]} for row in rows if row["by"] == by]
            for way in dict.fromkeys(row["way"] for row in here):
                points = [(row["value"], row["cpu_ms"]) for row in here if row["way"] == way]
                panel.plot(*zip(*points, strict=True), marker="o", markersize=3, label=way)
            values = sorted({row["value"] for row in here})
            panel.set(xlabel=label, ylabel="CPU milliseconds", xscale="log", yscale="log")
            panel.set_xticks(values, [f"{value:,}" for value in values])
            panel.minorticks_off()
            panel.margins(y=0.4)  # room for the legend
            panel.legend(ncols=2, loc="upper left")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
