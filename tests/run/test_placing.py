"""A hidden universe or other events are placed in a run by the command line, which writes all that it says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from shiftlab.arms import arms, load_arms
from shiftlab.cli import main
from shiftlab.detector import Detector
from shiftlab.errors import DataError
from shiftlab.events.sample import SampleWriter, write_sample
from shiftlab.responses import Responses, respond
from shiftlab.responses.unlabelled import observables
from shiftlab.tasks import named_tasks

NUISANCES = ("gain_scale", "noise_enc")
SAMPLES = np.array(["numu_cc", "nue_cc"])


def store(seed: int, events: int = 2000, softer: float = 0.0) -> Responses:
    """Responses of a made-up detector: the gain scales energies by 4%, noise lifts the flavour's score.

    ``softer`` lowers the mean true energy by so many per cent; keys and vertices differ between seeds.
    """
    rng = np.random.default_rng(seed)
    true = 800.0 * rng.gamma(6.0, 1.0 / 6.0, events) * (1.0 - 0.01 * softer * rng.random(events) * 2.0)
    nue = np.arange(events) % 2
    smear, score = rng.normal(0.0, 0.05, events), rng.normal(3.0 * nue - 1.5, 1.0)
    rows = [("nominal", "nominal", 0, 0), ("injected", "injected", 1.0, -1.0)]
    rows += [(f"{n}{s:+d}", "unisim", s * (k == 0), s * (k == 1)) for k, n in enumerate(NUISANCES) for s in (-1, 1)]
    rows += [(f"joint_{i}", "multisim", *rng.standard_normal(2)) for i in range(6)]
    value = np.array([row[2:] for row in rows], dtype=np.float64)
    energy = np.stack([true * (1 + smear + 0.04 * z[0] * (1 + 0.2 * smear)) for z in value])
    logit = np.stack([score + 0.5 * z[1] for z in value])
    shared = {
        "arm": ["made"],
        "seed": np.array([0, 1]),
        "universe": [row[0] for row in rows],
        "event": np.arange(events) + 10_000 * seed,
        "nuisance": list(NUISANCES),
        "vertex_uid": ("event", np.arange(events) + 10_000 * seed),
        "weight": ("event", np.ones(events)),
        "sample": ("event", list(SAMPLES[nue])),
        "group": ("universe", [row[1] for row in rows]),
        "throw": ("universe", np.zeros(len(rows), dtype=np.int64)),
        "recalibrate": ("universe", ["none"] * len(rows)),
        "nuisance_value": (("universe", "nuisance"), value),
    }
    over = ("arm", "seed", "universe", "event")
    datasets = {}
    for task, values, truth in (("energy", energy, true), ("flavour", logit, nue.astype(np.float64))):
        output = np.repeat(values[None, None, :, :, None], 2, axis=1).astype(np.float32)
        (one,) = named_tasks([task])
        datasets[task] = xr.Dataset(
            {
                "output": ((*over, "output"), output),
                "observable": (over, one.observable(output.astype(np.float64)).astype(np.float32)),
                "selected": (over, np.ones(output.shape[:-1], dtype=np.bool_)),
                "truth": (("event", "truth_column"), truth[:, None]),
                "evaluated": ("event", np.ones(events, dtype=np.bool_)),
            },
            coords=shared,
        )
    return Responses(datasets, {"arms": {"arms/made/seed0": "a"}})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of 2,000 made-up events."""
    folder = tmp_path_factory.mktemp("finished")
    store(1).save(folder / "responses.h5")
    study = {"name": "made", "exposure": {"numu_cc": 100.0, "nue_cc": 100.0}}
    (folder / "identity.json").write_text(json.dumps({"digest": "0", "identity": {"study": study, "checkpoints": {}}}))
    (folder / "done").write_text("{}")
    return folder


def _row(folder: Path, parameter: str) -> pd.Series:
    table = pd.read_csv(folder / "placement.csv")
    return table.set_index("parameter").loc[parameter]


def test_a_hidden_universe_is_found_on_the_other_half_of_the_events(finished: Path, capsys, tmp_path: Path) -> None:
    assert main(["place", str(finished), "--universe", "injected", "--toys", "50", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "1000 events, placed among 1000 simulated ones" in said
    assert "explained" in said
    for name, true in (("gain_scale", 1.0), ("noise_enc", -1.0)):
        row = _row(tmp_path, name)
        assert abs(row["median"] - true) < 2.5 * row["sigma"]
        assert row["true"] == true
    assert _row(tmp_path, "noise_enc")["measured"]
    biases = pd.read_csv(tmp_path / "placement_biases.csv")
    assert list(biases["task"]) == ["energy", "flavour"] * 2
    assert ((biases["lo95_widened"] <= biases["true"]) & (biases["true"] <= biases["hi95_widened"])).all()
    plain = json.loads((tmp_path / "placement.json").read_text())
    assert not plain["rejected"]
    assert plain["provenance"]["placing"]["universe"] == "injected"
    assert plain["provenance"]["observables"] == ["made energy", "made flavour"]
    assert {row["nuisance"] for row in plain["power"]} == set(NUISANCES)
    assert (tmp_path / "placement.svg").read_text().startswith("<?xml")


def test_other_events_of_a_softer_flux_are_not_called_a_lower_gain(finished: Path, capsys, tmp_path: Path) -> None:
    """4,000 events of 7% less energy on average, at nominal: with a flux that is known the gain takes the blame."""
    path = tmp_path / "softer.h5"
    store(2, 4000, softer=7.0).save(path)
    words = ["place", str(finished), "--sample", str(path), "--toys", "0"]
    assert main([*words, "--known-flux", "--out", str(tmp_path / "known")]) == 0
    assert main([*words, "--out", str(tmp_path / "floats")]) == 0
    known, floats = (_row(tmp_path / name, "gain_scale") for name in ("known", "floats"))
    assert known["median"] + 2.0 * known["sigma"] < 0.0
    assert floats["lo95"] < 0.0 < floats["hi95"]
    assert _row(tmp_path / "floats", "flux tilt")["median"] < -0.3
    assert "softer.h5: 4000 events" in capsys.readouterr().out


def test_what_cannot_be_placed_is_refused_with_what_is_there(finished: Path, capsys, tmp_path: Path) -> None:
    cases = {
        ("--universe", "injectd"): "'injectd'",
        ("--sample", str(finished / "responses.h5")): "2000 of 2000 events are of vertices that the run has simulated",
        ("--sample", str(tmp_path / "none.h5")): "none.h5: no such file",
        ("--universe", "injected", "--tasks", "vertex"): "'vertex'",
        ("--universe", "injected", "--arms", "foundation"): "'foundation'",
        ("--universe", "injected", "--exposure", "numu_cc=x"): "SAMPLE=EVENTS",
        ("--universe", "injected", "--exposure", "nutau=3"): "'nutau'",
        (): "give --universe NAME, --sample FILE or both",
    }
    for words, message in cases.items():
        assert main(["place", str(finished), *words, "--out", str(tmp_path)]) == 2
        assert message in capsys.readouterr().err
    other = tmp_path / "other.h5"
    Responses(store(4, 60).datasets, {"arms": {"arms/made/seed0": "b"}}).save(other)
    assert main(["place", str(finished), "--sample", str(other)]) == 2
    assert "its arms are not those of the run (arms/made/seed0 differs)" in capsys.readouterr().err
    few = tmp_path / "few"
    few.mkdir()
    for name in ("identity.json", "done"):
        shutil.copy(finished / name, few / name)
    store(3, 60).save(few / "responses.h5")
    assert main(["place", str(few), "--universe", "injected"]) == 2
    assert "30 vertices for 2 observables: 40 are needed" in capsys.readouterr().err
    (few / "done").unlink()
    assert main(["place", str(few), "--universe", "injected"]) == 2
    assert "is not the folder of a finished run" in capsys.readouterr().err
    assert not list(tmp_path.glob("placement*"))


def test_images_without_truth_get_the_observables_of_the_run(ingredients: Path, tracks, tmp_path: Path) -> None:
    """The same events once by ``respond`` and once as images of a file, whose energies are kept to 4 digits."""
    detector = Detector.from_config({"name": "small", "effects": {"gain": {}, "threshold": {}}})
    tasks, found = named_tasks(["energy", "flavour"]), load_arms(ingredients / "checkpoints", ["sums"])
    events = tracks(24, first=50_000)
    events = events.keep(detector.geometry.inside(events.position))
    responses = respond(events, detector, [], found, tasks=tasks, progress=False)
    path = tmp_path / "images.h5"
    with SampleWriter(path, holds="images", attributes={"detector": "{}", "universe": "{}"}, provenance={}) as writer:
        writer.append(detector.image(detector.prepare(events)))
    columns, vertex = observables(path, found, tasks, progress=False)
    assert vertex.tolist() == events.events.vertex.tolist()
    for task in ("energy", "flavour"):
        data = responses.task(task)
        expected = data["observable"].sel(universe="nominal", arm="sums").mean("seed").values
        np.testing.assert_allclose(columns[f"sums {task}"], expected, rtol=2e-4)
    deposits = tmp_path / "deposits.h5"
    write_sample(deposits, events, {"made_by": "tests"})
    with pytest.raises(DataError, match="no detector has recorded yet"):
        observables(deposits, found, tasks)
    seen = arms().get("sums")(7, events.events.vertex[:2].numpy())
    with pytest.raises(DataError, match="was trained on the vertices"):
        observables(path, [seen], tasks)
