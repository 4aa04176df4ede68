"""PoLAr-MAE sees voxels in the units of its recipe; the adapted encoder answers as the public one does."""

import importlib.util
import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from shiftlab.arms.bodies import bodies
from shiftlab.arms.bodies.polar_mae import PARTS, POLAR_MAE_CONTRACTS, PolarMAE, nearest_mean
from shiftlab.arms.contract import InputContract
from shiftlab.arms.public.checkpoints import convert_public, load_public, polar_mae_names
from shiftlab.arms.public.config import nested, stated
from shiftlab.errors import ConfigError, UnknownNameError

spec = importlib.util.spec_from_file_location("public_event", Path(__file__).with_name("public_event.py"))
pieces = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pieces)

TRANSFORMER = {"postnorm": False, "add_pos_at_every_layer": True, "drop_path_rate": 0.25, "depth": 4}
SEMANTIC = {
    "type": "PoLArMAE-SemSeg",
    "num_classes": 4,
    "arch": "vit_tiny",
    "voxel_size": 5,
    "seg_head_fetch_layers": [1, 3],
    "apply_encoder_postnorm": False,
    "center": [384.0, 384.0, 384.0],
    "scale": 2 / (768 * 3**0.5),
    "transformer_kwargs": TRANSFORMER,
}
PRETRAIN = {"type": "PoLAr-MAE", "arch": "vit_tiny", "voxel_size": 5, "transformer_kwargs": TRANSFORMER}


def test_the_recipes_differ_in_e0_and_in_how_they_round():
    e0 = {name: contract.e0 for name, contract in POLAR_MAE_CONTRACTS.items()}
    assert e0 == {"original": 0.13, "pimm_pretrain": 0.01, "pimm_semantic": 0.13}
    assert POLAR_MAE_CONTRACTS["original"].changed(POLAR_MAE_CONTRACTS["pimm_pretrain"]) == (
        "inverted = True (not False), e0 = 0.13 (not 0.01)"
    )
    assert all(one.trained_without == ("low_energy",) and one.above == 0.13 for one in POLAR_MAE_CONTRACTS.values())


def test_with_the_threshold_for_e0_a_voxel_there_is_seen_far_lower():
    # e0 = 0.13: 2 log10(0.26 / 0.13) / log10(20.13 / 0.13) - 1 = 2 (0.301030) / 2.189901 - 1
    at = torch.tensor([0.13])
    assert float(POLAR_MAE_CONTRACTS["original"].transform(at)) == pytest.approx(2 * 0.301030 / 2.189901 - 1, abs=1e-6)
    assert float(POLAR_MAE_CONTRACTS["pimm_pretrain"].transform(at)) == pytest.approx(-0.30564, abs=1e-5)


@given(st.integers(0, 2**31), st.integers(1, 9))
def test_the_mean_of_near_tokens_keeps_a_constant_and_lies_between_extremes(seed, tokens):
    draw = torch.Generator().manual_seed(seed)
    place, centres = torch.rand(20, 3, generator=draw), torch.rand(tokens, 3, generator=draw)
    features = torch.rand(tokens, 2, generator=draw)
    features[:, 1] = 3.0
    mean = nearest_mean(place, centres, features)
    assert torch.allclose(mean[:, 1], torch.tensor(3.0), atol=1e-5)
    assert bool((mean[:, 0] <= features[:, 0].max() + 1e-6).all() & (mean[:, 0] >= features[:, 0].min() - 1e-6).all())


def test_a_voxel_reads_its_tokens_by_inverse_square_distance_and_at_a_centre_that_one():
    centres, features = torch.tensor([[0.0, 0, 0], [3, 0, 0]]), torch.tensor([[0.0], [10.0]])
    mean = nearest_mean(torch.tensor([[1.0, 0, 0], [3, 0, 0]]), centres, features)
    assert mean.flatten().tolist() == pytest.approx([10 * (1 / 4) / (1 + 1 / 4), 10.0], rel=1e-5)


def test_without_the_package_the_message_names_the_project(monkeypatch):
    pieces.hide(monkeypatch, "pimm")
    with pytest.raises(ConfigError, match=r"particle-imaging-models.*'pimm' is not installed.*PyPI is another one"):
        PolarMAE.fresh("pimm", POLAR_MAE_CONTRACTS["pimm_pretrain"])


def test_the_unrelated_package_of_the_name_is_called_that(monkeypatch, tmp_path):
    pieces.name_only(monkeypatch, tmp_path, "pimm")
    with pytest.raises(ConfigError, match=r"'pimm' that is installed \(.*__init__.py\) is an unrelated package"):
        PolarMAE.fresh("pimm", POLAR_MAE_CONTRACTS["pimm_pretrain"])


def test_a_contract_of_patches_is_refused():
    assert bodies().get("polar_mae") is PolarMAE
    with pytest.raises(ConfigError, match="PointContract"):
        PolarMAE.fresh("pimm", InputContract())


def state_of(*names):
    return {name: torch.ones(1) for name in names}


def test_names_of_the_original_code_and_of_the_port_are_told_apart():
    original = state_of(
        "encoder.tokenizer.embedding.first_conv.0.weight",
        "encoder.pos_embed.pos_enc.0.weight",
        "encoder.transformer.blocks.0.norm1.gamma",
        "decoder.transformer.blocks.0.norm1.gamma",
        "mask_token",
    )
    ported = state_of("embedding.a", "pos_embed.b", "encoder.blocks.0.c", "decoder.blocks.0.c", "mask_token")
    layout, names = polar_mae_names(original)
    assert layout == "original"
    assert names["parts.encoder.blocks.0.norm1.gamma"] == "encoder.transformer.blocks.0.norm1.gamma"
    assert len(names) == 3
    assert polar_mae_names(ported) == (
        "pimm",
        {f"parts.{one}": one for one in ("embedding.a", "pos_embed.b", "encoder.blocks.0.c")},
    )
    with pytest.raises(ConfigError, match=r"no 'pos_embed\.'"):
        polar_mae_names(state_of("embedding.a", "encoder.b"))


def test_a_prefix_of_the_names_counts_when_the_recipe_is_told_from_them(tmp_path):
    """The names without their prefix tell which of three recipes made the file."""
    save_file({f"student.{part}.weight": torch.zeros(1) for part in PARTS}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"type": "PoLAr-MAE", "arch": "none"}')
    with pytest.raises(ConfigError, match=r"needs the public code|no network can be made|does not fit"):
        convert_public(tmp_path, "polar_mae", tmp_path / "out", prefix="student.")


def test_what_a_run_states_of_its_input_is_read():
    contract = POLAR_MAE_CONTRACTS["pimm_semantic"]
    step = {"type": "LogTransform", "min_val": 0.01, "max_val": 20.0}
    short = {"type": "NormalizeCoord", "center": [384.0] * 3, "scale": 665.1076}
    run = {"model": SEMANTIC, "data": {"train": {}, "val": {"transform": [step, short], "energy_threshold": 0.2}}}
    assert nested(run, ["PoLArMAE-SemSeg"]) == SEMANTIC
    assert nested(run, ["PT-v3m2"]) is None
    assert stated(run, contract).changed(contract) == "e0 = 0.01 (not 0.13), above = 0.2 (not 0.13)"
    assert stated({**SEMANTIC, "scale": 1 / 768}, contract).changed(contract) == f"scale = 768.0 (not {contract.scale})"
    with pytest.raises(ConfigError, match="by itself"):
        stated({"data": {"val": {"transform": [{"type": "NormalizeCoord"}]}}}, contract)


# From here on with the public code, where it is installed.


@pytest.fixture(scope="module")
def public():
    """The public training code."""
    pytest.importorskip("pimm.models.polarmae.polarmae_semseg", exc_type=ImportError)
    return importlib.import_module("pimm.models.builder").build_model


def made(public, config, seed=3):
    network = public(dict(config)).eval()
    pieces.randomise(network, seed)
    if hasattr(network, "center"):
        network.center.fill_(384.0)
    return network


def exported(network, config, folder):
    """The layout of a public export."""
    folder.mkdir()
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def answered(network, contract):
    """Features of tokens and what its upsampler makes of them, of a whole forward of the public network."""
    patches = pieces.public_patches(contract)
    image = pieces.public_image()
    index, energy = image.index[patches.order], image.energy[patches.order]
    heard = {}
    network.upsampler.register_forward_hook(lambda module, given, result: heard.update(given=given, result=result))
    feat = torch.cat([index.float(), contract.transform(energy)[:, None]], dim=1)
    torch.manual_seed(0)  # the start of the centres, as the adapter draws it
    network({"feat": feat, "offset": torch.tensor([len(feat)])})
    return heard, patches


@pytest.mark.filterwarnings("ignore:In CPU autocast:UserWarning")  # the public forward asks for float32 this way
def test_an_adopted_encoder_answers_as_the_public_one(public, tmp_path):
    network = made(public, SEMANTIC)
    record = convert_public(exported(network, SEMANTIC, tmp_path / "run"), "polar_mae", tmp_path / "out")
    assert record["contract"]["e0"] == 0.13
    assert record["left_out"] == ["center", "seg_head", "upsampler"]
    body = load_public(tmp_path / "out")
    with torch.inference_mode():
        heard, patches = answered(network, body.contract)
        found = body(patches)
    place, centres, _, features = heard["given"][:4]
    tokens = len(found.tokens)
    assert tokens == int(heard["given"][5][0]) > 50
    assert float((found.tokens - features[0, :tokens]).abs().max()) < 1e-5
    assert float(features[0, :tokens].std()) > 0.5
    knn = importlib.import_module("pytorch3d_ops.ops").knn_points
    six = knn(place, centres[:, :tokens], K=6, return_sorted=True)[0][0]
    clear = six[:, 5] - six[:, 4] > 1e-3 * six[:, 4]  # of two fifth neighbours equally far, either will do
    apart, which, _ = knn(place, centres[:, :tokens], K=5, return_sorted=False)
    weight = 1 / (apart[0] + torch.finfo(torch.float32).eps)
    theirs = (features[0][which[0]] * (weight / weight.sum(1, keepdim=True))[:, :, None]).sum(1)
    assert float(clear.float().mean()) > 0.5
    assert float((found.voxels - theirs)[clear].abs().max()) < 1e-5
    assert torch.equal(found.voxel_token, which[0].gather(1, apart[0].argmin(1, keepdim=True))[:, 0])


def test_tokens_stand_where_their_centres_are(public):
    contract = POLAR_MAE_CONTRACTS["pimm_pretrain"]
    body = PolarMAE.fresh({"config": PRETRAIN}, contract).eval()
    patches = pieces.public_patches(contract, 2)
    with torch.inference_mode():
        found = body(patches)
    there = found.position + patches.centroid[found.token_event]
    apart = torch.cdist(there, patches.position, compute_mode="donot_use_mm_for_euclid_dist")
    assert float(apart.amin(dim=1).max()) < 1e-2  # every centre is a voxel
    outside = body.uncovered(patches)
    away = (patches.position - there[found.voxel_token]).norm(dim=1) / 0.3
    event = torch.repeat_interleave(torch.arange(2), patches.offsets.diff())
    assert outside.tolist() == [int((away[event == one] > 5 + 1e-3).sum()) for one in (0, 1)]


def test_an_answer_depends_neither_on_neighbours_nor_on_chance_nor_moves_it(public):
    contract = POLAR_MAE_CONTRACTS["pimm_pretrain"]
    body = PolarMAE.fresh({"config": PRETRAIN}, contract).eval()
    pieces.randomise(body, 4)
    both = pieces.public_patches(contract, 2)
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    with torch.inference_mode():
        together = body(both)
        assert torch.equal(torch.random.get_rng_state(), before)
        torch.manual_seed(12)
        again = body(both)
        alone = [body(both.between(event, event + 1)) for event in (0, 1)]
    assert torch.equal(together.tokens, again.tokens)
    assert torch.equal(together.tokens, torch.cat([one.tokens for one in alone]))
    assert torch.equal(together.voxels, torch.cat([one.voxels for one in alone]))


def test_the_original_names_are_taken_with_a_size_and_its_own_e0(public, tmp_path):
    network = made(public, PolarMAE.sizes["original"]["config"])
    theirs = {"embedding.": "encoder.tokenizer.embedding.", "pos_embed.": "encoder.pos_embed."}
    state = {}
    for name, value in network.state_dict().items():
        first = f"{name.split('.')[0]}."
        state[theirs.get(first, {"encoder.": "encoder.transformer."}.get(first, first)) + name.removeprefix(first)] = (
            value
        )
    torch.save({"state_dict": state, "epoch": 1}, tmp_path / "polarmae.ckpt")
    with pytest.raises(ConfigError, match="--size pimm or original"):
        convert_public(tmp_path / "polarmae.ckpt", "polar_mae", tmp_path / "out")
    with pytest.raises(UnknownNameError, match="origin"):
        convert_public(tmp_path / "polarmae.ckpt", "polar_mae", tmp_path / "out", size="origin")
    record = convert_public(tmp_path / "polarmae.ckpt", "polar_mae", tmp_path / "out", size="original")
    assert (record["contract"]["e0"], record["source"]["prefix"]) == (0.13, "original")
    weights = load_public(tmp_path / "out").state_dict()
    assert torch.equal(weights["parts.pos_embed.pos_enc.0.weight"], state["encoder.pos_embed.pos_enc.0.weight"])
    assert math.isclose(record["parameters"], 21.84e6, rel_tol=1e-3)
