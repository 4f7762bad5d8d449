# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Table of everything this package adds to anomalib, and its registration with anomalib."""

import logging
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any, Literal, NamedTuple

logger = logging.getLogger(__name__)


class Plugin(NamedTuple):
    """Class that anomalib should find by name.

    Args:
        path: Path of the class, ``package.module:Class``. A string avoids importing it for the table.
        kind: Kind of plugin, a key of `KINDS`.
    """

    path: str
    kind: Literal["model", "datamodule", "callback"] = "model"

    @property
    def module(self) -> str:
        """Module that defines the class."""
        return self.path.partition(":")[0]

    @property
    def name(self) -> str:
        """Name of the class, also in anomalib."""
        return self.path.partition(":")[2]

    def load(self) -> type:
        """Import the class."""
        return _load(self.path)


class Kind(NamedTuple):
    """Places where anomalib looks up one kind of plugin.

    Args:
        host: Module of anomalib whose attributes are looked up by short name.
        base: Base class, ``module:Class``, whose imported subclasses the command line accepts.
    """

    host: str
    base: str


KINDS = {
    "model": Kind("anomalib.models", "anomalib.models:AnomalibModule"),
    "datamodule": Kind("anomalib.data", "anomalib.data:AnomalibDataModule"),
    "callback": Kind("anomalib.callbacks", "lightning.pytorch:Callback"),
}

PLUGINS: tuple[Plugin, ...] = (
    Plugin("anomalib_plugins.models.slsg:Slsg"),
    Plugin("anomalib_plugins.models.cutswap_patchcore:CutSwapPatchcore"),
    Plugin("anomalib_plugins.models.pouta:Pouta"),
    Plugin("anomalib_plugins.models.sbm_pfam:SbmPfamPadim"),
    Plugin("anomalib_plugins.models.sbm_pfam:SbmPfamPatchcore"),
    Plugin("anomalib_plugins.models.sbm_pfam:SbmPfamCfa"),
    Plugin("anomalib_plugins.data.synthetic:SyntheticAnomaly", "datamodule"),
    Plugin("anomalib_plugins.data.few_shot:FewShot", "datamodule"),
    Plugin("anomalib_plugins.data.dagm:Dagm", "datamodule"),
    Plugin("anomalib_plugins.data.demo_parts.datamodule:DemoParts", "datamodule"),
    Plugin("anomalib_plugins.callbacks.preview:SynthesisPreview", "callback"),
    Plugin("anomalib_plugins.callbacks.graph_neighbors:GraphNeighbors", "callback"),
    Plugin("anomalib_plugins.callbacks.data_check:DataCheck", "callback"),
    Plugin("anomalib_plugins.callbacks.safe_checkpoints:SafeCheckpoints", "callback"),
    Plugin("anomalib_plugins.callbacks.fast_fit:FastCoreset", "callback"),
    Plugin("anomalib_plugins.callbacks.fast_fit:FastGaussians", "callback"),
    Plugin("anomalib_plugins.callbacks.drift_warning:DriftWarning", "callback"),
)

# Plugins that were registered or failed: the class, or the error of its import.
_done: dict[Plugin, type | Exception] = {}


def register() -> None:
    """Register every plugin with anomalib's CLI, ``get_model`` and ``get_datamodule``. Safe to call twice.

    Plugins for parts of anomalib that are not imported yet are registered when these are imported, see
    `anomalib_plugins._startup`. A plugin that cannot be imported gives a warning and does not affect the others.
    anomalib's engine then also works where the link ``latest`` cannot be made.

    Raises:
        ValueError: If two plugins have the same name, or anomalib already has the name of one.
    """
    first: dict[tuple[str, str], Plugin] = {}
    for plugin in PLUGINS:
        other = first.setdefault((plugin.kind, plugin.name.lower()), plugin)  # anomalib ignores case
        if other is not plugin:
            _refuse(plugin, other.module)
    for plugin in PLUGINS:
        host = sys.modules.get(KINDS[plugin.kind].host)
        if host is not None and plugin not in _done:
            _register(plugin, host)
    if "anomalib.models" in sys.modules:
        from anomalib_plugins.compat import go_without_latest

        go_without_latest()


def _register(plugin: Plugin, host: ModuleType) -> None:
    try:
        cls = plugin.load()
    except Exception as error:  # noqa: BLE001  # a broken plugin must not break anomalib or other plugins
        _done[plugin] = error
        text = "%s %s is not available: %s: %s. Everything else of anomalib and anomalib_plugins works."
        logger.warning(text, plugin.kind, plugin.path, type(error).__name__, error)
        return
    known: list[Any] = [*subclasses(_load(KINDS[plugin.kind].base)), getattr(host, plugin.name, cls)]
    for other in known:
        module = getattr(other, "__module__", host.__name__)
        same_name = getattr(other, "__name__", plugin.name).lower() == plugin.name.lower()
        # A user's own class may have the same name; the command line would refuse one of anomalib's as ambiguous.
        if other is not cls and same_name and module.partition(".")[0] in {"anomalib", "anomalib_plugins"}:
            _refuse(plugin, module)
    setattr(host, plugin.name, cls)  # the command line finds the class because it is imported
    if plugin.kind == "model":
        host.ALLOWED_MODULES.update({"anomalib_plugins", "anomalib_plugins.models"})
    _done[plugin] = cls


def _refuse(plugin: Plugin, other: str) -> None:
    msg = f"{plugin.kind} {plugin.name!r} is defined by both {other} and {plugin.module}: rename ours"
    raise ValueError(msg)


def lazy_names(package: str) -> tuple[Callable[[str], type], Callable[[], list[str]]]:
    """Create ``__getattr__`` and ``__dir__`` for a package that imports its plugins on first use.

    With eager imports one broken plugin would break all others, and every program that imports torch would import
    anomalib.

    Args:
        package: Name of the package, which provides all plugins defined in its modules.
    """
    plugins = {plugin.name: plugin for plugin in PLUGINS if plugin.module.startswith(f"{package}.")}

    def load(name: str) -> type:
        if name not in plugins:
            msg = f"module {package!r} has no attribute {name!r}; its plugins are {', '.join(plugins)}"
            raise AttributeError(msg)
        return plugins[name].load()

    return load, lambda: sorted({*vars(sys.modules[package]), *plugins})


def import_errors() -> dict[str, Exception]:
    """Import errors of broken plugins, by path of the plugin."""
    return {plugin.path: result for plugin, result in _done.items() if isinstance(result, Exception)}


def _load(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def subclasses(cls: type) -> Iterator[type]:
    """Yield all imported subclasses, direct and indirect."""
    direct: list[type] = cls.__subclasses__()
    for subclass in direct:
        yield subclass
        yield from subclasses(subclass)
