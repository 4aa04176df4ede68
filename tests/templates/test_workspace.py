"""The workspace: pyhf accepts it, predicts the templates at 0 and ±1 sigma, and the sidecar says the rest."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyhf
import pytest

from shiftlab.errors import RunError, UnknownNameError
from shiftlab.responses import Responses
from shiftlab.templates import Templates, templates
from shiftlab.templates.workspace import check_schema

EXPOSURE = {"nue_cc": 200.0, "numu_cc": 1000.0, "photon_protons": 150.0}


@pytest.fixture(scope="module")
def built(responses: Responses) -> Templates:
    return templates(responses, exposure=EXPOSURE)["scratch", 0]


@pytest.mark.filterwarnings("ignore:jsonschema.RefResolver:DeprecationWarning")
def test_pyhf_accepts_the_workspace_and_finds_one_parameter_of_interest(built: Templates) -> None:
    workspace = pyhf.Workspace(built.workspace())
    model = workspace.model()
    assert model.config.poi_name == "mu"
    assert workspace.observations.keys() == {"flavour", "energy"}
    assert set(model.config.par_order) == {
        "mu", "mcstat_flavour", "mcstat_energy", "gain_scale", "lifetime_tau", *(f"gain_spread_{t}" for t in range(4)),
    }  # fmt: skip
    normalised = [s["name"] for c in workspace["channels"] for s in c["samples"] if s["modifiers"][0]["name"] == "mu"]
    assert normalised == ["nue_cc", "nue_cc"]


def test_expected_rates_at_zero_and_one_sigma_are_the_templates(
    built: Templates, pyhf_model: Callable[..., Any]
) -> None:
    """normsys times histosys closes to 1e-10 for every nuisance, sample and bin, alone and summed."""
    model = pyhf_model(built)
    np.testing.assert_allclose(model.expected(model.initial), built.expected, rtol=1e-12)
    for k, name in enumerate(built.nuisances):
        if name not in model.names:
            continue
        for sign, template in ((1.0, built.up), (-1.0, built.down)):
            parameters = model.initial.copy()
            parameters[model.names.index(name)] = sign
            np.testing.assert_allclose(model.expected(parameters), template[k].sum(axis=0), rtol=1e-10)


def test_signal_strength_scales_the_signal_only(built: Templates, pyhf_model: Callable[..., Any]) -> None:
    model = pyhf_model(built)
    parameters = model.initial.copy()
    parameters[model.names.index("mu")] = 3.0
    np.testing.assert_allclose(model.expected(parameters), built.expected + 2.0 * built.nominal[0], rtol=1e-12)


def test_monte_carlo_error_is_that_of_the_squared_weights(built: Templates, pyhf_model: Callable[..., Any]) -> None:
    model = pyhf_model(built)
    wanted = np.sqrt(built.variance.sum(axis=0)) / built.expected
    for channel in built.channels:
        part = built.slice(channel)
        for b, value in enumerate(wanted[part]):
            assert model.width[model.names.index(f"mcstat_{channel}[{b}]")] == pytest.approx(value, rel=1e-9)


def test_decorrelated_variant_acts_in_one_channel_at_a_time(built: Templates, pyhf_model: Callable[..., Any]) -> None:
    apart = built.decorrelated()
    assert len(apart.nuisances) == len(built.nuisances) * 2
    model = pyhf_model(apart)
    parameters = model.initial.copy()
    parameters[model.names.index("gain_scale__energy")] = 1.0
    rates = model.expected(parameters)
    inside, outside = built.slice("energy"), built.slice("flavour")
    np.testing.assert_allclose(rates[inside], built.up[0].sum(axis=0)[inside], rtol=1e-10)
    np.testing.assert_array_equal(rates[outside], built.expected[outside])


def test_saved_files_are_plain_json_with_what_the_workspace_cannot_hold(built: Templates, tmp_path: Path) -> None:
    built.save(tmp_path / "scratch-0")
    spec = json.loads((tmp_path / "scratch-0" / "workspace.json").read_text())
    assert spec == json.loads(json.dumps(built.workspace()))
    check_schema(spec, "saved")
    meta = json.loads((tmp_path / "scratch-0" / "workspace.meta.json").read_text())
    assert meta["interpolation"] == {"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}}
    assert meta["nuisances"]["gain_spread_3"]["scale"] == 0.5
    assert meta["nuisances"]["gain_scale"]["prior"]["sigma"] == 1.0
    assert meta["record"]["exposure"] == EXPOSURE
    assert meta["record"]["provenance"] == {"identity": "synthetic"}
    assert meta["record"]["partition"]["seed"] == 0
    assert len(meta["processing"]["variations"]) == len(built.nuisances) * 2 * 3
    assert meta["observations"]["injected"]["universe"] == "joint_00"
    assert {finding["code"] for finding in meta["findings"]} == {finding.code for finding in built.findings}
    assert "No event is in two channels" in meta["event_overlap"]


def test_other_observations_can_be_written(built: Templates) -> None:
    data = {o["name"]: o["data"] for o in built.workspace("injected")["observations"]}
    assert data["energy"] == built.observations["injected"].counts[built.slice("energy")].tolist()
    with pytest.raises(UnknownNameError, match="unknown observation 'injectd'"):
        built.workspace("injectd")


def test_a_file_in_place_of_the_folder_is_refused(built: Templates, tmp_path: Path) -> None:
    (tmp_path / "scratch-0").write_text("")
    with pytest.raises(RunError, match="is a file"):
        built.save(tmp_path / "scratch-0")
