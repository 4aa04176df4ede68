"""An arm refuses images that are not what it was trained on."""

from dataclasses import replace

import pytest

from shiftlab.arms import InputContract
from shiftlab.arms.bodies.voxel_transformer import VoxelTransformer
from shiftlab.arms.training_set import input_contract
from shiftlab.errors import ConfigError
from shiftlab.events import Image
from shiftlab.tasks import named_tasks


def test_the_contract_survives_json_and_describes_the_detector(pixel):
    contract = input_contract(pixel)
    assert InputContract.from_plain(contract.plain()) == contract
    assert (contract.shape, contract.pitch, contract.threshold) == ((768, 768, 768), 0.3, 3000.0)


@pytest.mark.parametrize(("field", "value"), [("pitch", 0.4), ("threshold", 5000.0), ("shape", (256, 256, 256))])
def test_a_mismatch_names_the_field_and_both_values(field, value):
    other = replace(InputContract(), **{field: value})
    with pytest.raises(ConfigError, match=f"{field} = ") as error:
        InputContract().require(other, "arm 'foundation'")
    assert str(value) in str(error.value)
    InputContract().require(InputContract(), "arm 'foundation'")


def test_an_unknown_or_missing_key_is_refused():
    plain = InputContract().plain()
    with pytest.raises(ConfigError, match="colour"):
        InputContract.from_plain({**plain, "colour": 1})
    plain.pop("pitch")
    with pytest.raises(ConfigError, match="pitch"):
        InputContract.from_plain(plain)


@pytest.mark.parametrize("grain", [0, 3, 32])
def test_a_grain_divides_its_patch(grain):
    with pytest.raises(ConfigError, match=f"grain {grain} does not divide patch 16"):
        InputContract(grain=grain)


@pytest.mark.parametrize(("width", "heads"), [(32, 3), (32, 8), (32, 0)])
def test_heads_divide_the_width_and_have_room_beside_the_distances(width, heads):
    size = {"width": width, "heads": heads, "depth": 1, "stem": 8, "rounds": 1, "expansion": 2}
    with pytest.raises(ConfigError, match=f"{heads} heads do not fit the width {width}"):
        VoxelTransformer.fresh(size, InputContract())


def test_another_lattice_is_refused_when_predicting(arm, view):
    image, truth = view
    small = Image(image.offsets, image.cell, image.charge, image.energy, (64, 64, 64), image.events)
    with pytest.raises(ConfigError, match="lattice"):
        arm.predict(small, truth, named_tasks())
