"""The part of the page on the structure of the tasks' covariance: how many independent tasks, and which modes."""

from __future__ import annotations

from typing import Final

import pandas as pd

from shiftlab.report.blocks import Block, Text, picture, sheet
from shiftlab.report.record import Record, each, groups
from shiftlab.report.structure_figures import excess_figure, structure_figure
from shiftlab.report.wording import interval, joined, percent

__all__ = ["excess_blocks", "modes_blocks", "structure_blocks"]

_EXCESS: Final = (
    "Excess of the mean correlation of one arm over another, on the same events, universes and random numbers, over "
    "the pairs that are reliable in both. The baseline is the other arm and not zero. Large: all seeds, with the "
    "spread of the seeds in the interval; small: single seeds, whose intervals are over events only."
)


def structure_blocks(record: Record) -> list[Block]:
    """Return what the correlations amount to: effective number of tasks and inflation of their sum, per arm."""
    if record["structure"].empty:
        return []
    rows = record.of("structure")
    lines = [_arm_line(arm, part) for (arm,), part in groups(rows[rows["source"] == "unisims"], ("arm",))]
    joint = rows[(rows["source"] == "joint universes") & rows["value"].isna()]
    why = list(dict.fromkeys(note for note in joint["note"] if note))
    lines += [f"Joint universes give no interval of their own: {why[0]}."] if why else []
    blocks: list[Block] = [Text(tuple(lines), listed=True, lead="What the correlations amount to.")]
    if rows["value"].notna().any():
        blocks.append(
            picture(
                structure_figure(rows, record.arms),
                "Effective number of independent tasks and inflation of the sum of all tasks, per arm, with intervals.",
                "Effective number of independent tasks, (tr C)² / tr C² of the correlation matrix C freed of chance, "
                "and inflation of the variance of the sum of the reliable tasks (each in units of its data's error) "
                "over that of uncorrelated ones. Intervals of one-nuisance universes are over events and seeds, those "
                "of joint universes over universes too. 68 %.",
                ("csv/structure.csv",),
            )
        )
    return blocks


def _arm_line(arm: str, rows: pd.DataFrame) -> str:
    """Return one arm's numbers in a sentence, or why there are none."""
    known = {row.measure: row for row in each(rows[rows["value"].notna()])}
    if not known:
        return f"{arm}: {rows['note'].iloc[0]}."
    number, sums = (known.get(name) for name in ("effective number of tasks", "inflation of the sum"))
    tasks = rows["tasks"].iloc[0].split(", ")
    found = f"{arm}: {joined(tasks)} move beyond event noise"
    if number is not None:
        found += f" and count as {interval(number.value, number.lo, number.hi)} independent tasks"
    if sums is not None:
        found += (
            f"; the variance of their sum is {interval(sums.value, sums.lo, sums.hi)} times that of independent ones"
        )
    return f"{found}."


def excess_blocks(record: Record) -> list[Block]:
    """Return the excess of one arm's correlation over another's: a figure where there is a number, and the table."""
    rows = record["excess"]
    if rows.empty:
        return []
    blocks: list[Block] = []
    plain = record.of("excess")
    if plain["excess"].notna().any():
        alt = "Excess of the mean correlation of one arm over that of another, per pair of arms, with intervals."
        blocks.append(picture(excess_figure(plain, record.arms), alt, _EXCESS, ("csv/excess.csv",)))
    else:
        blocks.append(
            Text(("No excess of one arm over another is quoted: fewer than two tasks are reliable in both.",))
        )
    table = rows.assign(excess=[interval(r.excess, r.lo, r.hi, sign=True) for r in each(rows)])
    shown = ["arm", "minus_arm", "seed", "recalibrate", "excess", "pairs", "flag"]
    table = table[[name for name in shown if name in table]]
    return [*blocks, sheet(table, _EXCESS, ("csv/excess.csv",), folded="Excess correlation, all seeds")]


def modes_blocks(record: Record) -> list[Block]:
    """Return the leading modes of each arm and seed with the nuisances that make them."""
    if record["modes"].empty:
        return []
    rows = [
        {
            "arm": arm,
            "seed": seed,
            "mode": mode,
            "share of the variance": percent(float(part["fraction"].iloc[0]), 1),
            "made of": part["name"].iloc[0],
            "loadings in data errors": "; ".join(
                f"{r.task} {interval(r.loading, r.lo, r.hi, sign=True)}" for r in each(part)
            ),
        }
        for (arm, seed, mode), part in groups(record.of("modes"), ("arm", "seed", "mode"))
    ]
    caption = (
        "Principal modes of the systematic covariance of the reliable tasks: how far each task moves when the mode "
        "moves by one sigma (68 % event interval), and the nuisances that make most of its variance. Shares are freed "
        "of event noise; those of a mode that hardly stands above it can exceed 100 %."
    )
    return [sheet(pd.DataFrame(rows), caption, ("csv/modes.csv",), folded="Principal modes")]
