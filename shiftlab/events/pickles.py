"""Pickles in foreign files: recognised and listed from their opcodes, never loaded."""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["PickleContent", "is_pickle", "pickle_content"]


@dataclass(frozen=True)
class PickleContent:
    """What a pickle would ask for and say, read off its opcodes.

    Attributes:
        globals: Functions and classes that it wants imported, as ``module.name``.
        words: Its strings of at most 64 characters.
    """

    globals: frozenset[str]
    words: frozenset[str]


def pickle_content(data: bytes) -> PickleContent:
    """List what a pickle refers to.

    Raises:
        ValueError: the bytes are no whole pickle.
    """
    asked: set[str] = set()
    words: set[str] = set()
    recent: list[str] = []
    for name, argument in _opcodes(data):
        if name in ("GLOBAL", "INST"):
            asked.add(".".join(str(argument).split(" ", 1)))
        elif name == "STACK_GLOBAL":
            asked.add(".".join(recent[-2:]) or "unknown")
        elif name in ("EXT1", "EXT2", "EXT4"):
            asked.add(f"extension {argument}")
        elif isinstance(argument, str):
            recent = [*recent[-1:], argument[:64]]
            if len(argument) <= 64:
                words.add(argument)
    return PickleContent(frozenset(asked), frozenset(words))


def is_pickle(value: Any) -> bool:
    """Say whether a value of a file (an attribute, say) is a whole pickle, of any protocol.

    Protocol 0 has no mark of its own; it is taken for a pickle where it parses to its end and has a line break,
    as PyTables writes it. Plain text does not parse.
    """
    if isinstance(value, str):
        value = value.encode(errors="surrogateescape")
    data = value.tobytes() if hasattr(value, "tobytes") else value
    if not isinstance(data, bytes) or not data.endswith(b"."):
        return False
    if data[:1] != b"\x80" and b"\n" not in data and data not in (b"N.", b"I00\n.", b"I01\n."):
        return False
    try:
        return sum(1 for _ in _opcodes(data)) > 1
    except ValueError:
        return False


def _opcodes(data: bytes) -> Iterator[tuple[str, Any]]:
    """Give the name and argument of each opcode of a pickle that ends where the data end.

    Raises:
        ValueError: the bytes are no whole pickle.
    """
    try:
        for code, argument, _ in pickletools.genops(data):
            yield code.name, argument
    except (ValueError, IndexError, UnicodeDecodeError, OverflowError, MemoryError) as error:
        raise ValueError(f"not a whole pickle ({error})") from error
