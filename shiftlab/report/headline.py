"""The answer in two minutes: per arm the largest bias, the correlation between tasks and what both do to the fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import pandas as pd

from shiftlab.report.record import Record, each, groups
from shiftlab.report.scope import reach, scoped
from shiftlab.report.wording import fixed, interval, joined, shift_label, with_error

__all__ = [
    "ArmHeadline",
    "answers",
    "comparison",
    "fit_effect",
    "headline",
    "largest_bias",
    "mean_correlation",
    "strongest_pair",
]


@dataclass(frozen=True)
class ArmHeadline:
    """What one arm's two-minute reader learns.

    Attributes:
        arm: its name.
        cells: text of each column of the table at the top of the page, by column title.
        sentences: the same in plain words.
    """

    arm: str
    cells: dict[str, list[str]]
    sentences: tuple[str, ...]


def largest_bias(record: Record, arm: str) -> pd.DataFrame:
    """Return the rows (one per seed) of the task and universe with the largest bias of this arm.

    Largest is judged by the mean over seeds of |bias| / sigma_data among unisims, not recalibrated,
    whose Monte Carlo error is below their size in every seed. Empty when there is none.
    """
    rows = record.quoted
    rows = rows[rows["arm"] == arm]
    size = rows["bias_over_sigma_data"].abs().where(~rows["mc_limited"].astype(bool))
    means = size.groupby([rows["task"], rows["universe"]]).agg(lambda values: values.mean(skipna=False)).dropna()
    if means.empty:
        return rows.iloc[:0]
    task, universe = cast(tuple[str, str], means.idxmax())
    return rows[(rows["task"] == task) & (rows["universe"] == universe)].sort_values("seed")


def strongest_pair(record: Record, arm: str) -> pd.DataFrame:
    """Return the rows (one per seed) of the pair of tasks with the largest mean |rho|; empty when none is reliable."""
    rows = record.of("correlation", arm=arm)
    means = rows["rho"].abs().groupby([rows["task_a"], rows["task_b"]]).mean().dropna()
    if means.empty:
        return rows.iloc[:0]
    first, second = cast(tuple[str, str], means.idxmax())
    return rows[(rows["task_a"] == first) & (rows["task_b"] == second)].sort_values("seed")


def mean_correlation(record: Record, arm: str) -> pd.Series[float]:
    """Return rho averaged over the pairs of tasks that are reliable, one value per seed (NaN: none reliable)."""
    rows = record.of("correlation", arm=arm)
    return rows.groupby("seed")["rho"].mean()


def fit_effect(record: Record, arm: str) -> pd.DataFrame:
    """Return the rows (one per seed) of the fit summaries of this arm, not recalibrated."""
    return record.of("fits", arm=arm).sort_values("seed")


def headline(record: Record) -> list[ArmHeadline]:
    """Return what the top of the page says of each arm."""
    return [_arm(record, arm) for arm in record.arms]


def answers(record: Record) -> list[str]:
    """Return the few sentences that compare the arms: the first thing on the page."""
    largest = {arm: largest_bias(record, arm) for arm in record.arms}
    sizes = {arm: rows["bias_over_sigma_data"].abs().mean() for arm, rows in largest.items() if len(rows)}
    sentences = []
    if sizes:
        worst = max(sizes, key=lambda arm: sizes[arm])
        row = largest[worst].iloc[0]
        largest_of = {arm: fixed(size, 1) for arm, size in sizes.items()}
        sentences.append(
            f"A detector shift of one prior sigma moves a result by up to {fixed(sizes[worst], 1)} times its data "
            f"statistical error: arm {worst}, task {row['task']}, {_shift(row)}"
            + (" (mean of the seeds). " if len(largest[worst]) > 1 else ". ")
            + (_listing("The largest of each arm", largest_of) if len(sizes) > 1 else "")
        )
    spans = {arm: _correlated(record, arm) for arm in record.arms}
    if len(record.tasks) > 1:
        sentences.append(_listing("Mean correlation between the tasks' shifts, over the reliable pairs", spans))
    sentences += [*_unmoved(record), *comparison(record)]
    return [scoped(record, sentence) for sentence in sentences + _fit_answers(record)] + reach(record)


def _correlated(record: Record, arm: str) -> str:
    """Return the mean correlation of an arm with the number of pairs that it rests on, all seeds together."""
    values = mean_correlation(record, arm).dropna()
    pairs = record.of("correlation", arm=arm)["rho"]
    return f"{_span(list(values)) if len(values) else 'none'} ({pairs.notna().sum()} of {len(pairs)} pairs)"


def _unmoved(record: Record) -> list[str]:
    """Return how far at most those tasks move that event noise hides: a null result has its limit."""
    rows = record.of("reliability")
    if "systematic_upper" not in rows:
        return []
    hidden = rows[~rows["reliable"].astype(bool)]
    limits = [
        f"{task} below {fixed(float(part['systematic_upper'].max()), 1)} ({joined(list(dict.fromkeys(part['arm'])))})"
        for (task,), part in groups(hidden, ["task"])
    ]
    what = (
        "Hidden in event noise, so without a correlation; all shifts together move, in data statistical errors at 95 %"
    )
    return [f"{what}: {'; '.join(limits)}."] if limits else []


def _fit_answers(record: Record) -> list[str]:
    """Return what the detector does to the fit, all arms in one sentence each."""
    fits = {arm: fit_effect(record, arm) for arm in record.arms}
    fits = {arm: rows for arm, rows in fits.items() if len(rows)}
    if not fits:
        return []
    expected = {arm: _span(list(rows["sigma"]), 3) for arm, rows in fits.items()}
    sentences = [_listing("Expected uncertainty of the signal strength σ(μ)", expected)]
    moved = {arm: joined([_injected(r) for _, r in rows.iterrows()]) for arm, rows in fits.items() if _held_out(rows)}
    if moved:
        sentences.append(_listing(f"Shift of μ in the injected universe{injected_shift(record)}", moved, "; "))
    covered = {arm: f"{_span([100 * v for v in rows['coverage_decorrelated']], 1)} %" for arm, rows in fits.items()}
    what = "Were the nuisances decorrelated between channels, a 68.3 % interval would cover"
    return [*sentences, _listing(what, covered)]


def injected_shift(record: Record) -> str:
    """Return the injected nuisances in brackets, say `` (gain_scale +1σ)``; nothing where none is known."""
    rows = record["parameters"]
    rows = rows[(rows["observation"] == "injected") & (rows["kind"] == "nuisance") & (rows["injected"].fillna(0) != 0)]
    values = dict(zip(rows["name"], rows["injected"], strict=True))
    words = [f"{name} {fixed(value, 1, sign=True)}σ" for name, value in values.items()]
    return f" ({joined(words)})" if words else ""


def comparison(record: Record) -> list[str]:
    """Return how the correlation of one arm exceeds another's, seed by seed, on identical universes."""
    excess = record.of("excess")
    sentences = []
    for (arm, other), rows in groups(excess, ["arm", "minus_arm"]):
        rows = rows.dropna(subset=["excess"])
        if rows.empty:
            continue
        every = rows[rows["seed"].astype(str) == "all"]
        rows = every if len(every) else rows
        values = [f"{interval(r.excess, r.lo, r.hi, sign=True)} ({_seeds(r)})" for r in each(rows)]
        clear = all(r.lo > 0 for r in each(rows)) or all(r.hi < 0 for r in each(rows))
        over = "interval over events and seeds" if len(every) else "event interval"
        verdict = f"zero lies outside the 68 % {over}" if clear else "not distinguishable from zero"
        where = " of every seed" if clear and len(rows) > 1 else ""
        sentences.append(f"Excess correlation of {arm} over {other}: {joined(values)}; {verdict}{where}.")
    return sentences


def _seeds(row: Any) -> str:
    """Return which trainings a row of the excess is of."""
    return f"{row.seeds} seeds" if str(row.seed) == "all" else f"seed {row.seed}"


def _arm(record: Record, arm: str) -> ArmHeadline:
    bias, pair, fits = largest_bias(record, arm), strongest_pair(record, arm), fit_effect(record, arm)
    sentences = (_bias_sentence(bias), _correlation_sentence(record, arm, pair), *_fit_sentences(fits))
    ratio = [f"{with_error(r.bias_over_sigma_data, r.bias_error / r.sigma_data)}" for r in each(bias)]
    what = [f"{bias.iloc[0]['task']}, {_shift(bias.iloc[0])}"] if len(bias) else ["none above its MC error"]
    span = [f"mean {fixed(value, 2)}" for value in mean_correlation(record, arm)]
    cells = {
        "Largest bias / data stat. error": what + _by_seed(bias, ratio),
        "Correlation between tasks": _by_seed(pair, span) if len(pair) else ["not reliable"],
        "σ(μ) expected": _by_seed(fits, [fixed(r.sigma, 3) for r in each(fits)]),
        "Shift of μ, injected universe": _by_seed(fits, [_injected(r) for _, r in fits.iterrows()]),
        "σ(μ) decorrelated: claimed / true": _by_seed(
            fits,
            [f"{fixed(r.sigma_decorrelated_claimed, 3)} / {fixed(r.sigma_decorrelated_true, 3)}" for r in each(fits)],
        ),
    }
    return ArmHeadline(arm, cells, tuple(scoped(record, s, [arm]) for s in sentences if s))


def _bias_sentence(rows: pd.DataFrame) -> str:
    if rows.empty:
        return "No bias exceeds its Monte Carlo error in every seed."
    row = rows.iloc[0]
    unit = f" {row['unit']}" if row["unit"] not in ("", "1") else ""
    values = [
        f"{with_error(r.bias_over_sigma_data, r.bias_error / r.sigma_data)} data statistical errors "
        f"({with_error(r.bias, r.bias_error)}{unit}; seed {r.seed})"
        for r in each(rows)
    ]
    return f"Largest bias: {row['task']} ({row['statistic']}) under {_shift(row)}, {joined(values)}."


def _correlation_sentence(record: Record, arm: str, rows: pd.DataFrame) -> str:
    if rows.empty:
        return "Correlation between tasks: the systematic part is below the event noise for every pair; none is quoted."
    row = rows.iloc[0]
    values = [f"ρ = {interval(r.rho, r.lo, r.hi)} (seed {r.seed})" for r in each(rows)]
    quoted = record.of("correlation", arm=arm)
    missing = int(quoted["rho"].isna().sum())
    tail = f" Not reliable, so not quoted: {missing} of {len(quoted)} values." if missing else ""
    return f"Strongest correlation: {row['task_a']} with {row['task_b']}, {joined(values)}.{tail}"


def _fit_sentences(rows: pd.DataFrame) -> list[str]:
    if rows.empty:
        return []
    sigma = _span(list(rows["sigma"]), 3)
    parts = {
        "data statistics": "sigma_statistical",
        "MC statistics": "sigma_mc",
        "detector systematics": "sigma_systematic",
    }
    split = ", ".join(f"{name} {_span(list(rows[column]), 3)}" for name, column in parts.items())
    first = f"Fit: expected uncertainty of the signal strength σ(μ) = {sigma} ({split})."
    known = rows[rows["injected_shift"].notna()] if _held_out(rows) else rows.iloc[:0]
    shifts = [f"{_injected(r)} (seed {r['seed']})" for _, r in known.iterrows()]
    second = ""
    if shifts:
        limited = (known["injected_shift"].abs() < known["injected_shift_error"]).all()
        verdict = " This is MC-limited: nothing is concluded." if limited else ""
        second = f"The injected universe moves μ by {joined(shifts)}.{verdict}"
    claimed, true = _span(list(rows["sigma_decorrelated_claimed"]), 3), _span(list(rows["sigma_decorrelated_true"]), 3)
    coverage = _span([100 * value for value in rows["coverage_decorrelated"]], 1)
    third = (
        f"With nuisances decorrelated between channels the fit would claim {claimed}, where the spread is {true}: "
        f"a 68.3 % interval would cover {coverage} %."
    )
    return [first, *([second] if second else []), third]


def _held_out(rows: pd.DataFrame) -> bool:
    return "injected_shift" in rows and bool(rows["injected_shift"].notna().any())


def _injected(row: pd.Series) -> str:
    if "injected_shift" not in row or pd.isna(row["injected_shift"]):
        return "none (see findings)"
    return f"{with_error(row['injected_shift'], row['injected_shift_error'])}"


def _shift(row: pd.Series) -> str:
    return shift_label(row["nuisance"], int(row["direction"]), float(row["strength"]), int(row["throw"]))


def _span(values: Sequence[float], places: int = 2) -> str:
    """Return the one value, or the range of several seeds as ``lo to hi``."""
    texts = list(dict.fromkeys(fixed(value, places) for value in sorted(values)))
    return texts[0] if len(texts) == 1 else f"{texts[0]} to {texts[-1]}"


def _by_seed(rows: pd.DataFrame, texts: Sequence[str]) -> list[str]:
    seeds = list(dict.fromkeys(rows["seed"])) if len(rows) else []
    return [f"seed {seed}: {text}" for seed, text in zip(seeds, texts, strict=False)]


def _listing(what: str, values: dict[str, str], between: str = ", ") -> str:
    return f"{what}: {between.join(f'{arm} {value}' for arm, value in values.items())}."
