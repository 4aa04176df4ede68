"""Detectors of tokens answer the seven steps: paired responses in every universe, the same in pieces and in whole."""

from pathlib import Path

import numpy as np
import pytest
import torch

from shiftlab.arms import arms
from shiftlab.arms.training.recipe import Recipe
from shiftlab.arms.training.study import train_study
from shiftlab.config import compose_study, detector_config, locate
from shiftlab.detector import NOMINAL, Detector, Universe, unisim
from shiftlab.detector.recorder import recorder
from shiftlab.detector.scintillator.token_chain import TokenChain
from shiftlab.errors import ConfigError, DataError
from shiftlab.events import read, read_tokens
from shiftlab.events.tokens import Tokens
from shiftlab.responses import AnalysisSelection, respond
from shiftlab.tasks import named_tasks

TASKS = named_tasks(["available_energy", "pion_topology"])
RECIPE = Recipe(
    body=32, head=32, scratch=32, event_trees=5, objective="classify_and_generate", network="token_transformer"
)
SHIPPED = "studies/samples/minerva_like_tokens.h5"
DEPOSITS = Path(__file__).parents[1] / "data" / "ch_neutrino.h5"


@pytest.fixture(scope="module")
def detector() -> TokenChain:
    found = recorder(detector_config("minerva_shapes"), 1)
    assert isinstance(found, TokenChain)
    return found


@pytest.fixture(scope="module")
def trained(detector: TokenChain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokens = read_tokens(locate(SHIPPED), events=slice(0, 80))
    folder = tmp_path_factory.mktemp("study")
    names = ("foundation", "classic")
    return train_study(tokens, detector, folder, arms(), TASKS, names=names, seeds=(0,), recipe=RECIPE, progress=False)


@pytest.fixture(scope="module")
def judged() -> Tokens:
    return read_tokens(locate(SHIPPED), events=slice(80, 120))


def loaded(trained: Path) -> list:
    return [arms().get(name).load(trained, 0) for name in ("foundation", "classic")]


def test_responses_are_those_of_arms_on_the_recorded_tokens(trained, detector, judged):
    universes = [Universe("up", (("em_response_scale", 1.0), ("proton_response_scale", 1.0)))]
    responses = respond(
        judged, detector, universes, loaded(trained), tasks=TASKS, chunk=16, selection=AnalysisSelection(tokens=3)
    )
    for universe in (NOMINAL, *universes):
        recorded = detector.image(judged, universe)
        for arm in loaded(trained):
            alone = arm.predict(recorded, None, TASKS)
            for task in TASKS:
                stored = responses.datasets[task.name].sel(arm=arm.name, seed=0, universe=universe.name)
                np.testing.assert_allclose(stored["output"], alone[task.name], rtol=1e-4, atol=1e-3)
                np.testing.assert_array_equal(stored["selected"], (recorded.counts >= 3).numpy())
    moved = responses.datasets["available_energy"]["output"]
    assert float(np.abs(moved.sel(universe="up") - moved.sel(universe="nominal")).max()) > 0


def test_the_nominal_universe_is_the_file_bit_for_bit(detector, judged):
    assert torch.equal(detector.image(detector.prepare(judged)).features, judged.features)


def test_every_universe_of_the_study_leaves_the_events_where_they_are(detector, judged):
    for universe in unisim(detector):
        detector.check(universe)
        found = detector.image(judged, universe)
        assert torch.equal(found.events.key, judged.events.key)
        assert torch.equal(found.events.weight, judged.events.weight)


def test_universes_that_reweigh_events_are_refused_by_name(judged):
    weighing = recorder(detector_config("minerva_tokens"))
    with pytest.raises(
        ConfigError, match=r"target_mass changes the weights.*detector.effects.target_mass.scale.sigma=0"
    ):
        weighing.check(Universe("heavy", (("target_mass_scale", 1.0),)))
    with pytest.raises(ConfigError, match="recalibrate=mip needs deposits"):
        weighing.check(Universe("again", (("em_response_scale", 1.0),), recalibrate="mip"))


def test_deposits_are_not_taken_for_tokens_nor_tokens_for_deposits(detector, judged):
    deposits = read(DEPOSITS)
    with pytest.raises(DataError, match="takes tokens; events of type Deposits"):
        detector.prepare(deposits)
    strips = recorder(detector_config("minerva_like"))
    with pytest.raises(DataError, match="takes deposits; events of type Tokens"):
        strips.prepare(judged)
    assert isinstance(recorder(detector_config("pixel_lar")), Detector)
    assert isinstance(recorder({}), Detector)


def test_arms_of_tokens_answer_for_strips_as_well(trained):
    """The tokens of the toy reconstruction are those that the arm knows, straight from energy deposits."""
    deposits, strips = read(DEPOSITS), recorder(detector_config("minerva_like"), 1)
    deposits = deposits.take(list(range(6)))
    universes = [Universe("bright", (("light_yield_scale", 1.0),))]
    found = respond(deposits, strips, universes, loaded(trained), tasks=TASKS)
    assert found.datasets["pion_topology"]["output"].shape[2:4] == (2, 6)
    assert np.isfinite(found.datasets["available_energy"]["output"]).all()


def test_arms_of_images_are_refused_by_a_detector_of_tokens(trained, judged, detector):
    arm = arms().get("classic").load(trained, 0)
    images = recorder(detector_config("pixel_lar"))
    with pytest.raises(ConfigError, match="trained on tokens, but detector 'pixel_lar' gives images"):
        respond(read(DEPOSITS).take([0]), images, [], [arm], tasks=TASKS)


def test_what_a_detector_says_of_itself_is_plain_and_complete(detector, judged):
    plain = detector.to_dict()
    assert set(plain["effects"]) == set(detector_config("minerva_shapes")["effects"])
    summary = detector.summary(judged)
    assert summary["tokens_per_event"] == pytest.approx(float(judged.counts.float().mean()))
    assert summary["most_tokens"] == int(judged.counts.max())
    bare = judged.take(list(range(3)))
    assert detector.refused(bare) == ()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tasks.names=[energy]"], "'energy' is asked of images; detector 'minerva_shapes' gives tokens"),
        (["arms.body=voxel_transformer"], "'voxel_transformer' takes images; the detector gives tokens"),
        (["arms.objective=masked_modelling"], "'masked_modelling' is about images, not tokens"),
        (["exposure.jets=3"], "exposure: unknown sample 'jets'"),
    ],
)
def test_ingredients_that_do_not_fit_tokens_are_named(words, message):
    with pytest.raises(ConfigError, match=message):
        compose_study(["study=minerva", *words])


def test_events_over_the_limit_are_counted_in_the_record(trained):
    assert all(arm.record["events_over_token_limit"] == 0 for arm in loaded(trained))


def test_the_study_that_ships_is_whole():
    study = compose_study(["study=minerva"]).study
    assert study.tasks == ("available_energy", "pion_topology")
    sizes = [path.stat().st_size for path in study.arms.checkpoints.rglob("*") if path.is_file()]
    assert sum(sizes) < 1.5e6
    tokens = read_tokens(study.data.evaluation)
    for arm in (arms().get(name).load(study.arms.checkpoints, seed) for name in study.arms.names for seed in (0, 1)):
        arm.refuse_training_vertices(tokens.events)
        assert arm.tasks == ("available_energy", "pion_topology")


def test_shipped_arms_know_the_topology_better_than_chance():
    """AUROC of CC1pi+- against the rest; 0.5 is a coin. No statement about MINERvA: the sample is a toy."""
    study = compose_study(["study=minerva"]).study
    tokens = read_tokens(study.data.evaluation, events=slice(0, 400))
    topology = TASKS[1]
    for name in study.arms.names:
        outputs = arms().get(name).load(study.arms.checkpoints, 0).predict(tokens, None, (topology,))[topology.name]
        truth = topology.truth(tokens.events)
        assert topology.score(outputs.astype(float), truth, np.ones((1, len(truth))))[0] > 0.75
