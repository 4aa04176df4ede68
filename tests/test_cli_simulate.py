"""``shiftlab simulate``: a sample from one command, every mistake in one answer, what to install when it is missing."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml

from shiftlab.cli import main
from shiftlab.config.simulation import compose_simulation
from shiftlab.config.words import options
from shiftlab.errors import ConfigError
from shiftlab.events import read
from shiftlab.events.sample import read_attributes
from shiftlab.events.simulation.tables import checkout_tables

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("calzone") is None, reason="simulation needs calzone (extra 'dev' or 'sim')"
)
TABLES = f"transport.tables={checkout_tables()}"


def test_a_sample_from_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "particles.h5"
    words = ["simulate", "data=lar_particles", "n=12", "seed=5", "batch=6", f"out={out}", "workers=1", TABLES]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert f"{out}: 12 events" in said
    assert "events/s per core (1 at work)" in said
    events = read(out)
    assert len(events) == 12
    assert events.events.dataset == "lar_particles/1"
    attributes = read_attributes(out)
    assert attributes["command"] == "shiftlab simulate data=lar_particles n=12 seed=5 batch=6"
    assert attributes["uid"].startswith("lar_particles/1/5/")
    assert main(words) == 0
    assert "nothing was left to simulate" in capsys.readouterr().out
    assert main([*words[:2], "n=13", *words[3:]]) == 2
    assert "--fresh" in capsys.readouterr().err


def test_all_mistakes_are_said_at_once_with_the_nearest_names(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "data=lar_neutrino", "n=0", "sed=3", "nonsense", "transport.hadronic=QGSP_BICC", "transport.cutt=3",
        "transport.electromagnetic=optn1", "events.pions.rato=2", "events.pion.x=3", "out=[]", "n=1,2",
    ]  # fmt: skip
    assert main(["simulate", *words]) == 2
    said = capsys.readouterr().err
    for part in (
        "n: 0 is given; at least 1 is wanted", "sed: no such key. Did you mean 'seed'?", "'nonsense' is given",
        "Did you mean 'QGSP_BIC'?", "Did you mean 'transport.cut'?", "Did you mean 'option1'?", "Did you mean 'ratio'?",
        "Did you mean 'events.pions'?", "out: [] is given", "one value is wanted",
    ):  # fmt: skip
        assert part in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "data: missing; say data=NAME. Allowed: "),
        (["data=lar_neutrin", "n=1"], "Did you mean 'lar_neutrino'?"),
        (["data=lar_neutrino"], "n: missing."),
        (["data=lar_neutrino", "n=3", "transport.cut=0"], "transport.cut: 0 is given; at least 0.001 is wanted."),
        (["data=lar_neutrino", "n=3", "transport=3"], "transport: 3 is given; a group of keys is wanted."),
        (["data=lar_neutrino", "n=3", "n.x=3"], "n.x: n is no group of keys."),
        (["data=lar_vertices", "n=99999", TABLES], "events.rethrows=N"),
        (["data=nowhere.yaml", "n=3"], "unknown data 'nowhere.yaml'"),
    ],
)
def test_a_mistake_is_named(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose_simulation(words)
    assert message in str(caught.value)


def test_one_error_says_what_installs_calzone_and_the_tables(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "calzone" else find(name, *rest)
    )
    monkeypatch.setenv("GEANT4_DATA_DIR", str(tmp_path))
    assert main(["simulate", "data=lar_neutrino", "n=3"]) == 2
    said = capsys.readouterr().err
    assert said.count("shiftlab:") == 1
    assert 'pip install "shiftlab[sim]"' in said
    assert "python -m calzone download" in said
    assert "GEANT4_DATA_DIR=FOLDER" in said


def test_every_shipped_recipe_composes_and_has_a_detector() -> None:
    assert {"lar_neutrino", "lar_particles", "lar_vertices", "ch_neutrino"} <= set(options("simulation"))
    for name in options("simulation"):
        job = compose_simulation([f"data={name}", "n=10", TABLES])
        side, box = job.campaign.transport.side, job.campaign.placement.box
        assert job.out.name == f"{name}_n10_seed1.h5"
        assert job.campaign.transport.material == job.campaign.recipe.medium
        low, high = job.campaign.placement.fiducial.low, job.campaign.placement.fiducial.high
        reach = [max(high[i], box[i] - low[i]) for i in range(3)]
        assert all(side / 2 > one for one in reach), "the cube ends inside the detector"


def test_a_twin_has_a_name_of_its_own_and_the_same_vertices() -> None:
    words = ["data=ch_neutrino", "n=10", "seed=2", TABLES]
    one = compose_simulation(words)
    two = compose_simulation([*words, "transport.hadronic=QGSP_BIC", "transport.cut=0.05"])
    assert two.out.name == "ch_neutrino_n10_seed2_QGSP_BIC_cut0.05.h5"
    assert one.campaign.vertices == two.campaign.vertices
    assert one.campaign.uid != two.campaign.uid
    assert two.command.endswith("transport.hadronic=QGSP_BIC transport.cut=0.05")


def test_a_recipe_that_departs_from_the_shipped_one_is_its_twin_with_a_name_and_keys_of_its_own() -> None:
    words = ["data=lar_neutrino", "n=10", TABLES]
    shipped = compose_simulation(words)
    one, two = (compose_simulation([*words, f"events.pions.ratio={ratio}"]) for ratio in (0.1, 0.15))
    assert len({job.out.name for job in (shipped, one, two)}) == 3
    assert len({job.campaign.uid for job in (shipped, one, two)}) == 3
    assert shipped.campaign.vertices == one.campaign.vertices == two.campaign.vertices


def test_a_recipe_may_be_a_file_of_the_users(tmp_path: Path) -> None:
    events: dict[str, Any] = {
        "name": "protons", "revision": "1", "medium": "G4_lAr", "composer": "particles",
        "kinds": {"single_proton": 1.0}, "sources": {"kinds": "chosen"},
    }  # fmt: skip
    path = tmp_path / "protons.yaml"
    path.write_text(yaml.safe_dump({"events": events, "transport": {"cut": 0.2}, "seed": 9}), encoding="utf-8")
    job = compose_simulation([f"data={path}", "n=4", TABLES])
    assert (job.campaign.transport.cut, job.campaign.seed) == (0.2, 9)
    assert compose_simulation([f"data={path}", "n=4", "seed=1", TABLES]).campaign.seed == 1
