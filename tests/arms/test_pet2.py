"""PET2 behind the adapter is OmniLearned's own PET2: same numbers, same checkpoints, same rules of transfer."""

import importlib.util
import os
from pathlib import Path

import pytest
import torch

from shiftlab.arms.bodies.pet2 import Pet2, padded
from shiftlab.arms.tokens.batch import TokenBatch
from shiftlab.arms.tokens.contract import OMNILEARNED, TokenContract
from shiftlab.arms.tokens.omnilearned import convert, fill, load_converted, pet2_from, read_checkpoint, size_of
from shiftlab.config import locate
from shiftlab.errors import ConfigError
from shiftlab.events import read_tokens

spec = importlib.util.spec_from_file_location("public_pet2", Path(__file__).with_name("public_pet2.py"))
pieces = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pieces)
SIZE, network, public = pieces.SIZE, pieces.network, pieces.public
as_the_package_reads, save_publicly = pieces.as_the_package_reads, pieces.save_publicly


@pytest.fixture(scope="module")
def shipped() -> tuple[TokenContract, TokenBatch]:
    tokens = read_tokens(locate("studies/samples/minerva_like_tokens.h5"), events=slice(0, 60))
    contract = TokenContract.of(tokens)
    return contract, TokenBatch.of(contract.converted(tokens), contract)


@pytest.mark.parametrize("mode", ["classifier", "pretrain"])
def test_logits_and_particles_are_those_of_the_package(shipped, mode: str, tmp_path: Path):
    contract, batch = shipped
    model = public(contract, mode)
    body = pet2_from(
        {"body": model.body.state_dict(), "classifier_head": model.classifier.state_dict()}, contract, heads=4
    )
    given = as_the_package_reads(batch)
    with torch.no_grad():
        theirs = model(
            given["x"], torch.zeros(len(batch), dtype=torch.int64), given["cond"], given["pid"], given["add_info"]
        )
        found = body.eval()(batch)
        pooled = found.overall[:, len(contract.global_columns) + 1 :]
        torch.testing.assert_close(model.classifier.out(pooled), theirs["y_pred"], rtol=1e-6, atol=1e-6)
        there = given["x"][:, :, 2] != 0
        skipped = theirs["x_body"].shape[1] - there.shape[1]
        torch.testing.assert_close(found.tokens, theirs["x_body"][:, skipped:][there], rtol=1e-6, atol=1e-6)


def test_the_noised_view_and_its_velocity_are_those_of_the_package(shipped):
    contract, batch = shipped
    model = public(contract, "pretrain")
    body = pet2_from(
        {"body": model.body.state_dict(), "classifier_head": model.classifier.state_dict()}, contract, heads=4
    )
    time = torch.linspace(0.05, 0.95, len(batch))
    given = as_the_package_reads(batch)
    with torch.no_grad():
        latent = model.body(given["x"], given["cond"], given["pid"], given["add_info"], time)
        there = given["x"][:, :, 2] != 0
        found = body.eval()(batch.noised(batch.momenta, time))
        skipped = latent.shape[1] - there.shape[1]
        torch.testing.assert_close(found.tokens, latent[:, skipped:][there], rtol=1e-6, atol=1e-6)
        assert not torch.allclose(found.tokens, body(batch).tokens, atol=1e-3)


def test_a_public_checkpoint_survives_the_way_through_safetensors_bit_for_bit(shipped, tmp_path: Path):
    contract, batch = shipped
    model = public(contract, "pretrain")
    path = save_publicly(model, tmp_path)
    parts = read_checkpoint(path)
    assert set(parts) == {"body", "classifier_head", "generator_head", "ema_body", "ema_generator"}
    body = convert(path, tmp_path / "ours", contract, heads=4)
    again = load_converted(tmp_path / "ours")
    assert again.contract == contract
    assert again.plain() == body.plain()
    held = read_checkpoint(tmp_path / "ours" / "weights.safetensors")
    for part, state in parts.items():
        assert set(held[part]) == set(state)
        assert all(torch.equal(held[part][name], value) for name, value in state.items())
    assert torch.equal(again.eval()(batch).overall, body.eval()(batch).overall)
    for name, value in model.body.state_dict().items():
        assert torch.equal(again.network["body"].state_dict()[name], value)
    average = pet2_from(parts, contract, average=True, heads=4)
    assert torch.equal(average.network["body"].token, 0.5 * model.body.token)


@pytest.mark.parametrize("size", ["small", "medium"])
def test_named_sizes_are_the_packages_own(size: str):
    utils = pytest.importorskip("omnilearned.utils")
    wanted = utils.get_model_parameters(size)
    ours = Pet2.sizes[size]
    names = {
        "width": "base_dim",
        "layers": "num_transformers",
        "head_layers": "num_transformers_head",
        "heads": "num_heads",
    }
    assert {names[name]: value for name, value in ours.items()} == {name: wanted[name] for name in names.values()}


def test_the_small_size_has_the_published_number_of_parameters():
    body = Pet2.fresh("small", OMNILEARNED)
    count = sum(parameter.numel() for name, parameter in body.named_parameters() if "time_embed" not in name)
    assert count == pytest.approx(2.8e6, rel=0.04)  # 2.8 M in the repository's train.sh, for top tagging


def test_the_size_is_read_off_the_tensors(shipped):
    contract, _ = shipped
    model = public(contract, "pretrain")
    found = size_of({"body": model.body.state_dict()}, heads=4)
    assert {name: found[name] for name in SIZE} == SIZE
    assert found["interaction"]
    assert found["local_interaction"]
    assert found["expansion"] == 2
    plain = network.PET2(4, use_int=False, local_int=False, base_dim=128, num_heads=8)
    found = size_of({"body": plain.body.state_dict()})
    assert not found["interaction"]
    assert not found["local_interaction"]
    assert found["heads"] == 8
    with pytest.raises(ConfigError, match="neighbors cannot be stated; heads, neighbours"):
        size_of({"body": plain.body.state_dict()}, neighbors=5)


def test_fine_tuning_copies_what_fits_but_no_last_layer(shipped):
    contract, _ = shipped
    jets = public(OMNILEARNED, "pretrain", classes=210)  # as pre-trained: no globals, no kinds, no further columns
    body = Pet2.fresh(size_of({"body": jets.body.state_dict()}, heads=4), contract)
    before = body.network["body"].cond_embed[0].fc1.weight.clone()
    moved = fill(body, {"body": jets.body.state_dict(), "classifier_head": jets.classifier.state_dict()})
    assert torch.equal(body.network["body"].token, jets.body.token)
    assert torch.equal(body.network["body"].cond_embed[0].fc1.weight, before)
    assert {name.split(".")[1] for name in moved.left} == {"cond_embed", "pid_embed", "add_embed"}
    assert set(moved.unused) == {"classifier.out.weight", "classifier.out.bias"}
    with pytest.raises(ConfigError, match="tensors of the network stay unfilled"):
        pet2_from({"body": jets.body.state_dict()}, contract, heads=4)


@pytest.mark.parametrize("wrong", ["pickle", "text", "other"])
def test_files_that_are_no_checkpoint_are_refused(wrong: str, tmp_path: Path):
    path = tmp_path / "model.pt"
    if wrong == "pickle":
        torch.save({"body": os.getcwd}, path)  # a function would be run by a careless loader
    elif wrong == "text":
        path.write_text("weights")
    else:
        torch.save({"state_dict": {}}, path)
    with pytest.raises(ConfigError, match=r"cannot be read|no OmniLearned checkpoint|more than tensors"):
        read_checkpoint(path)


def test_padding_puts_every_row_in_its_place():
    values, offsets = torch.arange(10.0).reshape(5, 2), torch.tensor([0, 2, 2, 5])
    found = padded(values, offsets, 4)
    assert found.shape == (3, 4, 2)
    assert torch.equal(torch.cat([found[0, :2], found[2, :3]]), values)
    assert float(found[1].abs().sum()) == 0.0
    assert float(found.sum()) == float(values.sum())


def test_a_token_of_exactly_one_gev_stays_a_token(shipped):
    contract, batch = shipped
    body = Pet2.fresh("tiny", contract).eval()
    momenta = batch.momenta.clone()
    momenta[:, 2] = torch.where(torch.arange(len(momenta)) % 3 == 0, 0.0, momenta[:, 2])
    with torch.no_grad():
        there = body(batch.noised(momenta, batch.time)).tokens
        nearly = body(batch.noised(torch.where(momenta == 0, 1e-6, momenta), batch.time)).tokens
    assert there.abs().sum(dim=1).min() > 0
    torch.testing.assert_close(there, nearly, rtol=1e-3, atol=1e-4)


def test_without_the_package_the_body_says_what_to_install(shipped, monkeypatch: pytest.MonkeyPatch):
    import sys

    monkeypatch.setitem(sys.modules, "omnilearned.network", None)
    with pytest.raises(ConfigError, match=r"pip install 'shiftlab\[peers\]'"):
        Pet2.fresh("tiny", shipped[0])
