"""Running one study: its folder, its ingredients and the seven steps."""

from shiftlab.run.study import Study, studies

__all__ = ["Study", "studies"]
