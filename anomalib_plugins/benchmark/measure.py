# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Size and speed of a trained model, and the memory that its job took."""

import ctypes
import gc
import re
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from anomalib_plugins.components.cost import count

if TYPE_CHECKING:
    from anomalib.models import AnomalibModule

MIN_CALLS, MAX_CALLS, MAX_SECONDS = 3, 20, 2.0


def seconds_per_call(model: "AnomalibModule", images: Tensor) -> float:
    """Median time of a prediction: pre-processing, network and post-processing.

    One call before is not counted, then there are 3 to 20 within about two seconds.

    Args:
        model: Trained model in evaluation mode.
        images: Batch ``(N, 3, H, W)`` on the model's device.
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
    """Columns of a results file about the trained model.

    Args:
        model: Trained model.
        image: One image ``(1, 3, H, W)`` on the model's device, as large as the model resizes to.
        batch: Images in a batch of the throughput.

    Returns:
        ``latency_ms`` of one image, ``images_per_second`` in batches, ``parameters`` and ``gmacs``, the
        multiply-accumulates of one image in billions, of the network alone.
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
    """Largest memory since its construction.

    On a GPU what tensors took of it; elsewhere the resident memory of the whole process, libraries included, which only
    Linux tells for a part of a process's life.

    Args:
        proc: Folder in which the system describes this process.
    """

    def __init__(self, proc: Path = Path("/proc/self")) -> None:
        self.proc = proc
        gc.collect()  # of the jobs before
        if torch.cuda.is_initialized():  # before, there is no peak, and resetting it raises
            for device in range(torch.cuda.device_count()):
                torch.cuda.reset_peak_memory_stats(device)
        if (proc / "clear_refs").exists():
            if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
                libc.malloc_trim(0)  # what they freed goes back to the system
            (proc / "clear_refs").write_text("5", encoding="ascii")  # the kernel's code for: forget the peak

    def megabytes(self, device: torch.device) -> str:
        """The peak in MB (10^6 bytes), empty where the system does not tell.

        Args:
            device: Where the model was.
        """
        if device.type == "cuda":
            return f"{torch.cuda.max_memory_allocated(device) / 1e6:.0f}"
        status = self.proc / "status"
        found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text(encoding="utf-8")) if status.exists() else None
        return f"{int(found[1]) * 1.024e-3:.0f}" if found else ""
