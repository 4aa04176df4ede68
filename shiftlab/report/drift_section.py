"""The part of the page on what happens inside the networks: drift of the features, harm, and mechanism."""

from __future__ import annotations

from typing import Final, cast

import pandas as pd

from shiftlab.report.blocks import Block, Section, Text, picture, sheet
from shiftlab.report.drift_figures import drift_figure, harm_figure, mechanism_figure
from shiftlab.report.record import Record, each, groups
from shiftlab.report.scope import scoped
from shiftlab.report.wording import counted, fixed, interval, joined, shift_label

__all__ = ["drift_section"]

_TITLE: Final = "What happens inside the networks?"
_SHOWN: Final = 4
"""Bodies with a panel of their own; all are in csv/drift.csv."""

_SHARED: Final = "shared"
_ALL: Final = "all"
_MATRIX: Final = "covariance matrix"


def drift_section(record: Record) -> Section:
    """Return how far shifts move the features, whether that tells of harm, and what of the biases follows from them."""
    rows = record["drift"]
    if rows.empty:
        text = (
            "Not measured: the drift of the networks' features (drift=shared in a run, or `shiftlab drift` after it)."
        )
        return Section("inside", _TITLE, (Text((text,)),))
    blocks: list[Block] = [Text((_largest(record), *_told(record), *_mechanism_answer(record)), listed=True)]
    blocks += _drift_blocks(record)
    blocks += _harm_blocks(record)
    blocks += _mechanism_blocks(record)
    return Section("inside", _TITLE, tuple(blocks))


def _last(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the layer nearest to the heads: the last one of tokens, on every body."""
    of_tokens = rows[rows["layer"] != "voxels"]
    last = (of_tokens if len(of_tokens) else rows).groupby(["arm", "seed", "body"], sort=False)["layer"].last()
    names = pd.MultiIndex.from_frame(rows[["arm", "seed", "body"]])
    kept: pd.DataFrame = rows[rows["layer"].to_numpy() == last.reindex(names).to_numpy()]
    return kept


def _largest(record: Record) -> str:
    """Say which shift moves the features most, and how many move them beyond event noise."""
    rows = _last(record["drift"])
    sentences = []
    for arm, part in rows.groupby("arm", sort=False):
        row = part.sort_values("drift2").iloc[-1]
        beyond = part.groupby("universe", sort=False)["drift2_lo"].min() > 0.0
        sentence = (
            f"{arm}: {_shift(row)} moves the features that heads read last by most, {fixed(float(row['drift']), 2)} "
            f"standard deviations of an event; {int(beyond.sum())} of {counted(len(beyond), 'shift')} move them beyond "
            "event noise."
        )
        sentences.append(scoped(record, sentence, [str(arm)]))
    return " ".join(sentences)


def _told(record: Record) -> list[str]:
    """Say for which tasks a larger drift came with a larger bias."""
    rows = record["drift_harm"]
    if rows.empty:
        return ["Fewer than four nuisances were displaced, so that drift is not ranked against harm."]
    rows = _last(rows)
    sentences = []
    for arm, part in rows.groupby("arm", sort=False):
        clear = part["lo"].gt(0.0).groupby(part["task"], sort=False).all()
        follow = [str(task) for task, yes in clear.items() if yes]
        rest = [str(task) for task, yes in clear.items() if not yes]
        what = "the rank correlation of drift and |bias| above zero in every seed (68 % interval)"
        first = f"for {joined(follow)} is {what}" if follow else f"for no task is {what}"
        tail = f", not for {joined(rest)}" if follow and rest else ""
        sentences.append(scoped(record, f"{arm}: {first}{tail}.", [str(arm)]))
    return [f"Does drift tell of harm? {' '.join(sentences)}"]


def _mechanism_answer(record: Record) -> list[str]:
    """Say what of the biases follows from the features that all tasks share, and what from inputs beside them."""
    rows = record["mechanism"]
    whole = rows[(rows["task"] == _ALL) & rows["explained"].notna()] if len(rows) else rows
    sentences = []
    for arm, part in whole.groupby("arm", sort=False) if len(whole) else ():
        of_arm = rows[(rows["arm"] == arm) & (rows["route"] != "")]
        tasks = [str(task) for task in dict.fromkeys(of_arm["task"]) if task not in (_ALL, _MATRIX)]
        words = [f"{_explained(same)} where the {route} move" for route, same in part.groupby("route", sort=False)]
        said = f"of the mean square bias ({joined(tasks)}) heads that are linear about nominal give {joined(words)}"
        sentences.append(scoped(record, f"{arm}: {said}.", [str(arm)]))
    others = [arm for arm in record.arms if arm not in set(rows["arm"])] if len(rows) else list(record.arms)
    if others:
        sentences.append(
            f"Not for {joined(others)}: the test needs one body for all tasks, whose features were measured."
        )
    return [f"How much of the biases follows from the shared features? {' '.join(sentences)}"]


def _explained(rows: pd.DataFrame) -> str:
    return joined([f"{interval(r.explained, r.explained_lo, r.explained_hi)} (seed {r.seed})" for r in each(rows)])


def _drift_blocks(record: Record) -> list[Block]:
    rows = record["drift"]
    keys = rows[["arm", "seed", "body"]].drop_duplicates().head(_SHOWN)
    shown = rows.merge(keys, on=["arm", "seed", "body"])
    events, lost = int(rows["events"].max()), int(rows["events_lost"].max())
    left = f" In some universe {counted(lost, 'event')} have no token and are left out." if lost else ""
    caption = (
        f"Drift of the mean features of {events} events, the same in every universe, in units of the spread of one "
        "event: the root of d'S⁻¹d, freed of event noise; 68 % intervals over events. Layer 0 is the embedding. Open "
        f"marks at the left edge: below 0.01.{left} Beside it in the table: CKA, MMD and how well trees tell shifted "
        "from nominal features."
    )
    figure = picture(
        drift_figure(shown),
        "Drift of the features in each one-nuisance universe, layer by layer, with intervals over events.",
        caption,
        ("csv/drift.csv",),
    )
    last = _last(rows)
    table = pd.DataFrame(
        {
            "arm": last["arm"],
            "body": last["body"],
            "shift": [_shift(row) for _, row in last.iterrows()],
            "drift": last["drift"],
            "CKA": [interval(r.cka, r.cka_lo, r.cka_hi, 3) for r in each(last)],
            "MMD² (p)": [f"{r.mmd2:.2g} ({r.mmd_p:.2g})".replace("-", "−") for r in each(last)],
            "area of trees": [interval(r.auc, r.auc_lo, r.auc_hi, 3) for r in each(last)],
            "tokens lost": [1.0 - r.matched for r in each(last)],
            "tokens new": last["new"],
        }
    )
    title = "All measures, features that heads read last"
    told = (
        "CKA: 1 = the same up to rotation and scale. MMD²: 0 = the same distribution. Area under the ROC curve of "
        "trees that tell shifted from nominal events: 0.5 = they cannot. Tokens: over the number of nominal ones."
    )
    return [figure, sheet(table, told, ("csv/drift.csv",), folded=title)]


def _harm_blocks(record: Record) -> list[Block]:
    harm = record["drift_harm"]
    if harm.empty:
        return []
    drift, harm = _last(record["drift"]), _last(harm)
    bias = record.quoted[["arm", "seed", "task", "universe", "bias_over_sigma_data"]]
    points = []
    for (arm, seed, body), part in groups(drift, ("arm", "seed", "body")):
        heads = bias[bias["arm"] == arm]
        heads = heads if str(seed) == "all" else heads[heads["seed"] == int(seed)]
        heads = heads if body == _SHARED else heads[heads["task"] == body]
        points.append(heads.merge(part[["universe", "drift"]], on="universe"))
    both = pd.concat(points, ignore_index=True).dropna()
    caption = (
        "Each mark is a universe that displaces one nuisance: drift of the features that heads read last, which takes "
        "no label, against the size of the bias. ρ: Spearman's rank correlation; 68 % interval from leaving out one "
        "nuisance at a time, with all its universes. Grey: below one statistical error of the declared exposure."
    )
    figure = picture(
        harm_figure(both, harm, record.arms),
        "Size of the bias of each task against the drift of the features in the same universe.",
        caption,
        ("csv/drift_harm.csv", "csv/drift.csv", "bias.csv"),
    )
    return [figure]


def _mechanism_blocks(record: Record) -> list[Block]:
    rows, points = record["mechanism"], record["mechanism_points"]
    if rows.empty:
        return []
    blocks: list[Block] = []
    if len(points):
        caption = (
            "Bias of the real heads against that of heads that are linear in what they are given, about nominal, on "
            "the same events and in the same universes; on the line the first order is all. Features: what the shared "
            "body says of each token. Inputs beside: places of the tokens, the event's overall quantities, and the "
            "summed energy that an energy is decoded with; no weight of the body enters them. Tokens that vanish or "
            "are new have no first order. Explained: 1 − E(b − b₁)² / E b² over the one-sigma universes, event noise "
            "taken off; 68 % interval over events. Named: the farthest from the line."
        )
        blocks.append(
            picture(
                mechanism_figure(points, rows, record.arms),
                "Bias of each task and universe against the bias of heads that are linear in the shared features.",
                caption,
                ("csv/mechanism_points.csv", "csv/mechanism.csv"),
            )
        )
    missing = rows[rows["reason"] != ""].drop_duplicates(["arm", "task", "reason"])
    reasons = [f"{arm}, {task}: {reason}." for arm, task, reason in missing[["arm", "task", "reason"]].to_numpy()]
    if reasons:
        blocks.append(Text((" ".join(reasons),), lead="Tasks without a fraction."))
    return blocks


def _shift(row: pd.Series) -> str:
    strength = cast(float, row["strength"])
    return shift_label(str(row["nuisance"]), 1 if strength > 0 else -1, abs(strength), int(row["throw"]))
