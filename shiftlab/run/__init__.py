"""Running one study: its folder, its ingredients and the seven steps."""

from shiftlab.run.emulating import emulate_run
from shiftlab.run.pretraining import pretrain_foundation
from shiftlab.run.steps import report_folder, run_study
from shiftlab.run.study import Study, studies
from shiftlab.run.training import train_study

__all__ = ["Study", "emulate_run", "pretrain_foundation", "report_folder", "run_study", "studies", "train_study"]
