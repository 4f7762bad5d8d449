# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Compare speed with anomalib, print the results, save them in one file and plot how cost grows."""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from anomalib_plugins.benchmark.measure import machine, versions
from anomalib_plugins.benchmark.results import START, update
from tools.speed import Options
from tools.timing import markdown, write

# Modules with ``measure(options)``, which yields rows.
SUBJECTS = {
    "coreset": "greedy k-centre beside anomalib's KCenterGreedy",
    "search": "search in a memory bank: exact, faiss, lower precision",
    "padim": "PaDiM's fit, memory and distances",
    "cfa": "CFA's scoring",
    "attention": "cost of PFAM in front of PaDiM",
    "synthesis": "Perlin maps and simulated anomalies",
    "saliency": "LayerCAM beside a CAM library, k-means beside scikit-learn",
    "training": "training steps of Slsg and Pouta: precisions, layouts, torch.compile",
    "inference": "whole models in torch and OpenVINO beside anomalib's Padim and the machine's convolution rate",
    "growth": "cost by images, patches, resolution and batch, for --plot",
    "banks": "PatchCore's and PaDiM's memory in lower precision: image and pixel AUROC on --data",
    "int8": "OpenVINO INT8 beside float32: image AUROC and latency of --trained models on --data",
}
NEEDS = {"banks": ["data"], "int8": ["data", "trained"]}


def parser() -> argparse.ArgumentParser:
    """Build the command line parser."""
    subjects = "\n".join(f"  {name:<11}{text}" for name, text in SUBJECTS.items())
    cli = argparse.ArgumentParser(
        prog="python -m tools.speed",
        description=f"{__doc__}\n\nsubjects:\n{subjects}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    cli.add_argument(
        "--only",
        nargs="*",
        choices=SUBJECTS,
        metavar="SUBJECT",
        help="subjects to measure again; without a name only --plot and --update run",
    )
    cli.add_argument("--quick", action="store_true", help="small sizes and one round, to test that everything runs")
    cli.add_argument("--rounds", type=int, default=5, metavar="N", help="timings of each method; medians are printed")
    cli.add_argument("--threads", type=int, default=1, metavar="N")
    cli.add_argument("--data", type=Path, metavar="FOLDER", help="real images in MVTec AD's layout, for banks and int8")
    cli.add_argument("--trained", type=Path, metavar="FOLDER", help="checkpoints CATEGORY/MODEL.ckpt, for int8")
    cli.add_argument("--output", type=Path, metavar="JSON", help="results; its subjects are not measured again")
    cli.add_argument("--plot", type=Path, metavar="SVG", help="plot of the subject growth")
    cli.add_argument("--update", nargs="+", type=Path, default=[], metavar="DOCUMENT", help="documents with markers")
    return cli


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        argv: Command-line arguments. ``None`` uses ``sys.argv``.

    Returns:
        0.
    """
    args = parser().parse_args(argv)
    torch.set_num_threads(args.threads)
    options = Options(args.quick, 1 if args.quick else args.rounds, args.data, args.trained)
    results: dict[str, Any] = {}
    if args.output and args.output.is_file():
        results = json.loads(args.output.read_text(encoding="utf-8"))
    for name, text in SUBJECTS.items():
        wanted = name not in results if args.only is None else name in args.only
        if not wanted:
            continue
        if any(getattr(args, need) is None for need in NEEDS.get(name, ())):
            needs = " and ".join(f"--{need}" for need in NEEDS[name])
            print(f"\n{name}: left out, it needs {needs}", flush=True)
            continue
        print(f"\n{name}: {text}", flush=True)
        for section in measure(name, options):  # saved after every row
            results[name] = section
            if args.output:
                write(args.output, {each: results[each] for each in SUBJECTS if each in results})
        print(markdown(results[name]["rows"]), flush=True)
    if args.plot and "growth" in results:
        from tools.speed.plot import draw

        draw(results["growth"]["rows"], args.plot)
    for document in args.update:
        document_tables(document, results)
    return 0


def measure(name: str, options: Options) -> Iterator[dict[str, Any]]:
    """Measure a subject and yield its section of the results after every row.

    Args:
        name: Name of the subject.
        options: Options of the measurement.
    """
    start = time.perf_counter()
    section: dict[str, Any] = {
        "machine": machine(torch.device("cpu")),
        "versions": versions(),
        "quick": options.quick,
        "rounds": options.rounds,
        "rows": [],
    }
    for row in import_module(f"tools.speed.{name}").measure(options):
        section["rows"].append(row)
        section["minutes"] = round((time.perf_counter() - start) / 60, 1)
        yield section


def document_tables(document: Path, results: dict[str, Any]) -> None:
    """Update the tables of a document.

    Args:
        document: Text file with the lines ``<!-- compare: start speed_SUBJECT -->`` and
            ``<!-- compare: end speed_SUBJECT -->`` for one or more subjects.
        results: Sections of the results by subject.

    Raises:
        ValueError: If the document has no such lines.
    """
    text = document.read_text(encoding="utf-8")
    names = [name for name in results if START.format(f" speed_{name}") in text]
    if not names:
        known = ", ".join(f"speed_{name}" for name in results)
        msg = f"{document} has no markers: add {START.format(' NAME')} and its end marker, with NAME one of {known}"
        raise ValueError(msg)
    for name in names:
        section = results[name]
        caption = (
            f"Medians of at most {section['rounds']} turns, milliseconds; {section['machine']}; {section['versions']}."
        )
        update(document, f"{markdown(section['rows'])}\n\n{caption}", f"speed_{name}")


if __name__ == "__main__":
    sys.exit(main())
