# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""``python -m anomalib_plugins quickstart``: from nothing to a model on the line, by anomalib's own commands."""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from anomalib_plugins.components.precision import fast_precision

IMAGE_SIZE = 96
OWN_FOLDER = """
On your own photos (a folder of good parts; if you have defects and masks of them, add
--data.datamodule.abnormal_dir bad --data.datamodule.mask_dir masks):

  anomalib train --model Slsg --model.image_size "[256, 256]" --trainer.callbacks SynthesisPreview \\
    --data SyntheticAnomaly --data.datamodule Folder --data.datamodule.name my_part \\
    --data.datamodule.root /path/to/photos --data.datamodule.normal_dir good --data.datamodule.num_workers 0

  That is the full schedule (a GPU); --trainer.max_time 00:00:20:00 makes it 20 minutes.
  Look at synthesis_preview.png first: it shows what the model is taught to call a defect.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Train, test, export and predict; says where everything is.

    Args:
        argv: Command-line arguments; those of the process by default.

    Returns:
        Exit code; that of the first command that fails.
    """
    parser = argparse.ArgumentParser(prog="python -m anomalib_plugins quickstart", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("results/quickstart"), help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=700, help="training steps; default: %(default)s")
    parser.add_argument("--minutes", type=float, default=15, help="training time at most; default: %(default)s")
    arguments = parser.parse_args(argv)
    output: Path = arguments.output
    start = time.monotonic()

    code = _train(output, arguments.steps, arguments.minutes)
    if code:
        return code
    run = max(output.glob("Slsg/DemoParts/flange/v*"), key=lambda path: int(path.name[1:]))
    checkpoint = run / "weights" / "lightning" / "model.ckpt"
    export = ["export", "--model", "Slsg", "--ckpt_path", str(checkpoint), "--default_root_dir", str(run)]
    code = _anomalib("Export for the line (OpenVINO)", [*export, "--export_type", "openvino"])
    if code:
        return code
    print("\nPredict with the exported model, without torch in the loop")
    predicted = _predict(run / "weights" / "openvino" / "model.xml", output / "data", run / "openvino_predictions")
    _summary(run, checkpoint, predicted, time.monotonic() - start)
    return 0


def _train(output: Path, steps: int, minutes: float) -> int:
    """Train and test on the demo part; returns the exit code.

    In minutes of a CPU the whole network learns more from segmentation alone than the rest of it does on top of an
    encoder that has hardly begun to inpaint.
    """
    limit = time.strftime("00:%H:%M:%S", time.gmtime(minutes * 60))
    return _anomalib(
        "Train and test Slsg on the demo part (drawn on first use)",
        [
            *("train", "--model", "Slsg", "--model.image_size", f"[{IMAGE_SIZE}, {IMAGE_SIZE}]", "--model.seed", "0"),
            *("--model.pretrain", "none", "--model.freeze_encoder", "false", "--model.optimizer", "adamw"),
            *("--data", "DemoParts", "--data.root", str(output / "data"), "--data.train_batch_size", "32"),
            *("--trainer.max_steps", str(steps), "--trainer.max_time", limit, "--trainer.precision", fast_precision()),
            *("--trainer.check_val_every_n_epoch", "1000", "--trainer.callbacks", "SynthesisPreview"),
            *("--trainer.logger", "lightning.pytorch.loggers.CSVLogger"),
            *("--trainer.logger.save_dir", str(output / "logs"), "--default_root_dir", str(output)),
        ],
    )


def _anomalib(title: str, arguments: Sequence[str]) -> int:
    """Run anomalib's command line as a user would, showing the command; returns its exit code."""
    print(f"\n{title}\n\n  $ anomalib {shlex.join(arguments)}\n", flush=True)
    script = shutil.which("anomalib", path=str(Path(sys.executable).parent)) or shutil.which("anomalib")
    starts_by_itself = script and os.environ.get("TORCH_DEVICE_BACKEND_AUTOLOAD", "1") == "1"
    command = [script] if script and starts_by_itself else [sys.executable, "-m", "anomalib_plugins"]
    return subprocess.run([*command, *arguments], check=False).returncode  # noqa: S603 - our own arguments


def _predict(model: Path, data: Path, folder: Path) -> list[tuple[str, float, bool]]:
    """Score all photos with the exported model; show the first of each kind and save its heatmap."""
    from anomalib.deploy import OpenVINOInferencer
    from anomalib.visualization.image.functional import overlay_image, visualize_anomaly_map
    from PIL import Image

    inferencer = OpenVINOInferencer(model)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for kind in sorted(path for path in (data / "flange" / "test").iterdir() if path.is_dir()):
        for number, photo in enumerate(sorted(kind.glob("*.png"))):
            prediction = inferencer.predict(photo)
            score, label = float(prediction.pred_score.item()), bool(prediction.pred_label.item())
            rows.append((kind.name, score, label))
            if number == 0:
                heatmap = visualize_anomaly_map(prediction.anomaly_map.squeeze())
                overlay_image(Image.open(photo), heatmap).save(folder / f"{kind.name}.png")
                print(f"  {kind.name:<18} score {score:.3f}  {'DEFECT' if label else 'ok'}")
    return rows


def _summary(run: Path, checkpoint: Path, predicted: list[tuple[str, float, bool]], seconds: float) -> None:
    """Print where everything is and what to run next."""
    good = [label for kind, _, label in predicted if kind == "good"]
    bad = [label for kind, _, label in predicted if kind != "good"]
    print(
        f"\nDone in {seconds / 60:.1f} minutes. Of all test photos {bad.count(False)} of {len(bad)} defects are missed"
        f" and {good.count(True)} of {len(good)} good parts rejected.\n"
        "Minutes of a CPU are a demonstration, no training: the test's AUROC says how far it got.\n"
    )
    places = {
        "What it was taught": run / "synthesis_preview.png",
        "Heatmaps of the test": run / "images",
        "Metrics": run.parents[3] / "logs",
        "Checkpoint": checkpoint,
        "OpenVINO model": run / "weights" / "openvino",
        "OpenVINO heatmaps": run / "openvino_predictions",
    }
    for name, place in places.items():
        print(f"  {name:<22}{place}")
    print(OWN_FOLDER)
