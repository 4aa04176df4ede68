"""Sub-commands on files of events: ``shiftlab inspect``."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shiftlab.errors import DataError

if TYPE_CHECKING:
    from shiftlab.events import Description

__all__ = ["add"]


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the sub-commands to the parser."""
    inspect = commands.add_parser("inspect", parents=[common], help="say what a file of events is and what is in it")
    inspect.add_argument("file", type=Path)
    inspect.add_argument("--json", action="store_true", help="as JSON")
    inspect.add_argument("--check", action="store_true", help="read every event; without --skip-bad, stop at a bad one")
    inspect.add_argument("--skip-bad", action="store_true", help="with --check: count and list the bad events")
    inspect.set_defaults(action=_inspect)


def _inspect(given: argparse.Namespace) -> int:
    """Print the description of a file; with ``--check``, read it all."""
    from shiftlab.events import BadEvent, open_events, stream

    if given.check or given.skip_bad:
        _check_heaps(given.file)
    with open_events(given.file) as source:
        description = source.describe()
    bad: list[BadEvent] = []
    if given.check or given.skip_bad:
        if description.format == "sample":
            _check_digest(given.file)
        good = sum(len(piece) for piece in stream(given.file, skipped=bad if given.skip_bad else None))
    if given.json:
        record: dict[str, Any] = {"file": str(given.file), **asdict(description)}
        if given.check or given.skip_bad:
            record |= {"good": good, "bad": [asdict(one) for one in bad]}
        print(json.dumps(record, indent=1, ensure_ascii=False))
        return 0
    print("\n".join(_lines(given.file, description)))
    if given.check or given.skip_bad:
        print(f"checked     {good} events are good, {len(bad)} are bad")
    for one in bad:
        print(f"  event {one.number}: {one.reason}")
    return 0


def _check_heaps(file: Path) -> None:
    """Walk the heaps of an HDF5 file of any size; opening walks those of smaller ones only."""
    import h5py

    from shiftlab.events.hdf5_heaps import refuse_broken_heaps

    if file.is_file() and h5py.is_hdf5(file):
        refuse_broken_heaps(file)


def _check_digest(file: Path) -> None:
    """Refuse a sample whose content is not what its digest says; samples of version 1 have none."""
    from shiftlab.events.sample_digest import check_digest

    digest = check_digest(file)
    if digest.stated and not digest.holds:
        raise DataError(
            f"{file}: was changed after it was written: it states the digest {digest.stated}, and its content has "
            f"{digest.found}."
        )


def _lines(file: Path, description: Description) -> list[str]:
    dialect = f", {description.dialect}" if description.dialect else ""
    dataset = f"  (data set {description.dataset})" if description.dataset else ""
    lines = [
        str(file),
        f"format      {description.format}{dialect}{dataset}",
        f"holds       {description.events} events of {description.holds}",
        f"rows        {', '.join(f'{name} {rows}' for name, rows in description.rows.items())}",
        f"units       {', '.join(f'{name} [{unit}]' for name, unit in description.units.items())}",
        f"missing     {', '.join(description.missing) or 'nothing'}",
    ]
    return lines + [f"  {name} = {value}" for name, value in sorted(description.attributes.items())]
