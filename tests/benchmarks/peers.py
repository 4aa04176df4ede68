"""The same events in other projects' transforms: kornia, torch-audiomentations, torchio, and gampixpy's physics."""

from __future__ import annotations

import contextlib
import importlib
import io
import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import torch
from timing import interleaved
from torch import Tensor

from shiftlab.detector import Detector, Prepared, Stream, effects
from shiftlab.detector.footprint import footprint
from shiftlab.units import ELECTRONS_PER_MEV

Call = Callable[[], object]
PEERS = {
    "kornia": "kornia.augmentation",
    "torch_audiomentations": "torch_audiomentations",
    "torchio": "torchio",
    "gampixpy": "gampixpy.detector",
}
GAIN, NOISE, THRESHOLD = 1.02, 500.0, 3000.0


def found(name: str) -> ModuleType | str:
    """Return a peer's package, or why it cannot be used here."""
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            importlib.import_module(PEERS[name])
            return importlib.import_module(name)
    except (ImportError, OSError) as error:
        return f"{name} is left out: {str(error).splitlines()[0].split('/')[-1]}"


def peer_rows(chamber: Detector, prepared: Prepared, budget: float) -> tuple[list[list[object]], list[str]]:
    """Return per transform: nanoseconds a value (median, least) on one core; and lines on peers that are not here."""
    packages = {name: found(name) for name in PEERS}
    here = {name: package for name, package in packages.items() if isinstance(package, ModuleType)}
    rows: list[list[object]] = []
    for what, count, calls in (_gain_and_noise(prepared, here), _drift(chamber, prepared, here)):
        for name, taken in interleaved(calls, 6 * budget).items():
            rows.append([f"{what}: {name}", count, *(float(f(taken) / count * 1e9) for f in (np.median, np.min))])
    return rows, [reason for reason in packages.values() if isinstance(reason, str)]


def _gain_and_noise(prepared: Prepared, here: dict[str, ModuleType]) -> tuple[str, int, dict[str, Call]]:
    """Return gain and noise of the charge of every cell of the events, as each library wants it laid out."""
    charge = prepared.footprint.collect(prepared.charge.electrons)
    width = len(charge) // len(prepared)
    count = width * len(prepared)
    dense = charge[:count].to(torch.float32).reshape(len(prepared), width)
    buffer = torch.empty_like(dense)
    key, cell = prepared.cells.key[:count], prepared.cells.cell[:count]
    gain, noise, stream = effects().get("gain")(), effects().get("noise")(), Stream(1, "noise")
    floor = torch.full_like(prepared.cells.floor, THRESHOLD)
    cells = replace(prepared.cells, electrons=charge, floor=floor)

    def whole() -> object:
        noisy = noise.apply(cells, {"enc": NOISE}, stream)
        return gain.apply(noisy, {"scale": GAIN, "spread": 0.0}, stream)

    calls: dict[str, Call] = {
        "copy into a reused buffer": lambda: buffer.copy_(dense),
        "torch, x * gain + randn_like(x) * noise": lambda: dense * GAIN + torch.randn_like(dense) * NOISE,
        "shiftlab's draws, keyed by event and cell": lambda: torch.add(
            dense.reshape(-1) * GAIN, stream.normal("cell", key, cell), alpha=NOISE
        ),
        "shiftlab's effects, with noise in empty cells": whole,
        **_others(dense, here),
    }
    return "gain and noise", count, calls


def _others(dense: Tensor, here: dict[str, ModuleType]) -> dict[str, Call]:
    """Return other projects' gain and noise of values (event, value)."""
    calls: dict[str, Call] = {}
    if "kornia" in here:
        augment: Any = importlib.import_module("kornia.augmentation")
        chain = torch.nn.Sequential(
            augment.RandomBrightness((GAIN, GAIN), clip_output=False), augment.RandomGaussianNoise(0.0, NOISE, p=1.0)
        )
        calls["kornia RandomBrightness, RandomGaussianNoise"] = lambda: chain(dense[:, None, None])
    if "torch_audiomentations" in here:
        audio: Any = here["torch_audiomentations"]
        level = 20 * math.log10(GAIN)
        keys: dict[str, Any] = {"p": 1.0, "sample_rate": 16000, "output_type": "tensor"}
        both = audio.Compose(
            [audio.Gain(level, level + 1e-6, **keys), audio.AddColoredNoise(15.0, 16.0, 0.0, 0.0, **keys)],
            output_type="tensor",
        )
        calls["torch-audiomentations Gain, AddColoredNoise"] = lambda: both(dense[:, None], sample_rate=16000)
    if "torchio" in here:
        medical: Any = here["torchio"]
        volumes = [one.reshape(1, -1, 1, 1) for one in dense]
        noisy = medical.RandomNoise(mean=0.0, std=(NOISE, NOISE))
        calls["torchio RandomNoise (no gain), event by event"] = lambda: [noisy(one) for one in volumes]
    return calls


def _drift(chamber: Detector, prepared: Prepared, here: dict[str, ModuleType]) -> tuple[str, int, dict[str, Call]]:
    """Return recombination, lifetime and diffusion of every deposit."""
    charge = prepared.charge
    values = {e.name: {p.name: p.nominal for p in e.parameters} for e in chamber.effects}
    recombination, lifetime = effects().get("recombination")(), effects().get("lifetime")()
    buffer = torch.empty_like(charge.electrons)

    def pointwise() -> Any:
        escaped = recombination.apply(charge, values["recombination"], Stream(1, "recombination"))
        return lifetime.apply(escaped, values["lifetime"], Stream(1, "lifetime"))

    def shared() -> Tensor:
        arrived = pointwise()
        return footprint(arrived, chamber.geometry)[0].collect(arrived.electrons)

    calls: dict[str, Call] = {
        "copy into a reused buffer": lambda: buffer.copy_(charge.electrons),
        "shiftlab recombination, lifetime (float64)": pointwise,
        "shiftlab the same, diffusion shared exactly among cells": shared,
    }
    if "gampixpy" in here:
        calls["gampixpy box model, drift, diffusion of points (float32)"] = _gampix(prepared)
    return "recombination and drift", len(charge.electrons), calls


def _gampix(prepared: Prepared) -> Call:
    """Return gampixpy's box recombination and drift of the same deposits, drawn together in its default volume."""
    names = ("config", "recombination", "tracks", "detector")
    config, recombination, tracks, detector = (_part(name) for name in names)
    manager = config.default_config_manager
    model = detector.DetectorModel(manager)
    box = recombination.BoxRecombinationModel(manager.physics_config)
    energy = prepared.charge.energy.to(torch.float32)
    dedx = prepared.charge.dedx.to(torch.float32).clamp(min=1.0)
    place = 0.1 * (prepared.charge.position - prepared.charge.position.mean(dim=0))
    time, label = torch.zeros_like(energy), torch.zeros_like(energy, dtype=torch.int64)

    def call() -> object:
        charge = energy * ELECTRONS_PER_MEV * box(energy, energy / dedx, dedx)
        track = tracks.Track(place, time, charge, label)
        model.drift(track)
        return track.drifted_track

    return call


def _part(name: str) -> Any:
    return importlib.import_module(f"gampixpy.{name}")
