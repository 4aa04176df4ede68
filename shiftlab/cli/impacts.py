"""The sub-command that ranks nuisances by what they do to the result: ``shiftlab impacts``."""

from __future__ import annotations

import argparse
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from shiftlab.cli.fitting import (
    add_words,
    fitted,
    header,
    number,
    open_given,
    plain,
    poi_of,
    rows,
    say_json,
    signed,
    write_tables,
)
from shiftlab.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

    from shiftlab.fit.likelihood import Fitted
    from shiftlab.fit.likelihood.components import Components
    from shiftlab.fit.opened import Opened

__all__ = ["add"]

_DESCRIPTION = """\
Rank the nuisances of a pyhf workspace by how far each moves the parameter of interest, in two ways. Impacts: fix it one
post-fit sigma up and down and fit everything else again. Components: shift its auxiliary measurement by its sigma; with
those of the data their squares add up to the variance, impacts' do not. A one-sided nuisance has no slope at its best
fit; its impact is read where its profile likelihood rises by 1."""


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the sub-command to the parser."""
    impacts = commands.add_parser(
        "impacts", parents=[common], help="rank the nuisances of a pyhf workspace", description=_DESCRIPTION
    )
    add_words(impacts)
    impacts.add_argument("--prefit", action="store_true", help="fix at one prior sigma instead of one post-fit sigma")
    impacts.add_argument(
        "--top", type=int, default=30, metavar="N", help="refit, print and draw the N largest (30); 0 for all"
    )
    impacts.add_argument(
        "--group",
        action="append",
        default=[],
        metavar="NAME=PATTERN,...",
        help="sum up parameters by name, say gain=gain_*,lifetime_tau (again for more)",
    )
    impacts.set_defaults(action=_impacts)


def _impacts(given: argparse.Namespace) -> int:
    """Fit, rank, say it, and write it."""
    from shiftlab.fit.impact_tables import impact_table
    from shiftlab.fit.likelihood.components import components, groups

    if given.top < 0:
        raise ConfigError(f"--top {given.top}: a number of nuisances is wanted, 0 for all.")
    opened = open_given(given)
    poi = poi_of(given, opened)
    if poi is None:
        raise ConfigError(f"{opened.name} has no parameter of interest; --poi NAME names one.")
    members = _members(given.group, opened)
    found = fitted(given, opened)
    if found.held[found.model.parameters.index(poi)]:
        raise ConfigError(f"'{poi}' is held, so nothing can move it; name another with --poi, or let it go.")
    ranked = impact_table(found, poi=poi, refits=given.top or None, size="prefit" if given.prefit else "postfit")
    parts = components(found.model, found.parameters, poi=poi, held=found.held)
    grouped = groups(parts, members)
    result = _result(opened, found, poi, ranked, parts, grouped) | {"size": "prefit" if given.prefit else "postfit"}
    if given.json:
        say_json(result)
    else:
        print("\n".join([header(opened), *_lines(given, found, poi, ranked, parts, grouped)]))
    if given.out is not None:
        _write(given, opened, found, ranked, parts, grouped, result, poi)
    return 0


def _members(given: list[str], opened: Opened) -> dict[str, list[str]]:
    p = opened.model.parameters
    names = [name for name, on in zip(p.names, p.constrained, strict=True) if on]
    found: dict[str, list[str]] = {}
    for word in given:
        title, equals, text = word.partition("=")
        patterns = [one for one in text.split(",") if one]
        if not (title and equals and patterns):
            raise ConfigError(f"--group {word}: NAME=PATTERN,PATTERN is wanted.")
        if title in found:
            raise ConfigError(f"--group {title} is given twice.")
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise ConfigError(f"--group {word}: no constrained parameter is called '{pattern}'.")
        found[title] = [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]
    return found


def _result(
    opened: Opened, found: Fitted, poi: str, ranked: pd.DataFrame, parts: Components, grouped: pd.DataFrame
) -> dict[str, Any]:
    return {
        "workspace": opened.name,
        "measurement": opened.model.name,
        "spectrum": opened.what,
        "interpolation": dict(opened.codes),
        "poi": {"name": poi, "value": found.value(poi), "error": found.error(poi)},
        "impacts": plain(ranked),
        "components": plain(parts.table()),
        "groups": plain(grouped),
        "sum_check": parts.sum_check,
    }


def _lines(
    given: argparse.Namespace,
    found: Fitted,
    poi: str,
    ranked: pd.DataFrame,
    parts: Components,
    grouped: pd.DataFrame,
) -> list[str]:
    size = "prior" if given.prefit else "post-fit"
    lines = [f"{poi} = {found.value(poi):.4g} ± {found.error(poi):.3g}", ""]
    cells = [[f"change of {poi} at", f"+1 {size} σ", "−1", "closed form", "component", ""]]
    row: Any
    for row in ranked[: given.top or None].itertuples():
        closed = "-" if row.one_sided else signed(row.prefit if given.prefit else row.postfit)
        remark = "one-sided: read off its profile likelihood" if row.how == "profile" else ""
        remark = row.status if row.status in ("failed", "at bound") else remark
        cells.append([row.name, signed(row.up), signed(row.down), closed, signed(row.component), remark])
    lines += rows(cells)
    if given.top and len(ranked) > given.top:
        lines.append(f"and {number(len(ranked) - given.top, 'smaller one')} (--top 0 shows all)")
    table = parts.table()
    shares = [["components", f"σ({poi})", "of the variance"]]
    for row in table[table["group"] == "group"].itertuples():
        shares.append([row.component, f"{row.sigma:.4g}", f"{row.fraction:.1%}"])
    lines += ["", *rows(shares)]
    lines.append(f"sum check: the squares of all components over the variance, less 1: {parts.sum_check:.1e}")
    ratio = found.error(poi) / parts.variance**0.5 - 1.0
    if abs(ratio) > 0.01:
        lines.append(
            f"the fit's error is {ratio:+.1%} off this total: it is that of the data seen, the total that of the data "
            "expected at the best fit"
        )
    if len(grouped):
        cells = [["groups", "sum of squares", "σ lost by fixing", ""]]
        cells += [[str(r.group), f"{r.quadrature:.4g}", f"{r.conditional:.4g}", ""] for r in grouped.itertuples()]
        lines += ["", *rows(cells)]
    return lines


def _write(
    given: argparse.Namespace,
    opened: Opened,
    found: Fitted,
    ranked: pd.DataFrame,
    parts: Components,
    grouped: pd.DataFrame,
    result: dict[str, Any],
    poi: str,
) -> None:
    from shiftlab.fit.causes import parameter_table
    from shiftlab.report.show import write
    from shiftlab.report.workspace_figures import pull_impact_figure

    parameters = parameter_table(found)
    tables = {"impacts": ranked, "components": parts.table(), "parameters": parameters}
    write_tables(given.out, tables | ({"groups": grouped} if len(grouped) else {}), "impacts", result)
    shown = ranked[: given.top or None]
    if len(shown):
        write(pull_impact_figure(parameters, shown, poi, data=not opened.expects), given.out / "pulls_impacts.png")
