# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Time inference of models side by side on the CPU: resize, network and post-processing, in torch and OpenVINO.

``python -m tools.latency --models Slsg Padim --output latency.json`` compares all models with the last one.
"""

import argparse
import copy
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

from anomalib_plugins.benchmark.machine import machine, versions
from anomalib_plugins.benchmark.options import Choice, add_model_options, read_model_options
from tools.speed.side_by_side import markdown, times

if TYPE_CHECKING:
    from anomalib.models import AnomalibModule

# Random weights take the same time as trained ones. Padim's backbone is the default, named explicitly.
MODEL_ARGS: dict[str, dict[str, Any]] = {
    "Padim": {"backbone": "resnet18", "pre_trained": False},
    "Patchcore": {"pre_trained": False},
}


@dataclass(frozen=True)
class Variant:
    """Model in one engine and precision.

    Args:
        model: Label of the model.
        engine: Engine, ``torch`` or ``openvino``.
        precision: Precision, e.g. ``fp32``.
        call: Function that predicts images ``(N, 3, H, W)``.
    """

    model: str
    engine: str
    precision: str
    call: Callable[[Tensor], Any]


def build(choice: Choice, size: int, arguments: dict[str, Any] | None = None, bank_rows: int = 0) -> "AnomalibModule":
    """Build a model with random weights that is ready to predict. Memory banks are fitted on a few random images.

    Args:
        choice: Model to build.
        size: Side of the images, in pixels.
        arguments: Constructor arguments of the model.
        bank_rows: Number of random rows in a memory bank of patches; 0 keeps those of the random images.
    """
    from anomalib.models import get_model
    from anomalib.models.components import DynamicBufferMixin
    from anomalib.models.image.patchcore import Patchcore

    from anomalib_plugins.components.patchcore import PatchcoreModel

    torch.manual_seed(0)
    options = {**MODEL_ARGS.get(choice.model, {}), **(arguments or {})}
    model = get_model(choice.model, visualizer=False, evaluator=False, **options)
    model.pre_processor = model.configure_pre_processor((size, size))
    if any(isinstance(part, DynamicBufferMixin) for part in model.modules()):
        _fill_memory(model, size)
    if bank_rows and isinstance(model.model, PatchcoreModel):
        channels = model.model.bank.vectors.shape[1]
        model.model.bank.fill(torch.randn(bank_rows, channels), bank_rows, progress=False)
    elif bank_rows and isinstance(model, Patchcore):
        model.model.memory_bank = torch.randn(bank_rows, model.model.memory_bank.shape[1])
    return model.eval()


def _fill_memory(model: "AnomalibModule", size: int) -> None:
    """Train on a few random images, at most one optimizer step."""
    from anomalib.data import Folder
    from anomalib.engine import Engine

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "good").mkdir()
        for number, image in enumerate(torch.rand(8, 3, size, size)):
            to_pil_image(image).save(Path(folder) / f"good/{number}.png")
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "limit_val_batches": 0}
        data = Folder(
            "noise", folder, "good", test_split_mode="none", val_split_mode="none", train_batch_size=8, num_workers=0
        )
        Engine(default_root_dir=folder, accelerator="cpu", devices=1, max_steps=1, **quiet).fit(model, datamodule=data)
    for part in model.modules():
        for name, value in list(vars(part).items()):
            if isinstance(value, Tensor):
                setattr(part, name, value.detach())  # anomalib's Cfa keeps the graph of its radius: deepcopy would fail


def torch_variants(name: str, model: "AnomalibModule", bf16: bool) -> Iterator[Variant]:
    """Yield variants in eager torch: float32, channels last, and channels last with bfloat16 autocast.

    Args:
        name: Label of the model.
        model: Model to run; not modified.
        bf16: Whether the processor supports bfloat16.
    """
    yield Variant(name, "torch", "fp32", partial(_eager, model))
    channels_last = copy.deepcopy(model).to(memory_format=torch.channels_last)
    yield Variant(name, "torch", "fp32 channels_last", partial(_eager, channels_last))
    if bf16:
        yield Variant(name, "torch", "bf16 channels_last", partial(_eager, channels_last, bf16=True))


@torch.inference_mode()
def _eager(model: "AnomalibModule", images: Tensor, bf16: bool = False) -> Any:
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        return model(images)


def openvino_variants(name: str, model: "AnomalibModule", size: int, threads: int) -> Iterator[Variant]:
    """Yield variants of the exported model in OpenVINO: float32 and OpenVINO's default precision.

    Args:
        name: Label of the model.
        model: Model to export.
        size: Side of the images, in pixels.
        threads: Number of CPU threads.
    """
    import openvino

    core = openvino.Core()
    with tempfile.TemporaryDirectory() as folder:
        network = core.read_model(model.to_openvino(folder, input_size=(size, size)))
        for precision, hint in (("fp32", {"INFERENCE_PRECISION_HINT": "f32"}), ("default", {})):
            compiled = core.compile_model(network, "CPU", {"INFERENCE_NUM_THREADS": threads, **hint})
            chosen = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
            yield Variant(name, "openvino", precision if hint else f"default ({chosen})", partial(_compiled, compiled))


def _compiled(network: Callable[[Any], Any], images: Tensor) -> Any:
    return network(images.numpy())


def has_bf16() -> bool:
    """Whether the processor supports bfloat16 according to OpenVINO."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def measure(variants: list[Variant], images: Tensor, rounds: int) -> Tensor:
    """Time all variants in turn, round after round, so that changes of the machine's load affect all of them alike.

    Args:
        variants: Variants to time. Each has an uncounted call before to warm up.
        images: Input images ``(N, 3, H, W)``.
        rounds: Number of calls of each variant.

    Returns:
        Wall time and CPU time of all threads, in seconds, ``(2, variants, rounds)``.
    """
    return times([partial(variant.call, images) for variant in variants], rounds)


def summarise(variants: list[Variant], seconds: Tensor, batch: int) -> list[dict[str, Any]]:
    """Summarise times as rows of medians, with ratios to the last model in the same engine and precision.

    Ratios are medians over the ratios of each round.

    Args:
        variants: Timed variants, model by model, with the same engines and precisions for each.
        seconds: Wall and CPU time ``(2, variants, rounds)``.
        batch: Number of images per call.
    """
    ways = len({(variant.engine, variant.precision) for variant in variants})
    models = seconds.unflatten(1, (-1, ways))  # (2, models, ways, rounds)
    ratio = (models / models[:, -1:]).flatten(1, 2).quantile(0.5, dim=-1)
    milliseconds = 1000 / batch * seconds.quantile(0.5, dim=-1)
    return [
        {
            "model": variant.model,
            "engine": variant.engine,
            "precision": variant.precision,
            "batch": batch,
            "ms_per_image": round(milliseconds[0, index].item(), 2),
            "cpu_ms_per_image": round(milliseconds[1, index].item(), 2),
            f"ratio_to_{variants[-1].model}": round(ratio[0, index].item(), 3),
            "cpu_ratio": round(ratio[1, index].item(), 3),
        }
        for index, variant in enumerate(variants)
    ]


def main(arguments: list[str] | None = None) -> int:
    """Run the program.

    Args:
        arguments: Command-line arguments. ``None`` uses ``sys.argv``.

    Returns:
        0.

    Raises:
        ValueError: If labels and arguments of the models do not match.
    """
    cli = argparse.ArgumentParser(prog="python -m tools.latency", description=__doc__)
    add_model_options(cli, default=["Slsg", "Padim"])  # others are compared with the last one
    cli.add_argument("--bank-rows", type=int, default=0, metavar="N", help="rows of Patchcore's memory banks")
    cli.add_argument("--image-size", type=int, default=256, metavar="PIXELS")
    cli.add_argument("--batches", nargs="+", type=int, default=[1, 16], metavar="N")
    cli.add_argument("--rounds", type=int, default=7, metavar="N")
    cli.add_argument("--threads", type=int, default=torch.get_num_threads(), metavar="N")
    cli.add_argument("--engines", nargs="+", default=["torch", "openvino"], choices=["torch", "openvino"])
    cli.add_argument("--output", type=Path, metavar="JSON")
    args = cli.parse_args(arguments)
    torch.set_num_threads(args.threads)
    bf16 = "torch" in args.engines and has_bf16()
    variants: list[Variant] = []
    choices, model_args = read_model_options(args)
    for choice in choices:
        model = build(choice, args.image_size, model_args.get(choice.label), args.bank_rows)
        if "torch" in args.engines:
            variants.extend(torch_variants(choice.label, model, bf16))
        if "openvino" in args.engines:
            variants.extend(openvino_variants(choice.label, model, args.image_size, args.threads))
    rows = []
    for batch in args.batches:
        images = torch.rand(batch, 3, args.image_size, args.image_size)
        rows.extend(summarise(variants, measure(variants, images, args.rounds), batch))
    print(markdown(rows))
    if args.output:
        result = {
            "machine": machine(torch.device("cpu")),
            "versions": versions(),
            "image_size": args.image_size,
            "model_args": model_args,
            "bank_rows": args.bank_rows,
            "rounds": args.rounds,
            "rows": rows,
        }
        args.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
