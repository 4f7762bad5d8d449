# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Run the notebooks from top to bottom and save their outputs without noise: ``make notebooks``."""

import argparse
import ast
import base64
import io
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

FOLDER = Path(__file__).parent
PARAMETERS = "parameters"  # tag of the cell that sets the amount of work
FRESH = "%reset -f"
NOISE = "[torch.onnx]"  # the exporter's progress


@contextmanager
def kernel() -> Generator[KernelManager, None, None]:
    """Start a kernel of this interpreter, which imports anomalib once for several notebooks."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel()
    try:
        yield manager
    finally:
        manager.shutdown_kernel(now=True)


def run(
    notebook: NotebookNode, manager: KernelManager, folder: Path, parameters: Mapping[str, Any] | None = None
) -> None:
    """Execute a notebook and replace its outputs.

    Args:
        notebook: Notebook, changed in place.
        manager: Manager of a running kernel.
        folder: Working folder.
        parameters: Values that replace those in its cell of parameters, for this run alone.

    Raises:
        CellExecutionError: If a cell fails.
        KeyError: If the notebook has no such parameter.
    """
    (cell,) = (each for each in notebook.cells if PARAMETERS in each.metadata.get("tags", []))
    source = cell.source
    known = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    for name, value in (parameters or {}).items():
        if name not in known:
            msg = f"the notebook has no parameter {name}: {source}"
            raise KeyError(msg)
        cell.source += f"\n{name} = {value!r}"
    first = f"{FRESH}\nimport os; os.chdir({str(folder)!r})"
    notebook.cells.insert(0, nbformat.v4.new_code_cell(first))
    try:
        NotebookClient(notebook, km=manager, timeout=None, record_timing=False).execute(reset_kc=False)
    finally:
        del notebook.cells[0]
        cell.source = source


def tidy(notebook: NotebookNode) -> None:
    """Drop logs, progress and what is specific to a machine or a run, and convert pictures to JPEG.

    Args:
        notebook: Notebook, changed in place.
    """
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, start=1):
        cell.outputs = [output for output in cell.outputs if not _is_noise(output)]
        cell.execution_count = number
        for output in cell.outputs:
            if "execution_count" in output:
                output["execution_count"] = number
            _shrink(output.get("data", {}))


def _is_noise(output: NotebookNode) -> bool:
    """Tell logs and progress, which are displayed but neither pictures nor results of cells, from results."""
    progress = output.output_type == "display_data" and not any(kind.startswith("image/") for kind in output.data)
    return output.get("name") == "stderr" or output.get("text", "").startswith(NOISE) or progress


def _shrink(data: dict[str, str]) -> None:
    picture = data.pop("image/png", None)
    if picture is None:
        return
    buffer = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB").save(buffer, "JPEG", quality=65, optimize=True)
    data["image/jpeg"] = base64.b64encode(buffer.getvalue()).decode("ascii")


def main(argv: Sequence[str] | None = None) -> int:
    """Run notebooks and save them.

    Args:
        argv: Command-line arguments; those of the process by default.

    Returns:
        Exit code.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", nargs="*", type=Path, default=sorted(FOLDER.glob("*.ipynb")), help="default: all")
    for path in parser.parse_args(argv).notebooks:
        notebook, start = nbformat.read(path, as_version=4), time.monotonic()
        with kernel() as manager, tempfile.TemporaryDirectory() as folder:
            run(notebook, manager, Path(folder))
        tidy(notebook)
        nbformat.write(notebook, path)
        print(f"{path.name}  {time.monotonic() - start:.0f} s  {path.stat().st_size / 1000:.0f} kB", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
