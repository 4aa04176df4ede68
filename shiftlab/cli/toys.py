"""The sub-command that tests a fit by toy experiments: ``shiftlab toys``."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from shiftlab.cli.fitting import add_words, fitted, header, open_given, poi_of, say_json, write_tables
from shiftlab.errors import ConfigError

if TYPE_CHECKING:
    from shiftlab.fit.likelihood import Fitted
    from shiftlab.fit.likelihood.toys import Toys
    from shiftlab.fit.opened import Opened

__all__ = ["add"]

_DESCRIPTION = """\
Draw toy data and auxiliary measurements from a pyhf workspace and fit them: does the interval hold the truth as often
as it claims, and do toys fit as badly as the data do? The truth is the best fit to the data, or what --at and --set
say. A toy whose fit fails stops nothing and is counted. With --out, finished blocks of 250 toys are kept in
FOLDER/toys: the same command goes on after a stop, and a larger --toys adds to what is there."""

_LEVELS = (0.6827, 0.95)


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the sub-command to the parser."""
    toys = commands.add_parser(
        "toys", parents=[common], help="test the fit of a pyhf workspace by toys", description=_DESCRIPTION
    )
    add_words(toys)
    toys.add_argument("--toys", type=int, default=1000, metavar="N", help="how many (1000)")
    toys.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the draws (0)")
    toys.add_argument(
        "--at", choices=("fit", "nominal"), default="fit", help="true parameters: the best fit, or the nominal ones"
    )
    toys.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="true value of a parameter (again for more)"
    )
    toys.add_argument("--fresh", action="store_true", help="discard toys of another identity in FOLDER/toys")
    toys.set_defaults(action=_toys)


def _toys(given: argparse.Namespace) -> int:
    """Draw and fit toys, say what they show, and write it."""
    from dataclasses import replace

    from shiftlab.fit.toy_blocks import toy_blocks

    opened = open_given(given)
    poi = poi_of(given, opened)
    if poi is None:
        raise ConfigError(f"{opened.name} has no parameter of interest; --poi NAME names one.")
    found = fitted(given, opened)
    p = opened.model.parameters
    if found.held[p.index(poi)]:
        raise ConfigError(f"'{poi}' is held, so no interval of it can be tested; name another with --poi.")
    truth = found.parameters.copy() if given.at == "fit" else p.initial.copy()
    truth[found.held] = found.parameters[found.held]
    for word in given.set:
        index, value = _value(word, opened)
        truth[index] = value
    # Toys hold what the fit held, where it was held.
    model = replace(opened.model, parameters=replace(p, fixed=found.held, initial=truth))
    made = toy_blocks(
        model,
        given.toys,
        given.seed,
        values=truth,
        poi=poi,
        folder=None if given.out is None else given.out / "toys",
        identity=_identity(opened, found),
        fresh=given.fresh,
        progress=sys.stderr.isatty(),
    )
    result = _result(given, opened, found, made)
    if given.json:
        say_json(result)
    else:
        print("\n".join([header(opened), *_lines(result)]))
    if given.out is not None:
        _write(given, opened, found, made, result)
    return 0


def _value(word: str, opened: Opened) -> tuple[int, float]:
    p = opened.model.parameters
    name, _, text = word.partition("=")
    index = p.index(name)
    try:
        value = float(text)
    except ValueError:
        raise ConfigError(f"--set {word}: NAME=VALUE with a number is wanted.") from None
    if not p.lower[index] <= value <= p.upper[index]:
        raise ConfigError(f"--set {word}: '{name}' must be from {p.lower[index]:g} to {p.upper[index]:g}.")
    return index, value


def _identity(opened: Opened, found: Fitted) -> dict[str, Any]:
    """Return what decides the numbers of the toys: the likelihood as arrays, what is held, and the program."""
    import hashlib

    import numpy as np

    from shiftlab import __version__

    model, p = opened.model, opened.model.parameters
    arrays = (
        model.nominal, model.odd, model.even, model.log_up, model.log_down, model.scale_mask, model.layers,
        model.gamma_index, model.gamma_mask, model.shape_index, model.norm_index, model.scale_index, p.lower, p.upper,
        p.centre, p.width, p.tau, found.held,
    )  # fmt: skip
    digest = hashlib.sha256("\n".join(p.names).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return {"likelihood": digest.hexdigest(), "interpolation": dict(opened.codes), "shiftlab": __version__}


def _result(given: argparse.Namespace, opened: Opened, found: Fitted, made: Toys) -> dict[str, Any]:
    """Return what the toys show as JSON values."""
    import numpy as np

    pulls = made.pulls()
    status = Counter(made.status)
    good = np.array([one != "failed" for one in made.status])
    coverage = []
    for by in ("error", "rise"):
        for level in _LEVELS:
            one = made.coverage(level, by=by)
            measured = bool(one.counted)
            coverage.append(
                {
                    "interval": "best fit ± error" if by == "error" else "likelihood ratio",
                    "level": level,
                    "coverage": float(one.value) if measured else None,
                    "error": float(one.error) if measured else None,
                    "toys": one.counted,
                }
            )
    worse, counted = int((made.goodness[good] >= found.goodness).sum()), int(good.sum())
    share = worse / counted if counted else float("nan")
    tested = not opened.expects and found.ndf > 0 and counted > 0
    return {
        "workspace": opened.name,
        "spectrum": opened.what,
        "toys": given.toys,
        "seed": given.seed,
        "poi": made.poi,
        "truth": made.truth,
        "status": {name: status.get(name, 0) for name in ("converged", "at bound", "failed")},
        "reasons": dict(Counter(r for r, s in zip(made.reason, made.status, strict=True) if s != "converged")),
        "pull_mean": float(pulls.mean()) if len(pulls) else None,
        "pull_width": float(pulls.std(ddof=1)) if len(pulls) > 1 else None,
        "coverage": coverage,
        "goodness": {
            "data": found.goodness,
            "ndf": found.ndf,
            "p_value_chi2": found.p_value if tested else None,
            "p_value_toys": share if tested else None,
            "p_value_error": float(np.sqrt(share * (1.0 - share) / counted)) if tested else None,
            "toys_as_bad": worse if tested else None,
            "toys": counted,
        },
    }


def _lines(result: dict[str, Any]) -> list[str]:
    count, status = result["toys"], result["status"]
    said = f"{count} toys with {result['poi']} = {result['truth']:.4g}, seed {result['seed']}: "
    lines = [said + ", ".join(f"{number} {name}" for name, number in status.items())]
    lines += [
        f"  {number} {reason}" for reason, number in sorted(result["reasons"].items(), key=lambda one: -one[1])[:5]
    ]
    if result["pull_width"] is not None:
        size = max(1, next(one["toys"] for one in result["coverage"]))
        lines.append(
            f"(best fit - truth) / error: mean {result['pull_mean']:+.3f} ± {result['pull_width'] / size**0.5:.3f}, "
            f"width {result['pull_width']:.3f} ± {result['pull_width'] / (2 * size) ** 0.5:.3f}"
        )
    for one in result["coverage"]:
        if one["coverage"] is None:
            continue
        off = abs(one["coverage"] - one["level"]) > 3.0 * max(one["error"], 0.5 / one["toys"])
        lines.append(
            f"{100 * one['level']:.4g}% interval, {one['interval']}: holds the truth in "
            f"{100 * one['coverage']:.1f} ± {100 * one['error']:.1f} % of {one['toys']} toys"
            + ("" if one["interval"] != "best fit ± error" or not status["at bound"] else " (none at a bound)")
            + (": DOES NOT COVER as claimed" if off else "")
        )
    lines.append(_goodness(result["goodness"]))
    return lines


def _goodness(given: dict[str, Any]) -> str:
    if given["p_value_toys"] is None:
        return "goodness of fit: nothing is tested without data"
    share = f"{100 * given['p_value_toys']:.1f} ± {100 * given['p_value_error']:.1f} %"
    if given["toys_as_bad"] == 0:
        share = f"none, so less than {300.0 / given['toys']:.2g} % (95% upper limit)"
    return (
        f"goodness of fit {given['data']:.4g}: as bad in {share} of the toys; "
        f"chi2 of {given['ndf']} says {100 * given['p_value_chi2']:.3g} %"
    )


def _write(given: argparse.Namespace, opened: Opened, found: Fitted, made: Toys, result: dict[str, Any]) -> None:
    import numpy as np
    import pandas as pd

    from shiftlab.report.show import write
    from shiftlab.report.workspace_figures import toy_figure

    tables = {"toys": made.table(), "coverage": pd.DataFrame(result["coverage"])}
    write_tables(given.out, tables, "toys", result)
    good = np.array([one != "failed" for one in made.status])
    words = {
        f"{100 * one['level']:.4g} %, {one['interval']}": f"{100 * one['coverage']:.1f} ± {100 * one['error']:.1f} %"
        for one in result["coverage"]
        if one["coverage"] is not None
    }
    seen = None if opened.expects else found.goodness
    write(toy_figure(made.pulls(), made.goodness[good], seen, found.ndf, words), given.out / "toys.png")
