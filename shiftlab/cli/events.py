"""Sub-commands on files of events: ``shiftlab inspect`` and ``convert``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

    convert = commands.add_parser(
        "convert",
        parents=[common],
        help="write a readable file in another format",
        description="Read a file of events of any known format and write the project's own (docs: formats/shiftlab), "
        "which is packed to 0.1%% in energy and 18 um in position unless --exact is given.",
    )
    convert.add_argument("file", type=Path, metavar="IN")
    convert.add_argument("out", type=Path, metavar="OUT")
    convert.add_argument("--to", default="sample", metavar="FORMAT", help="sample (default), omnilearned or minerva_ml")
    convert.add_argument("--label", default="label", metavar="TRUTH", help="truth that becomes OmniLearned's class")
    convert.add_argument("--sort", action="store_true", help="put the rows of unsorted event tables in order first")
    convert.add_argument("--exact", action="store_true", help="keep every number bit for bit")
    convert.add_argument("--skip-bad", action="store_true", help="leave bad events out, count and list them")
    convert.add_argument("--force", action="store_true", help="overwrite OUT")
    convert.add_argument(
        "--origin",
        type=float,
        nargs=3,
        default=(0.0, 0.0, 0.0),
        metavar=("X", "Y", "Z"),
        help="position in IN, cm, that becomes (0, 0, 0)",
    )
    convert.set_defaults(action=_convert)


def _inspect(given: argparse.Namespace) -> int:
    """Print the description of a file; with ``--check``, read it all."""
    from shiftlab.events import BadEvent, open_events, stream
    from shiftlab.events.sample import refuse_changed

    if given.check or given.skip_bad:
        _check_heaps(given.file)
    with open_events(given.file) as source:
        description = source.describe()
    bad: list[BadEvent] = []
    digest = False
    if given.check or given.skip_bad:
        digest = refuse_changed(given.file)
        good = sum(len(piece) for piece in stream(given.file, skipped=bad if given.skip_bad else None))
    if given.json:
        record: dict[str, Any] = {"file": str(given.file), **asdict(description)}
        if given.check or given.skip_bad:
            record |= {"good": good, "bad": [asdict(one) for one in bad], "digest_holds": digest or None}
        print(json.dumps(record, indent=1, ensure_ascii=False))
        return 0
    print("\n".join(_lines(given.file, description)))
    if given.check or given.skip_bad:
        print(f"checked     {good} events are good, {len(bad)} are bad{'; the digest holds' if digest else ''}")
    for one in bad:
        print(f"  event {one.number}: {one.reason}")
    return 0


def _check_heaps(file: Path) -> None:
    """Walk the heaps of an HDF5 file of any size; opening walks those of smaller ones only."""
    import h5py

    from shiftlab.events.hdf5.heaps import refuse_broken_heaps

    if file.is_file() and h5py.is_hdf5(file):
        refuse_broken_heaps(file)


def _lines(file: Path, description: Description) -> list[str]:
    dialect = f", {description.dialect}" if description.dialect else ""
    dataset = f"  (data set {description.dataset})" if description.dataset else ""
    lines = [
        str(file),
        f"format      {description.format}{dialect}{dataset}",
        f"holds       {description.events} events of {description.holds}",
        *_columns("rows", {name: str(rows) for name, rows in description.rows.items()}),
        *_columns("units", {name: f"[{unit}]" for name, unit in description.units.items()}),
        f"missing     {', '.join(description.missing) or 'nothing'}",
    ]
    for name, value in sorted(description.attributes.items()):
        record = _record(value) if name == "provenance" else {}
        lines += _columns(name, record) if record else [f"  {name} = {value}"]
    return lines


def _columns(title: str, pairs: Mapping[str, str]) -> list[str]:
    """Return lines of two aligned columns, the title before the first."""
    width = max((len(name) for name in pairs), default=0)
    lines = [f"{name.ljust(width)}  {value}" for name, value in pairs.items()] or ["none"]
    return [f"{(title if i == 0 else '').ljust(11)} {line}" for i, line in enumerate(lines)]


def _record(text: str) -> dict[str, str]:
    """Return the entries of a JSON object; nothing where the text is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        name: ", ".join(f"{key} {one}" for key, one in value.items()) if isinstance(value, dict) else str(value)
        for name, value in found.items()
    }


def _typed(given: argparse.Namespace) -> str:
    """Return the command as it is kept with the file: names without folders, and what departs from the defaults."""
    words = ["shiftlab convert", given.file.name, given.out.name]
    words += [f"--{name}" for name in ("sort", "exact") if getattr(given, name)]
    words += ["--skip-bad"] if given.skip_bad else []
    return " ".join([*words, *(["--origin", *map(str, given.origin)] if any(given.origin) else [])])


def _convert(given: argparse.Namespace) -> int:
    """Convert a file and say how fast, how exactly, and what was left out."""
    from tqdm import tqdm

    from shiftlab.events.conversion import convert

    start = time.perf_counter()
    with tqdm(desc="events", unit="event", disable=not sys.stderr.isatty()) as bar:

        def progress(done: int, of: int) -> None:
            bar.total = of
            bar.update(done - bar.n)

        done = convert(
            given.file,
            given.out,
            to=given.to,
            label=given.label,
            sort=given.sort,
            origin=tuple(given.origin),
            exact=given.exact,
            skip_bad=given.skip_bad,
            overwrite=given.force,
            command=_typed(given),
            progress=progress,
        )
    seconds = time.perf_counter() - start
    packed = given.to == "sample" and done.holds != "tokens" and not given.exact
    how = "packed: energies to 0.1%, positions to 18 um; --exact keeps every bit" if packed else "exact"
    print(f"{given.out}: {done.events} events of {done.holds}, {given.out.stat().st_size / 1e6:.1f} MB ({how})")
    print(f"{done.events / seconds:.0f} events/s, {seconds:.1f} s in all; {len(done.left_out)} left out")
    for one in done.left_out:
        print(f"  event {one.number}: {one.reason}")
    return 0
