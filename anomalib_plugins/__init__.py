# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""More anomaly detection models, synthetic anomalies and tools for anomalib.

Nothing has to be imported for ``anomalib train --model Slsg`` to work. The names below are for Python:

    >>> from anomalib_plugins import Slsg, SyntheticAnomaly  # doctest: +SKIP
"""

from typing import Any

from anomalib_plugins import _startup

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import a plugin when it is first asked for: torch imports this package in every program."""
    from anomalib_plugins.registry import PLUGINS

    for plugin in PLUGINS:
        if plugin.name == name:
            return plugin.load()
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    """Names of the plugins beside the module's own."""
    from anomalib_plugins.registry import PLUGINS

    return sorted({*globals(), *(plugin.name for plugin in PLUGINS)})


_startup.install()
