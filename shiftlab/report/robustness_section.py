"""The part of the page that says which arm moves least, apart from how its tasks move together."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from shiftlab.report.blocks import Block, Section, Sheet, Text, picture, sheet
from shiftlab.report.record import Record, each, groups
from shiftlab.report.robustness_figures import most_harmful, response_figure, size_figure
from shiftlab.report.scope import scoped
from shiftlab.report.wording import counted, fixed, interval, joined, percent

__all__ = ["leaderboard_lines", "robustness_section"]

_TITLE: Final = "Which arm is more robust?"

_ORDER: Final = (
    "Ordered by the root mean square of the biases under shifts of one sigma, over nuisances and tasks, in units of "
    "the statistical error of the declared data exposure (its root mean square over arms and seeds: one ruler for all "
    "arms). What event noise adds to the squares is taken off. Mean ρ stands apart: an arm can move less and yet move "
    "more in common. Intervals are 68 %, over events and seeds; the ranks in brackets hold for all arms together at "
    "68 %. Worst: the largest bias of any shift of 1σ or less, mean over tasks. Lost performance is signed (what one "
    "direction loses and the other gains cancels), over the tasks whose statistic has a better direction. At equal "
    "performance: mean square less that of the first arm, on events weighted so that both perform alike."
)


def robustness_section(record: Record) -> Section:
    """Return the answer in sentences, the leaderboard, and how far and how each task moves."""
    if record["leaderboard"].empty or record.of("leaderboard").empty:
        text = Text(("The run holds no one-nuisance universes, or no table of them: arms cannot be ranked.",))
        return Section("robustness", _TITLE, (text,))
    board = record.of("leaderboard")
    blocks: list[Block] = [Text(tuple(leaderboard_lines(record)), listed=True), _board(board), *_sizes(record)]
    blocks += [*_responses(record), *_matched(record), *_shares(record), *_numbers(record)]
    return Section("robustness", _TITLE, tuple(blocks))


def leaderboard_lines(record: Record) -> list[str]:
    """Return the sentences that answer the question, the answer first and what cannot be said last."""
    board = record.of("leaderboard")
    lines = [_order(board), *_made_of(record), _equal(record), _apart(board)]
    short = list(dict.fromkeys(flag for flag in board["flag"] if flag))
    if short:
        seeds = int(board["seeds"].min())
        lines.append(
            f"{counted(seeds, 'training')} of each arm: the order is that of these trainings, and no claim is made "
            "about the ways of training"
            + (". With one seed the intervals are over events alone." if seeds == 1 else ".")
        )
    return [scoped(record, line) if "checkpoint" not in line else line for line in lines if line]


def _order(board: pd.DataFrame) -> str:
    rows = list(each(board))
    sizes = [f"{row.arm} {interval(row.score, row.score_lo, row.score_hi)}" for row in rows]
    if len(rows) == 1:
        return f"One arm: its results move by {_after(sizes[0])} data statistical errors; there is nothing to rank."
    ties = [row.arm for row in rows[1:] if row.rank_lo == 1]
    first = f"{rows[0].arm} moves least: {_after(sizes[0])} data statistical errors (root mean square of 1σ shifts)"
    told = f"{joined([rows[0].arm, *ties])} cannot be told apart at 68 %" if ties else "its first rank holds at 68 %"
    return f"{first}; then {joined(sizes[1:])} (68 % intervals). By the confidence set of the ranks {told}."


def _after(size: str) -> str:
    return size.partition(" ")[2]


def _made_of(record: Record) -> list[str]:
    """Say which task makes up most of the score, and under which shifts."""
    rows = _sized(record)
    rows = rows[rows["task"] != "all"]
    means = (rows["value"] ** 2).groupby(rows["task"], sort=False).mean()
    if len(means) < 2 or not means.sum() > 0.0:
        return []
    task, share = str(means.idxmax()), float(means.max() / means.sum())
    nuisance = most_harmful(record.of("response_curves"), [task]).get(task, "")
    still = sorted(set(rows["task"]) - set(rows.loc[rows["resolved"].astype(bool), "task"]))
    tail = f" Not told from zero at 95 % in any arm: {joined(still)}." if still else ""
    return [f"{task} makes {percent(share)} of the mean square, most of all under {nuisance}.{tail}"]


def _equal(record: Record) -> str:
    """Say what is left of the differences where both arms perform alike, or why that is not known."""
    rows = record["matched"]
    if rows.empty:
        return ""
    known = rows[rows["matched"].notna()]
    whole = known[known["task"] == "all"]
    chosen = whole if len(whole) else known
    if chosen.empty:
        if rows["note"].str.contains("no loss per event").all():
            return (
                "At equal nominal performance nothing can be said: the tasks have no loss per event to match arms on."
            )
        better = int(rows["note"].str.contains("resolves better").sum())
        why = f" (in {better} of {len(rows)} comparisons one arm answers better in every stratum)" if better else ""
        return (
            "At equal nominal performance nothing can be said: events cannot be weighted so that two arms perform "
            f"alike{why}. A lead above may come of better performance alone."
        )
    parts = [
        f"{row.arm} less {row.minus_arm} {interval(row.matched, row.matched_lo, row.matched_hi, sign=True)}"
        f" ({row.task if row.task != 'all' else row.note or 'all tasks'})"
        for row in each(chosen)
    ]
    return f"At equal nominal performance (below 0: the first is more robust): {joined(parts)}."


def _apart(board: pd.DataFrame) -> str:
    """Say the correlation beside the size, never in it."""
    known = board[board["rho"].notna()]
    if known.empty:
        return (
            "Correlation is another matter: no arm has two tasks whose shifts stand out of event noise in every seed."
        )
    parts = [f"{row.arm} {interval(row.rho, row.rho_lo, row.rho_hi)}" for row in each(known)]
    return f"Correlation is another matter: mean ρ of the reliable pairs is {joined(parts)}."


def _board(board: pd.DataFrame) -> Sheet:
    table = pd.DataFrame(
        {
            "rank": [f"{r.rank} [{r.rank_lo}–{r.rank_hi}]" for r in each(board)],
            "arm": board["arm"],
            "moves by / data error": [interval(r.score, r.score_lo, r.score_hi) for r in each(board)],
            "worst shift": [interval(r.worst, r.worst_lo, r.worst_hi, 1) for r in each(board)],
            "lost performance": [interval(r.loss, r.loss_lo, r.loss_hi, 3, sign=True) for r in each(board)],
            "at equal performance": [_relative(r) for r in each(board)],
            "mean ρ (pairs)": [f"{interval(r.rho, r.rho_lo, r.rho_hi)} ({r.pairs})" for r in each(board)],
            "seeds": board["seeds"],
        }
    )
    return sheet(table, _ORDER, ("csv/leaderboard.csv", "csv/robustness.csv"))


def _relative(row: Any) -> str:
    if not pd.notna(row.relative):
        return "–"
    return f"{interval(row.relative, row.relative_lo, row.relative_hi, sign=True)} against {row.relative_to}"


def _sized(record: Record) -> pd.DataFrame:
    rows = record.of("robustness")
    chosen: pd.DataFrame = rows[(rows["score"] == "rms") & (rows["within"] == rows["within"].min())]
    return chosen


def _sizes(record: Record) -> list[Block]:
    return [
        picture(
            size_figure(_sized(record), record.tasks, record.arms),
            "How far each task moves under shifts of one sigma, one panel per task, every arm with its intervals.",
            "Size of the biases per arm; further left is more robust. Thick: 68 %, thin: 95 %, over events and seeds "
            "(cut at the edge where few seeds make it very long). An interval that reaches 0 is an upper limit.",
            ("csv/robustness.csv",),
        )
    ]


def _responses(record: Record) -> list[Block]:
    curves, fits = record.of("response_curves"), record.of("response_fits")
    chosen = most_harmful(curves, record.tasks)
    if not chosen:
        return []
    sizes = curves["strength"].abs().nunique()
    how = (
        "Two strengths fix the odd and even part exactly, so the lines test nothing: universes=curves runs eight."
        if sizes == 1
        else f"Fit of odd and even powers to {counted(int(curves['strength'].nunique()), 'strength')}."
    )
    return [
        picture(
            response_figure(curves, fits, chosen, record.arms),
            "Bias of each task over the strength of the nuisance that moves it most, with odd and even fit, per arm.",
            "Each task under the single nuisance that moves it most; a line and its marks are one training (of a "
            "random map one throw), grey is one statistical error of the data. " + how,
            ("csv/response_curves.csv", "csv/response_fits.csv"),
        )
    ]


def _matched(record: Record) -> list[Block]:
    rows = record["matched"]
    if rows.empty:
        return []
    table = pd.DataFrame(
        {
            "arm less other": [f"{r.arm} − {r.minus_arm}" for r in each(rows)],
            "task": rows["task"],
            "all events": [interval(r.plain, r.plain_lo, r.plain_hi, sign=True) for r in each(rows)],
            "equal performance": [interval(r.matched, r.matched_lo, r.matched_hi, sign=True) for r in each(rows)],
            "nominal loss": [
                f"{r.loss:.3g} and {r.minus_loss:.3g}"
                + (f" → {r.matched_loss:.3g}" if pd.notna(r.matched_loss) else "")
                if pd.notna(r.loss)
                else "–"
                for r in each(rows)
            ],
            "events left": [percent(r.effective_share) for r in each(rows)],
            "why not": [r.note.partition(". ")[0] if not pd.notna(r.matched) else "" for r in each(rows)],
        }
    )
    caption = (
        "Difference of the mean squared bias of two arms under shifts of one sigma (below 0: the first is more "
        "robust), in data errors squared, on all events and on events weighted so that both have the same nominal "
        "loss; 68 % over events and seeds. Each task is weighted on its own, within strata of the truth. Events left: "
        "effective number after weighting over that before."
    )
    return [sheet(table, caption, ("csv/matched.csv",), folded="At equal nominal performance, task by task")]


def _shares(record: Record) -> list[Block]:
    rows = record["variance_components"]
    if rows.empty:
        return []
    missing = rows[rows["note"] != ""]
    known = rows[rows["note"] == ""]
    lines = [f"Variance components are not given: {missing['note'].iloc[0]}."] if len(missing) else []
    blocks: list[Block] = [Text(tuple(lines))] if lines else []
    if len(known):
        remark = known.groupby("arm", sort=False)["flag"].first()
        table = pd.DataFrame(
            [
                {"arm": arm, "task": task}
                | {r.component: f"{percent(r.share)} ({fixed(r.variance, 3)})" for r in each(part)}
                | {"remark": remark[arm]}
                for (arm, task), part in groups(known, ("arm", "task"))
            ]
        )
        caption = (
            "Share of the variance of the biases over joint universes (in brackets the variance, in data errors "
            "squared): what the nuisances do to every training alike, each training's own offset (seed), and its own "
            "answer to each universe (residual). Freed of event noise, so a share below 0 or above 100 % is one that "
            "cannot be told from 0 or 100 %; intervals are in the file. Only the first is a property of the arm."
        )
        files = ("csv/variance_components.csv", "csv/correlation_shares.csv")
        blocks.append(sheet(table, caption, files, folded="What the nuisances and what the trainings make of it"))
    return blocks


def _numbers(record: Record) -> list[Block]:
    rows = record.of("robustness")
    names = {
        "rms": "root mean square",
        "area": "average |b|",
        "mean": "mean |b| of the shifts",
        "worst": "largest |b|",
        "loss": "lost performance",
    }
    table = pd.DataFrame(
        [
            {"arm": arm, "task": task, "within": f"±{within:g}σ"}
            | dict.fromkeys(names.values(), "–")
            | {names[r.score]: interval(r.value, r.lo, r.hi, 3) for r in each(part)}
            for (arm, task, within), part in groups(rows, ("arm", "task", "within"))
        ]
    )
    caption = (
        "Scores of every task in units of the data's statistical error, 68 % over events and seeds. Average: over "
        "strengths drawn evenly in the range (the area under the curve); mean: over the universes that were run. What "
        "event noise adds to |b| cannot be taken off where it is larger than the bias: then the scores of |b| are "
        "upper limits (interval from 0), and only the root mean square is a measurement."
    )
    return [sheet(table, caption, ("csv/robustness.csv", "csv/robustness_replicas.csv"), folded="Scores of every task")]
