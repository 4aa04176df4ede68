"""One process that damages files and reads them: a line in says which, a line out says what came of it."""

from __future__ import annotations

import json
import os
import resource
import sys
import traceback
from pathlib import Path

import numpy as np

MEMORY = 1 << 30
"""Bytes of address space that reading one file, of at most 100 kB, may take."""

GROWTH = 256 << 20
"""Bytes of memory that it may really fill."""


def main() -> None:
    """Serve until the input ends; arguments are the folder of the whole files and one for the damaged file."""
    seeds, scratch = Path(sys.argv[1]), Path(sys.argv[2])
    # Whatever a library prints must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import torch

    from shiftlab.events import readers, stream
    from tests.events.fuzz.damage import damage
    from tests.events.fuzz.oracle import WrongError, fingerprint, judge, marks_of

    torch.set_num_threads(1)
    [entry() for entry in readers()]
    whole = {}
    for path in sorted(seeds.iterdir()):
        whole[path.name] = fingerprint([mark for piece in stream(path) for mark in marks_of(piece)])
    space = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    answers.write("ready\n")
    answers.flush()
    for line in sys.stdin:
        name, number = line.split()
        random = np.random.default_rng([int(number), *name.encode()])
        target = scratch / f"damaged{Path(name).suffix}"
        answer = {"file": name, "number": int(number), "outcome": "", "what": ""}
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            answer["what"] = damage(seeds / name, target, random)
            answer["outcome"] = judge(target, whole[name])
        except WrongError as error:
            answer |= {"outcome": "WRONG", "why": str(error)}
        except MemoryError:
            answer |= {"outcome": "MEMORY", "why": traceback.format_exc(limit=-4)}
        except Exception:  # noqa: BLE001 - any other exception is what is looked for
            answer |= {"outcome": "EXCEPTION", "why": traceback.format_exc(limit=-6)}
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        if grown > GROWTH:
            answer |= {"outcome": "MEMORY", "why": f"{grown >> 20} MiB for one small file"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
