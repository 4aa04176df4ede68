"""Field maps: read, linear between nodes, undone where they can be, and refused by name where they cannot."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator

from shiftlab.detector import FieldMap, read_field_map, undisplaced
from shiftlab.errors import ConfigError, DataError
from shiftlab.provenance import digest_file

LOWER, UPPER = (0.0, -1.0, 0.0), (48.0, 49.0, 50.0)
AXES = [np.linspace(low, high, count) for low, high, count in zip(LOWER, UPPER, (7, 6, 5), strict=True)]


def grids(seed=0, size=1.0):
    generator = np.random.default_rng(seed)
    shape = (*(len(axis) for axis in AXES), 3)
    return size * generator.uniform(-1, 1, shape), 0.1 * generator.uniform(-1, 1, shape)


def field_map(seed=0, size=1.0):
    displacement, field = grids(seed, size)
    return FieldMap(LOWER, UPPER, torch.from_numpy(displacement), torch.from_numpy(field))


def write(path, **changed):
    """Write a map as a user would; ``changed`` replaces a dataset, or leaves it out where None."""
    displacement, field = grids()
    content = {"lower": LOWER, "upper": UPPER, "displacement": displacement, "field": field, **changed}
    with h5py.File(path, "w") as file:
        for name, values in content.items():
            if values is not None:
                file[name] = values
        for name, unit in (("displacement", "cm"), ("field", "1")):
            if name in file:
                file[name].attrs["units"] = unit
    return path


@given(st.integers(0, 2**31))
def test_interpolation_is_that_of_scipy(seed):
    """Trilinear, in three dimensions, against RegularGridInterpolator; on the nodes it is the map itself."""
    generator = np.random.default_rng(seed)
    points = generator.uniform(LOWER, UPPER, (40, 3))
    points[0] = [AXES[0][2], AXES[1][3], AXES[2][1]]
    points[1:3] = [LOWER, UPPER]
    found = field_map(seed).at(torch.from_numpy(points))
    for mine, grid in zip(found, grids(seed), strict=True):
        np.testing.assert_allclose(mine.numpy(), RegularGridInterpolator(AXES, grid)(points), rtol=1e-9, atol=1e-12)


def test_one_point_is_the_same_bits_in_any_batch():
    points = torch.from_numpy(np.random.default_rng(3).uniform(LOWER, UPPER, (200, 3)))
    together = torch.cat(field_map().at(points), dim=1)
    for row in (0, 17, 199):
        assert torch.equal(torch.cat(field_map().at(points[row : row + 1]), dim=1)[0], together[row])
    assert field_map().at(points[:0])[0].shape == (0, 3)


def test_a_file_is_read_as_it_was_written(tmp_path):
    """Grids, box and digest; text attributes as text or as bytes."""
    path = write(tmp_path / "map.h5")
    with h5py.File(path, "r+") as file:
        file["field"].attrs["units"] = np.bytes_("1")
    found = read_field_map(path)
    assert (found.lower, found.upper) == (LOWER, UPPER)
    np.testing.assert_array_equal(found.displacement.numpy(), grids()[0])
    np.testing.assert_array_equal(found.field.numpy(), grids()[1])
    assert found.digest == digest_file(path)


NAN = grids()[0].copy()
NAN[1, 1, 1, 1] = np.nan


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"field": None}, "no dataset 'field' of numbers; it has displacement, lower, upper"),
        ({"lower": (0.0, 0.0)}, r"'lower' has shape \(2,\)"),
        ({"lower": ("a", "b", "c")}, "no dataset 'lower' of numbers"),
        ({"upper": LOWER}, "has no volume"),
        ({"upper": (np.inf, 1.0, 1.0)}, "no end"),
        ({"displacement": NAN}, "displacement has numbers that are not finite"),
        ({"displacement": grids()[0][:, :, :1]}, "at least two nodes"),
        ({"displacement": grids()[0][..., 0]}, r"displacement has shape \(7, 6, 5\)"),
        ({"displacement": grids()[0][1:]}, r"displacement has shape \(6, 6, 5, 3\)"),
        ({"field": 500.0 * grids()[1]}, "below 1 for charge to drift"),
    ],
)
def test_a_file_that_is_no_map_is_refused(tmp_path, changed, message):
    with pytest.raises(DataError, match=message) as caught:
        read_field_map(write(tmp_path / "map.h5", **changed))
    assert "map.h5" in str(caught.value)


def test_a_map_without_units_is_refused(tmp_path):
    """A displacement in mm would pass every other check."""
    path = write(tmp_path / "map.h5")
    with h5py.File(path, "r+") as file:
        file["displacement"].attrs["units"] = "mm"
    with pytest.raises(DataError, match="'displacement' has units 'mm'; allowed: 'cm'"):
        read_field_map(path)


def test_a_missing_or_damaged_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such field map"):
        read_field_map(tmp_path / "none.h5")
    path = write(tmp_path / "map.h5")
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises(DataError, match="truncated or damaged"):
        read_field_map(path)
    path.write_text("displacement")
    with pytest.raises(DataError, match="not an HDF5 file"):
        read_field_map(path)


def test_a_map_that_does_not_cover_the_detector_names_both_boxes():
    field_map().require_cover((48.0, 48.0, 48.0))
    with pytest.raises(
        ConfigError, match=r"\[0, 48\] x \[-1, 49\] x \[0, 50\] cm.*\[0, 48\] x \[0, 48\] x \[0, 51\] cm"
    ):
        field_map().require_cover((48.0, 48.0, 51.0))


@given(st.integers(0, 2**31), st.floats(-1.0, 1.0))
def test_a_gentle_map_is_undone(seed, scale):
    """Fixed-point iteration finds the place of ionisation to 1e-8 cm."""
    distorted = field_map(seed)
    distorted.require_injective(scale)
    places = torch.from_numpy(np.random.default_rng(seed).uniform(LOWER, UPPER, (20, 3)))
    seen = places + scale * distorted.at(places)[0]
    found = undisplaced(seen, lambda place: scale * distorted.at(place)[0])
    torch.testing.assert_close(found, places, rtol=0, atol=1e-8)


def test_a_map_that_folds_cannot_be_undone():
    """Where two places seem one: refused with the place; iterating it would never end."""
    displacement, field = (torch.zeros(7, 6, 5, 3, dtype=torch.float64) for _ in range(2))
    displacement[3, :, :, 0] = 20.0
    steep = FieldMap(LOWER, UPPER, displacement, field, source="steep.h5")
    steep.require_injective(0.3)
    with pytest.raises(ConfigError, match=r"steep\.h5, times 1, is not invertible: it folds near \[24\.0, "):
        steep.require_injective()
    with pytest.raises(ConfigError, match="not invertible: after 200 iterations"):
        undisplaced(torch.tensor([[30.0, 10.0, 10.0]]), lambda place: 1.5 * steep.at(place)[0])
