"""Coverage of intervals of mu with templates of a finite simulation, where the true templates are known.

One observable, normal in each of three samples; data of 600 expected events; a nuisance that scales the observable by
5%. Paired: the same events, scaled. Unpaired: other random numbers in every universe, as if each variation were a
simulation of its own. Compared: toys with templates fixed, toys with an independent simulation each around the true
templates, and toys with the event bootstrap of one simulation around that simulation. Run as
``OMP_NUM_THREADS=1 python tests/benchmarks/template_coverage.py``; with ``--responses FILE`` the table is that of the
templates of a finished run.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from shiftlab.fit.coverage import template_coverage
from shiftlab.responses import Responses
from shiftlab.templates import Templates, TemplateSettings, templates
from shiftlab.templates.bootstrap import bootstrap
from shiftlab.templates.processing import ProcessingSettings

SAMPLES = ("nue_cc", "numu_cc", "photon_protons")
MEANS, WIDTHS = (1.2, 0.8, 1.0), (0.2, 0.25, 0.3)
EXPOSURE = {"nue_cc": 150.0, "numu_cc": 250.0, "photon_protons": 200.0}
EDGES = np.array([0.0, 0.7, 0.9, 1.1, 1.3, 1.5, 2.0])
NUISANCES = {"scale_a": 0.05, "scale_b": 0.05}
SETTINGS = TemplateSettings(holdout=0.0, empty="error", processing=ProcessingSettings(same_side="keep"))


def simulate(rng: np.random.Generator, ratio: float, paired: bool) -> Responses:
    """Return responses of one simulation, ``ratio`` times as many events as the data expects.

    ``scale_a`` moves every sample by its size, ``scale_b`` the backgrounds only, so that they resemble the signal.
    """
    numbers = [round(ratio * EXPOSURE[name]) for name in SAMPLES]
    sample = np.repeat(np.arange(3), numbers)
    draws = rng.normal(size=len(sample))
    universes = [("nominal", {}), *((f"{name}{z:+.0f}", {name: z}) for name in NUISANCES for z in (-1.0, 1.0))]
    values = []
    for _, moved in universes:
        values.append(np.array(MEANS)[sample] + np.array(WIDTHS)[sample] * draws)
        for name, z in moved.items():
            values[-1] = values[-1] * (1.0 + z * NUISANCES[name] * ((name == "scale_a") | (sample > 0)))
        draws = draws if paired else rng.normal(size=len(sample))
    observable = np.array(values)[None, None]
    event = rng.permutation(2**40 + np.arange(len(sample), dtype=np.int64))
    dims, count = ("arm", "seed", "universe", "event"), len(universes)
    data = xr.Dataset(
        {
            "output": ((*dims, "output"), observable[..., None]),
            "observable": (dims, observable),
            "selected": (dims, np.ones(observable.shape, dtype=bool)),
            "truth": (("event", "truth_column"), np.zeros((len(sample), 1))),
            "evaluated": ("event", np.ones(len(sample), dtype=bool)),
        },
        coords={
            "arm": ["one"],
            "seed": [0],
            "universe": [name for name, _ in universes],
            "event": event,
            "nuisance": list(NUISANCES),
            "vertex_uid": ("event", event),
            "weight": ("event", np.ones(len(sample))),
            "sample": ("event", np.array(SAMPLES)[sample]),
            "group": ("universe", ["nominal"] + ["unisim"] * (count - 1)),
            "throw": ("universe", np.zeros(count, dtype=np.int64)),
            "recalibrate": ("universe", ["none"] * count),
            "nuisance_value": (
                ("universe", "nuisance"),
                np.array([[moved.get(name, 0.0) for name in NUISANCES] for _, moved in universes]),
            ),
        },
    )
    return Responses({"spectrum": data}, {"identity": "synthetic"})


def made(responses: Responses) -> Templates:
    """Return the templates of one simulation."""
    return templates(responses, exposure=EXPOSURE, edges={"spectrum": EDGES}, settings=SETTINGS)["one", 0]


def spectra(moved: dict[str, float]) -> npt.NDArray[np.float64]:
    """Return the true expected events, (sample, bin)."""
    from scipy.special import ndtr

    found = []
    for s, name in enumerate(SAMPLES):
        factor = 1.0 + sum(z * NUISANCES[k] * float(k == "scale_a" or s > 0) for k, z in moved.items())
        inner = ndtr((EDGES[1:-1] / factor - MEANS[s]) / WIDTHS[s])
        found.append(EXPOSURE[name] * np.diff(np.concatenate([[0.0], inner, [1.0]])))
    return np.array(found)


def truth(one: Templates) -> Templates:
    """Return ``one`` with the true templates, not processed; the Monte Carlo variance is that of unweighted events."""
    nominal = spectra({})
    ratio = one.events.sum() / nominal.sum()
    up, down = (np.stack([spectra({name: z}) for name in NUISANCES]) for z in (1.0, -1.0))
    return replace(one, nominal=nominal, variance=nominal / ratio, events=nominal * ratio, up=up, down=down)


def synthetic(toys: int) -> pd.DataFrame:
    """Return the table of the synthetic case."""
    tables = []
    for paired in (True, False):
        for ratio in (1.0, 4.0):
            rng = np.random.default_rng(1)
            first = simulate(rng, ratio, paired)
            one = made(first)
            others = (made(simulate(rng, ratio, paired)) for _ in range(toys))
            known = template_coverage(truth(one), others, 1, number=toys)
            redrawn = template_coverage(one, bootstrap(first, one, replicas=toys, seed=1), 1, number=toys)
            for source, table in (("independent", known), ("bootstrap", redrawn)):
                tables.append(table.assign(paired=paired, ratio=ratio, source=source))
                print(_short(tables[-1]), flush=True)
    return pd.concat(tables, ignore_index=True)


def _short(table: pd.DataFrame) -> str:
    cells = (100 * table["coverage"]).map("{:.1f}".format) + " ± " + (100 * table["error"]).map("{:.1f}".format)
    wide = table.assign(cell=cells, column=table["interval"] + " " + (100 * table["level"]).map("{:.0f}".format))
    keys = [name for name in ("paired", "ratio", "source") if name in table]
    index = [*keys, "toys", "spread", "claimed"]
    return wide.pivot(index=index, columns="column", values="cell").round(3).to_string()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toys", type=int, default=300)
    parser.add_argument("--responses", type=Path, help="responses.h5 of a finished run")
    parser.add_argument("--arm", help="only this arm of the run")
    chosen = parser.parse_args()
    if chosen.responses is None:
        synthetic(chosen.toys)
        return
    responses = Responses.load(chosen.responses)
    for one in templates(responses, arm=chosen.arm, seed=responses.seeds[0]).values():
        for renormalise in (True, False):
            redrawn = bootstrap(responses, one, replicas=chosen.toys, seed=1, renormalise=renormalise)
            table = template_coverage(one, redrawn, 1, number=chosen.toys)
            print(f"\n{one.name}, {'' if renormalise else 'not '}renormalised\n{_short(table)}", flush=True)


if __name__ == "__main__":
    main()
