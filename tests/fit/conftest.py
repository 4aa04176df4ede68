"""Templates made by hand, with known effects, for fits."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from shiftlab.templates import Observation, Templates


def make_templates(
    nominal: Mapping[str, Sequence[Sequence[float]]],
    effects: Mapping[str, tuple[object, object]],
    *,
    mc: float = 1e-4,
    injected: Sequence[float] | None = None,
) -> Templates:
    """Templates of channels ``nominal[channel][sample][bin]``; an effect is the relative (up, down) shift.

    ``mc`` is the relative Monte Carlo error of each sample and bin. A relative shift is a number, or
    an array that broadcasts to (sample, bin) over all bins.
    """
    arrays = [np.array(values, dtype=np.float64) for values in nominal.values()]
    joined = np.concatenate(arrays, axis=1)
    samples = ("nue_cc", "numu_cc", "photon_protons")[: len(joined)]
    zero = np.zeros((len(effects), *joined.shape))
    up = np.stack([joined * (1.0 + np.asarray(u)) for u, _ in effects.values()]) if effects else zero
    down = np.stack([joined * (1.0 + np.asarray(d)) for _, d in effects.values()]) if effects else zero
    expected, bins = joined.sum(axis=0), joined.shape[1]
    none = np.zeros(bins)
    observations = {"asimov": Observation("asimov", "nominal", expected, none, none, dict.fromkeys(effects, 0.0))}
    if injected is not None:
        counts = np.array(injected, dtype=np.float64)
        observations["held_out"] = Observation("held_out", "nominal", expected, expected, none, {})
        observations["injected"] = Observation("injected", "joint_00", counts, counts, 0.1 * counts, {})
    return Templates(
        arm="scratch",
        seed=0,
        recalibrate="none",
        channels=tuple(nominal),
        samples=samples,
        nuisances=tuple(effects),
        signal="nue_cc",
        edges={name: np.arange(array.shape[1] + 1.0) for name, array in zip(nominal, arrays, strict=True)},
        labels={name: name for name in nominal},
        nominal=joined,
        variance=(mc * joined) ** 2,
        events=np.full_like(joined, 1000.0),
        up=up,
        down=down,
        covariance={
            name: np.zeros((len(effects), len(samples), 2, array.shape[1], 2, array.shape[1]))
            for name, array in zip(nominal, arrays, strict=True)
        },
        observations=observations,
    )


@pytest.fixture(scope="session")
def build() -> Callable[..., Templates]:
    return make_templates
