"""What the sub-commands that fit workspaces share: which workspace, which data, what is fixed, where results go."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shiftlab.cli.lint import where
from shiftlab.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pandas as pd

    from shiftlab.fit.likelihood import Fitted
    from shiftlab.fit.opened import Opened

__all__ = [
    "add_words",
    "fitted",
    "header",
    "number",
    "open_given",
    "plain",
    "poi_of",
    "rows",
    "signed",
    "say_json",
    "write_tables",
]


def add_words(parser: argparse.ArgumentParser) -> None:
    """Add the workspace and the words that say what is fitted to it."""
    parser.add_argument("workspace", type=Path, metavar="WORKSPACE", help="JSON file, or folder with workspace.json")
    parser.add_argument("--asimov", action="store_true", help="fit the nominal expectation, not the observations")
    parser.add_argument("--spectrum", metavar="NAME", help="fit a spectrum of the sidecar, say injected")
    parser.add_argument("--measurement", metavar="NAME", help="which measurement (the first)")
    parser.add_argument("--poi", metavar="NAME", help="another parameter of interest than the measurement's")
    parser.add_argument(
        "--fix", action="append", default=[], metavar="NAME[=VALUE]", help="hold a parameter (again for more)"
    )
    parser.add_argument(
        "--free", action="append", default=[], metavar="NAME", help="let a parameter move that the workspace holds"
    )
    parser.add_argument("--patchset", type=Path, metavar="FILE", help="apply a patch of a patch set; needs --patch")
    parser.add_argument("--patch", metavar="NAME", help="which patch")
    parser.add_argument("--normsys", metavar="CODE", help="interpolation of yields (the sidecar's, or code4)")
    parser.add_argument("--histosys", metavar="CODE", help="interpolation of shapes (the sidecar's, or code4p)")
    parser.add_argument("--no-lint", action="store_true", help="go on though `shiftlab lint` finds errors")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write tables (CSV), results (JSON) and figures")


def open_given(given: argparse.Namespace) -> Opened:
    """Return the checked workspace that the words name.

    Raises:
        DataError: it cannot be read, or the linter finds an error in it.
        ConfigError: the words contradict each other.
    """
    from shiftlab.fit.opened import open_workspace
    from shiftlab.templates.lint import lint
    from shiftlab.templates.lint.files import documents, patched

    if given.asimov and given.spectrum:
        raise ConfigError(f"--asimov and --spectrum {given.spectrum} are given; one of them is wanted.")
    if bool(given.patch) != bool(given.patchset):
        raise ConfigError("--patch NAME and --patchset FILE are wanted together.")
    if given.out is not None and given.out.exists() and not given.out.is_dir():
        raise ConfigError(f"--out {given.out} is a file; a folder is wanted.")
    inside = given.workspace / "workspace.json"
    found = list(documents(inside if inside.is_file() else given.workspace))
    if len(found) > 1:
        listed = ", ".join(one.name for one in found[:4])
        raise ConfigError(f"{given.workspace} holds {len(found)} workspaces; name one of them: {listed}, ...")
    (document,) = found
    if given.patchset:
        (document,) = patched(document, given.patchset, [given.patch])
    spectrum = "asimov" if given.asimov else given.spectrum or "data"
    if not given.no_lint:
        errors = [
            one for one in lint(document.spec, document.meta, asimov=spectrum != "data") if one.severity == "error"
        ]
        if errors:
            more = f" (and {len(errors) - 1} more: `shiftlab lint {given.workspace}`)" if len(errors) > 1 else ""
            raise DataError(
                f"{document.name}: error {errors[0].code}: {where(errors[0])}{errors[0].message}{more} "
                "--no-lint fits it all the same."
            )
    codes = {kind: code for kind in ("normsys", "histosys") if (code := getattr(given, kind))}
    return open_workspace(
        document.name, document.spec, document.meta, measurement=given.measurement, spectrum=spectrum, codes=codes
    )


def fitted(given: argparse.Namespace, opened: Opened) -> Fitted:
    """Fit the workspace with what ``--fix`` holds and ``--free`` lets go.

    Raises:
        FitError: the fit does not converge.
        ConfigError: a value is no number.
    """
    from shiftlab.fit.likelihood import fit

    p = opened.model.parameters
    fixed: dict[str, float] = {}
    for word in given.fix:
        name, equals, text = word.partition("=")
        try:
            fixed[name] = float(text) if equals else float(p.initial[p.index(name)])
        except ValueError:
            raise ConfigError(f"--fix {word}: '{text}' is no number.") from None
        index = p.index(name)
        if not math.isfinite(fixed[name]) or not p.lower[index] <= fixed[name] <= p.upper[index]:
            raise ConfigError(f"--fix {word}: '{name}' must be from {p.lower[index]:g} to {p.upper[index]:g}.")
    if given.poi:
        p.index(given.poi)
    for name in given.free:
        if name in fixed:
            raise ConfigError(f"'{name}' is given to --fix and to --free.")
    return fit(opened.model, opened.data, fixed=fixed, free=given.free, what=opened.what)


def poi_of(given: argparse.Namespace, opened: Opened) -> str | None:
    """Return the name of the parameter of interest, None where there is none."""
    if given.poi:
        return str(given.poi)
    return None if opened.model.poi is None else opened.model.parameters.names[opened.model.poi]


def header(opened: Opened) -> str:
    """Return one line: what is fitted."""
    model = opened.model
    said = {"data": "its observations", "asimov": "Asimov data"}.get(opened.what, f"spectrum '{opened.what}'")
    if opened.what == "data" and opened.expects:
        said = "its observations, which are Asimov data"
    return (
        f"{opened.name}: measurement {model.name}, {number(len(model.channels), 'channel')}, "
        f"{number(model.bins, 'bin')}, {number(len(model.parameters), 'parameter')}; fitted to {said}"
    )


def number(count: int, noun: str) -> str:
    """Return ``1 bin`` or ``3 bins``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def signed(value: float, digits: int = 3) -> str:
    """Return a number with its sign and three significant figures; a dash for NaN."""
    return f"{value if abs(value) > 1e-7 else 0.0:+.{digits}g}" if math.isfinite(value) else "-"


def plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as JSON values; what is not finite is null."""
    found: list[dict[str, Any]] = json.loads(table.to_json(orient="records", double_precision=15))
    return found


def rows(cells: Sequence[Sequence[str]], *, left: int = 1) -> list[str]:
    """Return lines with aligned columns: the first ``left`` and the last to the left, the others to the right."""
    count = len(cells[0])
    wide = [max(len(row[i]) for row in cells) for i in range(count)]
    lines = []
    for row in cells:
        words = [
            text.ljust(wide[i]) if i < left or i == count - 1 else text.rjust(wide[i]) for i, text in enumerate(row)
        ]
        lines.append("  ".join(words).rstrip())
    return lines


def say_json(value: Mapping[str, Any]) -> None:
    """Print a plain value as JSON."""
    print(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))


def write_tables(folder: Path, tables: Mapping[str, pd.DataFrame], name: str, value: Mapping[str, Any]) -> None:
    """Write each table as CSV and the results as JSON into ``folder``, each whole.

    Raises:
        RunError: a file cannot be written; the previous one stays.
    """
    from shiftlab.provenance import write_json, write_text

    for title, table in tables.items():
        write_text(folder / f"{title}.csv", table.to_csv(index=False))
    write_json(folder / f"{name}.json", value)
