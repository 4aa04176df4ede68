"""Synthetic tables of a study, from a seeded generator with no detector behind it, as the rooms write them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from shiftlab.report.record import BIAS_TABLES, FIT_TABLES, Record, table_path, write_table

TASKS = ("segmentation", "electron_gamma", "flavour", "energy")
STATISTIC = {
    "segmentation": ("mean IoU", "1"),
    "electron_gamma": ("AUC", "1"),
    "flavour": ("AUC", "1"),
    "energy": ("median bias", "%"),
}
NUISANCES = (
    "dead_channels_fraction",
    "dead_chips_fraction",
    "gain_scale",
    "gain_spread",
    "lifetime_tau",
    "noise_enc",
    "recombination_alpha",
    "recombination_beta",
    "threshold_level",
)
SAMPLES = ("nue_cc", "numu_cc", "photon_protons")
EDGES = {
    "segmentation": [0, 0.3, 0.6, 1.0],
    "electron_gamma": [-4, -1, 1, 4],
    "flavour": [-5, 0, 5],
    "energy": [0, 500, 1000, 2000, 3000],
}
LABELS = {
    "segmentation": "shower fraction",
    "electron_gamma": "electron score",
    "flavour": "nue score",
    "energy": "visible energy [MeV]",
}


class Synthetic:
    """Tables with the columns that the bias, templates and fit rooms promise; every number is invented."""

    def __init__(self, arms: tuple[str, ...], seeds: tuple[int, ...], mip: bool, joint: bool, unreliable: bool) -> None:
        self.rng = np.random.default_rng(7)
        self.arms, self.seeds, self.joint, self.unreliable = arms, seeds, joint, unreliable
        self.modes = ("none", "mip") if mip else ("none",)
        self.owners = list(itertools.product(arms, seeds, self.modes))
        self.strength = {
            (arm, task, nuisance): self.rng.normal() * self.rng.choice([0.05, 0.5, 2.0, 6.0])
            for arm in arms
            for task in TASKS
            for nuisance in NUISANCES
        }

    def bias(self) -> pd.DataFrame:
        rows = []
        for arm, seed, mode in self.owners:
            for task, nuisance in itertools.product(TASKS, NUISANCES):
                statistic, unit = STATISTIC[task]
                throws = range(4) if nuisance == "gain_spread" else range(1)
                for direction, throw in itertools.product((-1, 1), throws):
                    error = abs(self.rng.normal(0.12, 0.03))
                    sigma = 0.013
                    size = direction * self.strength[arm, task, nuisance] * (0.3 if mode == "mip" else 1.0)
                    size = self.rng.normal(0, 0.4) * direction if nuisance == "gain_spread" else size
                    ratio = size + self.rng.normal(0, error)
                    suffix = (f"_throw{throw}" if throw else "") + ("_mip" if mode == "mip" else "")
                    rows.append(
                        {
                            "arm": arm, "seed": seed, "task": task, "statistic": statistic, "unit": unit,
                            "nuisance": nuisance, "direction": direction, "throw": throw,
                            "universe": f"{nuisance}{direction:+d}{suffix}", "group": "unisim", "recalibrate": mode,
                            "nominal": 0.8, "nominal_error": 0.011, "bias": ratio * sigma, "bias_error": error * sigma,
                            "unpaired_error": 0.016, "sigma_data": sigma, "bias_over_sigma_data": ratio,
                            "significance": abs(ratio) > 2 * error, "mc_limited": error > abs(ratio), "strength": 1.0,
                            "q_value": 0.04, "mirrored": False, "not_quoted": "",
                        }
                    )  # fmt: skip
        return pd.DataFrame(rows)

    def performance(self) -> pd.DataFrame:
        rows = []
        for arm, seed in itertools.product(self.arms, self.seeds):
            for task in TASKS:
                value = 0.86 + self.rng.normal(0, 0.03)
                reference = ("mean predictor", 0.4) if task == "energy" else ("chance", 0.5)
                rows.append((arm, seed, task, *STATISTIC[task], value, value - 0.012, value + 0.011, *reference, 640))
            rows.append((arm, seed, "energy", "resolution", "%", 14.2, 13.5, 15.1, "mean predictor", 52.0, 640))
        names = "arm seed task statistic unit value lo hi reference reference_value n_events".split()
        return pd.DataFrame(rows, columns=names).assign(
            lo95=lambda t: 2 * t.lo - t.value, hi95=lambda t: 2 * t.hi - t.value
        )

    def correlation(self) -> pd.DataFrame:
        rows = []
        for arm, seed, mode in self.owners:
            for first, second in itertools.combinations(TASKS, 2):
                rho = float(np.clip(self.rng.normal(0.5 - 0.15 * self.arms.index(arm), 0.25), -0.97, 0.97))
                lo, hi, flag = max(-1.0, rho - 0.09), min(1.0, rho + 0.07), ""
                if self.unreliable and first == "segmentation" and arm == self.arms[-1]:
                    rho, lo, hi, flag = np.nan, np.nan, np.nan, "unreliable"
                rows.append((arm, seed, first, second, rho, lo, hi, mode, flag))
        return pd.DataFrame(rows, columns="arm seed task_a task_b rho lo hi recalibrate flag".split())

    def seed_range(self) -> pd.DataFrame:
        grouped = self.correlation().groupby(["arm", "recalibrate", "task_a", "task_b"], sort=False)["rho"]
        return grouped.agg(rho_min="min", rho_max="max", seeds="count").reset_index()

    def excess(self) -> pd.DataFrame:
        seeds: list[tuple[object, int, str]] = [(seed, 1, "these trainings only") for seed in self.seeds]
        number = len(self.seeds)
        every = [("all", number, f"no claim: {number} seeds, 5 are needed")] if number > 1 else []
        rows = [
            (self.arms[0], other, seed, mode, 0.14, 0.03, 0.23, -0.08, 0.34, 6, seeds_of, flag)
            for other in self.arms[1:]
            for mode in self.modes
            for seed, seeds_of, flag in [*seeds, *every]
        ]
        names = "arm minus_arm seed recalibrate excess lo hi lo95 hi95 pairs seeds flag"
        return pd.DataFrame(rows, columns=names.split())

    def reliability(self) -> pd.DataFrame:
        hidden = {"segmentation"} if self.unreliable else set()
        rows = [
            (*owner, task, *((0.0, 0.4, 0.7, -0.2, False) if task in hidden else (3.1, 3.2, 3.6, 0.94, True)))
            for owner in self.owners
            for task in TASKS
        ]
        names = "arm seed recalibrate task systematic systematic_raw systematic_upper reliability reliable".split()
        return pd.DataFrame(rows, columns=names)

    def exposure(self) -> pd.DataFrame:
        rows = [(task, sample, 300, 250.0) for task in TASKS for sample in SAMPLES]
        return pd.DataFrame(rows, columns="task sample evaluated data_events".split())

    def unisims(self) -> pd.DataFrame:
        rows = []
        for (arm, seed, mode), nuisance, task in itertools.product(self.owners, NUISANCES, TASKS):
            odd = self.strength[arm, task, nuisance] * (0.3 if mode == "mip" else 1.0) + self.rng.normal(0, 0.1)
            throws = 4 if nuisance == "gain_spread" else 1
            rows.append((arm, seed, mode, nuisance, task, odd, 0.1, 0.05, 0.08, odd**2 + 0.005, throws, False, False))
        names = "arm seed recalibrate nuisance task odd odd_error even even_error contribution throws".split()
        names += ["mirrored", "one_sided"]
        return pd.DataFrame(rows, columns=names)

    def closure(self) -> pd.DataFrame:
        measures = ("second moment about nominal", "covariance about the mean", "universe by universe")
        rows = [
            (arm, seed, measure, v := abs(self.rng.normal(0.45, 0.1)), v - 0.06, v + 0.07, 0.3, 0.7, 8, "none")
            for arm, seed, measure in itertools.product(self.arms, self.seeds, measures)
            if self.joint
        ]
        names = "arm seed measure value lo hi expected_lo expected_hi universes recalibrate".split()
        return pd.DataFrame(rows, columns=names)

    def fit_nuisances(self) -> list[str]:
        spread = [f"gain_spread_{i}" for i in range(4)]
        return [n for name in NUISANCES for n in (spread if name == "gain_spread" else [name])]

    def templates(self) -> pd.DataFrame:
        rows = []
        size = {(n, c): self.rng.normal(0, 0.04) for n in NUISANCES for c in TASKS}
        for owner, channel in itertools.product(self.owners, TASKS):
            edges = EDGES[channel]
            for b, (lo, hi) in enumerate(itertools.pairwise(edges)):
                expected = [120 / (1 + b), 260 + 30 * b, 60.0]
                for sample, nominal in zip((*SAMPLES, "total"), (*expected, sum(expected)), strict=True):
                    error = nominal * 0.03
                    rows.append(
                        (
                            *owner,
                            channel,
                            b,
                            lo,
                            hi,
                            sample,
                            "nominal",
                            nominal,
                            error,
                            nominal,
                            0.0,
                            nominal,
                            0.0,
                            0.0,
                            0.0,
                            False,
                            False,
                        )
                    )
                    for n in self.fit_nuisances():
                        relative = size.get((n, channel), 0.01) * (b - 0.7)
                        band = 0.012 * nominal
                        up, down = nominal * (1 + relative), nominal * (1 - 0.9 * relative)
                        rows.append(
                            (
                                *owner,
                                channel,
                                b,
                                lo,
                                hi,
                                sample,
                                n,
                                nominal,
                                error,
                                up,
                                band,
                                down,
                                band,
                                (up - down) / 2,
                                band,
                                False,
                                abs(up - down) / 2 < band,
                            )
                        )
        names = (
            "arm seed recalibrate channel bin lo hi sample nuisance nominal nominal_error up up_error down down_error"
        )
        names += " odd odd_error same_side mc_limited"
        return pd.DataFrame(rows, columns=names.split())

    def yields(self) -> pd.DataFrame:
        rows = [(*o, c, s, 400.0, 250.0, 8.0, 0.62, 180) for o, c, s in itertools.product(self.owners, TASKS, SAMPLES)]
        names = "arm seed recalibrate channel sample exposure_events selected selected_error efficiency mc_events"
        return pd.DataFrame(rows, columns=names.split())

    def constraints(self) -> pd.DataFrame:
        rows = [
            (*o, n, 1.2, 0.02 * (i + 1), (1 + 0.02 * (i + 1)) ** -0.5, i == 3)
            for o in self.owners
            for i, n in enumerate(self.fit_nuisances())
        ]
        return pd.DataFrame(
            rows, columns="arm seed recalibrate nuisance information fake_information fake_sigma mc_limited".split()
        )

    def findings(self) -> pd.DataFrame:
        rows = []
        for owner in self.owners:
            rows.append(
                (
                    *owner,
                    "warning",
                    "same_side",
                    "energy",
                    "nue_cc",
                    "noise_enc",
                    "up and down move bin 2 to the same side by more than their errors",
                )
            )
            rows.append(
                (
                    *owner,
                    "note",
                    "mc_limited",
                    "flavour",
                    "numu_cc",
                    "threshold_level",
                    "the MC error exceeds the shift in every bin",
                )
            )
            rows.append(
                (
                    *owner,
                    "note",
                    "merged",
                    "segmentation",
                    "",
                    "",
                    "bins 3 and 4 were merged: fewer than 5 effective events",
                )
            )
        return pd.DataFrame(rows, columns="arm seed recalibrate severity code channel sample nuisance message".split())

    def fits(self) -> pd.DataFrame:
        rows = []
        for arm, seed, mode in self.owners:
            sigma = 0.1 + 0.01 * seed + 0.005 * self.arms.index(arm)
            rows.append(
                {
                    "arm": arm, "seed": seed, "recalibrate": mode, "mu_asimov": 1.0, "sigma": sigma,
                    "sigma_statistical": 0.08, "sigma_mc": 0.03, "sigma_systematic": (sigma**2 - 0.0073) ** 0.5,
                    "sigma_decorrelated_claimed": 0.9 * sigma, "sigma_decorrelated_true": 1.1 * sigma,
                    "coverage_decorrelated": 0.587, "largest_impact": "gain_scale", "largest_impact_value": 0.03,
                    "injected_universe": "injected", "mu_injected": 1.11, "mu_injected_error": sigma,
                    "injected_bias": 1.0, "injected_bias_mc_error": 0.3, "mu_held_out": 1.02,
                    "injected_shift": 0.09 + self.rng.normal(0, 0.02), "injected_shift_error": 0.024, "goodness": 11.2,
                    "ndf": 12, "p_value": 0.5, "goodness_mc_ratio": 0.9, "n_mc_limited": 3, "n_nuisances": 12,
                }
            )  # fmt: skip
        return pd.DataFrame(rows)

    def parameters(self) -> pd.DataFrame:
        rows = []
        for owner, observation in itertools.product(self.owners, ("asimov", "held_out", "injected")):
            rows.append((*owner, observation, "mu", "poi", np.nan, 1.0, 0.11, np.nan, np.nan, np.nan))
            for n in self.fit_nuisances():
                pull = 0.0 if observation == "asimov" else self.rng.normal(0, 0.4)
                injected = {"gain_scale": 1.0, "lifetime_tau": -1.0}.get(n, 0.0) if observation == "injected" else 0.0
                injected = np.nan if n.startswith("gain_spread") else injected
                rows.append((*owner, observation, n, "nuisance", 1.0, pull, 0.9, pull, 0.9, injected))
        names = "arm seed recalibrate observation name kind prefit bestfit error pull constraint injected"
        return pd.DataFrame(rows, columns=names.split())

    def impacts(self) -> pd.DataFrame:
        rows = []
        for owner in self.owners:
            for i, n in enumerate(self.fit_nuisances()):
                c = self.rng.normal(0, 0.02)
                up, down = (1.1 * c, -0.95 * c) if i < 4 else (np.nan, np.nan)
                rows.append((*owner, n, c, 1.1 * c, 0.9 * c, up, down, i == 3, 0.98))
        names = "arm seed recalibrate nuisance closed_form prefit component up down mc_limited fake_sigma"
        return pd.DataFrame(rows, columns=names.split())

    def components(self) -> pd.DataFrame:
        rows = []
        for owner in self.owners:
            parts = {"data statistics": 0.08, "MC statistics": 0.03, "systematics": 0.05}
            total = sum(v**2 for v in parts.values()) ** 0.5
            rows += [(*owner, k, "group", v, v**2 / total**2) for k, v in {**parts, "total": total}.items()]
            rows += [(*owner, n, "nuisance", 0.014, 0.014**2 / total**2) for n in self.fit_nuisances()]
        return pd.DataFrame(rows, columns="arm seed recalibrate component group sigma fraction".split())

    def decorrelated(self) -> pd.DataFrame:
        rows = []
        for owner in self.owners:
            rows.append((*owner, "correlated", 0.105, 0.105, 0.683))
            rows.append((*owner, "decorrelated", 0.095, 0.116, 0.587))
        return pd.DataFrame(rows, columns="arm seed recalibrate scheme claimed true coverage".split())

    def response(self) -> pd.DataFrame:
        rows = [(*o, c, 0, 0.0, 1.0, 100.0, 0.002) for o, c in itertools.product(self.owners, TASKS)]
        return pd.DataFrame(rows, columns="arm seed recalibrate channel bin lo hi expected dmu_dn".split())

    def nuisances(self) -> pd.DataFrame:
        rows = [(n, 1.0, 0.98, 1.02, "1", "run", "C", "synthetic") for n in NUISANCES]
        names = "name nominal minus_1sigma plus_1sigma unit scope confidence source"
        return pd.DataFrame(rows, columns=names.split())


def _write(
    folder: Path,
    arms: tuple[str, ...] = ("foundation", "scratch", "classic"),
    seeds: tuple[int, ...] = (0, 1),
    *,
    mip: bool = True,
    joint: bool = True,
    unreliable: bool = True,
) -> Path:
    tables = Synthetic(arms, seeds, mip, joint, unreliable)
    for name in (*BIAS_TABLES, *FIT_TABLES, "nuisances"):
        write_table(folder / table_path(name), getattr(tables, name)())
    plain = {
        "study": "synthetic",
        "tasks": list(TASKS),
        "labels": LABELS,
        "provenance": {"seed": 1, "versions": {"python": "3.11"}, "config": {"replicas": 200}},
        "notes": ["Every number here is invented, to test the page."],
    }
    (folder / "report.json").write_text(json.dumps(plain))
    return folder


@pytest.fixture
def synthetic(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a synthetic record and gives its folder."""
    return partial(_write, tmp_path / "synthetic")


@pytest.fixture(scope="module")
def module_synthetic(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return the same for the tests of one module, which must not change it."""
    return partial(_write, tmp_path_factory.mktemp("synthetic"))


@pytest.fixture
def record(synthetic: Callable[..., Path]) -> Record:
    """Return the synthetic record of three arms, two seeds, with and without recalibration."""
    return Record.load(synthetic())
