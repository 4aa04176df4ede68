"""Nested sets of labelled events: the 10 of a label-efficiency study are among its 100, and those among its 1,000."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from shiftlab.arms.training.presentation import keyed
from shiftlab.errors import ConfigError
from shiftlab.events.deposits import EventTable
from shiftlab.tasks.task import family

__all__ = ["labelled"]


def labelled(events: EventTable, rows: Tensor, count: int, seed: int) -> Tensor:
    """Return ``count`` of the events at ``rows`` as those that have labels, int64, ascending.

    The vertices of each family of samples (``numu_cc_1pi`` is of the family ``numu_cc``) are put in a keyed
    order; the families are then merged so that each has one vertex before any has two, and from there on
    every family advances in proportion to its size. The first ``count`` events of that one order are taken:
    fewer are always among more. Events of one vertex follow one another.

    Args:
        events: Table of all events.
        rows: int64 (event,), which of them may be labelled, say a task's own; in any order.
        count: How many are; 0 for all. All are where there are fewer.
        seed: Another seed labels other events.

    Raises:
        ConfigError: the count is negative.
    """
    if count < 0:
        raise ConfigError(f"labels: {count} events cannot be labelled; give a number, or 0 for all.")
    rows = rows.cpu().sort().values
    if count == 0 or count >= len(rows):
        return rows
    uids, first, place = np.unique(events.vertex.cpu().numpy()[rows.numpy()], return_index=True, return_inverse=True)
    families = np.array([family(events.sample[row]) for row in rows[torch.from_numpy(first)].tolist()])
    key = np.array([keyed(seed, "labelled", uid) for uid in uids.tolist()])
    progress = np.empty(len(uids))
    for name in np.unique(families):
        own = np.flatnonzero(families == name)
        offset = keyed(seed, "labelled", name) / 2.0**63
        own = own[np.argsort(key[own])]
        progress[own] = (np.arange(len(own)) + offset) / len(own)
        progress[own[0]] = -1.0
    rank = np.empty(len(uids), dtype=np.int64)
    rank[np.lexsort((key, progress))] = np.arange(len(uids))
    order = np.argsort(rank[place.reshape(-1)], kind="stable")
    return rows[torch.from_numpy(order[:count])].sort().values
