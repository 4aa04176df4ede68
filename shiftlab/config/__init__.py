"""Configuration: from files and ``key=value`` words to one validated study."""

from shiftlab.config.emulation import compose_emulation
from shiftlab.config.names import registry
from shiftlab.config.pretraining import compose_pretraining
from shiftlab.config.study import Job, build, compose_study, detector_config, locate, read_study, study_titles
from shiftlab.config.words import combinations, config_dir, options, read_words

__all__ = [
    "Job",
    "build",
    "combinations",
    "compose_emulation",
    "compose_pretraining",
    "compose_study",
    "config_dir",
    "detector_config",
    "locate",
    "options",
    "read_study",
    "read_words",
    "registry",
    "study_titles",
]
