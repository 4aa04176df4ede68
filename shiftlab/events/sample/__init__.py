"""The project's own HDF5: deposits, images or tokens, written piece by piece, with provenance and a content digest."""

from shiftlab.events.sample.digest import check_digest, refuse_changed
from shiftlab.events.sample.reader import SampleReader, read_attributes, write_sample
from shiftlab.events.sample.writer import SampleWriter

__all__ = ["SampleReader", "SampleWriter", "check_digest", "read_attributes", "refuse_changed", "write_sample"]
