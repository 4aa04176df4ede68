"""Small whole files of every format that is read, a few events each, to be damaged."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from shiftlab.events import Image, Tokens, read
from shiftlab.events.deposits import Deposits, EventTable
from shiftlab.events.minerva_ml import write_minerva_ml
from shiftlab.events.minerva_ml.columns import COLUMNS, GLOBAL_UNITS, GLOBALS, KINDS, TRUTH, UNITS
from shiftlab.events.omnilearned import write_omnilearned
from shiftlab.events.sample import SampleWriter

__all__ = ["FORMATS", "write_all"]

DATA = Path(__file__).resolve().parents[2] / "data"


def write_all(folder: Path) -> list[str]:
    """Write one file of each format and return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, write in FORMATS.items():
        write(folder / name)
    return list(FORMATS)


def _copy(name: str) -> Callable[[Path], Any]:
    return lambda target: shutil.copyfile(DATA / name, target)


def _few_rows(name: str, events: int) -> Callable[[Path], None]:
    """Copy compound tables, with the rows of the first events only."""

    def write(target: Path) -> None:
        with h5py.File(DATA / name) as old, h5py.File(target, "w") as new:
            first = old["vertices" if "vertices" in old else "segments"][...]
            column = "event_id" if "event_id" in first.dtype.names else "eventID"
            last = np.unique(first[column])[:events].max()
            for key in old:
                rows = old[key][...]
                new.create_dataset(key, data=rows[rows[column] <= last], compression="gzip", chunks=True)
            new.attrs.update(old.attrs)

    return write


def _pilarnet(cluster: int, extra: int, momenta: bool) -> Callable[[Path], None]:
    """Write four events of a revision: points of two to five clusters, the first the low-energy one."""

    def write(target: Path) -> None:
        random = np.random.default_rng([cluster, extra])
        rows: dict[str, list[Any]] = {"point": [], "cluster": []}
        if extra:
            rows["cluster_extra"] = []
        if momenta:
            rows["cluster_extra_2"] = []
        for count in (2, 5, 3, 4):
            sizes = random.integers(1, 12, count)
            points = np.empty((sizes.sum(), 8), dtype=np.float32)
            points[:, :3] = random.integers(0, 768, (len(points), 3))
            points[:, 3:] = random.uniform(0.1, 2.0, (len(points), 5))
            about = random.integers(0, 4, (count, cluster))
            about[:, 0], about[:, 1] = sizes, np.arange(count)
            about[0, 1:] = -1
            about[0, 4] = 4
            rows["point"].append(points.reshape(-1))
            rows["cluster"].append(about.reshape(-1).astype(np.int64))
            if extra:
                more = random.uniform(0.0, 100.0, (count, extra))
                more[:, 5:6] = random.integers(0, 2, (count, 1)) if extra > 5 else more[:, 5:6]  # is_primary
                rows["cluster_extra"].append(more.reshape(-1).astype(np.float32))
            if momenta:
                rows["cluster_extra_2"].append(random.uniform(0.0, 1.0, count * 5).astype(np.float32))
        with h5py.File(target, "w") as file:
            for name, values in rows.items():
                column = np.empty(len(values), dtype=object)
                column[:] = values
                file.create_dataset(name, data=column, dtype=h5py.vlen_dtype(values[0].dtype))

    return write


def _tokens() -> Tokens:
    """Six events with none to five tokens, in the columns of minerva-ml."""
    random = torch.Generator().manual_seed(7)
    counts = torch.tensor([1, 3, 0, 5, 2, 4])
    total = int(counts.sum())
    return Tokens(
        offsets=torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)]),
        features=torch.rand(total, len(COLUMNS), generator=random) + 0.5,
        columns=COLUMNS,
        units=UNITS,
        valid=torch.ones(total, len(COLUMNS), dtype=torch.bool),
        particle=torch.randint(0, len(KINDS), (total,), generator=random),
        kinds=KINDS,
        globals=torch.rand(6, len(GLOBALS), generator=random) + 0.5,
        global_columns=GLOBALS,
        global_units=GLOBAL_UNITS,
        global_valid=torch.ones(6, len(GLOBALS), dtype=torch.bool),
        events=_table(6, {name: torch.rand(6, generator=random, dtype=torch.float64) + 1.0 for name in TRUTH}),
    )


def _table(count: int, truth: dict[str, torch.Tensor]) -> EventTable:
    return EventTable(
        key=torch.arange(count) * 7 + 3,
        vertex=torch.arange(count) // 2,
        weight=torch.ones(count, dtype=torch.float64),
        sample=tuple(["numu_cc", "nue_cc"][i % 2] for i in range(count)),
        truth=truth,
        selected=torch.tensor([i != 1 for i in range(count)]),
        dataset="drawn/1",
    )


def _few_deposits() -> Deposits:
    return read(DATA / "shiftlab_sample_1.h5")


def _image() -> Image:
    random = torch.Generator().manual_seed(3)
    counts = torch.tensor([4, 0, 9, 2])
    total = int(counts.sum())
    shape = (32, 16, 8)
    within = [torch.randperm(32 * 16 * 8, generator=random)[:n].sort().values for n in counts.tolist()]
    energy = torch.rand(total, generator=random) + 0.1
    truth = {"visible_energy": torch.ones(4, dtype=torch.float64)}
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    return Image(offsets, torch.cat(within), energy * 20000.0, energy, shape, _table(4, truth))


def _sample(content: Callable[[], Any], holds: Any, exact: bool) -> Callable[[Path], None]:
    def write(target: Path) -> None:
        with SampleWriter(target, holds=holds, exact=exact) as writer:
            writer.append(content())

    return write


def _omnilearned(target: Path) -> None:
    tokens = _tokens()
    label = torch.tensor([0.0, 1.0, 2.0, 1.0, 0.0, 2.0], dtype=torch.float64)
    write_omnilearned(target, Tokens(**{**vars(tokens), "events": _table(6, {"label": label})}))


def _foreign_omnilearned(target: Path) -> None:
    """A file as OmniLearned's own users write it, without anything of ours."""
    random = np.random.default_rng(5)
    data = np.zeros((6, 5, 5), dtype=np.float32)
    for i, count in enumerate((1, 5, 2, 4, 3, 5)):
        data[i, :count, :4] = random.uniform(0.5, 3.0, (count, 4))
        data[i, :count, 4] = random.integers(0, 8, count)
    with h5py.File(target, "w") as file:
        file["data"], file["pid"] = data, random.integers(0, 3, 6)
        file["global"] = random.uniform(0.5, 1.0, (6, 3)).astype(np.float32)


FORMATS: dict[str, Callable[[Path], Any]] = {
    "geant4.h5": _few_rows("geant4_singles.h5", 4),
    "edepsim_larndsim.h5": _few_rows("edepsim_mixed.h5", 3),
    "edepsim_t0.h5": _copy("edepsim_jax.h5"),
    "edepsim_truth.h5": _few_rows("edepsim_muons.h5", 2),
    "pilarnet_v1.h5": _pilarnet(5, 0, momenta=False),
    "pilarnet_v2.h5": _pilarnet(6, 5, momenta=False),
    "pilarnet_v3.h5": _pilarnet(6, 6, momenta=False),
    "pilarnet_v3_extra.h5": _pilarnet(6, 6, momenta=True),
    "sample_1.h5": _copy("shiftlab_sample_1.h5"),
    "sample_packed.h5": _sample(_few_deposits, "deposits", exact=False),
    "sample_exact.h5": _sample(_few_deposits, "deposits", exact=True),
    "sample_images.h5": _sample(_image, "images", exact=False),
    "sample_tokens.h5": _sample(_tokens, "tokens", exact=True),
    "omnilearned.h5": _omnilearned,
    "omnilearned_foreign.h5": _foreign_omnilearned,
    "minerva_ml.pb": lambda target: write_minerva_ml(target, _tokens()),
}
"""How to write a small file of each format and dialect, by its name."""
