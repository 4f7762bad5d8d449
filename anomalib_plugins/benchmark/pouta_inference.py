# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Time what Pouta leaves out at inference: the heads of MSS and the decoder's last layer.

``python -m anomalib_plugins.benchmark.pouta_inference --size 224 --rounds 10``
"""

import argparse
import sys
from functools import partial

import torch
from torch import Tensor

from anomalib_plugins.benchmark.latency import Variant, markdown, measure, summarise
from anomalib_plugins.models.pouta.torch_model import PoutaModel


@torch.inference_mode()
def all_of_it(model: PoutaModel, half: bool, images: Tensor) -> None:
    """Run what training runs."""
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        model.segment_all(images)


@torch.inference_mode()
def what_is_needed(model: PoutaModel, half: bool, images: Tensor) -> None:
    """Run what inference runs."""
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        model.segment(images)


def main(arguments: list[str] | None = None) -> int:
    """Run the program.

    Args:
        arguments: Command line without the program's name. ``None`` takes the process's own.

    Returns:
        0.
    """
    cli = argparse.ArgumentParser(prog="python -m anomalib_plugins.benchmark.pouta_inference", description=__doc__)
    cli.add_argument("--size", type=int, default=224, metavar="PIXELS")
    cli.add_argument("--rounds", type=int, default=10, metavar="N")
    cli.add_argument("--threads", type=int, default=1, metavar="N")
    args = cli.parse_args(arguments)
    torch.set_num_threads(args.threads)
    model = PoutaModel().eval().to(memory_format=torch.channels_last)
    images = torch.rand(1, 3, args.size, args.size)
    variants = [
        Variant(name, "torch", precision, partial(run, model, precision == "bf16"))
        for name, run in (("needed", what_is_needed), ("all", all_of_it))
        for precision in ("fp32", "bf16")
    ]
    print(markdown(summarise(variants, measure(variants, images, args.rounds), batch=1)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
