"""The sub-command that fits a workspace: ``shiftlab fit``."""

from __future__ import annotations

import argparse
import math
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

if TYPE_CHECKING:
    import pandas as pd

    from shiftlab.fit.likelihood import Fitted
    from shiftlab.fit.opened import Opened

__all__ = ["add"]

_DESCRIPTION = """\
Fit a pyhf workspace, one of other programs too: best fit, error, goodness of fit, pulls and constraints. A nuisance
with a pull beyond 1 or a post-fit error below 0.7 of its prior is flagged, with the channel that causes it. The
linter runs first; what it calls an error is not fitted. `workspace.meta.json` beside `workspace.json` gives the
interpolation codes, bin edges and errors of the variations."""

_SHOWN = 30
"""Most parameters in a figure."""


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the sub-command to the parser."""
    fit = commands.add_parser("fit", parents=[common], help="fit a pyhf workspace", description=_DESCRIPTION)
    add_words(fit)
    fit.set_defaults(action=_fit)


def _fit(given: argparse.Namespace) -> int:
    """Fit, say what came out, and write it."""
    from shiftlab.fit.causes import parameter_table

    opened = open_given(given)
    found = fitted(given, opened)
    poi = poi_of(given, opened)
    table = parameter_table(found)
    result = _result(opened, found, poi, table)
    if given.json:
        say_json(result)
    else:
        print("\n".join([header(opened), *_lines(opened, found, poi, result, table)]))
    if given.out is not None:
        _write(given, opened, found, poi, table, result)
    return 0


def _result(opened: Opened, found: Fitted, poi: str | None, table: pd.DataFrame) -> dict[str, Any]:
    """Return the results as JSON values."""
    best: dict[str, Any] | None = None
    if poi is not None:
        best = {"name": poi, "value": found.value(poi), "error": found.error(poi)} | _interval(found, poi)
    tested = not opened.expects and found.ndf > 0
    return {
        "workspace": opened.name,
        "measurement": opened.model.name,
        "spectrum": opened.what,
        "interpolation": dict(opened.codes),
        "poi": best,
        "twice_nll": found.twice_nll,
        "goodness": found.goodness,
        "ndf": found.ndf,
        "p_value": found.p_value if tested else None,
        "at_bound": list(found.at_bound),
        "convex": found.convex,
        "parameters": plain(table),
    }


def _interval(found: Fitted, poi: str) -> dict[str, float | None]:
    """Return the ends where -2 ln L rises by 1; None at a bound, or where the parameter was held."""
    from shiftlab.fit.likelihood.scan import interval

    if found.held[found.model.parameters.index(poi)]:
        return {"lower": None, "upper": None}
    ends = interval(found, poi)
    return {side: None if side in ends.at_bound else float(getattr(ends, side)) for side in ("lower", "upper")}


def _lines(opened: Opened, found: Fitted, poi: str | None, result: dict[str, Any], table: pd.DataFrame) -> list[str]:
    lines = []
    if poi is not None:
        best = result["poi"]
        ends = [f"{best[side] - best['value']:+.3g}" for side in ("lower", "upper") if best[side] is not None]
        bound = "" if len(ends) == 2 else "; the other end is a bound"
        profile = f"  (-2 ln L rises by 1 at {' and '.join(ends)}{bound})" if ends else ""
        value = best["value"] if abs(best["value"]) > 1e-6 * best["error"] else 0.0
        lines.append(f"{poi} = {value:.4g} ± {best['error']:.3g}{profile}")
    if opened.expects:
        lines.append("goodness of fit: nothing is tested by Asimov data")
    elif found.ndf > 0:
        freedom = f"{number(found.ndf, 'degree')} of freedom"
        goodness = found.goodness if found.goodness > 1e-9 else 0.0
        lines.append(f"goodness of fit: {goodness:.4g} for {freedom}, p = {found.p_value:.3g}")
        if opened.noise > 0.1:
            noise = f"{opened.noise:.2g} times the Poisson one"
            lines.append(f"its Monte Carlo variance is {noise}: pulls and p scatter more than those of data")
    else:
        lines.append("goodness of fit: as many free parameters as bins, nothing is tested")
    if found.at_bound:
        lines.append(f"at a bound, where errors mean little: {', '.join(found.at_bound)}")
    if not found.convex:
        lines.append("the likelihood is not convex at its minimum: errors are from the expected information")
    binwise = table["kind"].isin(["staterror", "shapesys"])
    main = table[~binwise | table["flag"].str.contains("pulled")]
    main = main.assign(order=main["name"] != poi).sort_values("order", kind="stable")
    cells = [["parameter", "best fit", "error", "pull", "constraint", ""]]
    row: Any
    for row in main.itertuples():
        numbers = [
            f"{row.bestfit:.3f}",
            f"{row.error:.3f}",
            _optional(row.pull, "+.2f"),
            _optional(row.constraint, ".2f"),
        ]
        cells.append([str(row.name), *numbers, _remark(row, opened)])
    quiet, tight = len(table) - len(main), int((binwise & table["flag"].str.contains("constrained")).sum())
    more = [f"and {number(quiet, 'parameter')} of single bins (Monte Carlo statistics), not pulled"] if quiet else []
    if tight:
        more.append(
            f"in {number(tight, 'bin')} the data know the rate better than the simulation does (constraint below 0.7)"
        )
    return [*lines, "", *rows(cells), *more]


def _optional(value: float, form: str) -> str:
    return format(value + 0.0 if abs(value) > 5e-4 else 0.0, form) if math.isfinite(value) else "-"


def _remark(row: Any, opened: Opened) -> str:
    words = [] if row.status == "free" else [row.status]
    binwise = row.kind in ("staterror", "shapesys")
    if "pulled" in row.flag:
        part = "" if binwise else f" ({signed(row.pull_part)} of {signed(row.pull)})"
        words.append(f"PULLED by channel {row.pull_channel}{part}")
    if "constrained" in row.flag:
        part = "" if binwise else f" ({row.constraint_share:.0%} of the information)"
        words.append(f"CONSTRAINED by channel {row.constraint_channel}{part}")
        fake = opened.limits.get(row.name, {}).get("fake_sigma")
        if fake is not None:
            words.append(f"Monte Carlo noise alone would give {fake:.2f}")
    return "; ".join(words)


def _write(
    given: argparse.Namespace,
    opened: Opened,
    found: Fitted,
    poi: str | None,
    table: pd.DataFrame,
    result: dict[str, Any],
) -> None:
    """Write tables and figures."""
    from shiftlab.fit.fit_tables import rate_table, scan_table, variation_table
    from shiftlab.fit.impact_tables import impact_table
    from shiftlab.report.show import write
    from shiftlab.report.template_figures import template_figures
    from shiftlab.report.workspace_figures import correlation_figure, pull_impact_figure, scan_figure

    correlation = _correlation(found, poi)
    kinds = dict(zip(table["name"], table["kind"], strict=True))
    held = poi is None or bool(found.held[found.model.parameters.index(poi)])
    impacts = None if held else impact_table(found, poi=poi, refits=_SHOWN)
    ranked = list(table["name"][table["kind"] == "nuisance"]) if impacts is None else list(impacts["name"])
    nuisances = [name for name in ranked if kinds[name] == "nuisance"]
    scanned = [name for name in nuisances if table.set_index("name")["status"][name] != "fixed"][:5]
    scans = scan_table(found, [*([] if held or poi is None else [poi]), *scanned])
    variations = variation_table(opened, nuisances)
    tables = {
        "parameters": table,
        "correlation": correlation.rename_axis("parameter").reset_index(),
        "rates": rate_table(opened, found),
        "scans": scans,
        "variations": variations,
    }
    write_tables(given.out, tables if impacts is None else tables | {"impacts": impacts}, "fit", result)
    if impacts is not None and len(impacts) and poi is not None:
        write(
            pull_impact_figure(table, impacts[:_SHOWN], poi, data=not opened.expects), given.out / "pulls_impacts.png"
        )
    if len(correlation):
        write(correlation_figure(_strongest(correlation)), given.out / "correlation.png")
    if len(scans):
        write(scan_figure(scans), given.out / "scans.png")
    for place, figure in enumerate(template_figures(variations, nuisances[:6], opened.labels), start=1):
        write(figure, given.out / (f"templates_{place}.png" if place > 1 else "templates.png"))


def _correlation(found: Fitted, poi: str | None) -> pd.DataFrame:
    """Return post-fit correlations of all parameters that moved, that of interest first, those of single bins last."""
    import numpy as np
    import pandas as pd

    covariance = found.full_covariance
    p = found.model.parameters
    last = np.isin(np.arange(len(p)), p.of_kind("staterror", "shapesys"))
    order = np.lexsort((last, np.array([name != poi for name in p.names])))
    free = order[np.diag(covariance)[order] > 0.0]
    error = np.sqrt(np.diag(covariance)[free])
    names = [p.names[i] for i in free]
    return pd.DataFrame(covariance[np.ix_(free, free)] / np.outer(error, error), index=names, columns=names)


def _strongest(correlation: pd.DataFrame) -> pd.DataFrame:
    """Return the part with parameters that have a correlation above 5%, at most ``_SHOWN`` of them, in their order."""
    import numpy as np

    others = np.abs(correlation.to_numpy() - np.eye(len(correlation)))
    largest = others.max(axis=1, initial=0.0)
    order = np.argsort(-largest, kind="stable")[:_SHOWN]
    kept = np.sort(order[largest[order] > 0.05]) if (largest > 0.05).any() else np.sort(order)
    names = correlation.index[kept]
    return correlation.loc[names, names]
