# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Title and findings of each part in a folder, or of a datamodule."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from anomalib.data import AnomalibDataModule
from omegaconf import OmegaConf

from anomalib_plugins.components.names import counted
from anomalib_plugins.data.wrapper import instantiate
from anomalib_plugins.errors import UserError

from .findings import Finding, findings, look_at, readable
from .folders import folder_findings, layout_of, layouts, photos_in, table_findings
from .photos import Photo, photos_of

Part = tuple[str, list[Finding]]


def of_folder(folder: Path) -> Iterator[Part]:
    """Check every part in a folder.

    Args:
        folder: In MVTec AD's layout, one part or several; or with ``good`` and the like; or plain photos.
    """
    for layout in layouts(folder):
        photos = photos_in(layout)
        untested = _untested(photos) if layout.good else []  # a folder of good photos alone is what quickstart takes
        yield _title(layout.root, photos), [*folder_findings(layout), *untested, *findings(look_at(photos))]


def of_datamodule(config: Path) -> Iterator[Part]:
    """Set up a datamodule and check its photos.

    Args:
        config: YAML file with ``class_path`` and ``init_args`` of a datamodule, or with these below ``data``.

    Raises:
        UserError: If the file does not describe a datamodule.
    """
    try:
        given: Any = OmegaConf.load(config)
        datamodule = instantiate(AnomalibDataModule, given.get("data", given))
    except Exception as error:
        msg = f"{config} is no configuration of a datamodule: {error}"
        raise UserError(msg) from error
    layout = layout_of(datamodule)
    found = list(folder_findings(layout)) if layout else []
    try:
        datamodule.setup()
    except Exception as error:  # noqa: BLE001  # whatever its setup raises is a finding
        found.append(Finding(f"{datamodule.name} cannot be set up: {type(error).__name__}: {error}", refused=True))
        found += table_findings(getattr(datamodule, "source", datamodule))
        photos = photos_in(layout) if layout else []
    else:
        splits = ("train", "val", "test")
        photos = photos_of([(split, getattr(datamodule, f"{split}_data", None)) for split in splits])
    yield _title(datamodule.name, photos), [*found, *_untested(photos), *findings(look_at(photos))]


def _untested(photos: Sequence[Photo]) -> list[Finding]:
    """A note where there are photos, but no defects to test on."""
    if not photos or any(photo.split == "test" and photo.label != 0 for photo in photos):
        return []
    return [Finding("There are no photos of defects to test on: the datamodule SyntheticAnomaly simulates some")]


def _title(name: Any, photos: Sequence[Photo]) -> str:
    train, test = (len({photo.path for photo in photos if photo.split == split}) for split in ("train", "test"))
    defects = counted(sum(photo.label == 1 for photo in photos if photo.split == "test"), "defect/defects")
    masks = counted(len({photo.mask for photo in photos if photo.mask}), "mask/masks")
    tested = f", {test} to test on ({defects}, {masks})" if test else ""
    return f"{readable(name)}: {counted(train, 'image/images')} to train on{tested}"
