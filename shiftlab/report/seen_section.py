"""The part of the page that says which shifts lie inside what each model was trained on."""

from __future__ import annotations

from typing import Final

import pandas as pd

from shiftlab.report.blocks import Block, Section, Text, sheet
from shiftlab.report.record import Record, each
from shiftlab.report.wording import joined

__all__ = ["seen_section"]

_FILES: Final = ("csv/seen.csv",)


def seen_section(record: Record) -> Section:
    """Return a table of nuisances by arms: inside, partly or outside what training varied, and why."""
    rows = record["seen"]
    if rows.empty:
        text = Text(("The run does not say what the training of its models varied.",))
        return Section("seen", "What the models have seen", (text,))
    blocks: list[Block] = [
        Text(
            (
                "All models were trained on the nominal detector. Some nuisances look like what training varied from "
                "one showing of an event to the next: the model has seen such events. The others lie outside, and a "
                "bias under them is one of extrapolation. Nothing here is measured: it follows from what each model "
                "declares.",
            )
        ),
        Text(tuple(_declared(rows)), listed=True),
        sheet(
            _wide(rows),
            "At one sigma either way. Inside: a shifted event could have come out of the training. Partly: only some "
            "of what the shift does was seen.",
            _FILES,
        ),
    ]
    reasons = rows[rows["verdict"] != "outside"][["arm", "nuisance", "verdict", "why"]]
    if len(reasons):
        blocks.append(sheet(reasons, "", _FILES, folded="Reasons"))
    return Section("seen", "What the models have seen", tuple(blocks))


def _wide(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per nuisance and one column per arm, both in the order of first appearance."""
    nuisances, arms = (list(dict.fromkeys(rows[name])) for name in ("nuisance", "arm"))
    table = rows.pivot(index="nuisance", columns="arm", values="verdict").loc[nuisances, arms]
    return table.reset_index().rename_axis(columns=None)


def _declared(rows: pd.DataFrame) -> list[str]:
    """Return a sentence per arm: what its training varied."""
    first = rows.drop_duplicates("arm")
    by_words = first.groupby("declared", sort=False)["arm"].agg(list)
    sentences = [f"{joined(names)}: {words}." for words, names in by_words.items() if words]
    silent = [row.arm for row in each(first) if not row.declared]
    return [*sentences, *([f"{joined(silent)}: nothing is declared."] if silent else [])]
