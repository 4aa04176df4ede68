"""``shiftlab pretrain`` on tokens makes a foundation model on which the heads of a token study learn."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shiftlab import cli
from shiftlab.arms import arms, load_arms
from shiftlab.arms.foundation_model import load_foundation
from shiftlab.config import detector_config, locate
from shiftlab.detector import NOMINAL
from shiftlab.detector.recorder import recorder
from shiftlab.errors import ConfigError, DataError
from shiftlab.events import read_tokens
from shiftlab.events.splits import Manifest
from shiftlab.responses import respond
from shiftlab.tasks import named_tasks

SHIPPED = locate("studies/samples/minerva_like_tokens.h5")
IMAGES = locate("studies/samples/lar_evaluation.h5")
BRIEF = ("arms.train.body=32", "arms.train.batch=8", "device=cpu")
HEADS = ("arms.train.head=16", "arms.train.finetune=16", "arms.train.batch=8", "arms.seeds=[0]", "device=cpu")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    """Divides the shipped tokens: few to pre-train on, few for heads, and the rest to be judged on."""
    path = tmp_path_factory.mktemp("split") / "manifest.json"
    words = ["split", str(SHIPPED), "-o", str(path), "body=0.06", "heads=0.06", "judge=0.88", "seed=3"]
    assert cli.main(words) == 0
    return path


def pretraining(manifest: Path, out: Path, *words: str) -> list[str]:
    given = (f"data.train={SHIPPED}", f"data.manifest={manifest}", "data.train_part=body", "detector=minerva_tokens")
    return ["pretrain", *given, f"out={out}", *BRIEF, *words]


@pytest.fixture(scope="module", params=("token_transformer", "pet2"))
def model(request, manifest, tmp_path_factory) -> Path:
    if request.param == "pet2":
        pytest.importorskip("omnilearned.network", reason="needs shiftlab[peers]")
    folder = tmp_path_factory.mktemp(request.param) / "model"
    assert cli.main(pretraining(manifest, folder, f"arms.body={request.param}")) == 0
    return folder


@pytest.fixture(scope="module")
def trained(model, manifest, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    words = [f"data.train={SHIPPED}", f"data.manifest={manifest}", "data.train_part=heads", f"arms.foundation={model}"]
    names = "arms.names=[foundation,finetuned]"
    assert cli.main(["train", "study=minerva", *words, names, *HEADS, f"arms.checkpoints={folder}"]) == 0
    return folder


def part(manifest: Path, name: str):
    return Manifest.load(manifest).select(read_tokens(SHIPPED), name)


def test_the_card_says_what_was_seen_and_how(model, manifest):
    found = load_foundation(model)
    seen = part(manifest, "body")
    assert found.vertices.tolist() == sorted(set(seen.events.vertex.tolist()))
    card = found.card
    assert (card["detector"], card["dataset"]) == ("minerva_tokens", "ch_neutrino/1")
    assert card["objective"]["name"] == "classify_and_generate"
    assert card["spent"]["total"]["presentations"] == 32
    assert sum(card["samples"].values()) == len(seen)
    assert card["events"] == int((seen.counts > 0).sum())
    assert found.body.contract.columns == seen.columns
    assert set(found.body.contract.units) >= {"log(GeV)"}
    assert {path.name for path in model.iterdir()} == {
        "foundation.safetensors",
        "foundation.json",
        "pretraining_vertices.safetensors",
        "curves",
    }


def test_heads_of_the_study_rest_on_it(model, trained):
    digest = load_foundation(model).digest
    for arm in load_arms(trained):
        assert arm.foundation.digest == digest
        assert arm.tasks == ("available_energy", "pion_topology")
        assert arm.contract == load_foundation(model).body.contract
    frozen, moved = (arms().get(name).load(trained, 0) for name in ("foundation", "finetuned"))
    assert frozen.frozen_body == digest
    assert moved.frozen_body == ""


def test_what_its_foundation_model_saw_counts_as_seen_by_an_arm(trained, manifest):
    """Neither the vertices of the heads nor those of the pre-training may be judged, and the rest may."""
    detector, tasks = recorder(detector_config("minerva_tokens")), named_tasks(["pion_topology"])
    for arm in load_arms(trained):
        for name, said in (("heads", "was trained on"), ("body", "a foundation model that was pre-trained on")):
            with pytest.raises(DataError, match=f"{said} the vertices of"):
                respond(part(manifest, name), detector, [NOMINAL], [arm], tasks=tasks)
        found = respond(part(manifest, "judge").take(list(range(8))), detector, [NOMINAL], [arm], tasks=tasks)
        assert np.isfinite(found.datasets["pion_topology"]["output"]).all()


def test_the_same_words_give_the_same_model_and_another_recipe_is_refused(manifest, tmp_path, capsys):
    words = pretraining(manifest, tmp_path / "one")
    assert cli.main([*words, "arms.train.minutes=0.00001"]) == 2
    assert "the same command goes on from here" in capsys.readouterr().err
    assert cli.main(words) == 0
    assert cli.main(words) == 0
    assert cli.main(pretraining(manifest, tmp_path / "two")) == 0
    assert load_foundation(tmp_path / "one").digest == load_foundation(tmp_path / "two").digest
    assert cli.main([*words, "arms.train.body_rate=0.01"]) == 2
    assert "another recipe or sample" in capsys.readouterr().err


def test_tokens_may_come_from_deposits_through_the_toy_reconstruction(tmp_path):
    deposits = Path(__file__).parents[1] / "data" / "ch_neutrino.h5"
    words = [f"data.train={deposits}", "detector=minerva_like", f"out={tmp_path / 'model'}", *BRIEF]
    assert cli.main(["pretrain", *words]) == 0
    assert load_foundation(tmp_path / "model").card["detector"] == "minerva_like"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((f"data.train={IMAGES}", "detector=minerva_tokens"), "takes tokens; events of type Deposits"),
        ((f"data.train={SHIPPED}", "detector=pixel_lar"), "holds tokens; images are made of deposits"),
        ((f"data.train={SHIPPED}", "detector=minerva_tokens", "arms.objective=masked_modelling"), "is about images"),
        ((f"data.train={SHIPPED}", "detector=minerva_tokens", "arms.body=voxel_transformer"), "takes images"),
        ((f"data.train={SHIPPED}", "detector=minerva_tokens", "arms.size=huge"), "unknown size of body token_tran"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line_and_leaves_nothing(words, said, tmp_path, capsys):
    assert cli.main(["pretrain", *words, f"out={tmp_path / 'model'}", *BRIEF, "workers=1"]) == 2
    told = capsys.readouterr().err.strip()
    assert said in told
    assert told.count("\n") == 0
    assert not (tmp_path / "model" / "foundation.json").exists()


def test_an_event_that_two_files_have_is_refused(tmp_path, capsys):
    again = tmp_path / "again.h5"
    again.write_bytes(SHIPPED.read_bytes())
    words = [f"data.train={SHIPPED},{again}", "detector=minerva_tokens", f"out={tmp_path / 'model'}"]
    assert cli.main(["pretrain", *words, *BRIEF]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"shiftlab: {again}: event ")
    assert "has the key of an earlier event; keys must be unique" in said


def test_images_are_not_shown_to_a_model_of_tokens_nor_tokens_to_one_of_images(model, tmp_path, capsys):
    body = load_foundation(model).body
    with pytest.raises(ConfigError, match="trained on tokens, but the detector gives images"):
        load_foundation(model, arms().get("foundation").load(locate("studies/checkpoints/demo"), 0).contract)
    with pytest.raises(ConfigError, match=r"trained with log_pT in log\(GeV\), but the tokens have log\(MeV\)"):
        load_foundation(model, in_mev(body.contract))
    words = [f"data.train={SHIPPED}", f"arms.foundation={locate('studies/checkpoints/foundation')}", *HEADS]
    assert cli.main(["train", "study=minerva", *words, f"arms.checkpoints={tmp_path}"]) == 2
    assert "the foundation model was trained on images" in capsys.readouterr().err


def in_mev(contract):
    """The same contract with energies in MeV, as raw tokens have them."""
    units = tuple(unit.replace("GeV", "MeV") for unit in contract.units)
    numbers = tuple(unit.replace("GeV", "MeV") for unit in contract.global_units)
    return replace(contract, units=units, global_units=numbers)
