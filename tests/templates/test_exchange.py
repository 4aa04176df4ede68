"""The workspace in the hands of others: pyhs3 reads its HS3 form, HistFactory's XML comes back, cabinetry fits it."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyhf
import pytest

from shiftlab.errors import DataError
from shiftlab.responses import Responses
from shiftlab.templates import Templates, templates
from shiftlab.templates.hs3 import hs3
from shiftlab.templates.lint import lint

EXPOSURE = {"nue_cc": 200.0, "numu_cc": 1000.0, "photon_protons": 150.0}
Spec = dict[str, Any]
Floats = npt.NDArray[np.float64]

pytestmark = pytest.mark.filterwarnings("ignore:jsonschema.RefResolver:DeprecationWarning")


@pytest.fixture(scope="module")
def built(responses: Responses) -> Templates:
    return templates(responses, exposure=EXPOSURE)["scratch", 0]


@pytest.fixture(scope="module")
def folder(built: Templates, tmp_path_factory: pytest.TempPathFactory) -> Path:
    built.save(tmp_path_factory.mktemp("workspace"))
    return tmp_path_factory.getbasetemp() / "workspace0"


@pytest.fixture
def small() -> Spec:
    """Two channels that share a nuisance, with the types of modifier that our own workspaces do not have."""

    def shape(hi: list[float], lo: list[float]) -> Spec:
        return {"name": "gain", "type": "histosys", "data": {"hi_data": hi, "lo_data": lo}}

    norm = {"name": "gain", "type": "normsys", "data": {"hi": 1.05, "lo": 0.97}}
    free = {"name": "mu", "type": "normfactor", "data": None}
    statistics = {"name": "mcstat", "type": "staterror"}
    signal = {"name": "signal", "data": [5.0, 8.0], "modifiers": [free, norm, statistics | {"data": [0.5, 0.6]}]}
    background = {
        "name": "background",
        "data": [50.0, 40.0],
        "modifiers": [norm, shape([52.0, 39.0], [49.0, 42.0]), statistics | {"data": [2.0, 1.5]}],
    }
    control = [
        {"name": "background", "data": [90.0], "modifiers": [norm, {"name": "b", "type": "shapesys", "data": [9.0]}]},
        {"name": "other", "data": [10.0], "modifiers": [{"name": "f", "type": "shapefactor", "data": None}]},
    ]
    setting = {"name": "mu", "inits": [1.0], "bounds": [[0.0, 5.0]]}
    return {
        "version": "1.0.0",
        "channels": [{"name": "SR", "samples": [signal, background]}, {"name": "CR", "samples": control}],
        "observations": [{"name": "SR", "data": [57, 47]}, {"name": "CR", "data": [103]}],
        "measurements": [{"name": "fit", "config": {"poi": "mu", "parameters": [setting]}}],
    }


def _pyhs3_log_density(document: Spec, parameters: dict[str, float], counts: dict[str, list[float]]) -> float:
    """log L that pyhs3 gives, its constraints of parameters that channels share counted once."""
    import pyhs3
    import pytensor
    from pyhs3.context import Context

    workspace = pyhs3.Workspace(**document)
    mode = pytensor.compile.mode.Mode(linker="py", optimizer=None)
    total, users = 0.0, dict.fromkeys(parameters, 0)
    for channel in workspace.distributions:
        name = channel.name.removeprefix("model_")
        values = {key: pytensor.tensor.constant(value) for key, value in parameters.items()}
        values[f"{channel.name}_observed"] = pytensor.tensor.constant(np.array(counts[name], dtype=np.float64))
        density = channel.expression(Context({**values, **channel.constants}))
        total += float(np.log(pytensor.function([], density, mode=mode)()))
        modifiers = (one for sample in channel.samples for one in sample.modifiers)
        for shared in {one.parameter for one in modifiers if one.type in ("normsys", "histosys")}:
            users[shared] += 1
    normal = {key: -0.5 * value**2 - 0.5 * math.log(2.0 * math.pi) for key, value in parameters.items()}
    return total - sum((number - 1) * normal[key] for key, number in users.items() if number)


def _points(model: Any, number: int) -> list[Floats]:
    """The starting point and random ones, nuisances beyond one sigma too."""
    rng, start = np.random.default_rng(4), np.array(model.config.suggested_init())
    scale = np.array([0.1 if start == 1.0 else 1.3 for start in start])
    return [start, *(start + scale * rng.normal(size=len(start)) for _ in range(number))]


@pytest.mark.filterwarnings("ignore")
def test_pyhs3_evaluates_what_pyhf_does(small: Spec) -> None:
    """log L agrees to 1e-9 up to a constant, at random points, with every type of modifier that HS3 has.

    The constant is 4e-6: pyhs3 0.4.2 rounds the factorial of a shapesys' auxiliary count.
    """
    pytest.importorskip("pyhs3")
    workspace = pyhf.Workspace(small)
    model = workspace.model()
    names = [re.sub(r"\[(\d+)\]", r"_bin_\1", name).replace("mcstat", "mcstat_SR") for name in model.config.par_names]
    assert set(names) == {one["name"] for one in hs3(small)["parameter_points"][0]["parameters"]}
    differences = [
        _pyhs3_log_density(hs3(small), dict(zip(names, point, strict=True)), workspace.observations)
        - model.logpdf(point, workspace.data(model)).item()
        for point in _points(model, 1)
    ]
    assert abs(differences[0]) < 1e-5
    np.testing.assert_allclose(differences, differences[0], atol=1e-9)


@pytest.mark.filterwarnings("ignore")
def test_pyhs3_reads_the_saved_workspace(folder: Path, built: Templates) -> None:
    pyhs3 = pytest.importorskip("pyhs3")
    document = json.loads((folder / "workspace.hs3.json").read_text())
    workspace = pyhs3.Workspace(**document)
    assert [one.name for one in workspace.distributions] == [f"model_{channel}" for channel in built.channels]


def test_the_hs3_form_holds_edges_interpolation_and_ranges(
    folder: Path, built: Templates, pyhf_model: Callable[..., Any]
) -> None:
    document = json.loads((folder / "workspace.hs3.json").read_text())
    first = document["distributions"][0]
    assert first["axes"][0]["edges"] == built.edges[built.channels[0]].tolist()
    codes = {m["data"]["interpolation"] for s in first["samples"] for m in s["modifiers"] if m["type"] == "histosys"}
    assert codes == {"code4p"}
    errors = np.array([sample["data"]["errors"] for sample in first["samples"]])
    np.testing.assert_array_equal(errors, np.sqrt(built.variance[:, built.slice(built.channels[0])]))
    ranges = {one["name"]: (one["min"], one["max"]) for one in document["domains"][0]["axes"]}
    config = pyhf_model(built).model.config
    assert ranges["mu"] == (0.0, 10.0)
    assert sorted(ranges.values()) == sorted(tuple(pair) for pair in config.suggested_bounds())
    assert document["analyses"][0]["parameters_of_interest"] == ["mu"]


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"name": "lumi", "type": "lumi", "data": None}, "HS3 has no lumi modifier"),
        ({"name": "other", "type": "staterror", "data": [1.0]}, "one staterror per channel"),
        ({"name": "other", "type": "shapesys", "data": [0.0]}, "bin 0: HS3 has no staterror or shapesys"),
        ({"name": "gain", "type": "normsys", "data": {"hi": 1.0, "lo": 0.0}}, "the first is duplicate_modifier"),
    ],
)
def test_what_hs3_cannot_hold_is_refused(change: Spec, wanted: str, small: Spec) -> None:
    samples = small["channels"][1]["samples"]
    samples[1]["modifiers"].append({"name": "more", "type": "staterror", "data": [1.0]})
    samples[0]["modifiers"].append(change)
    lumi = {"name": "lumi", "inits": [1.0], "bounds": [[0.5, 1.5]], "auxdata": [1.0], "sigmas": [0.02]}
    if change["type"] == "lumi":
        small["measurements"][0]["config"]["parameters"].append(lumi)
    with pytest.raises(DataError, match=wanted):
        hs3(small)


def test_our_workspaces_have_no_error(built: Templates) -> None:
    assert [one for one in lint(built.workspace(), built.meta()) if one.severity == "error"] == []
    for name in built.observations:
        assert [one for one in lint(built.workspace(name), built.meta()) if one.severity == "error"] == []


@pytest.mark.filterwarnings("ignore")
def test_histfactory_xml_and_root_files_come_back_as_the_same_likelihood(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pyhf's own converters (json2xml, xml2json); log L agrees to 1e-12. XML names a staterror by its channel."""
    pytest.importorskip("uproot")
    from pyhf import readxml, writexml

    monkeypatch.chdir(tmp_path)
    for name in ("config", "data"):
        Path(name).mkdir()
    spec = json.loads((folder / "workspace.json").read_text())
    Path("fit.xml").write_bytes(writexml.writexml(spec, Path("config"), Path("data"), "fit"))
    first, back = pyhf.Workspace(spec), pyhf.Workspace(readxml.parse("fit.xml", "."))
    one, two = first.model(), back.model()
    names = {name: name.replace("mcstat_", "staterror_") for name in one.config.par_order}
    assert set(names.values()) == set(two.config.par_order)
    for point in _points(one, 3):
        moved = np.empty_like(point)
        for name, renamed in names.items():
            moved[two.config.par_slice(renamed)] = point[one.config.par_slice(name)]
        wanted = one.logpdf(point, first.data(one)).item()
        assert two.logpdf(moved, back.data(two)).item() == pytest.approx(wanted, rel=1e-12)


@pytest.mark.filterwarnings("ignore")
def test_cabinetry_reads_and_fits_the_workspace(folder: Path, built: Templates) -> None:
    """On Asimov data the fit returns mu = 1 and all nuisances 0, with the error of our own fit's information."""
    cabinetry = pytest.importorskip("cabinetry")
    spec = cabinetry.workspace.load(folder / "workspace.json")
    model, data = cabinetry.model_utils.model_and_data(spec)
    found = cabinetry.fit.fit(model, data)
    values = dict(zip(found.labels, found.bestfit, strict=True))
    assert values["mu"] == pytest.approx(1.0, abs=1e-3)
    assert max(abs(values[name]) for name in built.nuisances if name in values) < 1e-3
