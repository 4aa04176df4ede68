"""How far do available energy and pion topology move when the response to reconstructed particles does?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from shiftlab.run.study import Study
from studies.headlines import fits, largest_of_each

if TYPE_CHECKING:
    from shiftlab.bias import Bias
    from shiftlab.fit import FitResult

__all__ = ["Minerva"]


class Minerva(Study):
    """A small foundation model of tokens, the same network from scratch and trees, on a MINERvA-like toy."""

    name = "minerva"
    question = "How far do available energy and pion topology move when the response to reconstructed particles does?"
    samples = (
        "MINERvA-like, not MINERvA: nothing here says how MINERvA or any model of its data performs.",
        "Geant4 11.4 transports every particle in polystyrene; strips, light and photoelectrons are modelled; the "
        "pattern recognition is a toy that looks at the truth.",
        "Final states are composed of CCQE-like and resonance-like draws; no generator of neutrino interactions and no "
        "nuclear model made them.",
        "Shifts act on reconstructed tokens; a blob is split among particles by shares of the toy itself.",
        "Effects that reweigh events are left out: an event has the same weight in all universes.",
        "The foundation model saw the generator's pion topology in its pre-training, as OmniLearned's saw jet classes; "
        "it was trained on the same 2000 events as its rivals.",
        "The exposure is declared and no experiment's. Two training seeds give ranges, not intervals.",
    )

    def headline(self, bias: Bias, results: Mapping[tuple[str, int], FitResult]) -> tuple[str, ...]:
        """Return the largest bias of each arm and task, and what detector systematics cost the fit."""
        return (*largest_of_each(bias, by=["arm"]), *fits(results))
