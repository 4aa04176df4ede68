"""``shiftlab fit``: the numbers of pyhf, the channel that moves a nuisance, clear refusals; figures and tables."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from shiftlab import cli

Spec = dict[str, Any]
Capture = pytest.CaptureFixture[str]

# pyhf's public example, docs/examples/json/2-bin_1-channel.json (pyhf, Apache-2.0).
EXAMPLE: Spec = {
    "version": "1.0.0",
    "channels": [
        {
            "name": "singlechannel",
            "samples": [
                {
                    "name": "signal",
                    "data": [5.0, 10.0],
                    "modifiers": [{"name": "mu", "type": "normfactor", "data": None}],
                },
                {
                    "name": "background",
                    "data": [50.0, 60.0],
                    "modifiers": [{"name": "uncorr_bkguncrt", "type": "shapesys", "data": [5.0, 12.0]}],
                },
            ],
        }
    ],
    "observations": [{"name": "singlechannel", "data": [50.0, 60.0]}],
    "measurements": [{"name": "Measurement", "config": {"poi": "mu", "parameters": []}}],
}


def two_channels(signal: tuple[float, float] = (70.0, 40.0), control: tuple[float, float] = (400.0, 600.0)) -> Spec:
    """A signal and a control channel that share a yield of 10% and have a shape of their own each."""
    gain = {"name": "gain", "type": "normsys", "data": {"hi": 1.10, "lo": 0.90}}
    shapes = {
        "SR": {"name": "tilt", "type": "histosys", "data": {"hi_data": [52.0, 28.0], "lo_data": [48.0, 32.0]}},
        "CR": {"name": "tail", "type": "histosys", "data": {"hi_data": [380.0, 620.0], "lo_data": [420.0, 580.0]}},
    }
    backgrounds = {"SR": [50.0, 30.0], "CR": [400.0, 600.0]}
    channels = []
    for name, events in backgrounds.items():
        error = {"name": f"mc_{name}", "type": "staterror", "data": [0.02 * n for n in events]}
        samples = [{"name": "background", "data": events, "modifiers": [gain, shapes[name], error]}]
        if name == "SR":
            mu = {"name": "mu", "type": "normfactor", "data": None}
            samples.insert(0, {"name": "signal", "data": [20.0, 10.0], "modifiers": [mu]})
        channels.append({"name": name, "samples": samples})
    return {
        "version": "1.0.0",
        "channels": channels,
        "observations": [{"name": "SR", "data": list(signal)}, {"name": "CR", "data": list(control)}],
        "measurements": [{"name": "fit", "config": {"poi": "mu", "parameters": []}}],
    }


def write(folder: Path, spec: Spec, meta: Spec | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "workspace.json").write_text(json.dumps(spec))
    if meta is not None:
        (folder / "workspace.meta.json").write_text(json.dumps(meta))
    return folder / "workspace.json"


def run(capsys: Capture, *words: str | Path) -> Spec:
    """Run ``shiftlab fit`` and return its JSON."""
    assert cli.main(["fit", *map(str, words), "--json"]) == 0
    found: Spec = json.loads(capsys.readouterr().out)
    return found


def parameters(result: Spec) -> pd.DataFrame:
    return pd.DataFrame(result["parameters"]).set_index("name")


def test_best_fit_and_likelihood_are_those_of_pyhf(tmp_path: Path, capsys: Capture) -> None:
    """On its public example, with events to spare: pyhf's own minimum is no lower, and its log L there is ours."""
    import pyhf

    spec = EXAMPLE | {"observations": [{"name": "singlechannel", "data": [53.0, 65.0]}]}
    found = run(capsys, write(tmp_path, spec))
    model = pyhf.Model({"channels": spec["channels"], "parameters": []}, poi_name="mu", validate=False)
    data = [53.0, 65.0, *model.config.auxdata]
    table = parameters(found)
    point = [table["bestfit"][name] for name in model.config.par_names]
    assert found["twice_nll"] == pytest.approx(-2.0 * model.logpdf(point, data).item(), rel=1e-12)
    best = pyhf.infer.mle.fit(data, model)
    assert found["twice_nll"] <= -2.0 * model.logpdf(best, data).item() + 1e-9
    assert found["poi"]["value"] == pytest.approx(best[model.config.poi_index], abs=1e-3)


def test_a_parameter_at_its_bound_is_said_to_be_there(tmp_path: Path, capsys: Capture) -> None:
    """The example as published: no excess, so mu = 0, and the interval has an upper end only."""
    found = run(capsys, write(tmp_path, EXAMPLE))
    assert found["poi"]["value"] == pytest.approx(0.0, abs=1e-8)
    assert found["at_bound"] == ["mu"]
    assert found["poi"]["lower"] is None
    assert found["poi"]["upper"] > 0.5
    cli.main(["fit", str(tmp_path)])
    assert "at a bound, where errors mean little: mu" in capsys.readouterr().out


def test_the_channel_that_pulls_and_constrains_is_named(tmp_path: Path, capsys: Capture) -> None:
    """15% more events in the control channel alone: it pulls the shared yield up, and knows it best."""
    file = write(tmp_path, two_channels(control=(460.0, 690.0)))
    table = parameters(run(capsys, file))
    gain = table.loc["gain"]
    assert gain["pull"] > 1.0
    assert gain["flag"] == "pulled and constrained"
    assert (gain["pull_channel"], gain["constraint_channel"]) == ("CR", "CR")
    assert gain["constraint_share"] > 0.9
    assert table["flag"]["tilt"] == ""
    assert cli.main(["fit", str(file)]) == 0
    line = next(one for one in capsys.readouterr().out.splitlines() if one.startswith("gain"))
    assert "PULLED by channel CR" in line
    assert "CONSTRAINED by channel CR (" in line


def test_the_parts_of_a_pull_add_up_to_it(tmp_path: Path, capsys: Capture) -> None:
    """At the minimum the prior's gradient balances the data's: one channel alone has the whole pull."""
    table = parameters(run(capsys, write(tmp_path, two_channels(signal=(90.0, 30.0), control=(430.0, 560.0)))))
    for name, channel in (("tilt", "SR"), ("tail", "CR")):
        assert abs(table["pull"][name]) > 0.1
        assert table["pull_part"][name] == pytest.approx(table["pull"][name], rel=1e-4)
        assert table["pull_channel"][name] == channel


def test_asimov_data_pull_nothing_and_test_nothing(tmp_path: Path, capsys: Capture) -> None:
    found = run(capsys, write(tmp_path, two_channels(control=(460.0, 690.0))), "--asimov")
    assert found["poi"]["value"] == pytest.approx(1.0)
    assert found["p_value"] is None
    assert parameters(found)["pull"].dropna().abs().max() < 1e-6


def test_a_fixed_parameter_stays_and_lowers_the_error(tmp_path: Path, capsys: Capture) -> None:
    file = write(tmp_path, two_channels())
    free, held = run(capsys, file), run(capsys, file, "--fix", "gain", "--fix", "tilt=0.5")
    table = parameters(held)
    assert (table["bestfit"]["gain"], table["bestfit"]["tilt"]) == (0.0, 0.5)
    assert list(table["status"][["gain", "tilt", "tail"]]) == ["fixed", "fixed", "free"]
    assert held["poi"]["error"] < free["poi"]["error"]


def test_the_sidecar_gives_interpolation_and_spectra(tmp_path: Path, capsys: Capture) -> None:
    """A same-side yield: piecewise exponential and polynomial differ, and a word on the command line wins."""
    spec = two_channels(control=(430.0, 640.0))
    for channel in spec["channels"]:
        channel["samples"][-1]["modifiers"][0]["data"].update(hi=1.2, lo=1.05)
    spectra = {"injected": {"counts": [80.0, 44.0, 440.5, 660.25], "mc_variance": [8.0, 4.0, 44.0, 66.0]}}
    meta = {"interpolation": {"normsys": {"interpcode": "code1"}}, "observations": spectra}
    plain, known = write(tmp_path / "a", spec), write(tmp_path / "b", spec, meta)
    alone, aside = run(capsys, plain), run(capsys, known)
    assert aside["interpolation"] == {"normsys": "code1", "histosys": "code4p"}
    assert abs(alone["poi"]["value"] - aside["poi"]["value"]) > 1e-4
    assert run(capsys, known, "--normsys", "code4")["poi"] == alone["poi"]
    injected = run(capsys, known, "--spectrum", "injected")
    counts = copy.deepcopy(spec)
    counts["observations"] = [{"name": "SR", "data": [80.0, 44.0]}, {"name": "CR", "data": [440.5, 660.25]}]
    same = run(capsys, write(tmp_path / "c", counts), "--no-lint", "--normsys", "code1")
    assert injected["goodness"] == pytest.approx(same["goodness"], rel=1e-9)


def _broken(change: str) -> Spec:
    spec = two_channels()
    background = spec["channels"][0]["samples"][1]
    if change == "nan":
        background["modifiers"][1]["data"]["hi_data"][1] = float("nan")
    elif change == "negative":
        background["data"][1] = -3.0
    elif change == "fraction":
        spec["observations"][0]["data"] = [70.5, 40.25]
    elif change == "unobserved":
        del spec["observations"][1]
    elif change == "degenerate":
        background["modifiers"] += [{"name": one, "type": "normfactor", "data": None} for one in ("ka", "kb")]
    elif change == "impossible":
        spec["channels"][0]["samples"][0]["data"] = background["data"] = [0.0, 30.0]
        background["modifiers"] = []
    return spec


@pytest.mark.parametrize(
    ("change", "words", "wanted"),
    [
        ("nan", (), "error not_finite: channel SR, sample background, nuisance tilt, bin 1:"),
        ("nan", ("--no-lint",), "channel 'SR', sample 'background'"),
        ("negative", (), "error negative_nominal: channel SR, sample background, bin 1:"),
        ("fraction", (), "error fractional_observation: channel SR, bins 0-1:"),
        ("unobserved", (), "error missing_observation: channel CR:"),
        ("unobserved", ("--no-lint",), "channel 'CR' has no observation"),
        ("degenerate", (), "does not fix 1 'ka' - 1 'kb': drop or fix one of them."),
        ("impossible", ("--no-lint",), "channel 'SR', bin 0"),
        ("", ("--fix", "gian"), "Did you mean 'gain'?"),
        ("", ("--fix", "gain=much"), "'much' is no number"),
        ("", ("--fix", "mu=-1"), "'mu' must be from 0 to 10"),
        ("", ("--poi", "nu"), "unknown parameter 'nu'"),
        ("", ("--measurement", "fti"), "Did you mean 'fit'?"),
        ("", ("--spectrum", "asimv"), "Did you mean 'asimov'?"),
        ("", ("--asimov", "--spectrum", "data"), "one of them is wanted"),
        ("", ("--histosys", "code9"), "interpolation of histosys = 'code9'"),
        ("", ("--patch", "one"), "--patchset FILE are wanted together"),
    ],
)
def test_what_cannot_be_fitted_is_refused_in_one_line(
    change: str, words: tuple[str, ...], wanted: str, tmp_path: Path, capsys: Capture
) -> None:
    assert cli.main(["fit", str(write(tmp_path, _broken(change))), *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert wanted in line


def test_no_lint_goes_on_where_a_likelihood_is_there(tmp_path: Path, capsys: Capture) -> None:
    assert run(capsys, write(tmp_path, _broken("fraction")), "--no-lint")["poi"]["error"] > 0.0


def test_a_folder_of_several_workspaces_is_refused(tmp_path: Path, capsys: Capture) -> None:
    for name in ("a", "b"):
        write(tmp_path / name, EXAMPLE)
    assert cli.main(["fit", str(tmp_path)]) == 2
    assert "holds 2 workspaces; name one of them" in capsys.readouterr().err


def test_tables_and_figures_are_written(tmp_path: Path, capsys: Capture) -> None:
    errors = {"gain": {"SR": {"up": [1.0, 0.5], "down": [1.0, 0.5]}}}
    file, out = write(tmp_path, two_channels(), {"variation_errors": errors}), tmp_path / "out"
    found = run(capsys, file, "--out", out)
    assert json.loads((out / "fit.json").read_text()) == found
    for name in ("pulls_impacts", "correlation", "scans", "templates"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    rates = pd.read_csv(out / "rates.csv")
    assert list(rates["observed"]) == [400.0, 600.0, 70.0, 40.0]  # bins by name of the channel, as in pyhf
    np.testing.assert_allclose(rates["prefit"], [400.0, 600.0, 70.0, 40.0])
    scans = pd.read_csv(out / "scans.csv")
    assert scans.groupby("parameter")["delta"].min().abs().max() < 1e-6
    table = pd.read_csv(out / "variations.csv")
    total = table[(table["sample"] == "total") & (table["channel"] == "SR")].set_index(["nuisance", "bin"])
    assert total["up"]["gain", 0] == pytest.approx(75.0)
    assert total["up"]["tilt", 0] == pytest.approx(72.0)
    assert total["up_error"]["gain", 1] == 0.5
    assert np.isnan(total["up_error"]["tilt", 1])
    matrix = pd.read_csv(out / "correlation.csv", index_col=0)
    np.testing.assert_allclose(np.diag(matrix), 1.0)
    assert matrix.index[0] == "mu"


def test_fitting_starts_without_torch_and_pyhf(tmp_path: Path) -> None:
    file = write(tmp_path, EXAMPLE)
    code = f"import sys, shiftlab.cli\nshiftlab.cli.main(['fit', {str(file)!r}])\nprint(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "pyhf", "xarray", "matplotlib", "hydra"} & set(done.stdout.splitlines()[-1].split())
