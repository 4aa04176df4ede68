"""Neutrino flavour: electron-neutrino against muon-neutrino charged-current interactions."""

from __future__ import annotations

import numpy as np

from shiftlab.events.deposits import EventTable
from shiftlab.tasks.logit_task import LogitTask
from shiftlab.tasks.task import NEUTRINOS, Floats

__all__ = ["Flavour"]


class Flavour(LogitTask):
    """nue CC (1) against numu CC (0); the photon background is scored because it fills the channel too."""

    name = "flavour"
    judged = NEUTRINOS
    also_scored = ("photon_protons",)
    truth_columns = ("nue",)
    observable_label = "nue CC score"
    edges = (0.0, 0.25, 0.5, 0.75, 1.0)

    def truth(self, events: EventTable) -> Floats:
        """Return 1 for nue, 0 for numu, NaN for events without a neutrino."""
        pdg = events.truth["neutrino_pdg"].cpu().numpy()
        return np.select([pdg == 12, pdg == 14], [1.0, 0.0], default=np.nan)[:, None]
