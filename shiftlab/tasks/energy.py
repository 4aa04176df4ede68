"""Visible energy: all energy that an event deposits in the detector volume, MeV."""

from __future__ import annotations

from shiftlab.tasks.ratio_energy import RatioEnergy

__all__ = ["Energy"]


class Energy(RatioEnergy):
    """Visible energy of neutrino candidates; evaluated where a neutrino deposits energy."""

    name = "energy"
    truth_columns = ("visible_energy",)
    observable_label = "reconstructed visible energy [MeV]"
    edges = (0.0, 350.0, 600.0, 1000.0, 3000.0)
