"""What a study says of its arms: bodies, objectives and foundation models are known, and recipes make sense."""

import shutil
from pathlib import Path

import pytest

from shiftlab.arms.training.recipe import Recipe
from shiftlab.config import compose_pretraining, compose_study
from shiftlab.errors import ConfigError
from shiftlab.plan import ArmPlan, TrainPlan
from shiftlab.run.training import recipe_of

DEMO = "study=demo"


def refused(*words, purpose="run"):
    with pytest.raises(ConfigError) as caught:
        compose_study([DEMO, *words], purpose=purpose)
    return str(caught.value)


def test_the_default_plan_is_the_default_recipe():
    assert recipe_of(ArmPlan(("foundation",))) == Recipe()


def test_every_number_of_the_plan_reaches_the_recipe():
    plan = ArmPlan(
        ("foundation",), body="voxel_transformer", size="small", train=TrainPlan(labels=10, ema=0.99, pieces=2)
    )
    recipe = recipe_of(plan)
    assert (recipe.network, recipe.size, recipe.labels, recipe.ema, recipe.pieces) == (
        "voxel_transformer",
        "small",
        10,
        0.99,
        2,
    )
    shared = set(TrainPlan.__dataclass_fields__) - {"minutes"}
    assert shared < set(Recipe.__dataclass_fields__)


def test_the_demo_keeps_its_arms_and_every_names_all_with_five_seeds():
    assert compose_study([DEMO]).study.arms.names == ("foundation", "scratch", "classic")
    every = compose_study([DEMO, "arms=every", "data.train=pyproject.toml"], purpose="train").study.arms
    assert every.names == ("foundation", "finetuned", "scratch", "multitask", "classic", "random")
    assert len(every.seeds) == 5


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("arms.body=voxel_transformr", "arms.body: unknown body 'voxel_transformr'. Did you mean 'voxel_transformer'"),
        ("arms.size=tinny", "arms.size: unknown size of body voxel_transformer 'tinny'. Did you mean 'tiny'"),
        ("arms.objective=masked", "arms.objective: unknown objective 'masked'. Did you mean 'masked_modelling'"),
        ("arms.train.finetune_rate=0.01", "arms.train.finetune_rate: 0.01 is given"),
        ("arms.train.frozen=1.5", "arms.train.frozen: 1.5 is given; at most 0.9 is wanted"),
        ("arms.train.labels=-1", "arms.train.labels: -1 is given; at least 0"),
        ("arms.train.precision=float16", "arms.train.precision: 'float16' is given; one of float32, bf16"),
        ("arms.train.lables=10", "arms.train.lables: no such key. Did you mean 'arms.train.labels'"),
    ],
)
def test_what_does_not_exist_or_makes_no_sense_is_named(word, said):
    assert said in refused(word)


def test_a_foundation_model_must_be_there_and_brings_its_own_network(tmp_path):
    words = [f"arms.foundation={tmp_path}", "arms.size=base", "data.train=pyproject.toml"]
    said = refused(*words, purpose="train")
    assert f"arms.foundation: no foundation model in '{tmp_path}'; `shiftlab pretrain out={tmp_path}` makes" in said
    assert "arms.size: 'base' is given; arms.foundation has its own. Leave one out." in said


@pytest.mark.parametrize("word", ["arms.size=small", "arms.body=voxel_transformer", "arms.foundation=model"])
def test_a_run_of_trained_arms_takes_no_word_about_their_networks(word):
    """Its record would say something that no network of it has."""
    said = refused(word)
    assert said.startswith(word.partition("=")[0])
    assert "this run judges trained arms as they are" in said


def test_where_a_foundation_model_lies_does_not_change_the_identity(tmp_path):
    shipped = Path("studies/checkpoints/foundation")
    shutil.copytree(shipped, tmp_path / "model")
    words = [DEMO, "retrain=true", "data.train=pyproject.toml"]
    one = compose_study([*words, f"arms.foundation={shipped}"]).study
    two = compose_study([*words, f"arms.foundation={tmp_path / 'model'}"]).study
    assert one.identity() == two.identity()
    assert one.identity() != compose_study([*words, "arms.train.labels=10"]).study.identity()


def test_a_pre_training_takes_several_files_and_any_detector(tmp_path):
    for name in ("a.h5", "b.h5"):
        (tmp_path / name).touch()
    files = f"{tmp_path}/a.h5,{tmp_path}/b.h5"
    words = ["arms.size=small", "arms.train.body=100", "detector.effects.gain.sigma=0", f"out={tmp_path}/out"]
    for given in (files, f"[{files}]"):
        plan = compose_pretraining([f"data.train={given}", *words[:2], words[3]])
        assert plan.data.train == (tmp_path / "a.h5", tmp_path / "b.h5")
        assert (plan.arms.size, plan.arms.train.body, plan.out) == ("small", 100, Path(tmp_path / "out"))
        assert plan.detector["name"] == "pixel_lar"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["out=x"], "data.train: missing; say data.train=FILE"),
        (["data.train=nowhere.h5", "out=x"], "data.train: no file"),
        (["data.train=pyproject.toml"], "out: missing; say out=FOLDER."),
        (["data.train=pyproject.toml", "out=x", "detector=pixl_lar"], "Did you mean 'pixel_lar'"),
        (["data.train=pyproject.toml", "out=x", "detector=wire_lar"], "bodies take images of voxels"),
        (["data.train=pyproject.toml", "out=x", "arms.train.labels=10"], "pre-training uses no labels"),
        (["data.train=pyproject.toml", "out=x", "arms.objective=polar"], "arms.objective: unknown objective 'polar'"),
        (["data.train=pyproject.toml", "out=x", "arms.body=pet2"], "takes tokens"),
        (["data.train=pyproject.toml", "out=x", "arms.body=panda"], "`shiftlab adopt panda CHECKPOINT FOLDER`"),
        (["data.train=pyproject.toml", "out=x", "out=y"], "out: given twice"),
        (["data.train=pyproject.toml", "out=x", "sed=3"], "sed: no such key. Did you mean 'seed'"),
    ],
)
def test_a_pre_training_that_cannot_be_is_refused(words, said):
    with pytest.raises(ConfigError) as caught:
        compose_pretraining(words)
    assert said in str(caught.value)
