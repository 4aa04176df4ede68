"""Plain mappings into frozen records: types, bounds and key names checked against the record itself."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, Union

from shiftlab.errors import ConfigError, nearest

__all__ = ["Reader", "unknown_key"]

T = TypeVar("T")

_WRONG: Final = object()
"""Stands for a value that could not be used; its mistake is on the list already."""


def unknown_key(where: str, key: str, allowed: Iterable[str]) -> str:
    """Return the message for a key that ``where`` does not have, with the nearest one that it has."""
    names = sorted(allowed)
    close = nearest(key, names)
    hint = f" Did you mean '{_join(where, close)}'?" if close else ""
    return f"{_join(where, key)}: no such key.{hint} Allowed{f' in {where}' if where else ''}: {', '.join(names)}."


@dataclass(frozen=True)
class Reader:
    """Builds records and notes every mistake with its key path.

    Attributes:
        mistakes: One message each; grows while records are read.
        locate: Turns the text of a path into the path that is meant.
    """

    mistakes: list[str]
    locate: Callable[[str], Path]

    def record(self, kind: type[T], given: object, where: str = "") -> T | None:
        """Return a ``kind`` made of the mapping ``given``, or None when something in it is wrong."""
        if not isinstance(given, Mapping):
            self.mistakes.append(f"{where}: {given!r} is given; a group of keys is wanted.")
            return None
        before = len(self.mistakes)
        hints = typing.get_type_hints(kind)
        known: dict[str, Field[Any]] = {entry.name: entry for entry in fields(kind)}  # type: ignore[arg-type]
        self.mistakes.extend(unknown_key(where, str(key), known) for key in given if key not in known)
        values: dict[str, Any] = {}
        for name, entry in known.items():
            path = _join(where, name)
            if name in given:
                values[name] = self._value(hints[name], given[name], path, entry.metadata)
            elif entry.default is MISSING and entry.default_factory is MISSING:
                self.mistakes.append(f"{path}: missing.")
        if len(self.mistakes) > before:
            return None
        try:
            return kind(**values)
        except ConfigError as error:
            self.mistakes.append(str(error))
            return None

    def _value(self, hint: Any, given: object, path: str, bounds: Mapping[str, Any]) -> Any:
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin in (Union, types.UnionType):
            if given is None:
                return None
            (hint,) = (argument for argument in arguments if argument is not type(None))
            return self._value(hint, given, path, bounds)
        if origin is tuple:
            return self._tuple(arguments[0], given, path, bounds)
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return self._mapping(arguments[1], given, path, bounds)
        if is_dataclass(hint):
            return self.record(typing.cast("type[Any]", hint), given, path)
        if hint is Any:
            return given
        if origin is Literal:
            return given if given in arguments else self._wrong(path, given, f"one of {', '.join(map(str, arguments))}")
        return self._scalar(hint, given, path, bounds)

    def _tuple(self, hint: Any, given: object, path: str, bounds: Mapping[str, Any]) -> Any:
        if not isinstance(given, list | tuple):
            return self._wrong(path, given, "a list, as [a, b]")
        values = tuple(self._value(hint, item, f"{path}[{i}]", bounds) for i, item in enumerate(given))
        repeated = sorted({str(value) for value in values if value is not _WRONG and values.count(value) > 1})
        if repeated:
            self.mistakes.append(f"{path}: {', '.join(repeated)} is given more than once.")
        return values

    def _mapping(self, hint: Any, given: object, path: str, bounds: Mapping[str, Any]) -> Any:
        if not isinstance(given, Mapping):
            return self._wrong(path, given, "a group, as {name: value}")
        return {str(key): self._value(hint, item, f"{path}.{key}", bounds) for key, item in given.items()}

    def _scalar(self, hint: Any, given: object, path: str, bounds: Mapping[str, Any]) -> Any:
        if hint is Path:
            return self.locate(given) if isinstance(given, str) else self._wrong(path, given, "a path")
        if hint is str or hint is bool:
            wanted = "text" if hint is str else "true or false"
            return given if isinstance(given, hint) else self._wrong(path, given, wanted)
        whole = hint is int
        if isinstance(given, bool) or not isinstance(given, int if whole else (int, float)) or not math.isfinite(given):
            return self._wrong(path, given, "a whole number" if whole else "a number")
        low, high, above = bounds.get("low"), bounds.get("high"), bounds.get("above")
        if low is not None and given < low:
            return self._wrong(path, given, f"at least {low}")
        if high is not None and given > high:
            return self._wrong(path, given, f"at most {high}")
        if above is not None and given <= above:
            return self._wrong(path, given, f"more than {above}")
        return given if whole else float(given)

    def _wrong(self, path: str, given: object, wanted: str) -> object:
        self.mistakes.append(f"{path}: {given!r} is given; {wanted} is wanted.")
        return _WRONG


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
