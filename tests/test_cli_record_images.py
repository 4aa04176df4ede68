"""``shiftlab record`` with detectors of liquid argon: images of any universe in a sample file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from shiftlab import cli
from shiftlab.config import detector_config, locate
from shiftlab.detector import Detector, Universe
from shiftlab.events import open_events, read
from shiftlab.events.sample import write_sample

PLACES = [0, 1, 2, 1000, 1001, 1002, 1340, 1341, 1342]
"""Events of the shipped sample of which there are wire images: three numu CC, nue CC, photon + protons each."""


@pytest.fixture(scope="module")
def few(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("few") / "few.h5"
    write_sample(path, read(locate("studies/samples/lar_evaluation.h5")).take(PLACES), {"material": "G4_lAr"})
    return path


def test_the_file_holds_the_images_of_its_universe_in_any_batch(few, tmp_path, capsys):
    words = ["detector=pixel_lar", "nuisances.lifetime_tau=-1", "nuisances.gain_spread=1", "throw=3"]
    for name, batch in (("one.h5", 2), ("two.h5", 100)):
        assert cli.main(["record", str(few), str(tmp_path / name), *words, f"batch={batch}"]) == 0
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    universe = Universe("any", (("lifetime_tau", -1.0), ("gain_spread", 1.0)), 3)
    wanted = Detector.from_config(detector_config("pixel_lar")).image(read(few), universe)
    with open_events(tmp_path / "one.h5") as source:
        found = source.read(slice(0, len(PLACES)))
        assert json.loads(source.describe().attributes["universe"])["throw"] == 3
    assert torch.equal(found.cell, wanted.cell)
    assert torch.equal(found.offsets, wanted.offsets)
    torch.testing.assert_close(found.energy, wanted.energy, rtol=2e-3, atol=0)
    assert f"9 events, {len(wanted.cell)} cells" in capsys.readouterr().out


def test_the_shipped_wire_images_are_what_the_detector_records(few):
    """Cells of three planes, their places and energies (kept to 0.1%)."""
    wanted = Detector.from_config(detector_config("wire_lar")).image(read(few))
    with open_events(locate("studies/samples/wire_lar_images.h5")) as source:
        found = source.read(slice(0, len(source)))
    assert tuple(found.shape) == tuple(wanted.shape)
    assert torch.equal(found.events.key, wanted.events.key)
    assert torch.equal(found.cell, wanted.cell)
    torch.testing.assert_close(found.energy, wanted.energy, rtol=2e-3, atol=0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["detector=pixel_lar", "recalibrate=mip"], "need a muon sample"),
        (["detector=pixel_lar", "nuisances.gain_scale=99"], "displacement of 99 sigma takes scale to 2.98"),
        (["detector=wire_lar", "nuisances.dead_chips_fraction=1"], "unknown nuisance"),
        (["detector=minerva_like"], "deposits in G4_lAr"),
    ],
)
def test_what_cannot_be_recorded_is_refused_in_one_line(few, tmp_path, capsys, words, message):
    assert cli.main(["record", str(few), str(tmp_path / "out.h5"), *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_images_do_not_go_into_a_file_of_tokens(few, tmp_path, capsys):
    assert cli.main(["record", str(few), str(tmp_path / "out.pb"), "detector=pixel_lar"]) == 2
    assert "images, which go to NAME.h5" in capsys.readouterr().err
