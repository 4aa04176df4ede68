"""``shiftlab adopt omnilearned`` takes over what the package saved: same answers, stated tokens, known events."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shiftlab import cli
from shiftlab.arms import load_arms
from shiftlab.arms.bodies.pet2 import Pet2
from shiftlab.arms.foundation_model import load_foundation
from shiftlab.arms.public.seen import seen_events
from shiftlab.arms.tokens.batch import TokenBatch
from shiftlab.arms.tokens.contract import OMNILEARNED, TokenContract
from shiftlab.arms.tokens.omnilearned import load_converted
from shiftlab.config import detector_config, locate
from shiftlab.detector import NOMINAL
from shiftlab.detector.recorder import recorder
from shiftlab.errors import ConfigError, DataError
from shiftlab.events import read_tokens
from shiftlab.events.minerva_ml import write_minerva_ml
from shiftlab.responses import respond
from shiftlab.tasks import named_tasks

spec = importlib.util.spec_from_file_location("public_pet2", Path(__file__).with_name("public_pet2.py"))
pieces = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pieces)

SHIPPED = locate("studies/samples/minerva_like_tokens.h5")


@pytest.fixture(scope="module")
def contract() -> TokenContract:
    return TokenContract.of(read_tokens(SHIPPED))


@pytest.fixture(scope="module")
def model(contract):
    """PET2 as it was pre-trained, here with random weights, for tokens such as ours."""
    return pieces.public(contract, "pretrain")


@pytest.fixture(scope="module")
def checkpoint(model, tmp_path_factory) -> Path:
    return pieces.save_publicly(model, tmp_path_factory.mktemp("public"))


@pytest.fixture(scope="module")
def jets(tmp_path_factory) -> Path:
    """The same for jet constituents, without kinds and further columns, of 210 classes."""
    return pieces.save_publicly(pieces.public(OMNILEARNED, "pretrain", classes=210), tmp_path_factory.mktemp("jets"))


def adopted(checkpoint: Path, out: Path, *words: str) -> Path:
    assert cli.main(["adopt", "omnilearned", str(checkpoint), str(out), "--heads", "4", *words]) == 0
    return out


def batch_of(contract: TokenContract, first: int, last: int) -> TokenBatch:
    return TokenBatch.of(contract.converted(read_tokens(SHIPPED, events=slice(first, last))), contract)


def public_answers(model, batch):
    """Particles and logits of the package's own forward."""
    given = pieces.as_the_package_reads(batch)
    with torch.no_grad():
        found = model(
            given["x"], torch.zeros(len(batch), dtype=torch.int64), given["cond"], given["pid"], given["add_info"]
        )
    there = given["x"][:, :, 2] != 0
    return found["x_body"][:, found["x_body"].shape[1] - there.shape[1] :][there], found["y_pred"]


def test_an_adopted_network_answers_as_the_public_one(model, checkpoint, contract, tmp_path, capsys):
    out = adopted(checkpoint, tmp_path / "out", "--tokens", str(SHIPPED), "--licence", "Apache-2.0")
    told = capsys.readouterr().out
    assert "log_pT [log(GeV)]" in told
    assert "drawn, not trained: nothing" in told
    assert "left out: ema_body, ema_generator, generator_head" in told
    batch = batch_of(contract, 0, 40)
    particles, logits = public_answers(model, batch)
    exact, kept = load_converted(out), load_foundation(out).body
    with torch.no_grad():
        for body, tolerance in ((exact.eval(), 1e-6), (kept, 2e-2)):  # arms keep half precision: 11 bits
            found = body(batch)
            pooled = found.overall[:, len(contract.global_columns) + 1 :]
            torch.testing.assert_close(found.tokens, particles, rtol=tolerance, atol=tolerance)
            torch.testing.assert_close(model.classifier.out(pooled), logits, rtol=tolerance, atol=tolerance)
    assert logits.std() > 0.05


def test_the_card_says_where_it_comes_from(checkpoint, contract, tmp_path):
    words = ("--tokens", str(SHIPPED), "--licence", "Apache-2.0", "--dataset", "minerva/1A")
    found = load_foundation(adopted(checkpoint, tmp_path / "out", *words))
    assert found.body.contract == contract
    card = found.card
    assert (card["licence"], card["dataset"], card["seen"]) == ("Apache-2.0", "minerva/1A", [])
    assert card["source"]["file"] == checkpoint.name
    assert len(card["source"]["sha256"]) == 64
    assert card["objective"]["name"] == "classification and flow matching"
    assert set(card["objective"]["augmentations"]) == {"momenta"}
    assert card["drawn"] == []
    assert len(found.vertices) == 0


def test_jets_are_meant_where_nothing_is_said_and_a_card_can_say_it(jets, checkpoint, contract, tmp_path):
    assert load_foundation(adopted(jets, tmp_path / "jets")).body.contract == OMNILEARNED
    first = adopted(checkpoint, tmp_path / "first", "--tokens", str(SHIPPED), "--energy-unit", "MeV")
    again = adopted(checkpoint, tmp_path / "again", "--contract", str(first / "foundation.json"))
    stated = load_foundation(again).body.contract
    assert stated == load_foundation(first).body.contract
    assert stated.energy_unit == "MeV"
    assert stated.units[3] == "log(MeV)"


def test_the_running_average_can_be_taken(model, checkpoint, contract, tmp_path):
    """The average that was saved is half of the weights."""
    out = adopted(checkpoint, tmp_path / "out", "--tokens", str(SHIPPED), "--average")
    for body in (load_converted(out), load_foundation(out).body):
        torch.testing.assert_close(body.network["body"].token, 0.5 * model.body.token, rtol=1e-3, atol=1e-5)


def test_what_fits_of_a_model_of_jets_goes_to_other_tokens_and_the_rest_is_drawn_once(jets, contract, tmp_path):
    held = torch.load(jets, weights_only=True)
    words = ("--tokens", str(SHIPPED), "--partial")
    one, two = (adopted(jets, tmp_path / name, *words) for name in ("one", "two"))
    found, again = load_foundation(one), load_foundation(two)
    assert found.card["drawn"] == ["body.add_embed", "body.cond_embed", "body.pid_embed"]
    assert found.digest == again.digest
    exact = load_converted(one).network["body"].state_dict()
    drawn = ("add_embed", "cond_embed", "pid_embed")
    for name, value in held["body"].items():
        assert torch.equal(exact[name], value)
    assert {name.split(".")[0] for name in set(exact) - set(held["body"])} == set(drawn)
    with torch.no_grad():
        assert torch.isfinite(found.body(batch_of(contract, 0, 8)).tokens).all()


def test_a_model_with_the_published_numbers_of_kinds_and_columns_goes_to_our_tokens(contract, tmp_path, capsys):
    """The package's ``train.sh`` pre-trains with 9 numbers of kinds and 4 further columns; ours have 9 and 5."""
    kinds = tuple(f"kind_{number}" for number in range(8))
    extra = ("tanh_d0", "d0_error", "tanh_dz", "dz_error")
    jets = replace(
        OMNILEARNED,
        columns=OMNILEARNED.columns + extra,
        units=OMNILEARNED.units + ("1",) * 4,
        centre=OMNILEARNED.centre + (0.0,) * 4,
        spread=OMNILEARNED.spread + (1.0,) * 4,
        kinds=kinds,
    )
    path = pieces.save_publicly(pieces.public(jets, "pretrain", classes=210), tmp_path)
    words = ["adopt", "omnilearned", str(path), str(tmp_path / "out"), "--heads", "4", "--tokens", str(SHIPPED)]
    assert cli.main(words) == 2
    said = capsys.readouterr().err
    assert (
        "places for 9 kinds, 4 columns beyond the momentum and 0 globals; its contract as stated, for 9, 5 and" in said
    )
    assert cli.main([*words, "--partial"]) == 0
    assert load_foundation(tmp_path / "out").card["drawn"] == ["body.add_embed", "body.cond_embed"]
    held = torch.load(path, weights_only=True)["body"]["pid_embed.0.weight"]
    assert torch.equal(load_converted(tmp_path / "out").network["body"].state_dict()["pid_embed.0.weight"], held)


def test_a_body_without_its_classifier_gets_the_same_one_each_time(model, contract, tmp_path):
    torch.save({"body": model.body.state_dict()}, tmp_path / "body.pt")
    one, two = (adopted(tmp_path / "body.pt", tmp_path / n, "--tokens", str(SHIPPED)) for n in ("one", "two"))
    assert load_foundation(one).digest == load_foundation(two).digest
    assert load_foundation(one).card["drawn"] == ["classifier"]
    batch = batch_of(contract, 0, 4)
    with torch.no_grad():
        assert torch.equal(load_converted(one).eval()(batch).overall, load_converted(one).eval()(batch).overall)


def test_a_study_of_tokens_rests_on_it_and_is_not_judged_on_what_it_has_seen(jets, tmp_path):
    """The bodies of two arms come from jets; the events that they are said to have seen count as seen by both."""
    tokens = read_tokens(SHIPPED)
    for name, first, last in (("seen", 0, 30), ("heads", 30, 70)):
        write_minerva_ml(tmp_path / f"{name}.pb", tokens.take(list(range(first, last))))
    words = ("--tokens", str(SHIPPED), "--partial", "--seen", str(tmp_path / "seen.pb"), "--dataset", "jets/2")
    out = adopted(jets, tmp_path / "model", *words)
    given = [f"data.train={tmp_path / 'heads.pb'}", f"arms.foundation={out}", f"arms.checkpoints={tmp_path / 'arms'}"]
    brief = ["arms.names=[foundation,finetuned]", "arms.seeds=[0]", "arms.train.head=16", "arms.train.finetune=16"]
    assert cli.main(["train", "study=minerva", *given, *brief, "device=cpu"]) == 0
    detector, tasks = recorder(detector_config("minerva_tokens")), named_tasks(["available_energy"])
    for arm in load_arms(tmp_path / "arms"):
        assert set(arm.pretraining_dataset.split(" + ")) >= {"jets/2"}
        seen = read_tokens(tmp_path / "seen.pb")
        with pytest.raises(
            DataError, match="a foundation model that was pre-trained on the vertices of 30 of these 30"
        ):
            respond(seen, detector, [NOMINAL], [arm], tasks=tasks)
        unseen = tokens.take(list(range(70, 78)))
        other = replace(unseen, events=replace(unseen.events, dataset="jets/3"))
        with pytest.raises(DataError, match="pre-trained on data set 'jets' in revision '2'"):
            respond(other, detector, [NOMINAL], [arm], tasks=tasks)
        found = respond(unseen, detector, [NOMINAL], [arm], tasks=tasks)
        assert np.isfinite(found.datasets["available_energy"]["output"]).all()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--heads", "4"), "It has places for 9 kinds, 5 columns beyond the momentum and 16 globals"),
        (("--heads", "3", "--tokens", str(SHIPPED)), "width 32 cannot be shared by 3 heads"),
        (("--tokens", str(SHIPPED)), "width 32 is none of the package's; state `heads`"),
        (("--heads", "4", "--size", "smal"), "Did you mean 'small'?"),
        (("--heads", "4", "--size", "small"), "of another size: width = 32, not 128"),
        (("--heads", "4", "--tokens", str(SHIPPED), "--coordinates", "5"), "coordinates 5"),
        (("--heads", "4", "--tokens", "nowhere.h5"), "nowhere.h5: no such file"),
        (("--heads", "4", "--contract", "nowhere.json"), "the contract 'nowhere.json' cannot be read"),
        (("--heads", "4", "--contract", "pyproject.toml"), "the contract 'pyproject.toml' cannot be read"),
        (("--heads", "4", "--contract", "x.json", "--tokens", str(SHIPPED)), "Leave one out"),
        (("--heads", "4", "--tokens", str(SHIPPED), "--dataset", "jets"), "dataset 'jets': name/revision is wanted"),
        (("--heads", "4", "--tokens", str(SHIPPED), "--seen", "nowhere.h5"), "nowhere.h5: no such file"),
    ],
)
def test_what_cannot_be_adopted_is_refused_in_one_line_and_leaves_nothing(checkpoint, words, said, tmp_path, capsys):
    assert cli.main(["adopt", "omnilearned", str(checkpoint), str(tmp_path / "out"), *words]) == 2
    told = capsys.readouterr().err.strip()
    assert said in told
    assert told.count("\n") == 0
    assert not (tmp_path / "out").exists()


def test_a_full_folder_and_a_file_that_is_none_are_refused(checkpoint, tmp_path, capsys):
    out = adopted(checkpoint, tmp_path / "out", "--tokens", str(SHIPPED))
    assert cli.main(["adopt", "omnilearned", str(checkpoint), str(out), "--heads", "4"]) == 2
    assert "already holds a checkpoint" in capsys.readouterr().err
    assert cli.main(["adopt", "omnilearned", str(tmp_path / "none.pt"), str(tmp_path / "two")]) == 2
    assert "no public checkpoint" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        cli.main(["adopt", "omnilearnt", str(checkpoint), str(out)])
    assert caught.value.code == 2


def test_weights_that_were_changed_are_not_loaded(checkpoint, tmp_path):
    out = adopted(checkpoint, tmp_path / "out", "--tokens", str(SHIPPED))
    record = json.loads((out / "record.json").read_text())
    (out / "record.json").write_text(json.dumps({**record, "weights": "0" * 64}))
    with pytest.raises(ConfigError, match="is not the file that its record describes"):
        load_converted(out)


def test_what_was_seen_is_the_union_of_the_files_and_no_vertex_counts_twice(tmp_path):
    found = seen_events("jets/1", [SHIPPED])
    tokens = read_tokens(SHIPPED)
    assert found.vertices.tolist() == sorted(set(tokens.events.vertex.tolist()))
    assert set(found.dataset.split(" + ")) == {"jets/1", tokens.events.dataset}
    assert seen_events("", []).dataset == ""
    assert len(seen_events("", []).vertices) == 0


def test_a_large_network_is_not_made_to_read_its_size():
    """The numbers of a size are checked before a network is built."""
    with pytest.raises(ConfigError, match="neighbours is 0"):
        Pet2.fresh({**Pet2.sizes["large"], "neighbours": 0}, OMNILEARNED)
