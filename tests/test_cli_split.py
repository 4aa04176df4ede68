"""``shiftlab split`` writes a manifest once, says what is in it, and refuses in one line what cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shiftlab import cli
from shiftlab.config import compose_study
from shiftlab.errors import ConfigError
from shiftlab.events import read
from shiftlab.events.splits import Manifest

GEANT4 = Path(__file__).parent / "data" / "geant4_singles.h5"
HALVES = ("first=0.5", "second=0.5")


def split(*words: str | Path) -> int:
    return cli.main(["split", *map(str, words)])


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    assert split(GEANT4, *HALVES, "seed=3", "stratify=none", "-o", tmp_path / "m.json") == 0
    return tmp_path / "m.json"


def test_the_manifest_divides_the_file_and_its_digest_is_printed(
    manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = Manifest.load(manifest)
    assert split(GEANT4, *HALVES, "seed=3", "stratify=none", "-o", manifest) == 0
    assert f"{manifest}: digest {found.digest}" in capsys.readouterr().out
    events = read(GEANT4)
    parts = [found.select(events, name) for name in ("first", "second")]
    assert sorted(v for part in parts for v in part.events.vertex.tolist()) == sorted(events.events.vertex.tolist())
    assert (found.seed, found.stratify) == (3, ())


def test_the_same_split_again_is_fine_and_another_is_refused(
    manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = manifest.read_bytes()
    assert split(*HALVES[::-1], GEANT4, "stratify=none", "-o", manifest, "seed=3") == 0
    assert split(GEANT4, *HALVES, "seed=4", "stratify=none", "-o", manifest) == 2
    assert "never changed" in capsys.readouterr().err
    assert manifest.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ((GEANT4, "first=0.5", "second=0.4"), "sum to 0.9"),
        ((GEANT4, *HALVES, "seed=many"), "seed=many: a whole number is wanted"),
        ((GEANT4, "first=half", "second=0.5"), "first=half: the share of a part"),
        ((GEANT4, *HALVES, "first=0.5"), "first: given twice"),
        (HALVES, "no event file is given"),
        (("absent.h5", *HALVES), "absent.h5: no such file"),
        ((GEANT4, *HALVES, "stratify=none", "revision=v1"), None),
        ((GEANT4, *HALVES, "stratify=neutrino_pgd"), "Did you mean 'neutrino_pdg'"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], wanted: str | None
) -> None:
    code = split(*words, "-o", tmp_path / "m.json")
    if wanted is None:
        assert (code, json.loads((tmp_path / "m.json").read_text())["revision"]) == (0, "v1")
        return
    (line,) = capsys.readouterr().err.splitlines()
    assert code == 2
    assert wanted in line
    assert list(tmp_path.iterdir()) == []


def test_a_study_names_every_mistake_about_parts(manifest: Path, tmp_path: Path) -> None:
    words = ["study=demo", f"data.evaluation={GEANT4}", f"arms.checkpoints={tmp_path}"]

    def refusal(*more: str) -> str:
        with pytest.raises(ConfigError) as caught:
            compose_study([*words, *more])
        return str(caught.value)

    assert compose_study([*words, f"data.manifest={manifest}", "data.part=second"]).study.data.part == "second"
    assert refusal("data.part=second").startswith("data.part: 'second' is given; it needs data.manifest")
    assert refusal("data.manifest=no.json").startswith("data.manifest: no file '")
    assert refusal(f"data.manifest={manifest}") == "data.part: missing; the manifest has first, second."
    assert "Did you mean 'second'" in refusal(f"data.manifest={manifest}", "data.part=secnd")
    judged = refusal(f"data.manifest={manifest}", "data.part=first", "data.train_part=first")
    assert judged == "data.part: 'first' is the part that is trained on (data.train_part)."
    changed = tmp_path / "changed.json"
    changed.write_text(manifest.read_text().replace('"seed": 3', '"seed": 4'))
    assert "was changed after it was made" in refusal(f"data.manifest={changed}", "data.part=first")
