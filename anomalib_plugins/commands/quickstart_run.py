# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Steps of the command ``quickstart``."""

import csv
import logging
import os
import shlex
import shutil
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from anomalib.data import AnomalibDataModule, Folder
from anomalib.engine import Engine
from anomalib.models import AnomalibModule, get_model
from lightning.pytorch import seed_everything
from torchvision.datasets.folder import IMG_EXTENSIONS

from anomalib_plugins.callbacks.drift_warning import DriftWarning
from anomalib_plugins.components.console import Console
from anomalib_plugins.components.names import counted
from anomalib_plugins.components.share_done import ShareDone
from anomalib_plugins.components.thresholds import three_sigmas
from anomalib_plugins.data import DemoParts, FewShot, SyntheticAnomaly
from anomalib_plugins.errors import UserError
from anomalib_plugins.inspection.folders import Layout, layouts, photos_in, refused

from .contact_sheet import Verdict, chosen, contact_sheet
from .demo.scorer import load

logger = logging.getLogger(__name__)

FEWEST = 20  # good photos: three of them set the threshold
MOST = 200  # good photos to train on: more would take more than minutes
HELD_OUT = 0.2  # share of the good photos that sets the threshold, and of those that test without a folder of their own
MANY_WRONG = 0.2  # share of missed defects or rejected good parts from which the summary says what to do


def run(folder: Path | None, name: str, options: Mapping[str, Any], output: Path, seed: int, console: Console) -> None:
    """Train, test, export and predict.

    Args:
        folder: Folder of photos; ``None`` for demo parts.
        name: Name of the model.
        options: Arguments of the model.
        output: Folder of results.
        seed: Seed of model, splits and drawing.
        console: Console to write to.

    Raises:
        UserError: If the photos do not allow it.
    """
    start = time.monotonic()
    with console.step("Read the photos" if folder else "Draw the demo parts"):
        data = _datamodule(folder, output, seed)
        data.prepare_data()
        data.setup()
    splits = {"to train on": data.train_data, "for the threshold": data.val_data, "to test with": data.test_data}
    console.say("  Good photos: " + ", ".join(f"{len(_good_photos(each))} {what}" for what, each in splits.items()))
    config = {"class_path": f"anomalib_plugins.models.{name}", "init_args": {**options, "seed": seed}}
    model = get_model(config)
    engine = Engine(
        default_root_dir=output, logger=False, enable_progress_bar=False, callbacks=[ShareDone(console)], devices=1
    )
    with console.step(f"Train {name} on {len(data.train_data)} good photos"):
        engine.fit(model, datamodule=data)
        checkpoint = _set_threshold(engine)
    with console.step(f"Test on {len(data.test_data)} photos"):
        metrics = engine.test(model, datamodule=data, verbose=False)[0]
    folder_of_run = Path(engine.trainer.default_root_dir)
    settings, sheet, scores = (folder_of_run / each for each in ("model.yaml", "contact_sheet.png", "test_scores.csv"))
    settings.write_text(yaml.safe_dump({"model": config}, sort_keys=False), encoding="utf-8")
    with console.step("Export to OpenVINO"):
        exported, problem = _export(engine, model, folder_of_run)
    with console.step("Predict with the " + ("exported model" if exported else "checkpoint")):
        verdicts = _predict(exported or checkpoint, data.test_data, console)
    contact_sheet(chosen(verdicts)).save(sheet)
    _write_scores(verdicts, scores)
    console.say("\n" + table(verdicts, metrics) + advice(verdicts, len(_good_photos(data.val_data)), checkpoint))
    console.say(f"\nDone in {(time.monotonic() - start) / 60:.1f} minutes. Look at {sheet}")
    console.say(f"The scores of all test photos are in {scores}\n")
    console.say(_next(checkpoint, exported or checkpoint, settings, demo=folder is None))
    if problem:
        msg = f"the model could not be exported to OpenVINO: {problem}. All else is done: see above"
        raise UserError(msg) from problem


def _datamodule(folder: Path | None, output: Path, seed: int) -> AnomalibDataModule:
    """Create a datamodule that splits good photos three ways: to train, to set the threshold, and to test."""
    seed_everything(seed)
    held_out: dict[str, Any] = {"val_split_mode": "from_train", "val_split_ratio": HELD_OUT, "num_workers": 0}
    if folder is None:
        return DemoParts(output / "data", seed=seed, **held_out)
    layout, count = _layout(folder.absolute())  # a link stays a link: anomalib refuses paths with umlauts
    train, good, defects, masks = (
        [str(path) for path in folders if path.is_dir()]
        for folders in (layout.train, layout.good, layout.defects, layout.masks)
    )
    options: dict[str, Any] = {"name": folder.resolve().name, "normal_dir": train, "seed": seed, **held_out}
    data: AnomalibDataModule
    if defects:
        options |= {"normal_test_dir": good or None, "abnormal_dir": defects, "mask_dir": masks or None}
        data = Folder(test_split_ratio=HELD_OUT, **options)
    else:
        source = Folder(test_split_mode="none", **options)
        data = SyntheticAnomaly(source, val=False, holdout_ratio=HELD_OUT, seed=seed)
    return FewShot(data, MOST, seed) if count * (1 - HELD_OUT) ** 2 > MOST else data


def _layout(folder: Path) -> tuple[Layout, int]:
    """Find the folders of a part, and the number of good photos to train on."""
    found = layouts(folder)
    if len(found) != 1:
        msg = f"{folder} holds {len(found)} parts: name the folder of one"
        raise UserError(msg)
    masks = [path for path in found[0].masks if path.is_dir()]
    layout = found[0]._replace(endings=IMG_EXTENSIONS, masks=masks)
    photos = photos_in(layout)
    count = sum(photo.split == "train" for photo in photos)
    if count < FEWEST:
        looked = ", ".join(map(str, layout.train))
        msg = (
            f"{looked} has {counted(count, 'photo/photos')} of good parts: at least {FEWEST} are needed, 50 are better"
        )
        raise UserError(msg)
    if faults := refused(layout):
        raise UserError("\n".join(map(str, faults)))
    return layout, count


def _set_threshold(engine: Engine) -> Path:
    """Set the threshold to three sigmas above the held-out good photos, and return the checkpoint."""
    trainer, post_processor = engine.trainer, engine.model.post_processor
    scores: Any = next(each for each in trainer.callbacks if isinstance(each, DriftWarning)).scores
    threshold = three_sigmas(scores)
    post_processor._image_threshold.copy_(threshold)  # noqa: SLF001 - anomalib's own buffer, without a setter
    if post_processor._pixel_threshold.isnan():  # noqa: SLF001 - nobody marked pixels
        post_processor._pixel_threshold.copy_(post_processor.pixel_max)  # noqa: SLF001
    post_processor.image_max.copy_(2 * threshold - post_processor.image_min)  # as far above it as the lowest is below
    checkpoint = Path(trainer.checkpoint_callback.best_model_path or Path(trainer.default_root_dir) / "model.ckpt")
    trainer.save_checkpoint(checkpoint)
    return checkpoint


def _export(engine: Engine, model: AnomalibModule, folder: Path) -> tuple[Path | None, Exception | None]:
    """Export, and return the file or what went wrong: the results of a training must not be lost by it."""
    try:
        return Path(str(engine.export(model, "openvino", export_root=folder))), None
    except Exception as error:
        logger.exception("export failed")
        return None, error


def _predict(file: Path, photos: Any, console: Console) -> list[Verdict]:
    """Score every photo of the test with an exported model or a checkpoint."""
    score, verdicts, seen = load(file), [], set()
    for number in range(len(photos)):
        item = photos[number]
        bad, path = bool(item.gt_label), Path(item.image_path)
        if not bad and path in seen:
            continue  # a simulated test shows a good photo several times
        seen |= set() if bad else {path}
        answer = score(item.image.permute(1, 2, 0).numpy())
        kind = "good" if not bad else "simulated" if hasattr(photos, "anomaly_ratio") else path.parent.name
        mask = None if item.gt_mask is None else item.gt_mask.squeeze()
        heatmap = torch.as_tensor(answer.anomaly_map)
        verdicts.append(Verdict(kind, bad, answer.score, item.image, mask, heatmap, path))
        console.done = (number + 1) / len(photos)
    return verdicts


def _good_photos(data: Any) -> set[str]:
    """Paths of the good photos of a split."""
    return set(data.samples.image_path[data.samples.label_index == 0])


def _write_scores(verdicts: Sequence[Verdict], file: Path) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image_path", "kind", "score", "called_defect"])
        writer.writerows([each.path, each.kind, each.score, int(each.called_defect)] for each in verdicts)


def table(verdicts: Sequence[Verdict], metrics: Mapping[str, float]) -> str:
    """Count the photos of each kind that are called defects, and list the metrics of the test."""
    every = Counter((not each.is_defect, each.kind) for each in verdicts)
    called = Counter((not each.is_defect, each.kind) for each in verdicts if each.called_defect)
    lines = [f"  {'kind':<24}{'photos':>8}{'called defects':>18}"]
    lines += [f"  {key[1]:<24}{every[key]:>8}{called[key]:>18}" for key in sorted(every, reverse=True)]
    good, bad = (sum(count for (is_good, _), count in every.items() if is_good == kind) for kind in (True, False))
    rejected, found = (sum(n for (is_good, _), n in called.items() if is_good == kind) for kind in (True, False))
    lines.append(f"\n  {rejected} of {good} good parts rejected, {found} of {bad} defects found")
    names = {"image_AUROC": "image AUROC", "pixel_AUROC": "pixel AUROC", "pixel_AUPRO": "AUPRO"}
    known = [f"{text} {metrics[name]:.3f}" for name, text in names.items() if name in metrics]
    return "\n".join([*lines, "  " + ", ".join(known)])


def advice(verdicts: Sequence[Verdict], held_out: int, checkpoint: Path) -> str:
    """Say what other thresholds would do if many verdicts were wrong.

    Args:
        verdicts: Results of the test.
        held_out: Number of good photos that set the threshold.
        checkpoint: Checkpoint of the model.
    """
    scores = {kind: [each.score for each in verdicts if each.is_defect == kind] for kind in (True, False)}
    wrong = [sum((each.score > 0.5) != kind for each in verdicts if each.is_defect == kind) for kind in (True, False)]
    if all(count <= MANY_WRONG * len(scores[kind]) for count, kind in zip(wrong, (True, False), strict=True)):
        return ""
    lines = [
        f"  Other thresholds in this test; 0.5 comes from {held_out} good photos, and more of them set a better one:"
    ]
    lines.append(f"    {'threshold':>9}{'good parts rejected':>22}{'defects found':>16}")
    for threshold in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
        found, rejected = (sum(score > threshold for score in scores[kind]) for kind in (True, False))
        of = f"{rejected} of {len(scores[False])}", f"{found} of {len(scores[True])}"
        lines.append(f"    {threshold:>9}{of[0]:>22}{of[1]:>16}")
    command = f"{script('anomalib-plugins')} threshold {shlex.quote(os.fspath(checkpoint))} --image-threshold 0.4"
    return "\n\n" + "\n".join([*lines, f"  To set another one:\n    {command}"])


def script(name: str) -> str:
    """Name of an installed command, or its path where no environment is active."""
    path = Path(sys.executable).parent / name
    if shutil.which(name) or not path.is_file():
        return name
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _next(checkpoint: Path, file: Path, config: Path, *, demo: bool) -> str:
    """Commands to continue with."""
    plugins = script("anomalib-plugins")
    predict = [plugins, "predict", "-c", str(config), "--ckpt_path", str(checkpoint), "--data", "FOLDER"]
    rows = {
        "Drop photos on a page": f"{plugins} demo {shlex.quote(os.fspath(file))}",
        "Score a folder": shlex.join(predict),
        "Choose how many false alarms": f"{plugins} threshold {shlex.quote(os.fspath(checkpoint))}",
    }
    if demo:
        rows["Your own photos"] = f"{plugins} quickstart FOLDER    (good parts only, or subfolders good and bad)"
    return "\n".join(f"  {name}:\n    {command}" for name, command in rows.items())
