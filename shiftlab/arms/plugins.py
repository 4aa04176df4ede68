"""Loose plug-in files in spawned processes: a process loads those that the one that started it has loaded."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shiftlab.detector.effect import effects

__all__ = ["LoadedPlugins"]

_PREFIX: Final = "shiftlab_plugin_"
"""How the registry names modules of loose plug-in files."""


@dataclass(frozen=True)
class LoadedPlugins:
    """The loose plug-in files that a process has loaded.

    Another process that is sent this loads them as it arrives; what needs them must be sent after it.
    """

    files: tuple[str, ...]

    @classmethod
    def here(cls) -> LoadedPlugins:
        """Return those of this process."""
        return cls(tuple(str(sys.modules[name].__file__) for name in sorted(sys.modules) if name.startswith(_PREFIX)))

    def __reduce__(self) -> tuple[Any, ...]:
        return _loaded, (self.files,)


def _loaded(files: tuple[str, ...]) -> LoadedPlugins:
    for file in files:
        effects().add_file(Path(file))
    return LoadedPlugins(files)
