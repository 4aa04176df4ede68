"""All arms run on tokens as on images: trained, saved, loaded, asked together, and never in other units."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from shiftlab.arms import Arm, arms, load_arms, predict_all
from shiftlab.arms.tokens.contract import TokenContract
from shiftlab.arms.tokens.observation import TokenObservation, observe
from shiftlab.arms.tokens.set import TokenSet, generator_class, token_set
from shiftlab.arms.training import Workshop
from shiftlab.arms.training.recipe import Recipe
from shiftlab.config import locate
from shiftlab.errors import ConfigError, DataError
from shiftlab.events import read_tokens
from shiftlab.events.image import Image
from shiftlab.events.tokens import Tokens, in_units
from shiftlab.tasks import named_tasks

TASKS = named_tasks(["available_energy", "pion_topology"])
RECIPE = Recipe(
    body=64,
    head=96,
    scratch=64,
    finetune=64,
    multitask=64,
    batch=16,
    event_trees=10,
    objective="classify_and_generate",
    network="token_transformer",
    size="tiny",
)
NETWORKS = ("foundation", "finetuned", "scratch", "multitask", "random")


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    return read_tokens(locate("studies/samples/minerva_like_tokens.h5"), events=slice(0, 160))


@pytest.fixture(scope="module")
def data(tokens: Tokens) -> TokenSet:
    return token_set(tokens, TASKS)


@pytest.fixture(scope="module")
def trained(data: TokenSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("arms")
    for name in (*NETWORKS, "classic"):
        workshop = Workshop(folder / ".state" / name, "tokens")
        arms().get(name).train(data, TASKS, 0, RECIPE, workshop).save(folder)
    return folder


def judged(tokens: Tokens) -> Tokens:
    return read_tokens(locate("studies/samples/minerva_like_tokens.h5"), events=slice(160, 220))


@pytest.mark.parametrize("name", [*NETWORKS, "classic"])
def test_an_arm_answers_every_event_and_is_the_same_after_loading(name, trained, tokens):
    arm = arms().get(name).load(trained, 0)
    assert isinstance(arm.contract, TokenContract)
    answers = arm.predict(judged(tokens), None, TASKS)
    assert answers["available_energy"].shape == (60, 1)
    assert answers["pion_topology"].shape == (60, 5)
    assert all(np.isfinite(one).all() for one in answers.values())
    assert (answers["available_energy"] >= 0).all()
    assert answers["pion_topology"].std(axis=0).min() > 0


def test_asked_together_arms_say_what_they_say_alone(trained, tokens):
    found = load_arms(trained)
    assert {arm.name for arm in found} == {*NETWORKS, "classic"}
    for arm, together in zip(found, predict_all(found, judged(tokens), None, TASKS), strict=True):
        alone = arm.predict(judged(tokens), None, TASKS)
        for name in alone:
            np.testing.assert_allclose(together[name], alone[name], rtol=1e-5, atol=1e-4)


def test_answers_are_the_same_in_mev_and_in_gev(trained, tokens):
    for arm in load_arms(trained):
        mev, gev = (arm.predict(in_units(judged(tokens), unit), None, TASKS) for unit in ("MeV", "GeV"))
        for name in mev:
            np.testing.assert_allclose(mev[name], gev[name], rtol=1e-3, atol=1e-3)


def test_energies_mislabelled_by_a_thousand_change_the_answers(trained, tokens):
    """What the units in the columns guard against: log MeV taken for log GeV is off by 6.91."""
    given = judged(tokens)
    wrong = dataclasses.replace(
        given, units=in_units(given, "GeV").units, global_units=in_units(given, "GeV").global_units
    )
    arm = arms().get("scratch").load(trained, 0)
    right, off = (arm.predict(one, None, TASKS)["pion_topology"] for one in (given, wrong))
    assert np.abs(right - off).max() > 10 * 1e-3


def test_answers_do_not_depend_on_the_other_events(trained, tokens):
    given = judged(tokens)
    for arm in load_arms(trained, ["foundation", "scratch", "classic"]):
        whole = arm.predict(given, None, TASKS)
        some = arm.predict(given.take([7, 30, 31]), None, TASKS)
        for name in whole:
            np.testing.assert_allclose(some[name], whole[name][[7, 30, 31]], rtol=1e-5, atol=1e-4)


def test_an_event_without_tokens_gets_the_declared_answer(trained, tokens):
    given = judged(tokens)
    nothing = int((given.counts > 0).sum())
    assert nothing == len(given)
    offsets = given.offsets.clone()
    offsets[-1] = offsets[-2]
    kept = int(offsets[-1])
    bare = dataclasses.replace(
        given, offsets=offsets, features=given.features[:kept], valid=given.valid[:kept], particle=given.particle[:kept]
    )
    for arm in load_arms(trained):
        found = arm.predict(bare, None, TASKS)
        for task in TASKS:
            np.testing.assert_array_equal(found[task.name][-1], np.float32(task.empty))


def test_trees_see_the_globals_alone(trained, tokens):
    given = judged(tokens)
    moved = dataclasses.replace(given, features=given.features + 0.3)
    changed = dataclasses.replace(given, globals=given.globals + 0.3)
    arm = arms().get("classic").load(trained, 0)
    one, same, other = (arm.predict(each, None, TASKS)["pion_topology"] for each in (given, moved, changed))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_pet2_is_an_arm_like_any_other(data, tokens, tmp_path):
    pytest.importorskip("omnilearned.network", reason="needs shiftlab[peers]")
    recipe = dataclasses.replace(RECIPE, network="pet2", body=32, head=32)
    arm = arms().get("foundation").train(data, TASKS, 0, recipe, Workshop(tmp_path / "state", "pet2"))
    arm.save(tmp_path)
    given = judged(tokens)
    one, other = (each.predict(given, None, TASKS) for each in (arm, arms().get("foundation").load(tmp_path, 0)))
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def test_pre_training_is_on_the_card_with_what_it_varied(trained):
    arm = arms().get("foundation").load(trained, 0)
    assert arm.foundation.card["objective"]["name"] == "classify_and_generate"
    assert "momenta" in arm.foundation.card["objective"]["augmentations"]
    assert isinstance(arm.foundation.body.contract, TokenContract)


def test_images_and_tokens_are_not_mixed_up(trained, tokens):
    arm: Arm = arms().get("classic").load(trained, 0)
    offsets = torch.zeros(2, dtype=torch.int64)
    empty = torch.zeros(0)
    image = Image(offsets, empty.long(), empty, empty, (16, 16, 16), tokens.events.take(torch.tensor([0])))
    with pytest.raises(ConfigError, match="trained on tokens, but the detector gives images"):
        observe(image, None, arm.contract)
    with pytest.raises(ConfigError, match="asked of each voxel"):
        token_set(tokens, named_tasks(["segmentation"]))
    with pytest.raises(DataError, match="are tokens"):
        _ = TokenObservation(tokens, arm.contract).matched


def test_the_set_gives_targets_classes_and_rows(data, tokens):
    batch = data.batch(torch.tensor([5, 3]), torch.Generator())
    wanted = tokens.take([5, 3])
    assert torch.equal(batch.patches.lengths, wanted.counts)
    torch.testing.assert_close(
        batch.targets["available_energy"],
        torch.log1p(wanted.events.truth["available_energy"] / 1000).float(),
        equal_nan=True,
    )
    assert torch.equal(batch.patches.label, generator_class(wanted))
    assert torch.equal(batch.patches.label, wanted.events.truth["topology_class"].long())
    known = data.rows["available_energy"]
    assert torch.isfinite(data.targets["available_energy"][known]).all()
    assert (tokens.events.truth["available_energy"][known] >= 50).all()
    assert not data.too_long.any()
    assert bool(dataclasses.replace(data, contract=dataclasses.replace(data.contract, maximum=3)).too_long.any())


def test_events_without_truth_have_no_class(tokens):
    bare = dataclasses.replace(tokens, events=dataclasses.replace(tokens.events, truth={}))
    assert torch.equal(generator_class(bare), torch.full((len(tokens),), -1))


def test_a_set_for_another_contract_keeps_its_targets(data, tokens):
    mev = TokenContract.of(tokens, energy_unit="MeV")
    other = data.under(mev)
    torch.testing.assert_close(other.image.features, tokens.features, rtol=1e-6, atol=1e-5)
    assert other.targets is data.targets
    with pytest.raises(ConfigError, match="trained on images"):
        data.under("lattice")
