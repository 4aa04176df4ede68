"""The parts of the page on templates, fit, decorrelation, findings, the sample and provenance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from shiftlab.report.blocks import Block, Section, Sheet, Text, picture, sheet
from shiftlab.report.fit_figures import decorrelation_figure, impact_figure, parts_figure, pull_figure
from shiftlab.report.record import Record, each
from shiftlab.report.template_figures import ranked_nuisances, template_figure
from shiftlab.report.wording import counted, fixed, percent, with_error

__all__ = [
    "decorrelation_section",
    "findings_section",
    "fit_section",
    "provenance_section",
    "sample_section",
    "templates_section",
]

_SHOWN = 6
"""Nuisances with ratio panels on the page; all are in csv/templates.csv."""


def templates_section(record: Record) -> Section:
    """Return the templates of each arm's first seed, and the yields."""
    blocks: list[Block] = [
        Text(
            (
                "Each channel is the observable of one task. Neutrino-candidate vertices are divided over the "
                "channels, so that no event is counted twice; the analysis selection is run again in every universe.",
            )
        )
    ]
    for place, arm in enumerate(record.arms):
        rows = record.of("templates", arm=arm)
        if rows.empty:
            continue
        seed = rows["seed"].min()
        rows = rows[rows["seed"] == seed]
        nuisances = ranked_nuisances(rows)
        blocks.append(
            picture(
                template_figure(rows, nuisances[:_SHOWN], record.labels),
                f"Stacked templates of arm {arm}, seed {seed}, and ratios to nominal at plus and minus one sigma.",
                f"Arm {arm}, seed {seed}. Below the spectra, the {min(_SHOWN, len(nuisances))} nuisances of "
                f"{len(nuisances)} with the largest relative shift in any bin: sum of the samples over nominal; "
                "coloured bands: statistical error of the variation (same events in both); grey: Monte Carlo error of "
                "the nominal, common to both. Samples one by one and all nuisances: in the table.",
                ("csv/templates.csv",),
                folded="" if place == 0 else f"Templates of arm {arm}",
            )
        )
    yields = record.of("yields")
    caption = "Expected events of the declared exposure in each channel, with Monte Carlo error."
    selected = [with_error(r.selected, r.selected_error, sign=False) for r in each(yields)]
    table = yields.assign(selected=selected).drop(columns=["selected_error", "recalibrate"])
    blocks.append(sheet(table, caption, ("csv/yields.csv",), folded="Yields and efficiencies"))
    return Section("templates", "Templates", tuple(blocks))


def fit_section(record: Record) -> Section:
    """Return pulls, impacts and the parts of the uncertainty."""
    constraints, parameters = record.of("constraints"), record.of("parameters")
    blocks: list[Block] = [
        picture(
            parts_figure(record.of("components"), record.arms),
            "Variance of the signal strength split into data statistics, Monte Carlo statistics and systematics.",
            "Asimov data. The three parts add up to the whole variance.",
            ("csv/components.csv",),
        ),
        picture(
            impact_figure(record.of("impacts"), record.arms),
            "Impact of each nuisance on the signal strength for every arm and seed.",
            "Change of μ for a nuisance at +1 post-fit sigma (Asimov, closed form) and refits with the nuisance fixed "
            "at ±1 sigma. Impacts are not parts of the uncertainty; those are in the figure above.",
            ("csv/impacts.csv",),
        ),
        picture(
            pull_figure(parameters, constraints, record.arms),
            "Post-fit width of each nuisance on Asimov data, and its pull in the injected universe.",
            "Left: a nuisance narrower than its prior (1) is constrained by the data; the black tick is the width that "
            "the noise of the finite simulation alone would fake. Right, where events are held out: their pull with "
            "post-fit width; black line: the injected value.",
            ("csv/parameters.csv", "csv/constraints.csv"),
        ),
        _fit_sheet(record),
        sheet(
            constraints.drop(columns="recalibrate"),
            "Fisher information on each nuisance, and how much of it Monte Carlo noise fakes.",
            ("csv/constraints.csv",),
            folded="Fake constraints",
        ),
    ]
    return Section("fit", "Fit: uncertainty, impacts and pulls", tuple(blocks))


def _fit_sheet(record: Record) -> Sheet:
    """Return one row per arm, seed and calibration: expected uncertainty and the injected universe."""
    rows = record["fits"]
    table = pd.DataFrame(
        {
            "arm": rows["arm"],
            "seed": rows["seed"],
            "recalibrate": rows["recalibrate"],
            "σ(μ) expected": rows["sigma"],
            "data statistics": rows["sigma_statistical"],
            "MC statistics": rows["sigma_mc"],
            "systematics": rows["sigma_systematic"],
            "largest impact": rows["largest_impact"],
            "shift of μ, injected": [
                with_error(_number(r.get("injected_shift")), _number(r.get("injected_shift_error")))
                for r in rows.to_dict("records")
            ],
        }
    )
    if "at_limit" in rows and (rows["at_limit"].fillna("") != "").any():
        table["at a bound, injected"] = rows["at_limit"].fillna("")
    caption = (
        "Fits, plain and recalibrated. The shift is μ in the injected universe less μ of the same events unshifted."
    )
    return sheet(table, caption, ("csv/fits.csv",))


def decorrelation_section(record: Record) -> Section:
    """Return what a fit would claim that gave every channel its own nuisances, and what is true."""
    rows = record.of("decorrelated")
    split = rows[rows["scheme"] == "decorrelated"]
    under = split[split["claimed"] < split["true"]]
    text = Text(
        (
            "The same detector moves every channel. A fit with one nuisance per channel instead of one per detector "
            "parameter claims the error at the open end of each line; the spread of μ that it would have is the "
            "filled end. A claim below the truth under-covers; one above the shared fit gives away information.",
            f"The decorrelated fit claims too little in {len(under)} of {counted(len(split), 'case')}; its 68.3 % "
            f"interval covers between {percent(split['coverage'].min(), 1)} and {percent(split['coverage'].max(), 1)}."
            if len(split)
            else "No fit was made.",
        )
    )
    if split.empty:
        return Section("decorrelated", "Correlated against decorrelated nuisances", (text,))
    figure = picture(
        decorrelation_figure(rows, record.arms),
        "Uncertainty of the signal strength with shared and with decorrelated nuisances, and the coverage.",
        "Lines are arms and seeds. Asimov data, linear propagation of the priors.",
        ("csv/decorrelated.csv",),
    )
    return Section("decorrelated", "Correlated against decorrelated nuisances", (text, figure))


def findings_section(record: Record) -> Section:
    """Return what was found wrong or thin: same-side, empty, negative, MC-limited, falsely constrained."""
    rows = record["findings"]
    blocks: list[Block] = []
    if rows.empty:
        blocks.append(Text(("No template is same-side, empty, negative or MC-limited.",)))
    else:
        order = {"error": 0, "warning": 1, "note": 2}
        grouped = rows.groupby(["severity", "code"], sort=False)
        summary = grouped.agg(found=("message", "size"), example=("message", "first")).reset_index()
        summary = summary.sort_values("severity", key=lambda s: s.map(order), kind="stable")
        caption = "What the templates' checks found, over all arms, seeds and calibrations; nothing is mended silently."
        blocks.append(sheet(summary, caption, ("csv/findings.csv",)))
        first = rows[(rows["severity"] != "note")].head(60).drop(columns="recalibrate")
        if len(first):
            blocks.append(sheet(first, "", ("csv/findings.csv",), folded=f"The first {len(first)} errors and warnings"))
    constraints = record.of("constraints")
    limited = constraints[constraints["mc_limited"].astype(bool)]
    names = ", ".join(sorted(set(limited["nuisance"]))) or "none"
    strongest = float(constraints["fake_sigma"].min()) if len(constraints) else float("nan")
    blocks.append(
        Text(
            (
                f"Nuisances whose information is below what Monte Carlo noise fakes, in any arm and seed: {names}. "
                f"The strongest fake constraint would narrow a nuisance without effect to {fixed(strongest, 2)} of its "
                "prior.",
            )
        )
    )
    return Section("findings", "Findings", tuple(blocks))


def sample_section(record: Record) -> Section:
    """Return what the sample is and is not, and the priors of the nuisances."""
    notes = record.notes or ("The study says nothing about its sample.",)
    blocks: list[Block] = [Text(notes, listed=True)]
    priors = record["nuisances"]
    if len(priors):
        numbers = ("nominal", "minus_1sigma", "plus_1sigma")
        shown = priors.assign(**{name: [f"{v:.4g}".replace("nan", "–") for v in priors[name]] for name in numbers})
        shown = shown.rename(columns={"minus_1sigma": "at −1σ", "plus_1sigma": "at +1σ"})
        caption = "Nuisances and their priors. Confidence: A read or computed, B quoted, C judgement."
        blocks.append(sheet(shown, caption, ("csv/nuisances.csv",)))
    return Section("sample", "What the sample is and is not", tuple(blocks))


def provenance_section(record: Record) -> Section:
    """Return seeds, digests, versions and configuration."""
    rows = tuple(((key,), (value,)) for key, value in _flat(record.provenance))
    table = Sheet("Where the numbers come from.", ("key", "value"), rows, ("report.json",))
    return Section("provenance", "Provenance", (table,) if rows else (Text(("None was given.",)),))


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Give the leaves of nested mappings as (dotted key, text); lists of plain values stay in one line."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list):
        yield prefix, ", ".join(str(item) for item in value)
    else:
        yield prefix, str(value)


def _number(value: Any) -> float:
    return float(value) if value is not None and pd.notna(value) else float(np.nan)
