"""Simulated events: deposits with their truth, images, tokens, and the readers of every file format."""

from shiftlab.events.deposits import Deposits, EventTable, concatenate
from shiftlab.events.image import Image
from shiftlab.events.pairs import pair, read_pair
from shiftlab.events.particles import PARTICLE_COLUMNS, ParticleTable
from shiftlab.events.reader import (
    BadEvent,
    Description,
    Reader,
    Source,
    open_events,
    read,
    read_tokens,
    readers,
    stream,
    validate,
)
from shiftlab.events.tokens import Tokens, concatenate_tokens

__all__ = [
    "PARTICLE_COLUMNS",
    "ParticleTable",
    "BadEvent",
    "Deposits",
    "Description",
    "EventTable",
    "Image",
    "Reader",
    "Source",
    "Tokens",
    "concatenate",
    "concatenate_tokens",
    "open_events",
    "pair",
    "read",
    "read_pair",
    "read_tokens",
    "readers",
    "stream",
    "validate",
]
