# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Registration of the plugins as soon as anomalib is imported.

Every program that imports torch runs this module, so it uses only the standard library.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from anomalib_plugins.compat import IMPORT_RUNS, import_runs

# Modules with anomalib's lookups, see `registry.KINDS`.
HOSTS = ("anomalib.models", "anomalib.data", "anomalib.callbacks")
_PACKAGES = ("anomalib", "anomalib_plugins")


class _WatchedSpec(ModuleSpec):
    """Module spec that calls `register_soon` when the import of the module ends.

    A wrapped loader would come too late for a module whose import is already running, as anomalib's is when anomalib
    imports torch. The import system changes the spec in both cases.
    """

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == IMPORT_RUNS and not value:
            self.__class__ = ModuleSpec  # type: ignore[assignment]
            register_soon()


class _HostFinder(MetaPathFinder):
    """Finder that gives a watched spec to each of anomalib's `HOSTS` that is imported later."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return a watched version of the other finders' spec for a host, and ``None`` for any other module."""
        if fullname not in HOSTS:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec = find(fullname, path, target) if find and finder is not self else None
            if spec is not None:
                spec.__class__ = _WatchedSpec
                return spec
        return None


_FINDER = _HostFinder()


def _in_progress() -> ModuleSpec | None:
    """Spec of the outermost module of anomalib or this package whose import is still running, if any.

    Registration has to wait for its end, because both packages would find each other half imported.
    """
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in _PACKAGES:
            spec = getattr(module, "__spec__", None)
            if import_runs(spec):
                return spec
    return None


def register_soon() -> None:
    """Register the plugins now or at the end of a running import. Runs inside imports and therefore never raises."""
    loaded = [host for host in HOSTS if host in sys.modules]
    if not loaded:
        return
    try:
        running = _in_progress()
        if running is not None:
            running.__class__ = _WatchedSpec
            return
        if len(loaded) == len(HOSTS) and _FINDER in sys.meta_path:
            sys.meta_path.remove(_FINDER)
        from anomalib_plugins.registry import register

        register()
    except Exception as error:  # noqa: BLE001  # an exception here would break the user's import of torch or anomalib
        import logging

        logging.getLogger("anomalib_plugins").warning(
            "anomalib_plugins is not registered with anomalib (%s: %s). Run `anomalib-plugins doctor`.",
            type(error).__name__,
            error,
        )


def install() -> None:
    """Watch for imports of anomalib; called by the ``torch.backends`` entry point and ``import anomalib_plugins``."""
    if _FINDER not in sys.meta_path and not all(host in sys.modules for host in HOSTS):
        sys.meta_path.insert(0, _FINDER)
    register_soon()
