# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Sphinx: ``make docs`` builds these pages and the API from docstrings; a warning is an error."""

from importlib.metadata import version as version_of
from pathlib import Path

project = "anomalib_plugins"
author = "anomalib_plugins contributors"
copyright = "2026, anomalib_plugins contributors"  # noqa: A001  # Sphinx calls it so
release = version = version_of("anomalib_plugins")

sphinx = ("autodoc", "autosummary", "napoleon", "viewcode")
extensions = ["myst_parser", *(f"sphinx.ext.{name}" for name in sphinx)]
exclude_patterns = ["_build", "_templates"]

# A page for every model, which is the README in its folder.
DOCS = Path(__file__).parent
(DOCS / "models").mkdir(exist_ok=True)
for readme in DOCS.parent.glob("anomalib_plugins/models/*/README.md"):
    include = f"```{{include}} ../../{readme.relative_to(DOCS.parent)}\n:relative-images:\n```\n"
    (DOCS / "models" / f"{readme.parent.name}.md").write_text(include, encoding="utf-8")
templates_path = ["_templates"]
html_theme = "furo"
html_title = f"anomalib_plugins {release}"

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
# Documents are read on GitHub, too: what they link to there (source, results, notebooks) is no page here.
suppress_warnings = ["myst.xref_missing"]

autodoc_mock_imports = ["ray"]  # optional, and only for clusters
autoclass_content = "class"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
# A package's page lists its modules; what it re-exports is documented where it is defined.
autodoc_default_options = {"members": True, "show-inheritance": True, "ignore-module-all": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
