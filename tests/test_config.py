"""Configuration: every file composes and builds, and every mistake is named together with the nearest right name."""

import json
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.config import combinations, compose_study, config_dir, detector_config, locate, options, read_words
from shiftlab.config.records import Reader
from shiftlab.detector import NOMINAL, Detector
from shiftlab.errors import ConfigError
from shiftlab.plan import StudyConfig
from shiftlab.provenance import canonical_json


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """The demo study on files that exist and are never opened."""
    sample = tmp_path / "sample.h5"
    sample.touch()
    return ["study=demo", f"data.evaluation={sample}", f"arms.checkpoints={tmp_path}"]


def study(words: list[str], *more: str) -> StudyConfig:
    return compose_study([*words, *more]).study


def refusal(words: list[str], *more: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        compose_study([*words, *more])
    return str(caught.value).splitlines()


def files() -> list[tuple[str, str]]:
    """Every file of a study's groups; those of simulation and emulation have commands of their own."""
    found = [(path.parent.name, path.stem) for path in sorted(config_dir().glob("*/*.yaml"))]
    return [(group, option) for group, option in found if group not in ("simulation", "emulation")]


@pytest.mark.parametrize(("group", "option"), files())
def test_every_configuration_file_composes_and_builds(words, group, option):
    plugin = {"joblib": "hydra-joblib-launcher", "slurm": "hydra-submitit-launcher"}.get(option)
    tokens = [word.replace("study=demo", "study=minerva") for word in words]
    if group == "detector" and option.startswith("minerva"):
        assert f"tasks.names: 'energy' is asked of images; detector '{option}' gives tokens." in refusal(
            words, f"detector={option}"
        )
        if option != "minerva_like":  # has other nuisances than the study of tokens injects
            assert study(tokens, f"detector={option}").name == "minerva"
        return
    if option in ("tokens", "minerva"):
        assert study(tokens, *([f"{group}={option}"] if group != "study" else [])).name == "minerva"
        return
    if plugin and plugin not in {distribution.name for distribution in metadata.distributions()}:
        (message,) = refusal(words, f"launcher={option}")
        assert "shiftlab[cluster]" in message
        return
    needed = ["tasks=[energy]", "arms=classic"] if option == "wire_lar" else []
    assert study([word for word in words if not word.startswith(f"{group}=")], f"{group}={option}", *needed).name


def test_the_demo_is_the_study_that_the_files_say(words):
    demo = study(words)
    assert demo.arms.names == ("foundation", "scratch", "classic")
    assert demo.arms.seeds == (0, 1)
    assert demo.tasks == ("segmentation", "electron_gamma", "flavour", "energy")
    assert demo.universes.strengths == (-1.0, 1.0)
    assert demo.universes.joint == 8
    assert demo.universes.throws == {"gain_spread": 4}
    assert demo.data.evaluation.is_absolute()


def test_a_key_given_on_the_command_line_wins_over_the_files(words):
    changed = study(words, "replicas=50", "injected.noise_enc=0.5", "data.limit=10", "universes=nominal")
    assert changed.replicas == 50
    assert changed.injected["noise_enc"] == 0.5
    assert changed.injected["gain_scale"] == 1.0
    assert changed.data.limit == 10
    assert changed.universes.strengths == ()


def test_universes_can_be_drawn_otherwise(words):
    """Response curves that end where physics ends; independent scramblings; a prior with correlations."""
    curves = study(words, "universes=curves").universes
    assert curves.strengths == (-3.0, -2.0, -1.0, -0.5, 0.5, 1.0, 2.0, 3.0)
    assert curves.unphysical == "leave_out"
    drawn = study(words, "universes=multisim", "universes.correlations={gain_scale+lifetime_tau: 0.5}").universes
    assert (drawn.joint, drawn.scramblings) == (128, 8)
    assert drawn.correlations == {"gain_scale+lifetime_tau": 0.5}
    assert study(words, "universes.draws=independent", "universes.joint=7").universes.joint == 7


def test_a_study_that_asks_for_nothing_new_has_the_identity_it_always_had(words):
    """Runs are resumed by it."""
    plain = study(words).identity()
    assert set(plain["universes"]) == {"strengths", "only", "throws", "joint", "mip", "exact"}
    assert study(words, "universes.draws=sobol", "universes.scramblings=1").identity() == plain
    other = study(words, "universes.draws=independent").identity()
    assert other["universes"] == plain["universes"] | {"draws": "independent"}


@pytest.mark.parametrize("word", ["arms=classic", "arms=[classic]", "arms.names=[classic]"])
def test_a_registered_name_may_stand_for_an_option(words, word):
    assert study(words, word).arms.names == ("classic",)


def test_the_processing_of_templates_is_part_of_the_identity_once_it_is_asked_for(words):
    plain = study(words).identity()
    assert "processing" not in plain["templates"]
    assert "overlap" not in plain["templates"]
    given = study(words, "templates.processing.correlate.gain_scale={scheme: partial, rho: 0.5}")
    assert given.templates.processing.correlate["gain_scale"].rho == 0.5
    assert (
        json.loads(canonical_json(given.identity()))["templates"]["processing"]["correlate"]["gain_scale"]["rho"] == 0.5
    )


def test_the_identity_leaves_out_what_changes_no_number(words):
    plain = study(words).identity()
    assert study(words, "workers=7").identity() == plain
    assert study(words, "replicas=7").identity() != plain


def test_the_identity_is_plain_json_though_a_detector_may_have_no_ceiling(words):
    """JSON has no infinity: the word is written, and a detector reads it back."""
    config = study(words, "detector=pixel_lar_all")
    plain = json.loads(canonical_json(config.identity()))
    assert plain["detector"]["effects"]["saturation"]["ceiling"]["nominal"] == "inf"
    read = Detector.from_config(plain["detector"])
    assert read.values(NOMINAL) == Detector.from_config(config.detector).values(NOMINAL)


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("repicas=5", "repicas: no such key. Did you mean 'replicas'?"),
        ("data.limits=5", "data.limits: no such key. Did you mean 'data.limit'?"),
        ("replicas=1", "replicas: 1 is given; at least 2 is wanted."),
        ("replicas=many", "replicas: 'many' is given; a whole number is wanted."),
        ("replicas=2.5", "replicas: 2.5 is given; a whole number is wanted."),
        ("exposure.nue_cc=0", "exposure.nue_cc: 0 is given; more than 0.0 is wanted."),
        ("exposure.nue=3", "exposure: unknown sample 'nue'. Did you mean 'nue_cc'?"),
        ("tasks=[flavor]", "tasks.names: unknown task 'flavor'. Did you mean 'flavour'?"),
        ("arms=clasic", "arms.names: unknown arm 'clasic'. Did you mean 'classic'?"),
        ("arms.names=[]", "arms.names: empty;"),
        ("arms.seeds=[0,0]", "arms.seeds: 0 is given more than once."),
        ("universes=unisims", "unknown universes 'unisims'. Did you mean 'unisim'?"),
        ("universes.joint=3", "universes.joint: 3 joint universes are asked for; an even number, since they come in"),
        ("universes.draws=random", "universes.draws: 'random' is given; one of sobol, independent is wanted."),
        ("universes.scramblings=4", "universes.joint: scramblings = 4 is given; 1, or at least 8, is wanted"),
        ("universes.scramblings=8", "universes.joint: 8 joint universes are asked for; a multiple of 16"),
        ("universes.strengths=[0,1]", "universes.strengths: 0 is given; that is the nominal universe"),
        ("universes.strengths=[-2,2]", "universes.strengths: [-2, 2] is given; the covariance of the tasks is made of"),
        ("universes.strengths=[-3,1]", "universes.strengths: dead_channels_fraction at -3 sigma"),
        ("universes.unphysical=clip", "universes.unphysical: 'clip' is given; one of error, leave_out is wanted."),
        ("universes.correlations={gain_scale: 0.5}", "universes.correlations: 'gain_scale' must name two different"),
        ("universes.correlations={gain_scale+noise_enc: 1}", "universes.correlations: 'gain_scale+noise_enc' = 1.0;"),
        (
            "universes.correlations={gain_scale+noise: 0.5}",
            "universes.correlations: unknown nuisance in correlations 'noise'.",
        ),
        ("universes.strengths=1", "universes.strengths: 1 is given; a list"),
        ("injected.gain_scael=1", "injected: unknown nuisance 'gain_scael'. Did you mean 'gain_scale'?"),
        ("injected.gain_scale=9", "injected.gain_scale: 9 is given; at most 5.0 is wanted."),
        ("injected.gain_scale=nan", "injected.gain_scale: nan is given; a number is wanted."),
        ("data.evaluation=nowhere.h5", "data.evaluation: no file '"),
        ("templates.empty=drop", "templates.empty: 'drop' is given; one of merge, error, floor is wanted."),
        ("templates.bins=0", "templates.bins = 0; at least 1 is needed"),
        ("templates.overlap=joint", "templates.overlap = 'joint', one histogram in all observables at once, is not"),
        ("templates.processing.smoth=353qh", "templates.processing.smoth: no such key. Did you mean"),
        ("templates.processing.prune=size", "templates.processing.prune: 'size' is given; one of none, information is"),
        (
            "templates.processing.shape_only=[gain_scael]",
            "templates.processing.shape_only: unknown nuisance 'gain_scael'. Did you mean 'gain_scale'?",
        ),
        ("selection.margin=-1", "selection.margin = -1.0; it must not be negative."),
        ("retrain=true", "data.train: missing;"),
        ("plugins=[nowhere.py]", "plugins: no file '"),
        ("retrain=maybe", "retrain: 'maybe' is given; true or false is wanted."),
        ("seed=0,1", "seed: several values need -m"),
        ("injected", "'injected' is given; key=value is wanted"),
        ("replicas.x=3", "replicas"),
    ],
)
def test_one_mistake_is_one_line_that_names_the_key_and_what_is_allowed(words, word, wanted):
    (line,) = refusal(words, word)
    assert line.startswith(wanted)


def test_all_mistakes_are_named_at_once(words):
    lines = refusal(words, "repicas=5", "chunk=0", "universes=unisims", "data.limit=-1")
    assert [line.split(":")[0] for line in lines] == [
        "unknown universes 'unisims'. Did you mean 'unisim'? Allowed",
        "repicas",
        "data.limit",
        "chunk",
    ]


def test_a_study_must_be_named():
    (line,) = refusal([])
    assert line == "study: missing; say study=NAME. Allowed: demo, minerva, wires."


def test_an_unknown_study_is_answered_with_the_nearest():
    (line,) = refusal(["study=dmo"])
    assert line == "unknown study 'dmo'. Did you mean 'demo'? Allowed: demo, minerva, wires."


def test_a_displacement_beyond_a_physical_bound_is_refused(words):
    lines = refusal(words, "injected.dead_channels_fraction=-5")
    assert lines
    assert all("dead_channels_fraction at -5 sigma" in line for line in lines)


def test_a_sweep_is_over_study_data_and_arms_only():
    mistakes: list[str] = []
    read_words(["study=demo", "universes.joint=2,4"], mistakes, sweep=True)
    assert mistakes == ["universes.joint: cannot be swept. Allowed: arms, data, study."]


def test_a_sweep_is_the_grid_of_its_values():
    mistakes: list[str] = []
    accepted = read_words(["study=demo", "arms=classic,scratch", "data.limit=5,6"], mistakes, sweep=True)
    assert mistakes == []
    assert [single[1:] for single in combinations(accepted)] == [
        ["++arms.names=[classic]", "++data.limit=5"],
        ["++arms.names=[classic]", "++data.limit=6"],
        ["++arms.names=[scratch]", "++data.limit=5"],
        ["++arms.names=[scratch]", "++data.limit=6"],
    ]


def test_a_relative_path_is_meant_from_the_folder_of_the_call_and_else_from_the_installed_studies(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert locate("mine.h5") == tmp_path / "mine.h5"
    assert locate("studies/__init__.py").is_file()


def test_a_plug_in_file_gives_a_task_that_a_study_can_name(words, tmp_path):
    plugin = tmp_path / "counting.py"
    plugin.write_text(
        "from shiftlab.tasks.energy import Energy\n\n\n"
        "class Counting(Energy):\n    '''Visible energy under another name.'''\n\n    name = 'counting'\n"
    )
    assert study(words, f"plugins=[{plugin}]", "tasks=[energy,counting]").tasks == ("energy", "counting")


def test_a_plug_in_file_that_cannot_be_imported_is_named(words, tmp_path):
    plugin = tmp_path / "broken.py"
    plugin.write_text("import nothing_of_that_name\n")
    (line,) = refusal(words, f"plugins=[{plugin}]")
    assert line == f"plugins: '{plugin}' cannot be imported: No module named 'nothing_of_that_name'"


@dataclass(frozen=True)
class Sheet:
    """A record with one field of each kind."""

    count: int = field(metadata={"low": 1, "high": 9})
    share: float = 0.5
    label: str | None = None
    pairs: tuple[float, ...] = ()


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(["count", "share", "label", "pairs", "other"]), plain_values))
def test_a_record_is_built_or_every_wrong_key_is_named(given_values):
    mistakes: list[str] = []
    record = Reader(mistakes, Path).record(Sheet, given_values)
    assert (record is None) == bool(mistakes)
    if "other" in given_values:
        assert any(line.startswith("other: no such key.") for line in mistakes)
    if "count" not in given_values:
        assert "count: missing." in mistakes
    if record is not None:
        assert 1 <= record.count <= 9


def test_options_are_the_files_of_a_group():
    assert options("tasks") == ("all", "tokens")


def test_a_detector_of_the_configuration_is_at_hand_in_python():
    detector = Detector.from_config(detector_config("pilarnet"))
    assert detector.name == "pilarnet"
    with pytest.raises(ConfigError, match=r"unknown detector 'pilarnt'\. Did you mean 'pilarnet'"):
        detector_config("pilarnt")
