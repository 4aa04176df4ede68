"""``shiftlab record detector=minerva_tokens``: the tokens of a file, shifted, in either format."""

import json
from pathlib import Path

import pytest
import torch

from shiftlab import cli
from shiftlab.config import detector_config
from shiftlab.detector import TokenDetector, Universe
from shiftlab.events import open_events, read_tokens

TOKENS = Path(__file__).parents[1] / "studies" / "samples" / "minerva_like_tokens.h5"
WORDS = ["detector=minerva_tokens", "nuisances.em_response_scale=1", "nuisances.muon_momentum_offset=-2"]
SHIFTS = (("em_response_scale", 1.0), ("muon_momentum_offset", -2.0))


def test_tokens_of_a_file_are_shifted_alike_in_both_formats(tmp_path, capsys):
    detector = TokenDetector.from_config(detector_config("minerva_tokens"))
    wanted = detector.record(read_tokens(TOKENS), Universe("up", SHIFTS))
    for name, batch in (("up.h5", 300), ("up.pb", 97)):
        assert cli.main(["record", str(TOKENS), str(tmp_path / name), *WORDS, f"batch={batch}"]) == 0
        found = read_tokens(tmp_path / name)
        assert torch.equal(found.features, wanted.features)
        assert torch.equal(found.globals, wanted.globals)
        assert torch.equal(found.events.key, wanted.events.key)
        out = capsys.readouterr().out
        assert "800 events" in out
        assert "outside the strips" not in out
    with open_events(tmp_path / "up.h5") as source:
        said = source.describe().attributes
    assert json.loads(said["universe"])["nuisances"] == dict(SHIFTS)
    assert said["tokens"] == TOKENS.name


@pytest.mark.parametrize(
    ("file", "words", "message"),
    [
        (TOKENS, [], "holds tokens; detector 'minerva_like' takes deposits"),
        (TOKENS.with_name("lar_evaluation.h5"), WORDS, "holds deposits; detector 'minerva_tokens' takes tokens"),
        (TOKENS, [*WORDS, "effects.gain={}"], "effect gain acts at stage 'amplify'"),
        (TOKENS, [*WORDS, "nuisances.light_yield_scale=1"], "light_yield_scale"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(tmp_path, capsys, file, words, message):
    assert cli.main(["record", str(file), str(tmp_path / "out.h5"), *words]) == 2
    assert message in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
