"""Do the results that hang on one shared foundation model move together when the detector does?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from shiftlab.run.study import Study
from studies.headlines import fits, largest, single

if TYPE_CHECKING:
    from shiftlab.bias import Bias
    from shiftlab.fit import FitResult

__all__ = ["Demo"]


class Demo(Study):
    """One shared frozen body against one network per task and a classic baseline, on the same events and universes."""

    name = "demo"
    question = "Do the results that hang on one shared foundation model move together when the detector does?"
    samples = (
        "Geant4 11.4 transports every particle in liquid argon, with reduced tables; neutrons and nuclear photons are "
        "approximate, and their far, faint deposits are most of the isolated voxels.",
        "Neutrino vertices are charged-current quasi-elastic only.",
        "The photon background is composed: nue CC vertices whose electron is replaced by a photon of equal energy.",
        "The detector is virtual and the exposure is declared; neither is any experiment's.",
        "Two training seeds give ranges, not intervals: intervals cover the events, for the checkpoints at hand.",
    )

    def headline(self, bias: Bias, results: Mapping[tuple[str, int], FitResult]) -> tuple[str, ...]:
        """Return how much more the shared model's tasks move together, and what each arm costs the fit."""
        return (*_excess(bias), *_largest(bias), *fits(results))


def _excess(bias: Bias) -> list[str]:
    table = bias.excess
    rows = table[(table["arm"] == "foundation") & (table["recalibrate"] == "none")].dropna(subset=["excess"])
    every = rows[rows["seed"].astype(str) == "all"]
    over = "events and seeds" if len(every) else "events"
    lines = [
        f"Tasks of arm foundation correlate by {row.excess:+.2f} [{row.lo:+.2f}, {row.hi:+.2f}] more than those of "
        f"arm {row.minus_arm} (seed {row.seed}, mean over {row.pairs} pairs, 68% interval over {over})."
        for row in (every if len(every) else rows).itertuples()
    ]
    return lines or ["No pair of tasks moves far enough beyond the event noise to compare the arms' correlations."]


def _largest(bias: Bias) -> list[str]:
    lines = []
    for arm, rows in single(bias).groupby("arm", sort=False):
        row = largest(rows)
        lines.append(
            f"Largest bias of arm {arm}: {row['task']} ({row['statistic']}) moves by {row['bias']:+.3g} ± "
            f"{row['bias_error']:.1g}, {abs(row['bias_over_sigma_data']):.2f} data statistical errors, in universe "
            f"{row['universe']} (seed {row['seed']})."
        )
    return lines
