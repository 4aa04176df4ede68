"""Speed of the likelihood engine beside pyhf with MINUIT, and of cabinetry's ranking where it is installed.

$ OMP_NUM_THREADS=1 python tests/benchmarks/likelihood_speed.py [--large] [--no-pyhf]

The reference model has 6 channels of 20 bins, 3 samples (Gaussian signal, exponential, flat), 30 nuisances on all
of them, each a yield of about 2% and a shape of 3%, and 5% Monte Carlo errors: 151 parameters. ``--large`` adds
20 channels of 50 bins with 100 nuisances. Times are processor time, so that other programs do not count, the best and
the median of repeated calls, all in one run; pyhf's fit runs once. cabinetry ranks a model of 2 channels, 10 bins and
5 nuisances: 26 parameters.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from shiftlab.fit import likelihood as engine
from shiftlab.fit.likelihood.components import components
from shiftlab.fit.likelihood.impacts import impacts, refit_impacts
from shiftlab.fit.likelihood.toys import toys

SAMPLES = ("signal", "exponential", "flat")


def arrays(channels: int, bins: int, nuisances: int) -> dict[str, Any]:
    """Return templates, yield factors and variances of the model, and one Poisson draw of data."""
    rng = np.random.default_rng(0)
    x = (np.arange(bins) + 0.5) / bins
    one = np.stack(
        [60.0 * np.exp(-0.5 * ((x - 0.5) / 0.1) ** 2) + 2.0, 300.0 * np.exp(-2.0 * x) + 20.0, 80.0 + 0.0 * x]
    )
    nominal = np.tile(one, (1, channels))
    phase = rng.uniform(size=(nuisances, 3, channels, 1))
    wave = 1.0 + np.arange(nuisances)[:, None, None, None] % 4
    shape = 0.03 * np.sin(2.0 * np.pi * (wave * x + phase))
    shape -= (shape * one[:, None]).sum(axis=-1, keepdims=True) / one[:, None].sum(axis=-1, keepdims=True)
    shift = shape.reshape(nuisances, 3, channels * bins)
    rate = 0.02 * rng.uniform(0.5, 1.5, (nuisances, 3, channels)) * rng.choice([-1.0, 1.0], (nuisances, 3, channels))
    return {
        "channels": {f"channel_{c:02d}": bins for c in range(channels)},
        "nuisances": [f"np_{k:03d}" for k in range(nuisances)],
        "nominal": nominal,
        "up": nominal * (1.0 + shift),
        "down": nominal * (1.0 - shift),
        "norm_up": 1.0 + rate,
        "norm_down": 1.0 - rate,
        "variance": (0.05 * nominal) ** 2,
        "data": np.random.default_rng(1).poisson(nominal.sum(axis=0)).astype(float),
    }


def likelihood(of: dict[str, Any]) -> engine.Likelihood:
    """Build the engine's likelihood from the arrays."""
    rest = {key: value for key, value in of.items() if key not in ("data", "channels", "nominal")}
    return engine.from_arrays("reference", of["channels"], SAMPLES, of["nominal"], signal="signal", **rest)


def workspace(of: dict[str, Any]) -> dict[str, Any]:
    """Return the same model as a pyhf workspace."""
    channels, observations, first = [], [], 0
    for c, (channel, bins) in enumerate(of["channels"].items()):
        part = slice(first, first + bins)
        first += bins
        samples = []
        for s, sample in enumerate(SAMPLES):
            modifiers: list[dict[str, Any]] = []
            if s == 0:
                modifiers.append({"name": "mu", "type": "normfactor", "data": None})
            for k, name in enumerate(of["nuisances"]):
                yields = {"hi": float(of["norm_up"][k, s, c]), "lo": float(of["norm_down"][k, s, c])}
                shapes = {"hi_data": of["up"][k, s, part].tolist(), "lo_data": of["down"][k, s, part].tolist()}
                modifiers.append({"name": name, "type": "normsys", "data": yields})
                modifiers.append({"name": name, "type": "histosys", "data": shapes})
            error = np.sqrt(of["variance"][s, part]).tolist()
            modifiers.append({"name": f"mcstat_{channel}", "type": "staterror", "data": error})
            samples.append({"name": sample, "data": of["nominal"][s, part].tolist(), "modifiers": modifiers})
        channels.append({"name": channel, "samples": samples})
        observations.append({"name": channel, "data": of["data"][part].tolist()})
    config = {"poi": "mu", "parameters": [{"name": "mu", "inits": [1.0], "bounds": [[0.0, 10.0]]}]}
    measurement = {"name": "reference", "config": config}
    return {"version": "1.0.0", "channels": channels, "observations": observations, "measurements": [measurement]}


def timed(call: Callable[[], Any], budget: float = 2.0) -> tuple[float, float, Any]:
    """Return best and median seconds of repeated calls, the first left out where there are more, and the result."""
    times, begin = [], time.process_time()
    while len(times) < 2 or (time.process_time() - begin < budget and len(times) < 200):
        start = time.process_time()
        result = call()
        times.append(time.process_time() - start)
    return min(times[1:]), float(np.median(times[1:])), result


def row(what: str, best: float, median: float, target: str = "") -> None:
    """Print one line of the table."""
    print(f"{what:<44}{1e3 * best:>12.3f}{1e3 * median:>12.3f}   {target}", flush=True)


def engine_times(of: dict[str, Any], targets: bool) -> tuple[float, engine.Fitted]:
    """Time the engine's steps; return the best time of a fit, and the fit."""
    goal = {"build": "< 10", "fit": "< 5", "impacts": "< 1", "toys": "< 3000"} if targets else {}
    print(f"\n{'engine, ms':<44}{'best':>12}{'median':>12}   target")
    best, median, model = timed(lambda: likelihood(of))
    row("build from arrays", best, median, goal.get("build", ""))
    spec = workspace(of)
    best, median, read = timed(lambda: engine.from_workspace(spec))
    row("build from a workspace read from JSON", best, median)
    fit_best, median, fitted = timed(lambda: engine.fit(likelihood(of), of["data"]))
    row("build and fit", fit_best, median)
    fit_best, median, fitted = timed(lambda: engine.fit(model, of["data"]))
    row("fit", fit_best, median, goal.get("fit", ""))
    best, median, _ = timed(lambda: engine.Fitted(**vars_of(fitted)).full_covariance)
    row("covariance, gammas included", best, median)
    best, median, _ = timed(lambda: impacts(fitted))
    row("all impacts, closed form", best, median, goal.get("impacts", ""))
    best, median, parts = timed(lambda: components(model, fitted.parameters))
    row("additive components", best, median)
    print(f"{'':4}sum of the components over the variance, less 1: {parts.sum_check:.1e}")
    best, median, _ = timed(lambda: refit_impacts(fitted, of["nuisances"]), 0.5)
    row(f"impacts by {2 * len(of['nuisances'])} refits", best, median)
    start = time.process_time()
    found = toys(model, 1000, 1)
    taken = time.process_time() - start
    row("1000 toys with an error each", taken, taken, goal.get("toys", ""))
    share = found.coverage()
    print(f"{'':4}coverage of 68.3%: {share.value:.3f} ± {share.error:.3f}; converged: {int(found.good.sum())}")
    np.testing.assert_allclose(engine.expected(read, read.parameters.initial), of["nominal"].sum(axis=0), rtol=1e-12)
    return fit_best, fitted


def vars_of(fitted: engine.Fitted) -> dict[str, Any]:
    """Return the fields of a fit without what it has computed since."""
    return {name: getattr(fitted, name) for name in fitted.__dataclass_fields__}


def pyhf_times(of: dict[str, Any], fit_best: float, fitted: engine.Fitted) -> None:
    """Time pyhf's likelihood and one fit with MINUIT, and print ratios and differences."""
    import pyhf

    space = pyhf.Workspace(workspace(of), validate=False)
    best, median, model = timed(lambda: space.model(validate=False), 0.5)
    print(f"\n{'pyhf, ms':<44}{'best':>12}{'median':>12}")
    row("build, without validation", best, median)
    data, first = np.array(space.data(model)), np.array(model.config.suggested_init())
    best, median, _ = timed(lambda: model.logpdf(first, data), 0.5)
    row("one -2 ln L", best, median)
    pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer(tolerance=0.1))
    start = time.process_time()
    _, lowest = pyhf.infer.mle.fit(data, model, return_fitted_val=True)
    taken = time.process_time() - start
    row("fit, MINUIT with HESSE", taken, taken)
    print(f"{'':4}pyhf over engine, fit: {taken / fit_best:.0f}")
    print(f"{'':4}-2 ln L, engine less pyhf: {fitted.twice_nll - float(lowest):.2e}")
    point = fitted.parameters[[fitted.model.parameters.index(name) for name in model.config.par_names]]
    rates = np.asarray(model.expected_data(point, include_auxdata=False))
    gap = np.abs(engine.expected(fitted.model, fitted.parameters) / rates - 1.0).max()
    print(f"{'':4}largest relative difference of the rates at the best fit: {gap:.1e}")


def cabinetry_times() -> None:
    """Time cabinetry's ranking of a small model beside the engine's refits of it."""
    if importlib.util.find_spec("cabinetry") is None:
        print("\ncabinetry is not installed: no ranking beside it.")
        return
    import cabinetry

    of = arrays(2, 10, 5)
    spec = workspace(of)
    model, data = cabinetry.model_utils.model_and_data(spec)
    start = time.process_time()
    result = cabinetry.fit.fit(model, data)
    ranking = cabinetry.fit.ranking(model, data, fit_results=result)
    taken = time.process_time() - start
    small = likelihood(of)

    def ours() -> Any:
        return refit_impacts(engine.fit(small, of["data"]))

    best, median, table = timed(ours, 0.5)
    print(f"\n{'2 channels, 10 bins, 5 nuisances, ms':<44}{'best':>12}{'median':>12}")
    row("cabinetry, fit and ranking", taken, taken)
    row("engine, fit and the same refits", best, median)
    print(f"{'':4}cabinetry over engine: {taken / best:.0f}")
    found = table.set_index("name")
    both = [(found.loc[label, "up"], up) for label, up in zip(ranking.labels, ranking.postfit_up, strict=True)]
    largest = max(abs(theirs) for _, theirs in both)
    gap = max(abs(one - theirs) for one, theirs in both) / largest
    # Most of it is MINUIT's default tolerance: with tolerance=1e-4 the difference is 4e-3, that of HESSE's errors.
    print(f"{'':4}largest difference of an impact, over the largest impact: {gap:.1e}")


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="20 channels x 50 bins x 100 nuisances too")
    parser.add_argument("--no-pyhf", action="store_true", help="only the engine")
    chosen = parser.parse_args()
    for size in [(6, 20, 30), (20, 50, 100)][: 2 if chosen.large else 1]:
        of = arrays(*size)
        print("\n{} channels x {} bins x 3 samples x {} nuisances".format(*size))
        fit_best, fitted = engine_times(of, size == (6, 20, 30))
        if not chosen.no_pyhf and size == (6, 20, 30):
            pyhf_times(of, fit_best, fitted)
    if not chosen.no_pyhf:
        cabinetry_times()


if __name__ == "__main__":
    main()
