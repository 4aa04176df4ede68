"""One register per kind of plug-in: effects, readers, tasks, arms and studies, found by entry point."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Generic, TypeVar

from shiftlab.errors import ConfigError, UnknownNameError
from shiftlab.plugins import load_plugin

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Generic[T]):
    """Classes of one base that the packages behind one entry-point group define.

    A class is registered when it is concrete, is defined in a walked module and has a string
    class attribute ``name``. Two classes of one name are refused, naming both files.

    Args:
        group: Entry-point group, say ``shiftlab.shifts``; each entry names a package to walk.
        base: The class that every entry extends.
        what: The word for an entry in messages, say ``effect``.
    """

    def __init__(self, group: str, base: type[T], what: str) -> None:
        """Remember what to look for; nothing is imported yet."""
        self.group = group
        self.base = base
        self.what = what
        self._entries: dict[str, type[T]] | None = None

    def names(self) -> tuple[str, ...]:
        """Return the names of all entries, sorted."""
        return tuple(sorted(self._load()))

    def get(self, name: str) -> type[T]:
        """Return the class of that name.

        Raises:
            UnknownNameError: no entry has the name; the message gives the nearest one.
        """
        entries = self._load()
        if name not in entries:
            raise UnknownNameError(self.what, name, entries)
        return entries[name]

    def __iter__(self) -> Iterator[type[T]]:
        """Give the classes in order of their names."""
        entries = self._load()
        return iter([entries[name] for name in sorted(entries)])

    def add_file(self, path: Path) -> None:
        """Register the classes of one loose Python file (the config key ``plugins``).

        Raises:
            ConfigError: the file does not exist or cannot be imported.
        """
        self._collect(self._load(), load_plugin(path))

    def _load(self) -> dict[str, type[T]]:
        if self._entries is None:
            entries: dict[str, type[T]] = {}
            for module in self._modules():
                self._collect(entries, module)
            self._entries = entries
        return self._entries

    def _modules(self) -> Iterable[ModuleType]:
        for entry in metadata.entry_points(group=self.group):
            package = importlib.import_module(entry.value)
            yield package
            for info in pkgutil.walk_packages(getattr(package, "__path__", []), f"{package.__name__}."):
                yield importlib.import_module(info.name)

    def _collect(self, entries: dict[str, type[T]], module: ModuleType) -> None:
        for value in vars(module).values():
            if not (inspect.isclass(value) and issubclass(value, self.base)):
                continue
            if value.__module__ != module.__name__ or inspect.isabstract(value):
                continue
            name = getattr(value, "name", None)
            if not isinstance(name, str):
                continue
            known = entries.get(name)
            if known is not None and known is not value:
                raise ConfigError(
                    f"two entries of {self.group} are called '{name}': {inspect.getfile(known)} and "
                    f"{inspect.getfile(value)}. Rename one."
                )
            entries[name] = value
