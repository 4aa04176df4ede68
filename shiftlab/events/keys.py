"""Identities of vertices and events: 64-bit hashes of names, the same on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["identity", "identities", "random_generator"]


def identity(*parts: str | int) -> int:
    """Return a signed 64-bit hash (BLAKE2b) of the parts, joined by '/'."""
    name = "/".join(str(part) for part in parts).encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little", signed=True)


def identities(prefix: str, numbers: Iterable[int]) -> NDArray[np.int64]:
    """Return int64 (number,): the identity of each number under ``prefix``."""
    # The prefix, which may be long, is hashed once.
    begun = hashlib.blake2b(f"{prefix}/".encode(), digest_size=8)
    result = []
    for number in numbers:
        one = begun.copy()
        one.update(str(int(number)).encode())
        result.append(int.from_bytes(one.digest(), "little", signed=True))
    return np.array(result, dtype=np.int64)


def random_generator(*parts: str | int) -> np.random.Generator:
    """Return a generator whose stream is fixed by the parts alone (PCG64, seeded with their identity)."""
    return np.random.Generator(np.random.PCG64(identity(*parts) % 2**64))
