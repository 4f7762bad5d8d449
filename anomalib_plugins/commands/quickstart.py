# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""``anomalib-plugins quickstart [FOLDER]``: train, test and export a detector, on demo parts or on your own photos."""

import argparse
import os
import shlex
import shutil
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
import yaml

from anomalib_plugins.components.console import Console, quiet
from anomalib_plugins.errors import UserError

if TYPE_CHECKING:
    from anomalib_plugins.commands.contact_sheet import Verdict

FEWEST = 20  # good photos: three of them set the threshold
MOST = 200  # good photos to train on: more would take more than minutes
HELD_OUT = 0.2  # share of the good photos that sets the threshold, and of those that test without a folder of their own
SIGMAS = 3  # standard deviations between the mean score of good parts and the threshold
MANY_MISSED = 0.2  # share of the defects from which the summary says what to do about them


class Recipe(NamedTuple):
    """How the quickstart trains a model.

    Attributes:
        options: Arguments of the model.
        minutes: Roughly what training takes on two cores.
    """

    options: Mapping[str, Any]
    minutes: float


RECIPES = {
    # Plain PatchCore. The stage of stride 4 finds smaller defects, and quadruples the patches.
    "CutSwapPatchcore": Recipe(
        {
            "augmentation": "none",
            "backbone": "tf_efficientnet_lite0",
            "layers": ["blocks.1", "blocks.2", "blocks.4"],
        },
        minutes=0.5,
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Train, test, export and predict; say where everything is.

    Args:
        argv: Command-line arguments; those of the process by default.

    Returns:
        Exit code; 2 if the photos or the environment do not allow it.
    """
    parser = argparse.ArgumentParser(prog="anomalib-plugins quickstart", description=__doc__)
    photos = "folder of photos: good parts only, or subfolders good and bad; default: demo parts that are drawn"
    parser.add_argument("folder", type=Path, nargs="?", help=photos)
    parser.add_argument("--model", choices=sorted(RECIPES), default="CutSwapPatchcore", help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=Path("results/quickstart"), help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="seed of model, splits and drawing; default: %(default)s")
    arguments = parser.parse_args(argv)
    if arguments.folder is not None and arguments.output.resolve().is_relative_to(arguments.folder.resolve()):
        parser.error(f"--output must lie outside {arguments.folder}, whose pictures are all taken for photos")
    log = arguments.output / "quickstart.log"
    try:
        with quiet(log) as console:
            _run(arguments, console)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        from anomalib_plugins.commands.cli import refusal_in

        said = refusal_in(error)
        if said is None:
            raise
        print(f"error: {said}\nWhat the libraries printed is in {log}")
        return 2
    return 0


def _run(arguments: argparse.Namespace, console: Console) -> None:
    start = time.monotonic()
    if find_spec("openvino") is None:
        msg = "OpenVINO is not installed: pip install 'anomalib_plugins[openvino,weights]'"
        raise UserError(msg)
    recipe, output = RECIPES[arguments.model], arguments.output
    with console.step("Load anomalib"):
        from anomalib.engine import Engine
        from anomalib.models import get_model

        from anomalib_plugins.commands.contact_sheet import chosen, contact_sheet
        from anomalib_plugins.components.share_done import ShareDone
    with console.step("Read the photos" if arguments.folder else "Draw the demo parts"):
        data = _datamodule(arguments.folder, output, arguments.seed)
        data.prepare_data()
        data.setup()
    photos = {"to train on": data.train_data, "for the threshold": data.val_data, "to test with": data.test_data}
    console.say("  Good photos: " + ", ".join(f"{len(good_photos(each))} {what}" for what, each in photos.items()))
    config = {
        "class_path": f"anomalib_plugins.models.{arguments.model}",
        "init_args": {**recipe.options, "seed": arguments.seed},
    }
    model = get_model(config)
    engine = Engine(
        default_root_dir=output, logger=False, enable_progress_bar=False, callbacks=[ShareDone(console)], devices=1
    )
    about = f", about {recipe.minutes:.0f} minutes on two cores" if recipe.minutes > 1 else ""
    with console.step(f"Train {arguments.model} on {len(data.train_data)} good photos{about}"):
        engine.fit(model, datamodule=data)
        checkpoint = _set_threshold(engine)
    with console.step(f"Test on {len(data.test_data)} photos"):
        metrics = engine.test(model, datamodule=data, verbose=False)[0]
    run = Path(engine.trainer.default_root_dir)
    (run / "model.yaml").write_text(yaml.safe_dump({"model": config}, sort_keys=False), encoding="utf-8")
    with console.step("Export to OpenVINO"):
        exported = Path(str(engine.export(model, "openvino", export_root=run)))
    with console.step("Predict with the exported model"):
        verdicts = _predict(exported, data.test_data, console)
    sheet, scores = run / "contact_sheet.png", run / "test_scores.csv"
    contact_sheet(chosen(verdicts)).save(sheet)
    _scores(verdicts).to_csv(scores, index=False)
    console.say("\n" + _table(verdicts, metrics) + _advice(verdicts, data, checkpoint))
    console.say(f"\nDone in {(time.monotonic() - start) / 60:.1f} minutes. Look at {sheet}")
    console.say(f"The scores of all test photos are in {scores}\n")
    console.say(_next(checkpoint, exported, run / "model.yaml", demo=arguments.folder is None))


def _datamodule(folder: Path | None, output: Path, seed: int) -> Any:
    """Photos whose good ones are split three ways: to train, to set the threshold, and to test."""
    from anomalib.data import Folder
    from lightning.pytorch import seed_everything

    from anomalib_plugins.data import DemoParts, FewShot, SyntheticAnomaly

    seed_everything(seed)
    held_out: dict[str, Any] = {"val_split_mode": "from_train", "val_split_ratio": HELD_OUT, "num_workers": 0}
    if folder is None:
        return DemoParts(output / "data", seed=seed, **held_out)
    layout, count = _layout(folder)
    train, good, defects, masks = (
        [str(path.resolve()) for path in folders if path.is_dir()]
        for folders in (layout.train, layout.good, layout.defects, layout.masks)
    )
    options: dict[str, Any] = {"name": folder.resolve().name, "normal_dir": train, "seed": seed, **held_out}
    data: Any
    if defects:
        options |= {"normal_test_dir": good or None, "abnormal_dir": defects, "mask_dir": masks or None}
        data = Folder(test_split_ratio=HELD_OUT, **options)
    else:
        source = Folder(test_split_mode="none", **options)
        data = SyntheticAnomaly(source, val=False, holdout_ratio=HELD_OUT, seed=seed)
    return FewShot(data, MOST, seed) if count * (1 - HELD_OUT) ** 2 > MOST else data


def _layout(folder: Path) -> tuple[Any, int]:
    """What is where in the folder of a part, and how many good photos there are to train on."""
    from torchvision.datasets.folder import IMG_EXTENSIONS

    from anomalib_plugins.inspection.findings import missing_masks
    from anomalib_plugins.inspection.folders import MASKS, NORMAL, NORMAL_TEST, layouts, photos_in

    found = layouts(folder) if folder.is_dir() else []
    if len(found) != 1:
        what = f"holds {len(found)} parts: name the folder of one" if found else "is no folder"
        msg = f"{folder} {what}"
        raise UserError(msg)
    layout = found[0]._replace(endings=IMG_EXTENSIONS)
    if layout.defects and layout.train == [folder]:
        msg = f"{folder} holds good photos beside the folder {layout.defects[0].name}: move them into a folder good"
        raise UserError(msg)
    if not layout.defects and layout.train[0].parent == folder:  # beside good/, folders with names of their own
        kinds = [path for path in sorted(folder.iterdir()) if path.is_dir() and path.name[0] != "."]
        kinds = [path for path in kinds if path.name.lower() not in {*NORMAL, *NORMAL_TEST, *MASKS}]
        layout = layout._replace(defects=[path for path in kinds if photos_in(layout._replace(train=[path], good=[]))])
    photos = photos_in(layout)
    count = sum(photo.split == "train" for photo in photos)
    if missing := list(missing_masks(photos)):
        raise UserError("\n".join(map(str, missing)))
    if count < FEWEST:
        msg = f"{folder} has {count} photos of good parts: at least {FEWEST} are needed, 50 are better"
        raise UserError(msg)
    return layout, count


def _set_threshold(engine: Any) -> Path:
    """Call a defect what scores three sigmas above the good photos that were held out; returns the checkpoint.

    anomalib takes the highest of their scores, which one good photo in so many exceeds by chance.
    """
    from anomalib_plugins.callbacks.drift_warning import DriftWarning

    trainer, model = engine.trainer, engine.model
    scores: Any = next(each for each in trainer.callbacks if isinstance(each, DriftWarning)).scores
    threshold = scores.mean() + SIGMAS * scores.std()
    post_processor = model.post_processor
    post_processor._image_threshold.copy_(threshold)  # noqa: SLF001 - anomalib's own buffer, without a setter
    if post_processor._pixel_threshold.isnan():  # noqa: SLF001 - nobody marked pixels
        post_processor._pixel_threshold.copy_(post_processor.pixel_max)  # noqa: SLF001
    post_processor.image_max.copy_(2 * threshold - post_processor.image_min)  # as far above it as the lowest is below
    checkpoint = Path(trainer.checkpoint_callback.best_model_path or Path(trainer.default_root_dir) / "model.ckpt")
    trainer.save_checkpoint(checkpoint)
    return checkpoint


def _predict(exported: Path, photos: Any, console: Console) -> list["Verdict"]:
    """Ask the exported model about every photo of the test."""
    import torch

    from anomalib_plugins.commands.contact_sheet import Verdict
    from anomalib_plugins.commands.demo.scorer import load

    score, verdicts, seen = load(exported), [], set()
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


def good_photos(data: Any) -> set[str]:
    """Paths of the different good photos of a split."""
    samples = data.samples
    return set(samples.image_path[samples.label_index == 0])


def _scores(verdicts: Sequence["Verdict"]) -> pd.DataFrame:
    """What the exported model says of each photo of the test."""
    return pd.DataFrame([
        {"image_path": each.path, "kind": each.kind, "score": each.score, "called_defect": int(each.called_defect)}
        for each in verdicts
    ])


def _advice(verdicts: Sequence["Verdict"], data: Any, checkpoint: Path) -> str:
    """What to do where many defects were missed."""
    missed = [each for each in verdicts if each.is_defect and not each.called_defect]
    if len(missed) <= MANY_MISSED * sum(each.is_defect for each in verdicts):
        return ""
    held_out = len(good_photos(data.val_data))
    return (
        f"\n\n  {len(missed)} defects were missed. The threshold comes from {held_out} good photos; a lower one finds "
        f"more defects and rejects more good parts:\n    {_script('anomalib-plugins')} threshold "
        f"{shlex.quote(os.fspath(checkpoint))} --image-threshold 0.4"
    )


def _script(name: str) -> str:
    """How to call an installed command: by its name, or by its path where no environment is active."""
    script = Path(sys.executable).parent / name
    if shutil.which(name) or not script.is_file():
        return name
    return str(script.relative_to(Path.cwd()) if script.is_relative_to(Path.cwd()) else script)


def _table(verdicts: Sequence["Verdict"], metrics: Mapping[str, float]) -> str:
    """How many photos of each kind are called a defect, and the metrics of the test."""
    every, called = (
        Counter((not each.is_defect, each.kind) for each in some)
        for some in (verdicts, [each for each in verdicts if each.called_defect])
    )
    lines = [f"  {'kind':<24}{'photos':>8}{'called defects':>18}"]
    lines += [
        f"  {kind:<24}{every[good, kind]:>8}{called[good, kind]:>18}" for good, kind in sorted(every, reverse=True)
    ]
    good = [each for each in verdicts if not each.is_defect]
    bad = [each for each in verdicts if each.is_defect]
    rejected, found = (sum(each.called_defect for each in some) for some in (good, bad))
    lines.append(f"\n  {rejected} of {len(good)} good parts rejected, {found} of {len(bad)} defects found")
    names = {"image_AUROC": "image AUROC", "pixel_AUROC": "pixel AUROC", "pixel_AUPRO": "AUPRO"}
    known = [f"{text} {metrics[name]:.3f}" for name, text in names.items() if name in metrics]
    return "\n".join([*lines, "  " + ", ".join(known)])


def _next(checkpoint: Path, exported: Path, config: Path, *, demo: bool) -> str:
    """Commands to go on with."""
    plugins = _script("anomalib-plugins")
    predict = [_script("anomalib"), "predict", "-c", str(config), "--ckpt_path", str(checkpoint), "--data", "FOLDER"]
    rows = {
        "Drop photos on a page": f"{plugins} demo {shlex.quote(os.fspath(exported))}",
        "Score a folder": shlex.join(predict),
        "Choose how many false alarms": f"{plugins} threshold {shlex.quote(os.fspath(checkpoint))}",
    }
    if demo:
        rows["Your own photos"] = f"{plugins} quickstart FOLDER    (good parts only, or subfolders good and bad)"
    return "\n".join(f"  {name}:\n    {command}" for name, command in rows.items())
