"""User errors: what was given, what is allowed, where, and the nearest valid name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["ConfigError", "DataError", "RunError", "ShiftlabError", "UnknownNameError", "nearest"]


class ShiftlabError(Exception):
    """A mistake that the user can mend; the command line prints it in one line and exits with 2."""


class DataError(ShiftlabError):
    """An input file or event that cannot be used; the message names file, event and column."""


class ConfigError(ShiftlabError):
    """A configuration key or value that is not allowed; the message names the key and what is."""


class RunError(ShiftlabError):
    """A run folder, lock or output that stands in the way; the message says what to do."""


class UnknownNameError(ConfigError):
    """A name that no registry entry has."""

    def __init__(self, what: str, name: str, allowed: Iterable[str]) -> None:
        """Say which name of ``what`` was given, the nearest valid one and all that are allowed."""
        names = sorted(allowed)
        close = nearest(name, names)
        hint = f" Did you mean '{close}'?" if close else ""
        super().__init__(f"unknown {what} '{name}'.{hint} Allowed: {', '.join(names) or 'none'}.")


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """Return the allowed name most like ``name``, or None when nothing is close."""
    matches = difflib.get_close_matches(name, list(allowed), n=1, cutoff=0.5)
    return matches[0] if matches else None
