"""A study with a paired file: the events of the pair go through all seven steps, and too few are not quoted."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from shiftlab.config import compose_study
from shiftlab.errors import ConfigError, DataError
from shiftlab.events import read
from shiftlab.events.sample import write_sample
from shiftlab.report.record import Record, save
from shiftlab.run import run_study
from shiftlab.run.ingredients import identity, read_events, read_variations
from shiftlab.templates import TemplateSettings

NAME = "hadronic_model_model"


@pytest.fixture(scope="module")
def pair(ingredients, tmp_path_factory):
    """Files of the same vertices; the twin has 1% less energy in every second event, and no muons."""
    folder = tmp_path_factory.mktemp("pair")
    events = read(ingredients / "sample.h5")
    events = replace(events, events=replace(events.events, vertex=events.events.key + 3))
    energy = torch.where(events.event_index % 2 == 0, events.energy, 0.99 * events.energy)
    table = replace(events.events, key=events.events.key + 1)
    twin = replace(events, energy=energy, events=table)
    candidates = [i for i, name in enumerate(twin.events.sample) if name != "calibration_muon"]
    write_sample(folder / "nominal.h5", events, {"made_by": "tests"})
    write_sample(folder / "twin.h5", twin.take(candidates), {"made_by": "tests"})
    write_sample(folder / "fewer.h5", twin.take(candidates[:-4]), {"made_by": "tests"})
    return folder


@pytest.fixture
def study(plan, pair):
    """The small study with the variation besides the gain."""
    effects = {name: {} for name in ("hadronic_model", "recombination", "noise", "gain", "threshold")}
    return replace(
        plan,
        data=replace(plan.data, evaluation=pair / "nominal.h5", variations={"hadronic_model": pair / "twin.h5"}),
        detector={"name": "small", "effects": effects, "allow_double_counting": True},
        universes=replace(plan.universes, only=("gain_scale", NAME), joint=2, mip=("gain_scale",)),
        # One bin a channel: mirrored, a bin of few events would become negative.
        templates=TemplateSettings(bins=1, minimum_effective=100.0),
    )


def without_figures(bias, templates, results, path, **named):
    """Write the record that the page is drawn from, and no figures, which take ten seconds."""
    save(bias, templates, results, path.parent, **named)


def test_the_whole_study_runs_and_says_that_it_is_not_quoted(study, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("shiftlab.run.steps.report", without_figures)
    report = run_study(study, root=tmp_path, progress=True)
    bias = pd.read_csv(report.parent / "bias.csv", keep_default_na=False)
    rows = bias[bias["nuisance"] == NAME]
    assert set(rows["universe"]) == {f"{NAME}+1"}
    assert rows["not_quoted"].str.match(r"not quoted: \d+ vertices, 5000 needed").all()
    assert (bias.loc[bias["nuisance"] == "gain_scale", "not_quoted"] == "").all()
    energy = rows[rows["task"] == "energy"].iloc[0]
    assert -0.01 < float(energy["bias"]) < -0.002
    assert f"task energy, {NAME}: not quoted" in capsys.readouterr().err
    record = Record.load(report.parent)
    assert NAME not in set(record.quoted["nuisance"])
    assert any("not quoted" in sentence for sentence in record.unquoted)


def test_a_limit_takes_the_same_events_of_both_files(study):
    events, muons = read_events(replace(study, data=replace(study.data, limit=5)))
    twin = read_variations(study, events)["hadronic_model"]
    assert len(events) == 15
    assert len(muons) == 20
    assert torch.equal(twin.events.key, events.events.key)
    assert twin.events.sample == events.events.sample


def test_missing_vertices_are_refused_or_left_out(study, pair):
    data = replace(study.data, variations={"hadronic_model": pair / "fewer.h5"})
    fewer = replace(study, data=data)
    events, _ = read_events(fewer)
    with pytest.raises(DataError, match=r"data.variations.hadronic_model.*4 of 90 vertices.*common_vertices=true"):
        read_variations(fewer, events)
    common = replace(study, data=replace(data, common_vertices=True))
    events, muons = read_events(common)
    assert len(events) == 86
    assert len(muons) == 20
    assert len(read_variations(common, events)["hadronic_model"]) == 86


def test_the_paired_file_is_part_of_the_runs_identity_and_its_place_is_not(study, pair, tmp_path):
    one = identity(study, "cpu")
    moved = tmp_path / "elsewhere.h5"
    moved.write_bytes((pair / "twin.h5").read_bytes())
    same = replace(study, data=replace(study.data, variations={"hadronic_model": moved}))
    other = replace(study, data=replace(study.data, variations={"hadronic_model": pair / "nominal.h5"}))
    assert identity(same, "cpu") == one
    assert identity(other, "cpu") != one


def words(pair: Path, tmp_path: Path, *more: str) -> list[str]:
    own = [f"data.evaluation={pair / 'nominal.h5'}", f"arms.checkpoints={tmp_path}"]
    return ["study=demo", *own, "detector.allow_double_counting=true", *more]


def refusal(given: list[str]) -> str:
    with pytest.raises(ConfigError) as caught:
        compose_study(given)
    return str(caught.value)


def test_words_of_the_command_line_give_file_and_effect(pair, tmp_path):
    file = f"data.variations.hadronic_model={pair / 'twin.h5'}"
    study = compose_study(words(pair, tmp_path, file, "detector.effects.hadronic_model={}")).study
    assert dict(study.data.variations) == {"hadronic_model": pair / "twin.h5"}
    assert "hadronic_model" in study.detector["effects"]


def test_file_and_effect_are_both_needed(pair, tmp_path):
    file = f"data.variations.hadronic_model={pair / 'twin.h5'}"
    assert "data.variations.hadronic_model=FILE" in refusal(words(pair, tmp_path, "detector.effects.hadronic_model={}"))
    assert "detector.effects.hadronic_model={} adds it" in refusal(words(pair, tmp_path, file))
    missing = [f"data.variations.hadronic_model={tmp_path / 'no.h5'}", "detector.effects.hadronic_model={}"]
    assert "data.variations.hadronic_model: no file" in refusal(words(pair, tmp_path, *missing))


def test_strengths_above_one_do_not_exist(pair, tmp_path):
    file = f"data.variations.hadronic_model={pair / 'twin.h5'}"
    more = [file, "detector.effects.hadronic_model={}", "universes.strengths=[-2,2]"]
    message = refusal(words(pair, tmp_path, *more))
    assert "hadronic_model_model at +2 sigma" in message
    assert "hadronic_model_model at -2 sigma" not in message
