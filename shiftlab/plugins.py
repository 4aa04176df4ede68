"""Loose plug-in files: imported once by path, and again in the processes that a process starts."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from shiftlab.errors import ConfigError

__all__ = ["LoadedPlugins", "load_plugin", "load_plugins", "loaded_plugins"]

_PREFIX: Final = "shiftlab_plugin_"


def load_plugin(path: Path) -> ModuleType:
    """Import one loose Python file, or return its module if this process has it already.

    Raises:
        ConfigError: there is no such file, it cannot be imported, or another plug-in file of the same name is loaded.
    """
    if not path.is_file():
        raise ConfigError(f"plugins: no file '{path}'.")
    path = path.resolve()
    name = f"{_PREFIX}{path.stem}"
    if name in sys.modules:
        known = sys.modules[name]
        if known.__file__ != str(path):
            raise ConfigError(f"plugins: '{path}' and '{known.__file__}' are both called '{path.stem}'. Rename one.")
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"plugins: '{path}' is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (ImportError, SyntaxError, AttributeError, NameError, TypeError) as error:
        # Half a module would be taken for the whole one, here and in every process that this one starts.
        del sys.modules[name]
        raise ConfigError(f"plugins: '{path}' cannot be imported: {error}") from error
    except BaseException:
        del sys.modules[name]
        raise
    return module


def loaded_plugins() -> tuple[str, ...]:
    """Return the paths of the loose plug-in files that this process has loaded."""
    return tuple(str(sys.modules[name].__file__) for name in sorted(sys.modules) if name.startswith(_PREFIX))


def load_plugins(files: Iterable[str]) -> None:
    """Load the files that another process has loaded.

    Raises:
        ConfigError: a file is gone, or cannot be imported here.
    """
    for file in files:
        load_plugin(Path(file))


@dataclass(frozen=True)
class LoadedPlugins:
    """The loose plug-in files that a process has loaded.

    Another process that is sent this loads them as it arrives; what needs them must be sent after it.
    """

    files: tuple[str, ...] = field(default_factory=loaded_plugins)

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (self.files,)


def _arrived(files: tuple[str, ...]) -> LoadedPlugins:
    load_plugins(files)
    return LoadedPlugins(files)
