# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""More anomaly detection models, synthetic anomalies and tools for anomalib.

Nothing has to be imported for ``anomalib train --model Slsg`` to work. The names below are for Python:

    >>> from anomalib_plugins import Slsg, SyntheticAnomaly  # doctest: +SKIP
"""

from anomalib_plugins import _startup, registry

__version__ = "0.1.0"
__getattr__, __dir__ = registry.lazy_names(__name__)

_startup.install()
