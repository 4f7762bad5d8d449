# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Photos in folders, before any datamodule has read them: what is where, and what anomalib would trip over."""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from torchvision.datasets.folder import IMG_EXTENSIONS

from .findings import Finding, missing_masks, readable
from .photos import Photo
from .tables import table_findings

# Photos that PIL reads only with a plugin, or not at all.
CAMERAS = (".heic", ".heif", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".raw")
NORMAL = ("good", "normal", "ok")
DEFECTS = ("bad", "defect", "defects", "abnormal", "anomalous", "ng")
NORMAL_TEST = tuple(f"{name}_test" for name in NORMAL) + tuple(f"test_{name}" for name in NORMAL)
MASKS = ("mask", "masks", "ground_truth")


class Layout(NamedTuple):
    """Which folder holds what.

    Attributes:
        root: The folder of one part.
        train: Folders of good photos to train on.
        good: Folders of good photos to test on.
        defects: Folders of defects.
        masks: Folders of masks: named like those of defects, or in their order, or one for all.
        endings: Of the files that anomalib's datamodule of this layout reads, in lower case.
    """

    root: Path
    train: Sequence[Path]
    good: Sequence[Path] = ()
    defects: Sequence[Path] = ()
    masks: Sequence[Path] = ()
    endings: Sequence[str] = IMG_EXTENSIONS


def layouts(folder: Path) -> list[Layout]:
    """Recognise MVTec AD's layout, of one part or of several, a folder with ``good`` and the like, or plain photos.

    Args:
        folder: Where to look.
    """
    if (folder / "train").is_dir():
        return [_mvtec(folder)]
    categories = [child for child in _folders(folder) if (child / "train").is_dir()]
    if categories:
        return [_mvtec(child) for child in categories]
    named = {child.name.lower(): child for child in _folders(folder)}
    train, good, defects, masks = (
        [named[name] for name in known if name in named] for known in (NORMAL, NORMAL_TEST, DEFECTS, MASKS)
    )
    return [Layout(folder, train or [folder], good, defects, masks if defects else ())]


def _mvtec(root: Path) -> Layout:
    defects = [child for child in _folders(root / "test") if child.name != "good"]
    train, good, masks = root / "train" / "good", root / "test" / "good", root / "ground_truth"
    return Layout(root, [train], [good], defects, [masks / child.name for child in defects], (".png",))


def layout_of(datamodule: Any) -> Layout | None:
    """Folders that anomalib's ``Folder`` or a datamodule in MVTec AD's layout reads; ``None`` for any other.

    Args:
        datamodule: One of anomalib's, or one of ours around it.
    """
    datamodule = getattr(datamodule, "source", datamodule)
    root, category = getattr(datamodule, "root", None), getattr(datamodule, "category", None)
    normal = getattr(datamodule, "normal_dir", None)
    if normal:
        base = Path(root or ".")
        normal_test, abnormal, masks = (
            getattr(datamodule, f"{name}_dir", None) for name in ("normal_test", "abnormal", "mask")
        )
        train, good, defects, masks = (_paths(base, each) for each in (normal, normal_test, abnormal, masks))
        return Layout(base, train, good, defects, masks, getattr(datamodule, "extensions", None) or IMG_EXTENSIONS)
    if root and category and (Path(root) / category / "train").is_dir():
        return _mvtec(Path(root) / category)
    return None


def _paths(root: Path, given: str | Path | Sequence[str | Path] | None) -> list[Path]:
    some = [given] if isinstance(given, str | Path) else given or ()
    return [root / path for path in some]


def _folders(folder: Path) -> list[Path]:
    children = sorted(folder.iterdir()) if folder.is_dir() else []
    return [child for child in children if child.is_dir() and not child.name.startswith(".")]


def _images(folders: Iterable[Path], endings: Sequence[str]) -> list[Path]:
    """Image files in folders and below, in the order of their paths."""
    files = (path for folder in folders for path in folder.rglob("*"))
    return sorted(path for path in files if path.suffix.lower() in endings and not path.is_dir())


def photos_in(layout: Layout) -> list[Photo]:
    """All photos of a layout, each defect with the mask that is named like it."""
    masks = _masks(layout)
    train, good = (_images(folders, layout.endings) for folders in (layout.train, layout.good))
    return [
        *(Photo(str(path), "train", 0) for path in train),
        *(Photo(str(path), "test", 0) for path in good),
        *(Photo(str(path), "test", 1, str(masks.get(path, ""))) for path in _images(layout.defects, layout.endings)),
    ]


def _masks(layout: Layout) -> dict[Path, Path]:
    """The mask of each defect that has one."""
    found = {}
    for number, folder in enumerate(layout.defects):
        masks = [
            (mask.parent.relative_to(own), mask)
            for own in _folders_of_masks(layout, number)
            for mask in _images([own], layout.endings)
        ]
        for image in _images([folder], layout.endings):
            beside = [mask for below, mask in masks if below == image.parent.relative_to(folder)]
            by_name = {mask.stem: mask for mask in beside or [mask for _, mask in masks]}
            names = (image.stem, f"{image.stem}_mask", *(name for name in by_name if image.stem in name))
            mask = next((by_name[name] for name in names if name in by_name), None)
            if mask is not None:
                found[image] = mask
    return found


def _folders_of_masks(layout: Layout, number: int) -> Sequence[Path]:
    """Where the masks of one folder of defects are: named like it, or at its place in the list, or anywhere."""
    named = [folder for folder in layout.masks if layout.defects[number].name in folder.name]
    return named or (layout.masks[number : number + 1] if len(layout.masks) == len(layout.defects) else layout.masks)


def _never_read() -> set[str]:
    """Endings of photos that no datamodule of anomalib reads."""
    opened = {ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    return {*opened, *CAMERAS} - {*IMG_EXTENSIONS}


def unread_beside(photos: Sequence[Photo]) -> Iterator[Finding]:
    """Files in the folders of photos that are photos too, of a kind that anomalib never reads.

    Args:
        photos: The photos that are read; a single one was chosen by name.
    """
    folders, endings = {Path(photo.path).parent for photo in photos}, _never_read()
    files = (file for folder in sorted(folders) if folder.is_dir() for file in sorted(folder.iterdir()))
    other = [str(file) for file in files if file.suffix.lower() in endings]
    if other and len(photos) > 1:
        yield Finding(f"{len(other)} images are not read by anomalib", dict.fromkeys(other, ""), "Save them as PNG.")


def folder_findings(layout: Layout) -> Iterator[Finding]:
    """What is wrong with the folders themselves: no photos, unread endings, masks that do not fit."""
    train, good, defects = (_images(each, layout.endings) for each in (layout.train, layout.good, layout.defects))
    if not train:
        looked = f"{', '.join(map(readable, layout.train))} (endings looked for: {', '.join(layout.endings)})"
        yield Finding(f"There are no training images in {looked}", refused=True)
    known = [*IMG_EXTENSIONS, *_never_read()]
    other = sorted(set(_images([*layout.train, *layout.good, *layout.defects], known)) - {*train, *good, *defects})
    if other:
        takes = ", ".join(layout.endings)
        what = f"{len(other)} images are not read by anomalib's datamodules of this layout, which take {takes}"
        folder = all(path.suffix.lower() in IMG_EXTENSIONS for path in other)
        way_out = "Use the datamodule Folder, or save them as such." if folder else "Save them as PNG."
        yield Finding(what, dict.fromkeys(map(str, other), ""), way_out)
    strange = [folder for folder in (*layout.train, *layout.good, *layout.defects) if not str(folder).isascii()]
    if strange:
        what = "anomalib takes folders with ASCII letters in their path only, and calls any other non-printable"
        way_out = f"Rename them, or train on a link: ln -s {shlex.quote(readable(layout.root.absolute()))} /tmp/photos"
        yield Finding(what, dict.fromkeys(map(str, strange), ""), way_out, refused=True)
    if train and not good and not defects:
        yield Finding("There are no test images: train with the datamodule SyntheticAnomaly, which makes some")
    elif train and not defects:
        yield Finding(
            "There are no defects to test on: AUROC needs some, e.g. those of the datamodule SyntheticAnomaly"
        )
    yield from _mask_findings(layout, defects)


def _mask_findings(layout: Layout, defects: Sequence[Path]) -> Iterator[Finding]:
    every, own = _images(layout.masks, layout.endings), _masks(layout)
    if layout.masks and defects and not own:
        what = f"None of {len(defects)} defects has a mask, and this datamodule of anomalib fails without"
        yield Finding(what, {}, "Draw them, or use the datamodule Folder without mask_dir.", refused=True)
        return
    left = [str(mask) for mask in every if mask not in own.values()]
    if left:
        what = f"{len(left)} masks belong to no defect, and anomalib fails with them"
        yield Finding(what, dict.fromkeys(left, ""), "Move them out.", refused=True)
    if len(own) == len(defects) and not left:
        pairs = zip(sorted(defects, key=str), sorted(every, key=str), strict=False)
        wrong = {str(image): f"would get {mask}" for image, mask in pairs if own[image] != mask}
        if wrong:
            what = (
                f"{len(wrong)} defects would get the mask of another: anomalib pairs them in the order of their paths"
            )
            way_out = "Pad numbers with zeros; name and order the folders of masks like those of defects."
            yield Finding(what, wrong, way_out, refused=True)


def folder_faults(datamodule: Any) -> list[Finding]:
    """What is refused in the folders or the table of a datamodule that could not be set up.

    Args:
        datamodule: It may be anything.
    """
    datamodule = getattr(datamodule, "source", datamodule)
    layout = layout_of(datamodule)
    if layout is None:
        return [*table_findings(datamodule)]
    return [*missing_masks(photos_in(layout)), *(finding for finding in folder_findings(layout) if finding.refused)]
