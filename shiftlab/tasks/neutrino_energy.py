"""Neutrino energy: the energy of the neutrino that interacted, MeV, from what it left in the detector."""

from __future__ import annotations

from collections.abc import Mapping

from shiftlab.events.deposits import EventTable
from shiftlab.tasks.energy_task import robust_spread
from shiftlab.tasks.ratio_energy import RatioEnergy
from shiftlab.tasks.task import NEUTRINOS, Booleans, Floats, of_samples

__all__ = ["NeutrinoEnergy"]


class NeutrinoEnergy(RatioEnergy):
    """Energy of the neutrino; evaluated on charged-current interactions that leave energy in the detector.

    In neutral currents the outgoing neutrino carries off a part that no detector sees, so that they are not judged.
    The ratio has long tails, from muons that leave and neutrons that do not shine: its interquartile range and most
    probable value stand beside the root mean square (figures of arXiv:2604.12364).
    """

    name = "neutrino_energy"
    opt_in = True
    truth_columns = ("neutrino_energy", "visible_energy")
    observable_label = "reconstructed neutrino energy [MeV]"
    edges = (0.0, 600.0, 1000.0, 1500.0, 5000.0)

    def evaluated(self, events: EventTable) -> Booleans:
        """Return the charged-current events with a true neutrino energy that deposit energy."""
        return of_samples(events, NEUTRINOS) & (self.truth(events) > 0).all(axis=1)

    def further(self, outputs: Floats, truth: Floats, weights: Floats) -> Mapping[str, Floats]:
        """Return resolution, interquartile range and most probable value of reco/true."""
        ratio = outputs[..., 0] / truth[:, 0]
        return {**super().further(outputs, truth, weights), **robust_spread(ratio, weights)}
