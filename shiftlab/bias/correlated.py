"""Tables of how the tasks of each arm move together: responses, correlations, excess over another arm, closure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from shiftlab.bias.bootstrap import known_interval
from shiftlab.bias.closure import closure
from shiftlab.bias.covariance import Key, Part, Systematic, odd_even, systematic
from shiftlab.bias.design import Design
from shiftlab.bias.excess import EXCESS_COLUMNS, excess, excess_table, unisim_rows
from shiftlab.bias.maps import maps_table, over_maps
from shiftlab.bias.measure import Measured
from shiftlab.bias.prior import parts_covariance
from shiftlab.bias.statistic import Floats
from shiftlab.bias.structure import joint_correlations, modes_table, structure_table

__all__ = ["Correlated", "correlated"]


@dataclass(frozen=True)
class Correlated:
    """Systematic part of the biases of every arm, seed and recalibration.

    Attributes:
        unisims: Odd and even response of each task to each nuisance, in units of ``sigma_data``.
        reliability: Systematic size of each task and the share of it that is not event noise.
        correlation: rho of each pair of tasks with its 68% interval over events.
        seed_range: Smallest and largest rho over seeds.
        excess: Mean difference of rho between two arms on the same events and universes, per seed and over all seeds.
        closure: Distance between joint and one-nuisance universes.
        joint_correlation: rho of each pair of tasks over joint universes, with its interval over them.
        structure: Effective number of tasks and inflation of their sum.
        modes: Leading modes of the covariance, named by their nuisances.
        maps: Variance from frozen maps, mean response and differences between maps apart.
        systematic: The covariances behind it all.
        over_maps: (arm, seed, recalibration) to (task, task), the part of them that differences between maps make.
    """

    unisims: pd.DataFrame
    reliability: pd.DataFrame
    correlation: pd.DataFrame
    seed_range: pd.DataFrame
    excess: pd.DataFrame
    closure: pd.DataFrame
    joint_correlation: pd.DataFrame
    structure: pd.DataFrame
    modes: pd.DataFrame
    maps: pd.DataFrame
    systematic: Mapping[Key, Systematic]
    over_maps: Mapping[Key, Floats]


def correlated(measured: Measured, design: Design, seed: int) -> Correlated:
    """Return the systematic covariance of the tasks and all that is read from it."""
    unisims: list[dict[str, object]] = []
    closures: list[dict[str, object]] = []
    found: dict[Key, Systematic] = {}
    responses: dict[Key, Sequence[Part]] = {}
    for recalibrate in design.recalibrations:
        terms, blocks = design.terms(recalibrate), design.joint(recalibrate)
        if not terms:
            continue
        for a, s in np.ndindex(len(measured.arms), len(measured.seeds)):
            key = (measured.arms[a], measured.seeds[s], recalibrate)
            displacement = measured.displacement(a, s, design.nominal)
            parts = odd_even(displacement, terms)
            unisims += [{**_head(key), **row} for part in parts for row in _part_rows(part, measured.tasks)]
            responses[key] = parts
            found[key] = systematic(parts_covariance(parts, design.prior_among([part.nuisance for part in parts])))
            if blocks:
                number = sum(len(block) for block in blocks)
                for measure in closure(displacement, parts, design, blocks, seed):
                    closures.append({**_head(key), **asdict(measure), "universes": number})
    rho = {key: part.rho() for key, part in found.items()}
    correlation = _correlation_table(rho, measured.tasks)
    return Correlated(
        unisims=pd.DataFrame(unisims, columns=_UNISIMS),
        reliability=_reliability_table(found, measured.tasks),
        correlation=correlation,
        seed_range=_seed_range(correlation),
        excess=_excess_tables(responses, measured),
        closure=pd.DataFrame(closures, columns=list(_CLOSURE)).rename(columns=_CLOSURE),
        joint_correlation=joint_correlations(found, measured, design),
        structure=structure_table(found, measured, design),
        modes=modes_table(found, responses, measured.tasks),
        maps=maps_table(responses, measured.tasks),
        systematic=found,
        over_maps={key: over_maps(parts) for key, parts in responses.items()},
    )


_UNISIMS = [
    *("arm", "seed", "recalibrate", "nuisance", "task", "odd", "odd_error", "even", "even_error"),
    *("contribution", "throws", "mirrored", "one_sided"),
]
_CLOSURE = {
    **{"arm": "arm", "seed": "seed", "measure": "measure", "value": "value", "low": "lo", "high": "hi"},
    **{"expected_low": "expected_lo", "expected_high": "expected_hi", "universes": "universes"},
    "recalibrate": "recalibrate",
}


def _head(key: Key) -> dict[str, object]:
    return dict(zip(("arm", "seed", "recalibrate"), key, strict=True))


def _part_rows(part: Part, tasks: Sequence[str]) -> list[dict[str, object]]:
    throws = part.odd.shape[1]
    odd, even = (_over_throws(side) for side in (part.odd, part.even))
    contribution = np.diag(part.covariance[0])
    return [
        {
            "nuisance": part.nuisance,
            "task": task,
            "odd": float(odd[0, t]),
            "odd_error": float(odd[1:, t].std(ddof=1)),
            "even": float(even[0, t]),
            "even_error": float(even[1:, t].std(ddof=1)),
            "contribution": float(contribution[t]),
            "throws": throws,
            "mirrored": part.mirrored,
            "one_sided": part.one_sided,
        }
        for t, task in enumerate(tasks)
    ]


def _over_throws(side: Floats) -> Floats:
    """Return the response itself for one throw, the root mean square over several; (1 + replica, task)."""
    return side[:, 0] if side.shape[1] == 1 else np.asarray(np.sqrt((side**2).mean(axis=1)), dtype=np.float64)


def _reliability_table(found: Mapping[Key, Systematic], tasks: Sequence[str]) -> pd.DataFrame:
    rows = [
        {
            **_head(key),
            "task": task,
            "systematic": float(np.sqrt(max(0.0, part.debiased[t, t]))),
            "systematic_raw": float(np.sqrt(part.raw[t, t])),
            "systematic_upper": float(part.upper[t]),
            "reliability": float(part.reliability[t]),
            "reliable": bool(part.reliable[t]),
        }
        for key, part in found.items()
        for t, task in enumerate(tasks)
    ]
    columns = ["arm", "seed", "recalibrate", "task", "systematic", "systematic_raw", "systematic_upper"]
    return pd.DataFrame(rows, columns=[*columns, "reliability", "reliable"])


def _correlation_table(rho: Mapping[Key, Floats], tasks: Sequence[str]) -> pd.DataFrame:
    rows = []
    for (arm, seed, recalibrate), values in rho.items():
        for a, b in combinations(range(len(tasks)), 2):
            estimate = float(values[0, a, b])
            low, high = known_interval(values[1:, a, b])
            flag = "unreliable" if np.isnan(estimate) else ""
            rows.append((arm, seed, tasks[a], tasks[b], estimate, low, high, recalibrate, flag))
    columns = ["arm", "seed", "task_a", "task_b", "rho", "lo", "hi", "recalibrate", "flag"]
    return pd.DataFrame(rows, columns=columns)


def _seed_range(correlation: pd.DataFrame) -> pd.DataFrame:
    columns = ["arm", "recalibrate", "task_a", "task_b"]
    grouped = correlation.groupby(columns, sort=False)["rho"]
    return grouped.agg(rho_min="min", rho_max="max", seeds="count").reset_index()


def _excess_tables(responses: Mapping[Key, Sequence[Part]], measured: Measured) -> pd.DataFrame:
    """Return the excess of each arm over each later one, seed by seed and over all seeds; empty for one task."""
    tables = [pd.DataFrame(columns=list(EXCESS_COLUMNS))]
    for arm, other in combinations(measured.arms, 2):
        for recalibrate in dict.fromkeys(key[2] for key in responses):
            both = [
                [unisim_rows(responses[(one, seed, recalibrate)]) for seed in measured.seeds] for one in (arm, other)
            ]
            if len(measured.tasks) > 1:
                found = excess(np.stack([np.stack(rows) for rows in both]), measured.tasks)
                tables.append(excess_table(found, arm, other, measured.seeds, recalibrate))
    return tables[0] if len(tables) == 1 else pd.concat(tables[1:], ignore_index=True)
