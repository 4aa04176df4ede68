"""How far do results of a wire read-out move when its planes, their noise and their shaping change?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from shiftlab.run.study import Study
from studies.headlines import fits, largest_of_each

if TYPE_CHECKING:
    from shiftlab.bias import Bias
    from shiftlab.fit import FitResult

__all__ = ["Wires"]


class Wires(Study):
    """A classic analysis of three wire planes, in universes of the wires' own nuisances and of the argon's."""

    name = "wires"
    question = "How far do results of a wire read-out move when its planes, their noise and their shaping change?"
    samples = (
        "Geant4 11.4 transports every particle in liquid argon, with reduced tables; neutrino vertices are "
        "charged-current quasi-elastic only.",
        "The photon background is composed: nue CC vertices whose electron is replaced by a photon of equal energy.",
        "Field responses are one-dimensional models; a wire's neighbours see nothing of its charge.",
        "Wires and times without charge have no samples, so that noise alone makes no signal.",
        "The planes' summary quantities are put side by side; signals are not matched across planes.",
        "The detector is virtual and the exposure is declared; neither is any experiment's.",
        "Two training seeds give ranges, not intervals: intervals cover the events, for the checkpoints at hand.",
    )

    def headline(self, bias: Bias, results: Mapping[tuple[str, int], FitResult]) -> tuple[str, ...]:
        """Return the largest bias of each task, and what detector systematics cost the fit."""
        return (*largest_of_each(bias, by=[]), *fits(results))
