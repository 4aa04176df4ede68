"""Simulated events: deposits with their truth, images, and the readers of every file format."""

from shiftlab.events.deposits import Deposits, EventTable, concatenate
from shiftlab.events.image import Image
from shiftlab.events.reader import Reader, read, readers, validate

__all__ = ["Deposits", "EventTable", "Image", "Reader", "concatenate", "read", "readers", "validate"]
