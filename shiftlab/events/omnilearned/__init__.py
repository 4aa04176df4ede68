"""OmniLearned: jets and events as zero-padded tokens in HDF5, with an index over the files of a folder."""

from shiftlab.events.omnilearned.index import write_file_index
from shiftlab.events.omnilearned.reader import OmniLearnedReader
from shiftlab.events.omnilearned.write import write_omnilearned

__all__ = ["OmniLearnedReader", "write_file_index", "write_omnilearned"]
