# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Photos in folders and tables, before a datamodule has read them, and the faults that anomalib would trip over."""

import os
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from anomalib.data.utils import resolve_path
from PIL import Image
from torchvision.datasets.folder import IMG_EXTENSIONS

from anomalib_plugins.components.names import counted
from anomalib_plugins.errors import UserError

from .findings import Finding, about, missing_masks, readable
from .photos import Photo

# Photos that PIL reads only with a plugin, or not at all.
CAMERAS = (".heic", ".heif", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".raw")
NORMAL = ("good", "normal", "ok", "pass", "gut", "io")
DEFECTS = ("bad", "defect", "defects", "abnormal", "anomalous", "ng", "nok", "fail", "schlecht", "nio")
NORMAL_TEST = tuple(f"{name}_test" for name in NORMAL) + tuple(f"test_{name}" for name in NORMAL)
MASKS = ("mask", "masks", "ground_truth")


class Layout(NamedTuple):
    """Folders of a part.

    Attributes:
        root: Folder of the part.
        train: Folders of good photos for training.
        good: Folders of good photos for testing.
        defects: Folders of defects.
        masks: Folders of masks: named like those of defects, or in their order, or one for all.
        endings: Lower-case endings of the files that anomalib's datamodule of this layout reads.
    """

    root: Path
    train: Sequence[Path]
    good: Sequence[Path] = ()
    defects: Sequence[Path] = ()
    masks: Sequence[Path] = ()
    endings: Sequence[str] = IMG_EXTENSIONS

    def images(self, folders: Iterable[Path], endings: Sequence[str] = ()) -> list[Path]:
        """Sorted image files in folders and below."""
        files = (path for folder in folders for path in folder.rglob("*"))
        return sorted(path for path in files if path.suffix.lower() in (endings or self.endings) and not path.is_dir())


def layouts(folder: Path) -> list[Layout]:
    """Recognise MVTec AD's layout, of one part or several; a folder with ``good`` and the like; or plain photos.

    Args:
        folder: Folder to look at.

    Raises:
        UserError: If there are photos in several folders, and none is named as that of good parts.
    """
    if (folder / "train").is_dir():
        return [_mvtec(folder)]
    categories = [child for child in _folders(folder) if (child / "train").is_dir()]
    if categories:
        return [_mvtec(child) for child in categories]
    train, good, defects, masks = (_named(folder, names) for names in (NORMAL, NORMAL_TEST, DEFECTS, MASKS))
    layout = Layout(folder, train or [folder], good, defects)
    if not train:
        _check_one_kind(layout)
    elif not defects:  # beside good/, folders with names of their own
        others = [child for child in _folders(folder) if child not in {*train, *good, *masks}]
        layout = layout._replace(defects=[child for child in others if layout.images([child])])
    return [layout._replace(masks=masks if layout.defects else ())]


def _named(folder: Path, names: Iterable[str]) -> list[Path]:
    """Folders in a folder that have one of some names, in any case, in the order of names."""
    children = {child.name.lower(): child for child in _folders(folder)}
    return [children[name] for name in names if name in children]


def _check_one_kind(layout: Layout) -> None:
    """Raise a ``UserError`` unless all photos lie in one folder, and that is none of defects."""
    photos = Counter(path.parent for path in layout.images(layout.train))
    if len(photos) > 1 or (photos and layout.defects):
        counts = {str(folder): counted(count, "photo/photos") for folder, count in sorted(photos.items())}
        good = readable(layout.root / NORMAL[0])
        way_out = f"Move the photos of good parts into the folder {good}, those of defects into others beside it."
        msg = str(Finding("none of the folders is named as that of good parts", counts, way_out))
        raise UserError(msg)


def _mvtec(root: Path, names: Sequence[str] = NORMAL) -> Layout:
    """Layout of MVTec AD, with one of some names for the folders of good photos."""
    train, good = (_named(root / split, names) or [root / split / names[0]] for split in ("train", "test"))
    defects = [child for child in _folders(root / "test") if child not in good]
    return Layout(root, train, good, defects, [root / "ground_truth" / child.name for child in defects], (".png",))


def layout_of(datamodule: Any) -> Layout | None:
    """Folders that anomalib's ``Folder`` or a datamodule in MVTec AD's layout reads; ``None`` for any other.

    Args:
        datamodule: anomalib's, or one of this package around it.
    """
    datamodule = getattr(datamodule, "source", datamodule)
    root, category = getattr(datamodule, "root", None), getattr(datamodule, "category", None)
    if getattr(datamodule, "normal_dir", None):
        names = ("normal_dir", "normal_test_dir", "abnormal_dir", "mask_dir")
        train, good, defects, masks = (_paths(datamodule, name) for name in names)
        endings = getattr(datamodule, "extensions", None) or IMG_EXTENSIONS
        root = root or os.path.commonpath([*train, *good, *defects])
        return Layout(Path(root), train, good, defects, masks, endings)
    if root and category and (Path(root) / category / "train").is_dir():
        return _mvtec(Path(root) / category, ["good"])  # anomalib reads no other
    return None


def _paths(datamodule: Any, name: str) -> list[Path]:
    given = getattr(datamodule, name, None) or ()
    some = [given] if isinstance(given, str | Path) else given
    return [resolve_path(path, getattr(datamodule, "root", None)) for path in some]


def _folders(folder: Path) -> list[Path]:
    children = sorted(folder.iterdir()) if folder.is_dir() else []
    return [child for child in children if child.is_dir() and not child.name.startswith(".")]


def photos_in(layout: Layout) -> list[Photo]:
    """List the photos of a layout, each defect with the mask of the same name."""
    masks = _masks(layout)
    return [
        *(Photo(str(path), "train", 0) for path in layout.images(layout.train)),
        *(Photo(str(path), "test", 0) for path in layout.images(layout.good)),
        *(Photo(str(path), "test", 1, str(masks.get(path, ""))) for path in layout.images(layout.defects)),
    ]


def _masks(layout: Layout) -> dict[Path, Path]:
    """Mask of each defect that has one."""
    found = {}
    for number, folder in enumerate(layout.defects):
        # Folders of masks are named like that of the defects, or at its place in the list, or all of them count.
        own = [masks for masks in layout.masks if folder.name in masks.name]
        in_order = layout.masks[number : number + 1] if len(layout.masks) == len(layout.defects) else layout.masks
        masks = [(mask.parent.relative_to(each), mask) for each in own or in_order for mask in layout.images([each])]
        for image in layout.images([folder]):
            beside = [mask for below, mask in masks if below == image.parent.relative_to(folder)]
            by_name = {mask.stem: mask for mask in beside or [mask for _, mask in masks]}
            names = (image.stem, f"{image.stem}_mask", *(name for name in by_name if image.stem in name))
            known = [by_name[name] for name in names if name in by_name]
            found.update({image: known[0]} if known else {})
    return found


def _never_read() -> set[str]:
    """Endings of photos that no datamodule of anomalib reads."""
    opened = {ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    return {*opened, *CAMERAS} - {*IMG_EXTENSIONS}


def unread_beside(photos: Sequence[Photo]) -> list[Finding]:
    """Files beside photos that are photos too, of a kind that anomalib never reads.

    Args:
        photos: Photos that are read; a single one was chosen by name.
    """
    folders, endings = {Path(photo.path).parent for photo in photos}, _never_read()
    files = (file for folder in sorted(folders) if folder.is_dir() for file in sorted(folder.iterdir()))
    other = [str(file) for file in files if file.suffix.lower() in endings]
    return about(other, "image/images is/are not read by anomalib", "Save as PNG.") if len(photos) > 1 else []


def folder_findings(layout: Layout) -> Iterator[Finding]:
    """Faults of the folders: no photos, unread endings, names that anomalib refuses, masks that do not fit."""
    folders = [*layout.train, *layout.good, *layout.defects]
    if not layout.images(layout.train):
        looked = f"{', '.join(map(readable, layout.train))} (endings looked for: {', '.join(layout.endings)})"
        yield Finding(f"There are no training images in {looked}", refused=True)
    other = sorted({*layout.images(folders, [*IMG_EXTENSIONS, *_never_read()])} - {*layout.images(folders)})
    what = "image/images is/are not read by anomalib's datamodules of this layout, which take "
    by_folder = all(path.suffix.lower() in IMG_EXTENSIONS for path in other)
    way_out = "Use the datamodule Folder, or convert the files." if by_folder else "Save them as PNG."
    yield from about(map(str, other), what + ", ".join(layout.endings), way_out)
    yield from about(
        [str(folder) for folder in folders if not str(folder).isascii()],
        "folder/folders has/have other than ASCII letters in the path, which anomalib calls non-printable",
        f"Rename, or train on a link: ln -s {shlex.quote(readable(layout.root.absolute()))} /tmp/photos\n"
        "The datamodule Folder follows a link in root: give it absolute paths, e.g. normal_dir: /tmp/photos/good",
        refused=True,
    )
    yield from _mask_findings(layout)


def _mask_findings(layout: Layout) -> Iterator[Finding]:
    defects, every, own = layout.images(layout.defects), layout.images(layout.masks), _masks(layout)
    if layout.masks and defects and not own:
        what = f"None of {len(defects)} defects has a mask, and this datamodule of anomalib fails without"
        yield Finding(what, {}, "Draw them, or use the datamodule Folder without mask_dir.", refused=True)
        return
    left = [str(mask) for mask in every if mask not in own.values()]
    what = "mask/masks belongs/belong to no defect, and anomalib fails with it/them"
    yield from about(left, what, "Move masks without a defect out of the folder.", refused=True)
    if len(own) == len(defects) and not left:
        pairs = zip(sorted(defects, key=str), sorted(every, key=str), strict=False)
        wrong = {str(image): f"would get {mask}" for image, mask in pairs if own[image] != mask}
        what = "defect/defects would get the mask of another: anomalib pairs images and masks in the order of paths"
        way_out = "Pad numbers with zeros; name and order the folders of masks like those of defects."
        yield from about(wrong, what, way_out, refused=True)


def table_findings(datamodule: Any) -> Iterator[Finding]:
    """Faults of the table of anomalib's ``Tabular``; other datamodules have none."""
    samples = getattr(datamodule, "_unprocessed_samples", None)
    if samples is None:
        return
    table, root = pd.DataFrame(samples), getattr(datamodule, "root", None)
    named = {
        column: [str(value) for value in table.get(column, ()) if isinstance(value, str | Path) and str(value)]
        for column in ("image_path", "mask_path")
    }
    missing = [path for paths in named.values() for path in paths if not (Path(root or ".") / path).is_file()]
    way_out = "Write / in place of the backslashes of Windows." if any("\\" in path for path in missing) else ""
    if missing:
        what = counted(len(missing), "file/files of the table is/are not in ") + str(root or "the current folder")
        yield Finding(what, dict.fromkeys(missing, ""), way_out, refused=True)
    if root and named["mask_path"] and int(pd.__version__.partition(".")[0]) >= 3:
        what = f"anomalib's Tabular with root reads no masks under pandas {pd.__version__}"
        yield Finding(what, {}, "Leave out root and write it into the paths, or: pip install 'pandas<3'.", refused=True)


def folder_faults(datamodule: Any) -> list[Finding]:
    """Refused faults in the folders or the table of a datamodule that could not be set up."""
    datamodule = getattr(datamodule, "source", datamodule)
    layout = layout_of(datamodule)
    return [*table_findings(datamodule)] if layout is None else refused(layout)


def refused(layout: Layout) -> list[Finding]:
    """Faults of a layout with which anomalib's datamodules fail."""
    return [*missing_masks(photos_in(layout)), *(finding for finding in folder_findings(layout) if finding.refused)]
