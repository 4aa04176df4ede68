"""Where calzone and Geant4's data tables are, and which command installs what is missing."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from shiftlab.errors import ConfigError

__all__ = ["checkout_tables", "default_tables", "find_tables", "use_tables"]

VARIABLE = "GEANT4_DATA_DIR"
"""Where calzone looks for the tables; it reads the variable once, when it is imported."""

_MARK = "G4EMLOW8.8"
"""A folder that every set of tables for Geant4 11.4 has."""

_INSTALL = 'calzone is not installed: pip install "shiftlab[sim]"'
_DOWNLOAD = (
    "no Geant4 data tables found: `python -m calzone download` fetches them (2 GB, into {default}), or say where "
    f"they are with transport.tables=FOLDER or {VARIABLE}=FOLDER. Looked in {{places}}"
)


def default_tables() -> Path:
    """Return the folder that ``python -m calzone download`` fills (calzone 1.2, Linux and macOS)."""
    return Path.home() / ".local" / "share" / "calzone" / "data"


def checkout_tables() -> Path:
    """Return where a checkout keeps the reduced tables; an installed package has none there."""
    return Path(__file__).resolve().parents[3] / "tests" / "data" / "geant4_tables"


def find_tables(given: Path | None = None, fallbacks: Sequence[Path] | None = None) -> Path:
    """Return the folder of Geant4's tables, absolute.

    Args:
        given: The folder that the user names; nothing else is then tried.
        fallbacks: Folders to try when neither ``given`` nor the variable says; by default the checkout's
            reduced tables, then calzone's own folder.

    Raises:
        ConfigError: calzone or the tables are missing; one message says which commands install them.
    """
    named = os.environ.get(VARIABLE, "")
    if given is not None:
        places = [given]
    elif named:
        places = [Path(named)]
    else:
        places = list(fallbacks if fallbacks is not None else (checkout_tables(), default_tables()))
    found = next((place for place in places if (place / _MARK).is_dir()), None)
    missing = [] if importlib.util.find_spec("calzone") else [_INSTALL]
    if found is None and given is not None:
        missing.append(f"transport.tables: no folder '{_MARK}' in {given}; `python -m calzone download` makes one")
    elif found is None:
        missing.append(_DOWNLOAD.format(default=default_tables(), places=", ".join(map(str, places))))
    if missing or found is None:
        raise ConfigError(f"simulation: {'; '.join(missing)}.")
    return found.resolve()


def use_tables(folder: Path) -> None:
    """Let calzone read its tables from ``folder``; before its first import, for it does not look again.

    Raises:
        ConfigError: calzone is not installed, the folder has no tables, or another one is in use.
    """
    chosen = find_tables(folder)
    if "calzone" not in sys.modules:
        os.environ[VARIABLE] = str(chosen)
        return
    used = Path(os.environ.get(VARIABLE) or default_tables()).resolve()
    if used != chosen:
        raise ConfigError(f"calzone already uses the tables in {used}, not {chosen}.")
