"""Electron or photon: which of the two made the leading shower of an event."""

from __future__ import annotations

from shiftlab.tasks.logit_task import LogitTask

__all__ = ["ElectronGamma"]


class ElectronGamma(LogitTask):
    """Electron (1) against photon (0), NaN for neither; numu CC events are scored because they fill the channel too."""

    name = "electron_gamma"
    judged = ("single_electron", "single_gamma", "nue_cc", "photon_protons")
    also_scored = ("numu_cc",)
    truth_columns = ("em_class",)
    observable_label = "electron score of the leading shower"
    edges = (0.0, 0.25, 0.5, 0.75, 1.0)
