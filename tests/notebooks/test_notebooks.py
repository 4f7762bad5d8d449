# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""The notebooks run from top to bottom, much shortened, and what is committed of their outputs is fit to be read."""

import importlib.util
import re
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))

# Each notebook's parameters, as small as they go: that it runs is shown here, what it shows is committed.
SMALL = {
    "00_quickstart": {"IMAGE_SIZE": 64, "PHOTOS": 12},
    "01_own_folder": {"IMAGE_SIZE": 64, "PHOTOS": 12},
    "02_what_the_model_is_taught": {"IMAGE_SIZE": 64, "PHOTOS": 2},
    "03_all_six_compared": {"IMAGE_SIZE": 64, "STEPS": 2, "PHOTOS": 8},
    "04_on_the_line_with_openvino": {"IMAGE_SIZE": 64, "ROUNDS": 2},
    "05_your_own_method": {"IMAGE_SIZE": 64, "STEPS": 2, "TESTS": "Glance and initial_state"},
}

pytestmark = pytest.mark.notebooks
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def execute():
    spec = importlib.util.spec_from_file_location("execute", FOLDER / "execute.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def kernel(execute):
    with execute.kernel() as manager:
        yield manager


@pytest.mark.slow
@each_notebook
def test_runs_from_top_to_bottom(path, execute, kernel, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    execute.run(notebook, kernel, tmp_path, SMALL[path.stem])
    if path.stem.startswith("05"):
        printed = [output.text for cell in notebook.cells for output in cell.get("outputs", []) if "text" in output]
        assert re.search(r"^2 passed", "".join(printed), re.MULTILINE)
        assert re.search(r"^FAILED .*same_seed_same_training", "".join(printed), re.MULTILINE)


@each_notebook
def test_committed_outputs_are_small_pictures_without_errors_or_traces_of_a_machine(path):
    text, notebook = path.read_text(encoding="utf-8"), nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert len(text) < 400_000
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/jpeg" in output.get("data", {}) for output in outputs), "no picture"
    assert not any("image/png" in output.get("data", {}) for output in outputs)
    assert {output.output_type for output in outputs} <= {"stream", "display_data", "execute_result"}
    said = "".join(output.get("text", "") + str(output.get("data", {}).get("text/plain", "")) for output in outputs)
    assert not re.search(r"/(tmp|home|root|work|usr|opt|Users)/|[A-Z]:\\", said)


@each_notebook
def test_links_lead_somewhere(path):
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")
    for target in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (FOLDER / target).exists(), target


def test_unknown_parameters_are_refused(execute, tmp_path):
    notebook = nbformat.read(NOTEBOOKS[0], as_version=4)
    with pytest.raises(KeyError, match="no parameter EPOCHS"):
        execute.run(notebook, None, tmp_path, {"EPOCHS": 1})
