"""``shiftlab lint`` prints one line for each finding, exits by what it found, and reads other people's files."""

from __future__ import annotations

import copy
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shiftlab import cli
from shiftlab.templates.lint import lint

Spec = dict[str, Any]


def _spec() -> Spec:
    """A counting experiment, as small as they come."""
    background = {"name": "gain", "type": "normsys", "data": {"hi": 1.05, "lo": 0.95}}
    signal = {"name": "mu", "type": "normfactor", "data": None}
    samples = [
        {"name": "signal", "data": [5.0, 3.0], "modifiers": [signal]},
        {"name": "background", "data": [50.0, 60.0], "modifiers": [background]},
    ]
    return {
        "version": "1.0.0",
        "channels": [{"name": "SR", "samples": samples}],
        "observations": [{"name": "SR", "data": [55, 63]}],
        "measurements": [{"name": "fit", "config": {"poi": "mu", "parameters": []}}],
    }


def _write(path: Path, **effect: float) -> Path:
    spec = _spec()
    spec["channels"][0]["samples"][1]["modifiers"][0]["data"].update(effect)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(spec))
    return path


def run(*words: str | Path) -> int:
    return cli.main(["lint", *map(str, words)])


def test_exit_codes_follow_the_findings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound, large = _write(tmp_path / "sound.json"), _write(tmp_path / "large.json", hi=1.5)
    broken = _write(tmp_path / "broken.json", lo=0.0)
    assert (run(sound), run(sound, "--strict")) == (0, 0)
    assert (run(large), run(large, "--strict")) == (0, 1)
    assert run(large, "--strict", "--ignore", "large_yield") == 0
    assert run(sound, large, broken) == 1
    out, err = capsys.readouterr()
    assert (
        f"{broken}: error factor_not_positive: channel SR, sample background, nuisance gain: normsys lo = 0.\n" in out
    )
    assert err.endswith(f"{sound}: 0 errors, 0 warnings\n{large}: 0 errors, 1 warning\n{broken}: 1 error, 0 warnings\n")


def test_bins_are_named_in_ranges(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = _spec()
    spec["channels"][0]["samples"] = [
        {
            "name": "signal",
            "data": [-1.0, -2.0, 4.0, -1.0],
            "modifiers": _spec()["channels"][0]["samples"][0]["modifiers"],
        },
        {"name": "background", "data": [50.0] * 4, "modifiers": []},
    ]
    spec["observations"][0]["data"] = [50] * 4
    file = tmp_path / "w.json"
    file.write_text(json.dumps(spec))
    assert run(file) == 1
    assert capsys.readouterr().out == (
        f"{file}: error negative_nominal: channel SR, sample signal, bins 0-1, 3: the nominal goes down to -2.\n"
    )


def test_a_folder_stands_for_its_workspaces_and_sidecars_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a-0", "b-0"):
        _write(tmp_path / name / "workspace.json", hi=1.03, lo=1.02)
    (tmp_path / "b-0" / "workspace.meta.json").write_text(json.dumps({"nuisances": {"gain": {"part": "even"}}}))
    assert run(tmp_path, "--json", "--strict") == 1
    (row,) = json.loads(capsys.readouterr().out)
    assert row == {
        "workspace": str(tmp_path / "a-0" / "workspace.json"),
        "severity": "warning",
        "code": "same_side",
        "message": "the yield moves by +3.00% at +1 sigma and by +2.00% at -1 sigma.",
        "channel": "SR",
        "sample": "background",
        "nuisance": "gain",
        "bins": [],
    }
    assert run(tmp_path / "a-0", "--summary") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'a-0' / 'workspace.json'}: warning same_side: 1\n"


def _patchset(spec: Spec, **sizes: float) -> Spec:
    where = "/channels/0/samples/1/modifiers/0/data/lo"
    text = json.dumps(spec, sort_keys=True, ensure_ascii=False).encode()
    metadata = {"references": {}, "description": "", "labels": ["lo"]}
    return {
        "version": "1.0.0",
        "metadata": metadata | {"digests": {"sha256": hashlib.sha256(text).hexdigest()}},
        "patches": [
            {"metadata": {"name": name, "values": [lo]}, "patch": [{"op": "replace", "path": where, "value": lo}]}
            for name, lo in sizes.items()
        ],
    }


def test_each_patch_of_a_patch_set_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, patches = _write(tmp_path / "w.json"), tmp_path / "patchset.json"
    patches.write_text(json.dumps(_patchset(_spec(), sound=0.9, broken=-0.1)))
    assert run(file, "--patchset", patches) == 1
    assert capsys.readouterr().err == f"{file} [sound]: 0 errors, 0 warnings\n{file} [broken]: 1 error, 0 warnings\n"
    assert run(file, "--patchset", patches, "--patch", "sound") == 0
    assert run(file, "--patchset", patches, "--patch", "brokn") == 2
    assert "Did you mean 'broken'?" in capsys.readouterr().err
    assert run(_write(tmp_path / "other.json", hi=1.06), "--patchset", patches) == 2
    assert "was made for another workspace" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:jsonschema.RefResolver:DeprecationWarning")
def test_the_digest_of_a_patch_set_is_that_of_pyhf() -> None:
    from pyhf import PatchSet, Workspace

    given = _patchset(_spec(), sound=0.9)
    given["metadata"]["references"] = {"hepdata": "ins1234567"}
    PatchSet(given).verify(Workspace(_spec()))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [(None, "cannot be read"), ("{", "is no JSON"), (b"\xff\xfe", "is no JSON")],
)
def test_a_file_that_is_none_is_refused(
    text: str | bytes | None, wanted: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "w.json"
    if text is not None:
        file.write_bytes(text.encode() if isinstance(text, str) else text)
    assert run(file) == 2
    assert wanted in capsys.readouterr().err


def test_words_that_make_no_sense_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 2
    assert run(tmp_path) == 2
    assert run(_write(tmp_path / "w.json"), "--patch", "a") == 2
    assert run(tmp_path / "w.json", "--ignore", "larg_yield") == 2
    err = capsys.readouterr().err
    for words in (
        "no workspace is given",
        "no workspace.json in this folder",
        "--patchset FILE",
        "Did you mean 'large_y",
    ):
        assert words in err


def _reference() -> str:
    """The reference model: 6 channels x 20 bins x 3 samples x 30 nuisances, each a normsys and a histosys."""
    rng, bins = np.random.default_rng(1), 20
    x = (np.arange(bins) + 0.5) / bins
    samples = {
        "signal": 60.0 * np.exp(-50.0 * (x - 0.5) ** 2) + 2.0,
        "exponential": 300.0 * np.exp(-2.0 * x) + 20.0,
        "flat": np.full(bins, 80.0),
    }
    spec = _spec() | {"channels": [], "observations": []}
    for c in range(6):
        channel: Spec = {"name": f"c{c}", "samples": []}
        for s, (name, nominal) in enumerate(samples.items()):
            modifiers = copy.deepcopy(_spec()["channels"][0]["samples"][0]["modifiers"]) if s == 0 else []
            for k in range(30):
                size = 0.02 * np.sin(k + c + s + 0.3)
                wave = 0.03 * np.sin(2.0 * np.pi * x * (1 + k % 4) + k + c)
                wave -= (wave * nominal).sum() / nominal.sum()
                sides = {"hi_data": (nominal * (1 + wave)).tolist(), "lo_data": (nominal * (1 - wave)).tolist()}
                modifiers.append({"name": f"k{k}", "type": "normsys", "data": {"hi": 1 + size, "lo": 1 - size}})
                modifiers.append({"name": f"k{k}", "type": "histosys", "data": sides})
            modifiers.append({"name": f"mcstat_{c}", "type": "staterror", "data": (0.05 * nominal).tolist()})
            channel["samples"].append({"name": name, "data": nominal.tolist(), "modifiers": modifiers})
        spec["channels"].append(channel)
        data = rng.poisson(sum(samples.values())).tolist()
        spec["observations"].append({"name": f"c{c}", "data": data})
    return json.dumps(spec)


def _best(step: Callable[[], Any]) -> float:
    """The shortest of several times, s of this process."""
    times = []
    for _ in range(9):
        start = time.process_time()
        step()
        times.append(time.process_time() - start)
    return min(times)


def test_checking_the_reference_model_costs_little_more_than_reading_it() -> None:
    """Twice the time of its JSON (522 kB), measured; a loaded machine is allowed five times."""
    text = _reference()
    assert lint(json.loads(text)) == ()
    assert _best(lambda: lint(json.loads(text))) < 6.0 * _best(lambda: json.loads(text))


@pytest.mark.slow
def test_the_reference_model_is_read_and_checked_in_50_milliseconds() -> None:
    text = _reference()
    assert _best(lambda: lint(json.loads(text))) < 0.05


def test_the_linter_starts_without_torch_and_pyhf(tmp_path: Path) -> None:
    file = _write(tmp_path / "w.json")
    code = f"import sys, shiftlab.cli\nshiftlab.cli.main(['lint', {str(file)!r}])\nprint(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "pyhf", "xarray", "pandas", "scipy", "jsonschema", "hydra"} & set(done.stdout.split())
