"""Sub-commands of a study: ``shiftlab run``, ``train`` and ``report``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shiftlab.cli.words import refuse
from shiftlab.errors import ConfigError, ShiftlabError

if TYPE_CHECKING:
    from shiftlab.config import Job

__all__ = ["add"]

_TRAINING = """\
Train the arms of a study into its folder of checkpoints. Images of the training events are made by as many processes
as workers says and kept in a file there while the training lasts, so that memory need not hold them. A stopped
command goes on where it was."""


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the sub-commands to the parser."""
    run = commands.add_parser("run", parents=[common], help="run a study and write its report")
    run.add_argument("words", nargs="*", metavar="KEY=VALUE", help="study=demo, and whatever departs from it")
    run.add_argument("-m", "--multirun", action="store_true", help="several values of study, data or arms: run all")
    run.add_argument("--fresh", action="store_true", help="discard a run of another identity in the same folder")
    run.set_defaults(action=_run)

    train = commands.add_parser("train", parents=[common], help="train the arms of a study", description=_TRAINING)
    train.add_argument("words", nargs="*", metavar="KEY=VALUE", help="study=demo data.train=FILE workers=0, say")
    train.add_argument("--fresh", action="store_true", help="discard what was trained before")
    train.set_defaults(action=_train)

    report = commands.add_parser("report", parents=[common], help="write the report of a finished run again")
    report.add_argument("folder", type=Path, metavar="DIR")
    report.set_defaults(action=_report)


def _run(given: argparse.Namespace) -> int:
    """Validate every run first, then let Hydra run them."""
    from shiftlab.config import combinations, compose_study, config_dir, read_words

    words = [*given.words, "fresh=true"] if given.fresh else list(given.words)
    mistakes: list[str] = []
    accepted = read_words(words, mistakes, sweep=given.multirun)
    if mistakes and given.multirun:
        raise ConfigError("\n".join(mistakes))
    for single in combinations(accepted) if given.multirun else [words]:
        compose_study(single)

    import hydra

    typed, status = sys.argv, _Status(debug=given.debug)
    sys.argv = ["shiftlab", *(["--multirun"] if given.multirun else []), *accepted]
    try:
        hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="config")(status.run)()
    finally:
        sys.argv = typed
    return status.code


class _Status:
    """The outcome of Hydra's jobs, which does not hand on exit codes."""

    def __init__(self, *, debug: bool) -> None:
        self.debug = debug
        self.code = 0
        self.process = os.getpid()

    def run(self, composed: Any) -> None:
        """Run one composed study; a mistake is named, and the next job of a sweep goes on."""
        from omegaconf import OmegaConf

        from shiftlab.config import build

        try:
            plain: Any = OmegaConf.to_container(composed, resolve=True)
            print(_run_one(build(plain)))
        except ShiftlabError as error:
            self.code = refuse(error, debug=self.debug)
            if os.getpid() != self.process:  # a launcher's job: only Hydra can tell that it failed
                raise


def _run_one(job: Job) -> Path:
    from shiftlab.run import run_study

    return run_study(job.study, root=job.root, fresh=job.fresh)


def _train(given: argparse.Namespace) -> int:
    from shiftlab.config import compose_study

    job = compose_study(given.words, purpose="train")
    from shiftlab.run import train_study

    print(train_study(job.study, fresh=given.fresh or job.fresh))
    return 0


def _report(given: argparse.Namespace) -> int:
    from shiftlab.run import report_folder

    print(report_folder(given.folder))
    return 0
