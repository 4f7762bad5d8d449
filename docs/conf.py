# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Sphinx: ``make docs`` builds these pages and the API from docstrings; a warning is an error."""

from importlib.metadata import version as version_of

project = "anomalib_plugins"
author = "anomalib_plugins contributors"
copyright = "2026, anomalib_plugins contributors"  # noqa: A001  # Sphinx calls it so
release = version = version_of("anomalib_plugins")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"anomalib_plugins {release}"

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
# Documents are read on GitHub, too: what they link to there (source, results, notebooks) is no page here.
suppress_warnings = ["myst.xref_missing"]

autoclass_content = "class"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
