# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Size and speed of a trained model, peak memory of its job, and the machine and software that produced a result."""

import ctypes
import gc
import platform
import re
import time
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from anomalib_plugins.components.cost import count
from anomalib_plugins.components.names import counted

if TYPE_CHECKING:
    from anomalib.models import AnomalibModule

MIN_CALLS, MAX_CALLS, MAX_SECONDS = 3, 20, 2.0
PACKAGES = ("anomalib-plugins", "anomalib", "torch", "timm", "openvino")


def seconds_per_call(model: "AnomalibModule", images: Tensor) -> float:
    """Measure the median time of a prediction: pre-processing, network and post-processing.

    One uncounted call is followed by 3 to 20 timed calls within about two seconds.
    """
    seconds: list[float] = []
    while len(seconds) <= MIN_CALLS or (len(seconds) <= MAX_CALLS and sum(seconds) < MAX_SECONDS):
        start = time.perf_counter()
        model(images)
        if images.is_cuda:
            torch.cuda.synchronize(images.device)
        seconds.append(time.perf_counter() - start)
    return median(seconds[1:])


@torch.inference_mode()
def speed_and_size(model: "AnomalibModule", image: Tensor, batch: int) -> dict[str, str]:
    """Measure the columns of a results file about speed and size of a trained model.

    These are ``latency_ms`` of one image, ``images_per_second`` in batches, and of the network alone ``parameters`` and
    ``gmacs``, the multiply-accumulates for one image in billions.

    Args:
        model: Trained model.
        image: One image ``(1, 3, H, W)`` on the model's device, in the size that the model resizes to.
        batch: Batch size for ``images_per_second``.
    """
    model.eval()
    images = image.expand(batch, -1, -1, -1).contiguous()
    cost = count(model.model, model.pre_processor(image) if model.pre_processor else image)
    return {
        "latency_ms": f"{1000 * seconds_per_call(model, image):.2f}",
        "images_per_second": f"{batch / seconds_per_call(model, images):.2f}",
        "parameters": str(cost.parameters),
        "gmacs": f"{cost.macs / 1e9:.3f}",
    }


class PeakMemory:
    """Peak memory since construction.

    On a GPU it is the memory of tensors, elsewhere the resident memory of the whole process including libraries. Only
    Linux can reset the latter.

    Args:
        proc: Folder in which Linux describes this process.
    """

    def __init__(self, proc: Path = Path("/proc/self")) -> None:
        self.proc = proc
        gc.collect()  # objects of earlier jobs
        if torch.cuda.is_initialized():  # otherwise there is no peak, and resetting it raises
            for device in range(torch.cuda.device_count()):
                torch.cuda.reset_peak_memory_stats(device)
        if (proc / "clear_refs").exists():
            if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
                libc.malloc_trim(0)  # returns freed memory to the system
            (proc / "clear_refs").write_text("5", encoding="ascii")  # tells the kernel to reset the peak

    def megabytes(self, device: torch.device) -> str:
        """Peak memory in MB (10^6 bytes); empty on a CPU of a system other than Linux."""
        if device.type == "cuda":
            return f"{torch.cuda.max_memory_allocated(device) / 1e6:.0f}"
        status = self.proc / "status"
        found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text(encoding="utf-8")) if status.exists() else None
        return f"{int(found[1]) * 1.024e-3:.0f}" if found else ""


def machine(device: torch.device) -> str:
    """Name of the GPU, or name of the CPU and number of torch's threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{cpu_name()}, {counted(torch.get_num_threads(), 'thread/threads')}"


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Model name of the processor, or Python's shorter name for it on systems other than Linux."""
    found = re.search(r"^model name\s*: (.*)", cpuinfo.read_text("utf-8"), re.MULTILINE) if cpuinfo.is_file() else None
    return found[1].strip() if found else platform.processor() or platform.machine()


def versions() -> str:
    """Names and versions of the installed packages that affect results."""
    found = []
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return ", ".join(found)
