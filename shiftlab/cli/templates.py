"""The sub-command that makes the workspaces of a finished run again: ``shiftlab templates``."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shiftlab.cli.fitting import rows, say_json
from shiftlab.errors import ConfigError

if TYPE_CHECKING:
    from shiftlab.templates import Templates

__all__ = ["add"]

_DESCRIPTION = """\
Make the templates and pyhf workspaces of a finished run again from its responses, with other settings of the templates;
nothing is simulated and no network is run. One folder for each arm and seed, as in the run: workspace.json, its sidecar
and HS3 form, and a figure of the templates; tables of all of them beside. The run's folder is only read."""

_SHOWN = 6
"""Nuisances in the figure, largest relative shift first."""


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the sub-command to the parser."""
    templates = commands.add_parser(
        "templates", parents=[common], help="make the workspaces of a finished run again", description=_DESCRIPTION
    )
    templates.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    templates.add_argument(
        "words", nargs="*", metavar="KEY=VALUE", help="templates.bins=4 exposure.nue_cc=200, what departs from the run"
    )
    templates.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the workspaces go")
    templates.add_argument("--json", action="store_true", help="print what was written as JSON")
    templates.set_defaults(action=_templates)


def _templates(given: argparse.Namespace) -> int:
    """Make, write and list the templates."""
    from tqdm import tqdm

    from shiftlab.config.template_words import template_words
    from shiftlab.run.again import remade_templates, run_record

    out: Path = given.out
    if out.exists() and (not out.is_dir() or out.resolve() == given.run.resolve()):
        raise ConfigError(f"--out {out}: another folder than the run's is wanted.")
    record = run_record(given.run)
    settings, exposure = template_words(record, given.words)
    made = remade_templates(given.run, record, settings, exposure)
    found = []
    every = [one for each in made.values() for one in each.values()]
    for one in tqdm(every, desc="workspaces", leave=False, disable=None):
        folder = out / one.name if one.recalibrate == "none" else out / one.name / one.recalibrate
        one.save(folder)
        _draw(one, folder)
        found.append(_record(one, folder))
    _write_tables(every, out)
    if given.json:
        say_json({"run": str(given.run), "templates": found})
    else:
        print("\n".join(_lines(found)))
    return 0


def _draw(one: Templates, folder: Path) -> None:
    from shiftlab.report.show import write
    from shiftlab.report.template_figures import ranked_nuisances, template_figures

    table = one.frame()
    figures = template_figures(table, ranked_nuisances(table)[:_SHOWN], one.labels)
    for number, figure in enumerate(figures, start=1):
        write(figure, folder / (f"templates_{number}.png" if number > 1 else "templates.png"))


def _record(one: Templates, folder: Path) -> dict[str, Any]:
    from shiftlab.templates.lint import lint

    count = Counter(finding.severity for finding in lint(one.workspace(), one.meta()))
    return {
        "workspace": str(folder / "workspace.json"),
        "arm": one.arm,
        "seed": one.seed,
        "recalibrate": one.recalibrate,
        "channels": list(one.channels),
        "bins": int(one.nominal.shape[1]),
        "nuisances": list(one.nuisances),
        "processing_steps": len(one.steps),
        "lint_errors": count["error"],
        "lint_warnings": count["warning"],
    }


def _write_tables(made: list[Templates], out: Path) -> None:
    import pandas as pd

    from shiftlab.provenance import write_text

    labels = [{"arm": one.arm, "seed": one.seed, "recalibrate": one.recalibrate} for one in made]
    pairs = list(zip(labels, made, strict=True))
    tables = {
        "templates": pd.concat([one.frame() for one in made], ignore_index=True),
        "yields": pd.concat([one.yields() for one in made], ignore_index=True),
        "constraints": pd.concat([one.constraints() for one in made], ignore_index=True),
        "findings": pd.DataFrame([label | finding.as_dict() for label, one in pairs for finding in one.findings]),
        "processing": pd.DataFrame([label | entry.as_dict() for label, one in pairs for entry in one.steps]),
    }
    for name, table in tables.items():
        write_text(out / f"{name}.csv", table.to_csv(index=False))


def _lines(found: list[dict[str, Any]]) -> list[str]:
    cells = [["workspace", "channels", "bins", "nuisances", "processed", "lint"]]
    for one in found:
        errors, warnings = one["lint_errors"], one["lint_warnings"]
        said = f"{errors} error{'' if errors == 1 else 's'}, {warnings} warning{'' if warnings == 1 else 's'}"
        numbers = (len(one["channels"]), one["bins"], len(one["nuisances"]), one["processing_steps"])
        cells.append([one["workspace"], *map(str, numbers), said])
    return rows(cells)
