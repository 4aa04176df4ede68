"""One study from the configuration folder and the words of a command line."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from shiftlab.config.names import check_files, check_names
from shiftlab.config.records import Reader
from shiftlab.config.words import config_dir, options, read_words
from shiftlab.errors import ConfigError, UnknownNameError
from shiftlab.plan import StudyConfig

__all__ = ["Job", "Purpose", "build", "compose_study", "detector_config", "locate", "read_study", "study_titles"]

Purpose = Literal["run", "train"]


@dataclass(frozen=True)
class Job:
    """A study and where and how it is run; the latter two change no number.

    Attributes:
        study: The ingredients.
        root: Folder of all runs.
        fresh: Whether a run of another identity in the same folder is discarded.
    """

    study: StudyConfig
    root: Path
    fresh: bool


def compose_study(words: Sequence[str], *, purpose: Purpose = "run") -> Job:
    """Return the study that ``words``, say ``["study=demo", "replicas=50"]``, describe.

    Raises:
        ConfigError: something is wrong; the message has every mistake, one a line.
    """
    mistakes: list[str] = []
    composed = _compose(read_words(words, mistakes), mistakes)
    if composed is not None:
        return build(composed, purpose=purpose, mistakes=mistakes)
    raise ConfigError("\n".join(mistakes))


def detector_config(name: str) -> dict[str, Any]:
    """Return ``configs/detector/NAME.yaml`` as plain values, for ``Detector.from_config``.

    Raises:
        UnknownNameError: there is no such file.
    """
    if name not in options("detector"):
        raise UnknownNameError("detector", name, options("detector"))
    plain: Any = OmegaConf.to_container(OmegaConf.load(config_dir() / "detector" / f"{name}.yaml"), resolve=True)
    return dict(plain)


def build(composed: Mapping[str, Any], *, purpose: Purpose = "run", mistakes: Sequence[str] = ()) -> Job:
    """Return the job of a composed configuration, given as plain containers.

    Args:
        composed: What Hydra composed from the files, resolved.
        purpose: ``train`` and retraining need ``data.train``; ``run`` needs the checkpoints.
        mistakes: What was found wrong before; it is reported together with what is found here.

    Raises:
        ConfigError: something is wrong; the message has every mistake, one a line.
    """
    found = list(mistakes)
    keys = {str(key): value for key, value in composed.items() if key != "hydra"}
    root, fresh = keys.pop("root", "outputs"), keys.pop("fresh", False)
    tasks = keys.get("tasks")
    if isinstance(tasks, Mapping) and set(tasks) == {"names"}:
        keys["tasks"] = tasks["names"]
    study = Reader(found, locate).record(StudyConfig, keys)
    if not isinstance(root, str):
        found.append(f"root: {root!r} is given; a path is wanted.")
    if not isinstance(fresh, bool):
        found.append(f"fresh: {fresh!r} is given; true or false is wanted.")
    if study is not None:
        check_names(study, found)
        check_files(study, purpose, found)
    if study is None or found:
        raise ConfigError("\n".join(found))
    return Job(study=study, root=Path(str(root)).absolute(), fresh=bool(fresh))


def read_study(name: str) -> StudyConfig:
    """Return the study of ``configs/study/<name>.yaml`` as it stands.

    Raises:
        ConfigError: there is no such study, or its files are wrong.
    """
    return compose_study([f"study={name}"]).study


def study_titles() -> dict[str, str]:
    """Return the title of each study in the configuration folder, by name."""
    titles = {}
    for name in options("study"):
        study: Any = OmegaConf.to_container(OmegaConf.load(config_dir() / "study" / f"{name}.yaml"))
        titles[name] = str(study.get("title", ""))
    return titles


def locate(text: str) -> Path:
    """Return the absolute path of ``text``: from the folder of the call, else from the installed ``studies``.

    A path that exists in neither is meant from the folder of the call.
    """
    import studies

    here = Path(os.path.expanduser(text)).absolute()
    shipped = Path(str(studies.__file__)).resolve().parent.parent / text
    return shipped if not here.exists() and shipped.exists() else here


def _compose(words: Sequence[str], mistakes: list[str]) -> Mapping[str, Any] | None:
    if mistakes and not any(word.startswith("study=") for word in words):
        return None
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
            composed = OmegaConf.to_container(compose("config", list(words)), resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        line = str(error).strip().splitlines()[0]
        mistakes.append(f"{line}. Install shiftlab[cluster]." if "hydra/launcher" in line else line)
        return None
    assert isinstance(composed, dict)
    return {str(key): value for key, value in composed.items()}
