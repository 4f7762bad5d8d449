# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""More anomaly detection models, synthetic anomalies and tools for anomalib.

Nothing has to be imported for ``anomalib train --model Slsg`` to work. The names below are for Python:

    >>> from anomalib_plugins import Slsg, SyntheticAnomaly  # doctest: +SKIP
"""

from anomalib_plugins import _startup

__version__ = "0.2.0"


def __getattr__(name: str) -> type:
    """Import a plugin when it is first asked for: torch imports this package in every program."""
    from anomalib_plugins.registry import lazy_names

    return lazy_names(__name__)[0](name)


def __dir__() -> list[str]:
    """Names of the plugins beside the module's own."""
    from anomalib_plugins.registry import lazy_names

    return lazy_names(__name__)[1]()


_startup.install()
