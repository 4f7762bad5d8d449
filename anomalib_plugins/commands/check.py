# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""``python -m anomalib_plugins check``: everything that would spoil a training on a folder of photos, before it."""

import argparse
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from anomalib_plugins.inspection.findings import Finding, findings, look_at, readable
from anomalib_plugins.inspection.folders import folder_findings, layout_of, layouts, photos_in
from anomalib_plugins.inspection.photos import Photo, photos_of
from anomalib_plugins.inspection.tables import table_findings


class ConfigError(ValueError):
    """A file does not describe a datamodule."""


SPLITS = ("train", "val", "test")


def of_folder(folder: Path) -> Iterator[tuple[str, list[Finding]]]:
    """Look at every part in a folder.

    Args:
        folder: In MVTec AD's layout, one part or several; or with ``good`` and the like; or plain photos.

    Yields:
        What was looked at, and what was found.
    """
    for layout in layouts(folder):
        photos = photos_in(layout)
        yield _title(layout.root, photos), [*folder_findings(layout), *findings(look_at(photos))]


def of_datamodule(config: Path) -> Iterator[tuple[str, list[Finding]]]:
    """Set up a datamodule and look at its photos.

    Args:
        config: YAML of anomalib: a datamodule's ``class_path`` and ``init_args``, or any that has them below ``data``.

    Yields:
        What was looked at, and what was found.

    Raises:
        ConfigError: If the file does not describe a datamodule.
    """
    from anomalib.data import AnomalibDataModule
    from omegaconf import OmegaConf

    from anomalib_plugins.data.wrapper import instantiate

    try:
        given: Any = OmegaConf.load(config)
        datamodule = instantiate(AnomalibDataModule, given.get("data", given))
    except Exception as error:
        msg = f"{config} is no configuration of a datamodule: {error}"
        raise ConfigError(msg) from error
    layout = layout_of(datamodule)
    found = list(folder_findings(layout)) if layout else []
    try:
        datamodule.setup()
    except Exception as error:  # noqa: BLE001  # whatever its setup raises is a finding
        found.append(Finding(f"{datamodule.name} cannot be set up: {type(error).__name__}: {error}", refused=True))
        found += table_findings(getattr(datamodule, "source", datamodule))
        photos = photos_in(layout) if layout else []
    else:
        photos = photos_of([(split, getattr(datamodule, f"{split}_data", None)) for split in SPLITS])
    yield _title(datamodule.name, photos), [*found, *findings(look_at(photos))]


def _title(name: Any, photos: Sequence[Photo]) -> str:
    defects = sum(photo.label == 1 for photo in photos if photo.split == "test")
    counts = {split: len({photo.path for photo in photos if photo.split == split}) for split in SPLITS}
    train, test = counts["train"], counts["test"]
    masks = len({photo.mask for photo in photos if photo.mask})
    return f"{readable(name)}: {train} images to train on, {test} to test on, {defects} of them defects, {masks} masks"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the findings.

    Args:
        argv: Command-line arguments after ``check``.

    Returns:
        Exit code: 1 if something must be mended, 0 otherwise.
    """
    parser = argparse.ArgumentParser(
        prog="anomalib-plugins check",
        description="Finds everything that would spoil a training on your photos, in minutes before it. "
        "Exits with 1 when something must be mended.",
    )
    parser.add_argument("folder", type=Path, nargs="?", help="photos: MVTec AD's layout, `good` and `bad`, or plain")
    parser.add_argument("--data", type=Path, metavar="FILE.yaml", help="a datamodule's configuration, in its place")
    arguments = parser.parse_args(argv)
    if (arguments.folder is None) == (arguments.data is None):
        parser.error("give a folder, or --data FILE.yaml")
    given: Path = arguments.data or arguments.folder
    if not (given.is_file() if arguments.data else given.is_dir()):
        parser.error(f"{given} is no {'file' if arguments.data else 'folder'}")
    warnings.simplefilter("ignore")  # what is worth saying is a finding
    refused = noted = 0
    try:
        for title, found in (of_datamodule if arguments.data else of_folder)(given):
            sys.stdout.write(f"{title}\n\n")
            for finding in sorted(found, key=lambda finding: not finding.refused):
                refused, noted = refused + finding.refused, noted + (not finding.refused)
                sys.stdout.write(f"{'MEND' if finding.refused else 'note'}  {finding}\n\n")
    except ConfigError as error:
        parser.error(str(error))
    sys.stdout.write(f"{refused} to mend, {noted} to note\n" if refused or noted else "nothing to mend\n")
    return int(bool(refused))
