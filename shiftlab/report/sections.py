"""The parts of the page after the headline: performance, bias and correlation between tasks."""

from __future__ import annotations

from typing import Final

import pandas as pd

from shiftlab.report.bias_figures import bias_dots, heat_map, heat_table
from shiftlab.report.blocks import Block, Section, Sheet, Text, picture, sheet
from shiftlab.report.correlation_figures import correlation_forest, correlation_matrices
from shiftlab.report.headline import ArmHeadline, answers, headline
from shiftlab.report.performance_figures import closure_figure, performance_figure
from shiftlab.report.record import Record, each
from shiftlab.report.structure_section import excess_blocks, modes_blocks, structure_blocks
from shiftlab.report.summary_figures import RECALIBRATED, key_figure, recalibration_figure, recalibration_table
from shiftlab.report.wording import counted, fixed, interval, joined

__all__ = ["bias_section", "closure_section", "correlation_section", "headline_section", "performance_section"]

_HOW: Final = {
    "mip": "Recalibrated on muons: one factor fixes the charge peak of a disjoint muon sample in each universe.",
    "exact": "Recalibrated exactly: energies come from the shifted detector's own constants, instead of the nominal.",
}


def headline_section(record: Record) -> Section:
    """Return the answer: sentences, one table with a row per arm, one figure."""
    arms = headline(record)
    key = picture(
        key_figure(record),
        "Three panels: largest bias of each task, correlation between tasks, shift of the signal strength; per arm.",
        "Left: the largest bias of each task under any single shift of one prior sigma, in units of the statistical "
        "error of the declared data exposure (grey: below one such error; open marks: MC-limited). Middle: correlation "
        "of the systematic shifts of two tasks, 68 % event interval. Right: shift of the signal strength μ in the "
        "injected universe with its MC error, over the expected ±σ(μ). Two marks of one colour are two training seeds.",
        ("bias.csv", "correlation.csv", "csv/fits.csv"),
    )
    blocks: list[Block] = [Text(tuple(answers(record)), listed=True), _glance(arms), key]
    blocks += [Text(arm.sentences, lead=f"Arm {arm.arm}.") for arm in arms]
    return Section("answer", "The answer", tuple(blocks))


def _glance(arms: list[ArmHeadline]) -> Sheet:
    columns = ("arm", *(arms[0].cells if arms else ()))
    rows = tuple(((arm.arm,), *(tuple(lines) for lines in arm.cells.values())) for arm in arms)
    caption = (
        "At a glance. Errors are Monte Carlo errors; two seeds are two trainings and give a range, not an interval."
    )
    return Sheet(caption, columns, rows, ("bias.csv", "correlation.csv", "csv/fits.csv"))


def performance_section(record: Record) -> Section:
    """Return the nominal performance with its intervals and what chance or the mean predictor reaches."""
    rows = record["performance"]
    compared = rows[rows["reference_value"].notna()]
    table = pd.DataFrame(
        {
            "arm": rows["arm"],
            "seed": rows["seed"],
            "task": rows["task"],
            "statistic": [_with_unit(r.statistic, r.unit) for r in each(rows)],
            "value [68 % interval]": [interval(r.value, r.lo, r.hi, 3) for r in each(rows)],
            "reference": [f"{fixed(r.reference_value, 3)} ({r.reference})" if r.reference else "–" for r in each(rows)],
            "events": rows["n_events"],
        }
    )
    figure = picture(
        performance_figure(compared if len(compared) else rows, record.arms),
        "Nominal performance of each task and statistic for every arm and seed, with 68 % intervals.",
        "Performance on the nominal detector, on the evaluation set (fixed by truth, the same in every universe); 68 % "
        "intervals over events. Dashed: what the reference reaches. Statistics without one, those of single classes "
        "say, are in the table.",
        ("csv/performance.csv",),
    )
    blocks = (figure, sheet(table, "Nominal performance.", ("csv/performance.csv",), folded="Numbers"))
    return Section("performance", "Performance on the nominal detector", blocks)


def bias_section(record: Record) -> Section:
    """Return the heat map of biases, every shift with its error, and what recalibration changes."""
    cells = heat_table(record)
    unisims = record.of("bias")
    unisims = unisims[unisims["group"] == "unisim"]
    limited = int(unisims["mc_limited"].astype(bool).sum())
    blocks: list[Block] = [
        Text(
            (
                "A bias is the statistic in the shifted universe minus the nominal one on the same events with the "
                "same random numbers. It is given in units of the statistical error that the declared data exposure "
                "would have; whether a bias is significant over its own Monte Carlo error is only a mark.",
                f"Of {counted(len(unisims), 'bias', 'biases')} {limited} are MC-limited: their error exceeds their "
                "size, and nothing is concluded from them.",
                *_one_sided(record),
                *record.unquoted,
            )
        ),
        picture(
            heat_map(cells, record.tasks, record.arms),
            "Heat map of the bias of each task under each nuisance at minus and plus one sigma, one panel per arm.",
            "Mean over seeds. Dot: |bias| above two Monte Carlo errors in every seed. Hatched: MC-limited in every "
            "seed, or not quoted. Two-coloured cells with ±: root mean square over the throws of a random map, which "
            "has no sign.",
            ("csv/heat_map.csv",),
        ),
        picture(
            bias_dots(unisims, record.tasks, record.arms),
            "Bias of each task under each nuisance for every arm, seed and throw, with Monte Carlo errors.",
            "Every shift with its Monte Carlo error; the two lines of an arm are its seeds, the marks of one line the "
            "throws of a random map. Grey: below one statistical error of the declared exposure.",
            ("bias.csv",),
        ),
        sheet(
            record["exposure"],
            "Events behind the numbers, per task and sample: evaluated, effective, and the data events that set the "
            "unit of the biases. A sample without a declared exposure counts as if data were as many as the simulated.",
            ("csv/exposure.csv",),
            places=1,
            folded="Evaluated events and declared data exposure",
        ),
    ]
    return Section("bias", "Bias of each task", (*blocks, *_recalibration(record)))


def _one_sided(record: Record) -> list[str]:
    """Say which nuisances have no -1 sigma, and what stands in for it."""
    if not record.one_sided:
        return []
    return [
        f"One-sided, since the parameter exists on one side of its nominal only: {joined(list(record.one_sided))}. "
        "They have no −1σ here, count in the covariance with |z| for z (0.363 d dᵀ about the mean), and in the "
        "templates their other side is mirrored."
    ]


def _recalibration(record: Record) -> list[Block]:
    table = recalibration_table(record)
    if table.empty:
        return [Text(("No universe was recalibrated in this study.",))]
    return [
        Text(tuple(_helped(table, mode) for mode in _HOW if mode in table)),
        picture(
            recalibration_figure(table, record.tasks, record.arms),
            "Size of each nuisance's effect with and without recalibration, per task and arm.",
            "Open: nominal calibration constants in every universe. Filled: recalibrated on muons. Small: with the "
            "exact constants of the shifted detector. Nuisances that have a recalibrated universe.",
            ("csv/recalibration.csv", "csv/unisims.csv"),
        ),
    ]


def _helped(table: pd.DataFrame, mode: str) -> str:
    """Return how a recalibration works, and the nuisance for which it helps most."""
    mean = table.dropna(subset=[mode]).groupby("nuisance", sort=False)[["none", mode]].mean()
    best = mean.iloc[int((mean[mode] / mean["none"]).argmin())]
    return (
        f"{_HOW[mode]} Averaged over arms, seeds and tasks it helps most for {best.name}: from "
        f"{fixed(float(best['none']), 2)} to {fixed(float(best[mode]), 2)} data statistical errors."
    )


def correlation_section(record: Record) -> Section:
    """Return the correlation matrices of the arms side by side, every pair with its interval, and the excess."""
    rows = record.of("correlation")
    if len(record.tasks) < 2:
        alone = Text(("One task has nothing to move together with.",))
        return Section("correlation", "Do the tasks move together?", (alone, _reliability(record)))
    blocks: list[Block] = [
        Text(
            (
                "Two tasks are correlated when the same detector shifts move both. The systematic covariance is "
                "R Rᵀ + 2 Q Qᵀ with R the odd and Q the even response to each nuisance, less the event noise that the "
                "tasks share; a task whose systematic part is mostly noise has no ρ. All arms see identical events and "
                "universes. Tasks of separately trained networks also correlate, since their input is the same: the "
                "comparison is between arms, not with zero.",
            )
        ),
        picture(
            correlation_matrices(rows, record.tasks, record.arms),
            "Correlation matrices between tasks, one per arm side by side, with event intervals in the cells.",
            "ρ over its 68 % event interval. Hatched: the systematic part of a task is not separated from event noise.",
            ("correlation.csv",),
        ),
        picture(
            correlation_forest(rows, record.arms),
            "Correlation of each pair of tasks for every arm and seed with its 68 % event interval.",
            "The same numbers pair by pair; the two marks of an arm are its seeds.",
            ("correlation.csv", "csv/seed_range.csv"),
        ),
    ]
    blocks += [*excess_blocks(record), *structure_blocks(record)]
    for mode, words in RECALIBRATED.items():
        if len(again := record.of("correlation", recalibrate=mode)):
            blocks.append(
                picture(
                    correlation_matrices(again, record.tasks, record.arms),
                    f"Correlation matrices between tasks, {words}, one per arm side by side.",
                    "The same from the recalibrated universes.",
                    ("correlation.csv",),
                    folded=f"Correlations {words}",
                )
            )
    blocks += [*modes_blocks(record), _reliability(record)]
    return Section("correlation", "Do the tasks move together?", tuple(blocks))


def _reliability(record: Record) -> Sheet:
    caption = "Share of each task's systematic variance (units of the data variance) that is not event noise."
    return sheet(record["reliability"], caption, ("csv/reliability.csv",), folded="Reliability")


def closure_section(record: Record) -> Section:
    """Return how well single shifts add up to joint universes."""
    rows = record.of("closure") if len(record["closure"]) else record["closure"]
    if rows.empty:
        text = Text(("The study has no joint universes, so that the sum of single shifts is not tested.",))
        return Section("closure", "Closure: single shifts against joint universes", (text,))
    outside = rows[(rows["lo"] > rows["expected_hi"])]
    names = sorted({f"{r.arm} seed {r.seed} ({r.measure})" for r in each(outside)})
    verdict = (
        f"Above the expected band: {joined(names)}: single shifts do not simply add up there."
        if names
        else "No distance lies above the band that exact addition of the single shifts gives."
    )
    text = Text(
        (
            f"{counted(int(rows['universes'].max()), 'universe')} with all nuisances drawn from their priors test "
            "whether single shifts add up; they are a test, not the source of the numbers above.",
            verdict,
        )
    )
    figure = picture(
        closure_figure(rows, record.arms),
        "Relative distance between the covariance of single shifts and that of joint universes, per arm and seed.",
        "Grey band: 68 % range of the distance if single shifts add up exactly, for as many joint universes.",
        ("csv/closure.csv",),
    )
    return Section("closure", "Closure: single shifts against joint universes", (text, figure))


def _with_unit(statistic: str, unit: str) -> str:
    return f"{statistic} / {unit}" if unit not in ("", "1") else statistic
