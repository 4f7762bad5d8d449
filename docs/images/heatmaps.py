# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Trains on the demo parts and draws what is found: ``python -m docs.images.heatmaps CONFIG [WEIGHTS]``."""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import yaml
from anomalib.engine import Engine
from anomalib.models import get_model

from anomalib_plugins import DemoParts
from anomalib_plugins.components.pictures import heat, stretch, table

FOLDER = Path(__file__).parent
KINDS = ("good", "crack", "stain", "chipped_edge", "extra_hole", "missing_screw", "misplaced_label", "wrong_connector")


def main() -> int:
    """Save the picture beside this file, and the checkpoint and photos in the folder ``results/pictures``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path, help="of a model")
    parser.add_argument("weights", type=Path, nargs="?", help="ImageNet weights, where the model wants some")
    args = parser.parse_args()
    config = yaml.safe_load(args.config.read_text(encoding="utf-8"))["model"]
    if args.weights:
        config["init_args"]["weights"] = str(args.weights)
    model = get_model(config)
    size = model.input_size
    with tempfile.TemporaryDirectory() as folder:
        data = DemoParts(root="results/pictures", image_size=size[0], num_per_defect=2)
        engine = Engine(default_root_dir=folder, logger=False)
        engine.fit(model, datamodule=data)
        engine.trainer.save_checkpoint("results/pictures/model.ckpt")
    kinds = data.test_data.samples.image_path.map(lambda path: Path(path).parent.name).to_numpy()
    parts = data.test_data.collate_fn([data.test_data[int(np.flatnonzero(kinds == kind)[0])] for kind in KINDS])
    with torch.no_grad():
        said = model.eval()(parts.image)
    series = {
        "part": parts.image,
        "what is wrong": parts.gt_mask[:, None].float(),
        "where the model looks": heat(parts.image, stretch(said.anomaly_map)),
    }
    answers = zip(said.pred_score, said.pred_label, strict=True)
    captions = {
        "part": [kind.replace("_", " ") for kind in KINDS],
        "where the model looks": [f"{score:.2f}" + " !" * bool(label) for score, label in answers],
    }
    picture = table(series, captions, cell=128, across=True)
    picture.save(FOLDER / "heatmaps.jpg", quality=80, optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
