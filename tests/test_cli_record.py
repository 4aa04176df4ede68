"""``shiftlab record``: deposits to token files of both formats, the same in any batch, and one-line refusals."""

import json
from pathlib import Path

import h5py
import pytest
import torch

from shiftlab import cli
from shiftlab.detector import Universe, scintillator_detector
from shiftlab.events import open_events, read, read_tokens

DATA = Path(__file__).parent / "data"
EVENTS = DATA / "ch_neutrino.h5"


def test_both_formats_hold_the_tokens_of_the_detector(tmp_path, capsys):
    wanted = scintillator_detector().tokens(read(EVENTS))
    for name, batch in (("tokens.h5", 5), ("tokens.pb", 100)):
        assert cli.main(["record", str(EVENTS), str(tmp_path / name), f"batch={batch}"]) == 0
        found = read_tokens(tmp_path / name)
        assert torch.equal(found.features, wanted.features)
        assert torch.equal(found.globals, wanted.globals)
        assert torch.equal(found.particle, wanted.particle)
        assert torch.equal(found.events.key, wanted.events.key)
        assert f"16 events, {len(wanted.particle)} tokens" in capsys.readouterr().out


def test_the_same_command_writes_the_same_bytes(tmp_path):
    for name, batch in (("one.h5", 3), ("two.h5", 16)):
        assert cli.main(["record", str(EVENTS), str(tmp_path / name), f"batch={batch}"]) == 0
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


def test_the_file_says_which_detector_made_it_and_words_change_it(tmp_path):
    out = tmp_path / "dim.h5"
    assert cli.main(["record", str(EVENTS), str(out), "response.light_yield=2", "toy.position=[0,0,0]", "seed=4"]) == 0
    with open_events(out) as source:
        said = source.describe().attributes["detector"]
    assert '"light_yield":2' in said.replace(" ", "")
    assert not torch.equal(read_tokens(out).globals, scintillator_detector().tokens(read(EVENTS)).globals)


def test_a_shifted_file_holds_the_tokens_of_its_universe_and_names_it(tmp_path):
    out = tmp_path / "up.h5"
    words = ["nuisances.light_yield_scale=1", "nuisances.scintillator_birks_kb=-0.5", "throw=2", "recalibrate=mip"]
    assert cli.main(["record", str(EVENTS), str(out), *words, "batch=5"]) == 0
    shifts = (("light_yield_scale", 1.0), ("scintillator_birks_kb", -0.5))
    name = "light_yield_scale+1,scintillator_birks_kb-0.5_throw2_mip"
    universe = Universe(name, shifts, 2, "mip", "multisim")
    assert torch.equal(read_tokens(out).features, scintillator_detector().tokens(read(EVENTS), universe).features)
    with open_events(out) as source:
        assert json.loads(source.describe().attributes["universe"]) == universe.to_dict()
    with h5py.File(out) as file:
        assert json.loads(file.attrs["provenance"])["recorded"]["universe"]["name"] == name


def test_without_a_shift_the_file_says_that_it_is_the_nominal_one(tmp_path):
    out = tmp_path / "plain.h5"
    assert cli.main(["record", str(EVENTS), str(out)]) == 0
    with open_events(out) as source:
        assert json.loads(source.describe().attributes["universe"])["name"] == "nominal"


def test_an_effect_is_added_on_the_command_line_and_its_nuisance_can_be_displaced(tmp_path):
    plain, known, more = (tmp_path / f"{name}.h5" for name in ("plain", "known", "more"))
    for out, words in (
        (plain, []),
        (known, ["effects.pmt_crosstalk={}"]),
        (more, ["effects.pmt_crosstalk={}", "nuisances.pmt_crosstalk_fraction=3"]),
    ):
        assert cli.main(["record", str(EVENTS), str(out), *words]) == 0
    # Additive cross-talk: more light, so more recoil.
    sums = [float(read_tokens(out).globals[:, 2].double().exp().sum()) for out in (plain, known, more)]
    assert sums[0] < sums[1] < sums[2]


def test_an_origin_moves_the_events_against_the_detector_and_what_is_lost_is_said(tmp_path, capsys):
    plain, moved, away = (tmp_path / f"{name}.h5" for name in ("plain", "moved", "away"))
    for out, words in ((plain, []), (moved, ["origin=[0,0,20]"]), (away, ["origin=[0,0,5000]"])):
        assert cli.main(["record", str(EVENTS), str(out), *words]) == 0
    assert int(read_tokens(away).counts.sum()) == 0
    assert "100.0% of the energy lies outside the strips; is origin=[x,y,z] right?" in capsys.readouterr().out
    blobs = [tokens.column("z")[tokens.particle == 2].mean() for tokens in (read_tokens(plain), read_tokens(moved))]
    assert float(blobs[0] - blobs[1]) * 1e4 == pytest.approx(200.0, abs=100.0)  # mm


def test_deposits_in_another_medium_are_refused(tmp_path, capsys):
    assert cli.main(["record", str(DATA / "geant4_singles.h5"), str(tmp_path / "out.h5")]) == 2
    assert "this detector is made of G4_POLYSTYRENE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["detector=minerva"], "Did you mean 'minerva_like'"),
        (["detector=pixel_lar"], "this detector is made of G4_lAr"),
        (["toy.blob_enrgy=2"], "Did you mean 'blob_energy'"),
        (["batch=0"], "at least 1 is wanted"),
        (["origin=3"], "three numbers are wanted"),
        (["quickly"], "key=value is wanted"),
        (["nuisances.light_yeild_scale=1"], "Did you mean 'light_yield_scale'"),
        (["nuisances.light_yield_scale=50"], "outside [0.5, 1.5]"),
        (["nuisances.light_yield_scale=much"], "numbers of sigma by name are wanted"),
        (["nuisances=1"], "numbers of sigma by name are wanted"),
        (["throw=-1"], "at least 0 is wanted"),
        (["recalibrate=mips"], "Did you mean 'mip'"),
        (["effects.light_yeild={}"], "Did you mean 'light_yield'"),
        (["effects.gain={}"], "effect gain acts at stage 'amplify'"),
        (["response.birks=0.01"], "set both alike"),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(tmp_path, capsys, words, message):
    out = tmp_path / "tokens.h5"
    assert cli.main(["record", str(EVENTS), str(out), *words]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_particles_is_refused(tmp_path, capsys):
    assert cli.main(["record", str(DATA / "shiftlab_sample_1.h5"), str(tmp_path / "tokens.h5")]) == 2
    assert "without 'instance'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
