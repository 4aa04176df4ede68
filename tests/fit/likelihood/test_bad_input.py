"""What cannot be fitted is refused by name: modifiers, templates, counts, fits without a minimum."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shiftlab.errors import ConfigError, DataError, UnknownNameError
from shiftlab.fit import FitError
from shiftlab.fit import likelihood as engine
from shiftlab.fit.likelihood.limits import upper_limit

MU = {"name": "mu", "type": "normfactor", "data": None}


def spec(*modifiers: dict[str, Any], data: tuple[float, ...] = (10.0, 20.0), **config: Any) -> dict[str, Any]:
    samples = [
        {"name": "signal", "data": [5.0, 5.0], "modifiers": [MU]},
        {"name": "other", "data": list(data), "modifiers": list(modifiers)},
    ]
    return {
        "version": "1.0.0",
        "channels": [{"name": "sr", "samples": samples}],
        "observations": [{"name": "sr", "data": [15.0, 25.0]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": [], **config}}],
    }


def histosys(lo: list[float], hi: list[float], name: str = "np") -> dict[str, Any]:
    return {"name": name, "type": "histosys", "data": {"lo_data": lo, "hi_data": hi}}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (spec({"name": "x", "type": "custom", "data": None}), r"'sr', sample 'other': modifier 'x' of type 'custom'"),
        (spec(histosys([1.0, np.nan], [1.0, 1.0])), r"histosys 'np' lo_data, bin 1 = nan"),
        (spec(histosys([1.0, 1.0], [1.0, -1.0])), r"histosys 'np' hi_data, bin 1 = -1"),
        (spec(histosys([1.0], [1.0, 1.0])), r"histosys 'np' lo_data has 1 entries; 2 are needed"),
        (spec({"name": "n", "type": "normsys", "data": {"lo": 0.0, "hi": 1.1}}), r"normsys 'n': lo = 0\.0, hi = 1\.1"),
        (spec(data=(10.0, -1.0)), r"sample 'other', bin 1 = -1"),
        (spec(histosys([1, 1], [2, 2]), histosys([1, 1], [2, 2])), r"histosys 'np' is there twice"),
        (spec({"name": "mu", "type": "normsys", "data": {"lo": 0.9, "hi": 1.1}}), r"'mu' is a normfactor and a nuis"),
        (spec({"name": "lumi", "type": "lumi", "data": None}), r"no auxdata and sigmas of 'lumi'"),
        (spec(parameters=[{"name": "mu"}, {"name": "mu"}]), r"'mu' is configured twice"),
        (spec(parameters=[{"name": "mu", "sigmas": [0.1]}]), r"'mu' is not constrained; it can have no sigmas"),
        (spec(parameters=[{"name": "mu", "inits": [1.0, 2.0]}]), r"'mu' has 2 inits; 1 are needed"),
    ],
)  # fmt: skip
def test_workspaces_are_refused_by_name(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        engine.from_workspace(entry)


def test_names_that_do_not_exist_and_codes_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="measurement 'x'"):
        engine.from_workspace(spec(), measurement="x")
    with pytest.raises(UnknownNameError, match="parameter of interest 'sigma'"):
        engine.from_workspace(spec(poi="sigma"))
    with pytest.raises(ConfigError, match="interpolation of normsys = 'code7'; allowed: code1, code4"):
        engine.from_workspace(spec(), codes={"normsys": "code7"})
    model = engine.from_workspace(spec())
    with pytest.raises(UnknownNameError, match="parameter 'm'"):
        engine.fit(model, [1.0, 2.0], fixed={"m": 1.0})


def test_counts_are_refused_with_their_bin() -> None:
    model = engine.from_workspace(spec())
    with pytest.raises(FitError, match=r"negative or not finite: -1 in channel 'sr', bin 1"):
        engine.fit(model, [1.0, -1.0])
    with pytest.raises(FitError, match="1 counts for 2 bins"):
        engine.fit(model, [1.0])
    entry = spec()
    entry["observations"] = []
    with pytest.raises(DataError, match="channel 'sr' has no observation"):
        engine.observed(entry, model)


def test_arrays_are_refused() -> None:
    one: dict[str, Any] = {"name": "x", "channels": {"c": 2}, "samples": ("s",), "nominal": [[1.0, 2.0]]}
    with pytest.raises(DataError, match=r"nominal has shape \(1, 2\); \(1, 3\) is needed"):
        engine.from_arrays(**(one | {"channels": {"c": 3}}))
    with pytest.raises(DataError, match=r"up\[0, 0, 1\] = inf"):
        engine.from_arrays(**one, nuisances=["k"], up=[[[1.0, np.inf]]], down=[[[1.0, 1.0]]])
    with pytest.raises(DataError, match="give both up and down"):
        engine.from_arrays(**one, nuisances=["k"], up=[[[1.0, 1.0]]])
    with pytest.raises(DataError, match="yield factor is not positive"):
        engine.from_arrays(**one, nuisances=["k"], norm_up=[[[0.0]]], norm_down=[[[1.0]]])
    with pytest.raises(DataError, match="signal 'q' is not among the samples"):
        engine.from_arrays(**one, signal="q")
    with pytest.raises(ConfigError, match="mc = 'gamma'"):
        engine.from_arrays(**one, mc="gamma")


def test_a_degenerate_combination_is_named() -> None:
    """Two free factors of one sample: only their product is fixed."""
    entry = spec({"name": "other_norm", "type": "normfactor", "data": None})
    entry["channels"][0]["samples"][0]["data"] = [10.0, 20.0]
    model = engine.from_workspace(entry)
    fitted = engine.fit(model, [30.0, 60.0])
    with pytest.raises(FitError, match=r"does not fix \S+ '(mu|other_norm)' - \S+ '(mu|other_norm)': drop or fix"):
        _ = fitted.covariance
    assert engine.fit(model, [30.0, 60.0], fixed={"other_norm": 1.0}).error("mu") > 0.0


def test_a_bin_without_prediction_is_named() -> None:
    model = engine.from_arrays("gap", {"x": 2}, ("s",), [[10.0, 0.0]], signal="s")
    with pytest.raises(FitError, match=r"not finite at the start; channel 'x', bin 1 predicts 0 events where 3 are"):
        engine.fit(model, [8.0, 3.0])


def test_a_fit_that_does_not_converge_names_parameter_and_bin(monkeypatch: pytest.MonkeyPatch) -> None:
    """No step allowed: what pulls most is the nuisance, in the bin with the excess."""
    from shiftlab.fit.likelihood import minimise

    model = engine.from_workspace(spec(histosys([10.0, 15.0], [10.0, 25.0])))
    monkeypatch.setattr(minimise, "ITERATIONS", 0)
    with pytest.raises(FitError, match=r"parameter 'np' = 0 ± 0\.7\d* drives it, most in channel 'sr', bin 1: 60 even"):
        engine.fit(model, [15.0, 60.0], fixed={"mu": 1.0})


def test_a_limit_beyond_the_bound_says_so() -> None:
    model = engine.from_arrays("x", {"c": 1}, ("s", "b"), [[1.0], [100.0]], signal="s")
    with pytest.raises(FitError, match="up to the bound of 'mu', 10; widen the bound"):
        upper_limit(model, [110.0])


def test_parameters_that_end_at_a_bound_are_listed() -> None:
    model = engine.from_workspace(spec())
    fitted = engine.fit(model, [8.0, 15.0])
    assert fitted.at_bound == ("mu",)
    assert fitted.table().set_index("name").loc["mu", "status"] == "at bound"


def test_fixed_parameters_of_the_workspace_can_be_freed(workspace: Callable[..., Any]) -> None:
    entry = spec(histosys([9.0, 18.0], [11.0, 22.0]), parameters=[{"name": "np", "fixed": True}])
    model = engine.from_workspace(entry)
    held, free = engine.fit(model, [20.0, 40.0]), engine.fit(model, [20.0, 40.0], free=["np"])
    assert held.value("np") == 0.0
    assert held.error("np") == 0.0
    assert free.value("np") > 0.1
    assert free.goodness < held.goodness
    bounded = replace(model.parameters, upper=np.where(np.array(model.parameters.names) == "mu", 1.1, 10.0))
    assert engine.fit(replace(model, parameters=bounded), [20.0, 40.0]).at_bound == ("mu",)
