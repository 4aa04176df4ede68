"""Panda sees voxels in its own units; the adapted network answers as the public one does."""

import importlib.util
import json
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from shiftlab import cli
from shiftlab.arms.bodies import bodies
from shiftlab.arms.bodies.panda import PANDA_CONTRACT, Panda, grid_of_events
from shiftlab.arms.contract import InputContract
from shiftlab.arms.foundation_model import load_foundation
from shiftlab.arms.network import Network
from shiftlab.arms.observation import Observation
from shiftlab.arms.patches import group
from shiftlab.arms.public.checkpoints import convert_public, load_public, panda_names
from shiftlab.arms.public.files import read_public
from shiftlab.arms.public.point_contract import PointContract, points_of
from shiftlab.config import locate
from shiftlab.errors import ConfigError, DataError, UnknownNameError
from shiftlab.events import read
from shiftlab.tasks import named_tasks
from shiftlab.tasks.voxel_truth import NONE

spec = importlib.util.spec_from_file_location("public_event", Path(__file__).with_name("public_event.py"))
pieces = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pieces)

SMALL = {
    "in_channels": 4,
    "order": ["hilbert", "hilbert-trans", "z", "z-trans"],
    "stride": [2, 2],
    "enc_depths": [2, 2, 1],
    "enc_channels": [12, 24, 48],
    "enc_num_head": [2, 4, 4],
    "enc_patch_size": [64, 64, 64],
    "layer_scale": 1e-5,
    "enc_mode": True,
    "mask_token": True,
    "traceable": True,
    "shuffle_orders": True,
    "enable_flash": True,
}


def transformed(energy, contract=PANDA_CONTRACT):
    return float(contract.transform(torch.tensor([energy]))[0])


def test_the_energy_transform_has_the_values_worked_out_by_hand():
    # e0 = 0.01: 2 (log10 0.14 + 2) / (log10 20.01 + 2) - 1, log10 0.14 = -0.853872, log10 20.01 = 1.301247
    assert transformed(0.0) == -1
    assert transformed(20.0) == 1
    assert transformed(0.13) == pytest.approx(2 * (2 - 0.853872) / 3.301247 - 1, abs=1e-6)
    assert transformed(math.sqrt(0.01 * 20.01) - 0.01) == pytest.approx(0, abs=1e-6)  # 0.44 MeV is the middle


@given(st.floats(0.0, 50.0), st.floats(1e-3, 1.0))
def test_more_energy_is_always_more(energy, more):
    assert transformed(energy + more) > transformed(energy)


def test_the_lattice_lies_in_a_sphere_about_the_origin():
    index = torch.tensor([[384, 384, 384], [0, 0, 0], [768, 768, 768], [385, 384, 383]])
    place = PANDA_CONTRACT.place(index)
    assert PANDA_CONTRACT.scale == pytest.approx(665.1075, abs=1e-4)
    assert place.norm(dim=1)[:3].tolist() == pytest.approx([0, 1, 1])
    assert place[3].tolist() == pytest.approx([1 / 665.10755, 0, -1 / 665.10755])


def test_places_have_the_bits_of_the_public_arithmetic():
    cells = np.arange(768, dtype=np.float32)
    index = torch.arange(768)[:, None].expand(-1, 3)
    assert np.array_equal(PANDA_CONTRACT.place(index)[:, 0], (cells - 384) / (768 * math.sqrt(3) / 2))
    other = replace(PANDA_CONTRACT, inverted=True).place(index)[:, 0]
    assert np.array_equal(other, (cells - 384) * (1 / (768 * math.sqrt(3) / 2)))
    assert not torch.equal(other, PANDA_CONTRACT.place(index)[:, 0])


def test_no_two_voxels_share_a_cell_of_the_grid_and_neighbours_are_one_or_two_apart():
    line = torch.arange(768)[:, None].expand(-1, 3)
    steps = PANDA_CONTRACT.grid(line).diff(dim=0)
    assert steps.unique().tolist() == [1, 2]
    single = ((np.arange(768, dtype=np.float32) - 384) / np.float32(768 * math.sqrt(3) / 2)) / np.float32(0.001)
    assert np.array_equal(np.floor(single).astype(int), PANDA_CONTRACT.grid(line)[:, 0].numpy())


def test_cells_are_counted_from_the_lowest_of_each_event():
    grid = torch.tensor([[5, 1, 2], [7, 0, 3], [-4, 9, 9]])
    assert grid_of_events(grid, torch.tensor([0, 2, 3])).tolist() == [[0, 1, 0], [2, 0, 1], [0, 0, 0]]


def test_the_public_event_passes_whole_and_its_voxels_come_back_from_patches():
    image = pieces.public_image()
    told = PANDA_CONTRACT.admission(image)
    assert (told.events, told.voxels, told.dropped, told.small) == (1, 1175, 0, 0)
    assert told.energy == pytest.approx(709.34, abs=0.01)
    patches = pieces.public_patches(PANDA_CONTRACT)
    points = points_of(patches, PANDA_CONTRACT)
    assert torch.equal(points.index, image.index[patches.order])
    assert torch.allclose(points.energy, PANDA_CONTRACT.transform(image.energy[patches.order]), atol=1e-6)


@pytest.mark.parametrize("gain", [0.9, 0.5, 0.001])
def test_what_the_threshold_drops_is_counted_and_no_event_goes_away(gain):
    image = pieces.public_image(2)
    weaker = replace(image, energy=image.energy * gain)
    below = weaker.energy <= 0.13
    told, left = PANDA_CONTRACT.admission(weaker), PANDA_CONTRACT.admit(weaker)
    assert len(left) == told.events == 2
    assert told.dropped == int(below.sum()) == told.voxels - len(left.cell) > 0
    assert told.dropped_energy == pytest.approx(float(weaker.energy[below].double().sum()))
    assert told.small == 1 + int((~below)[:1175].sum() < 1024)
    assert told.emptied == (2 if gain == 0.001 else 0)


def test_dropped_voxels_count_as_lost_truth(view):
    image, truth = view
    strict = PointContract(cell=0.001, above=float(image.energy.median()))
    plain, seen = Observation(image, truth, InputContract()), Observation(image, truth, strict)
    dropped = image.energy <= strict.above
    labelled = dropped & (plain.matched.label != NONE)
    assert int(labelled.sum()) > 100
    assert int((seen.matched.lost - plain.matched.lost).sum()) == int(labelled.sum())


def test_voxels_below_the_threshold_or_in_larger_patches_are_refused():
    image = pieces.public_image()
    with pytest.raises(DataError, match=r"below its threshold of 0\.13 MeV"):
        points_of(group(replace(image, energy=image.energy * 0.5), PANDA_CONTRACT), PANDA_CONTRACT)
    with pytest.raises(DataError, match="1175 voxels"):
        points_of(group(image, InputContract()), PANDA_CONTRACT)


def test_a_detector_of_another_lattice_or_pitch_is_refused():
    PANDA_CONTRACT.require(InputContract(threshold=1.0, patch=8), "arm")
    for field, value in {"pitch": 0.4, "shape": (256, 256, 256), "energy_unit": "GeV"}.items():
        with pytest.raises(ConfigError, match=f"{field} = "):
            PANDA_CONTRACT.require(replace(InputContract(), **{field: value}), "arm")


def test_a_contract_survives_json_and_refuses_what_is_no_transform():
    plain = json.loads(json.dumps(PANDA_CONTRACT.plain()))
    assert PointContract.from_plain(plain) == PANDA_CONTRACT
    for wrong in ({"e0": 0.0}, {"e0": 30.0}, {"patch": 2}, {"scale": -1.0}):
        with pytest.raises(ConfigError, match="points"):
            PointContract.from_plain({**plain, **wrong})
    with pytest.raises(ConfigError, match="colour"):
        PointContract.from_plain({**plain, "colour": 1})


def test_without_the_package_the_message_names_the_project(monkeypatch):
    pieces.hide(monkeypatch, "panda")
    pieces.hide(monkeypatch, "pimm")
    with pytest.raises(ConfigError, match=r"DeepLearnPhysics/Panda.*'pimm' is not installed.*PyPI is another one"):
        Panda.fresh("base", PANDA_CONTRACT)


def test_an_unrelated_package_of_the_name_is_called_that(monkeypatch, tmp_path):
    pieces.name_only(monkeypatch, tmp_path, "panda")
    pieces.name_only(monkeypatch, tmp_path, "pimm")
    with pytest.raises(
        ConfigError, match=r"'panda' that is installed \(.*\) is an unrelated.*'pimm' that is installed"
    ):
        Panda.fresh("base", PANDA_CONTRACT)


def test_a_contract_of_patches_is_refused():
    assert bodies().get("panda") is Panda
    with pytest.raises(ConfigError, match="PointContract"):
        Panda.fresh("base", InputContract())


class Harmful:
    """A pickle of it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_checkpoint_with_code_is_refused_and_the_code_is_not_run(tmp_path):
    torch.save({"state_dict": {"a": torch.ones(1)}, "config": Harmful(tmp_path / "made")}, tmp_path / "bad.pth")
    with pytest.raises(ConfigError, match=r"more than tensors and plain values .*mkdir"):
        read_public(tmp_path / "bad.pth")
    assert not (tmp_path / "made").exists()


def test_damaged_and_missing_files_are_named(tmp_path):
    (tmp_path / "torn.pth").write_bytes(b"PK\x03\x04torn")
    (tmp_path / "torn.safetensors").write_bytes(b"12345678")
    torch.save([1, 2], tmp_path / "list.pth")
    for name in ("torn.pth", "torn.safetensors", "list.pth", "absent.pth", ""):
        with pytest.raises(ConfigError, match=name or "model.safetensors"):
            read_public(tmp_path / name)


def sonata_state():
    """Names of a pre-training: student, teacher and heads, wrapped by parallel training."""
    stem = {f"module.{who}.backbone.embedding.stem.linear.weight": torch.ones(12, 4) for who in ("teacher", "student")}
    return {
        **stem,
        "module.student.head.weight": torch.ones(1),
        "module._orig_mod.student.backbone.enc.a": torch.ones(1),
    }


def test_of_student_and_teacher_the_student_is_taken_unless_asked(tmp_path):
    torch.save({"state_dict": sonata_state(), "epoch": 3}, tmp_path / "run.pth")
    state = read_public(tmp_path / "run.pth").state
    prefix, names = panda_names(state)
    assert prefix == "student.backbone."
    assert names["network.enc.a"] == "student.backbone.enc.a"
    assert panda_names(state, "teacher.backbone.")[1].keys() == {"network.embedding.stem.linear.weight"}
    with pytest.raises(ConfigError, match=r"no 'x\.embedding.*student\.backbone\."):
        panda_names(state, "x.")


def test_a_run_that_states_another_input_is_refused(tmp_path):
    (tmp_path / "run").mkdir()
    save_file({"embedding.stem.linear.weight": torch.ones(12, 4)}, tmp_path / "run" / "model.safetensors")
    steps = [{"type": "LogTransform", "min_val": 0.13, "max_val": 20.0}, {"type": "GridSample", "grid_size": 0.001}]
    config = {"model": {"type": "PT-v3m2", **SMALL}, "data": {"val": {"transform": steps, "min_points": 1024}}}
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=r"e0 = 0.01 \(not 0.13\)\. Choose"):
        convert_public(tmp_path / "run", "panda", tmp_path / "out")
    with pytest.raises(UnknownNameError, match="Did you mean 'panda'"):
        convert_public(tmp_path / "run", "pandas", tmp_path / "out")
    (tmp_path / "run" / "config.json").unlink()
    with pytest.raises(ConfigError, match="--size base"):
        convert_public(tmp_path / "run", "panda", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# From here on with the public code, where it is installed.


@pytest.fixture(scope="module")
def public():
    """The public inference code."""
    return pytest.importorskip("panda.model_base", exc_type=ImportError)


def on_cpu(network):
    """Let the public network run on a CPU: spconv adds a bias there in training mode only."""
    for part in network.modules():
        part.training = type(part).__name__ == "SubMConv3d"
        if hasattr(part, "shuffle_orders"):
            part.shuffle_orders = False
    return network


def made(public, seed=1):
    """A small public network with random weights."""
    network = public.PointTransformerV3(**{**SMALL, "enable_flash": False})
    pieces.randomise(network, seed)
    return network


def by_the_public_transforms(image):
    """The event as the public pipeline prepares it."""
    from panda.transform import Compose

    steps = [
        {"type": "NormalizeCoord", "center": [384.0, 384.0, 384.0], "scale": 768.0 * 3**0.5 / 2},
        {"type": "LogTransform", "min_val": 1.0e-2, "max_val": 20.0},
        {"type": "GridSample", "grid_size": 0.001, "hash_type": "fnv", "mode": "train", "return_grid_coord": True},
        {"type": "ToTensor"},
        {"type": "Collect", "keys": ("coord", "grid_coord"), "feat_keys": ("coord", "energy")},
    ]
    return Compose(steps)({"coord": image.index.numpy().astype(np.float32), "energy": image.energy.numpy()[:, None]})


def in_lattice_order(coord):
    """Row of each point in order of its lattice cell."""
    index = torch.round(coord.double() * PANDA_CONTRACT.scale + 384).long()
    return torch.argsort((index[:, 0] * 768 + index[:, 1]) * 768 + index[:, 2])


def saved(layout, network, folder):
    """The checkpoint in one of the public layouts."""
    state = network.state_dict()
    if layout == "inference":
        torch.save({"config": SMALL, "state_dict": state}, folder / "panda_base.pth")
        return folder / "panda_base.pth"
    if layout == "pretraining":
        wrapped = {f"module.student.backbone.{name}": value for name, value in state.items()}
        wrapped |= {f"module.teacher.backbone.{name}": value + 1 for name, value in state.items()}
        config = {"model": {"type": "Sonata-v1m1", "backbone": {"type": "PT-v3m2", **SMALL}}, "epoch": 100}
        (folder / "config.json").write_text(json.dumps(config))
        torch.save({"state_dict": {**wrapped, "module.student.mask_head.w": torch.ones(2)}}, folder / "model_last.pth")
        return folder / "model_last.pth"
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"type": "PT-v3m2", **SMALL}))
    return folder


@pytest.mark.parametrize("layout", ["inference", "pretraining", "export"])
def test_an_adopted_network_answers_as_the_public_one(public, tmp_path, layout):
    network = made(public)
    record = convert_public(saved(layout, network, tmp_path), "panda", tmp_path / "out")
    assert record["left_out"] == ({"pretraining": ["student", "teacher"]}.get(layout, []))
    body, patches = load_public(tmp_path / "out"), pieces.public_patches(PANDA_CONTRACT)
    with torch.inference_mode():
        given = by_the_public_transforms(pieces.public_image())
        expected = on_cpu(network)(dict(given)).feat[in_lattice_order(given["coord"])]
        found = body(patches)
    assert found.tokens.shape == (1175, body.features) == (1175, 84)
    assert expected.std() > 0.1
    assert float((found.tokens - expected).abs().max()) < 1e-5


def test_an_answer_depends_neither_on_neighbours_nor_on_chance(public):
    torch.manual_seed(1)
    body = Panda.fresh({"config": SMALL}, PANDA_CONTRACT).eval()
    pieces.randomise(body, 2)
    both = pieces.public_patches(PANDA_CONTRACT, 2)
    with torch.inference_mode():
        together, again = body(both).tokens, body(both).tokens
        alone = torch.cat([body(both.between(event, event + 1)).tokens for event in (0, 1)])
    assert torch.equal(together, again)
    assert torch.equal(together, alone)


def test_heads_answer_from_an_adopted_model_and_events_without_voxels_get_the_declared_answer(public, tmp_path, view):
    convert_public(saved("inference", made(public), tmp_path), "panda", tmp_path / "out", licence="Apache-2.0")
    model = load_foundation(tmp_path / "out", InputContract())
    assert model.card["licence"] == "Apache-2.0"
    assert len(model.vertices) == 0
    patches = pieces.public_patches(PANDA_CONTRACT)
    with torch.inference_mode():
        full, half = (body(patches).tokens for body in (load_public(tmp_path / "out"), model.body))
    assert 0 < float((full - half).abs().max()) < 0.02
    tasks = named_tasks()
    answers = Network(model.body, tasks).answer(Observation(*view, model.body.contract), tasks)
    for task in tasks:
        assert np.isfinite(answers[task.name]).all()
        if task.level == "event" and task.scored(view[0].events)[3]:
            row = int(task.scored(view[0].events)[:3].sum())
            assert answers[task.name][row].tolist() == pytest.approx(list(task.empty))


def test_events_of_one_and_two_voxels_are_answered(public):
    body = Panda.fresh({"config": SMALL}, PANDA_CONTRACT).eval()
    image = pieces.public_image(2)
    few = image.keep(torch.isin(torch.arange(len(image.cell)), torch.tensor([0, 1175, 1176])))
    with torch.inference_mode():
        tokens = body(group(few, PANDA_CONTRACT)).tokens
    assert tokens.shape == (3, 84)
    assert bool(tokens.isfinite().all())


def test_wrong_shapes_changed_weights_and_foreign_keys_are_refused(public, tmp_path):
    path = saved("inference", made(public), tmp_path)
    (tmp_path / "wider.json").write_text(json.dumps({**SMALL, "enc_channels": [12, 24, 96]}))
    with pytest.raises(ConfigError, match="does not fit the public network"):
        convert_public(path, "panda", tmp_path / "out", config=tmp_path / "wider.json")
    assert not (tmp_path / "out").exists()
    (tmp_path / "odd.json").write_text(json.dumps({**SMALL, "iso_k": 3}))
    with pytest.raises(ConfigError, match="iso_k"):
        convert_public(path, "panda", tmp_path / "out", config=tmp_path / "odd.json")
    convert_public(path, "panda", tmp_path / "out")
    with pytest.raises(ConfigError, match="already holds"):
        convert_public(path, "panda", tmp_path / "out")
    data = bytearray((tmp_path / "out" / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "out" / "weights.safetensors").write_bytes(bytes(data))
    with pytest.raises(ConfigError, match="not the file that its record describes"):
        load_public(tmp_path / "out")


@pytest.mark.slow
def test_the_published_size_has_the_published_number_of_parameters(public):
    body = Panda.fresh("base", PANDA_CONTRACT)
    assert body.features == 1232
    assert sum(value.numel() for value in body.parameters()) == 90_758_832


def test_what_a_public_model_has_seen_counts_as_seen(public, tmp_path, capsys):
    """By its data set where nothing is said, and by the vertices of the files that are named."""
    seen = locate("studies/samples/ch_neutrino.h5")
    words = ["adopt", "panda", str(saved("inference", made(public), tmp_path)), str(tmp_path / "out")]
    assert cli.main([*words, "--seen", str(seen)]) == 0
    assert "seen: ch_neutrino/1 + pilarnet-m/v1, 1 files named" in capsys.readouterr().out
    model = load_foundation(tmp_path / "out")
    assert model.vertices.tolist() == sorted(set(read(seen).events.vertex.tolist()))
    assert model.dataset == "ch_neutrino/1 + pilarnet-m/v1"
