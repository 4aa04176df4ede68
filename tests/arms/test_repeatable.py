"""The same numbers have the same bits each time: on the CPU as they come out, on a graphics card by what is called."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from shiftlab.arms.repeatable import repeatable
from shiftlab.arms.scratch import Scratch
from shiftlab.arms.tokens.set import token_set
from shiftlab.arms.training import Run, Workshop, train
from shiftlab.arms.training.pretraining import pretrain
from shiftlab.arms.training.recipe import Recipe
from shiftlab.arms.training_set import training_set
from shiftlab.config import locate
from shiftlab.detector import NOMINAL, unisim
from shiftlab.events import read_tokens
from shiftlab.tasks import named_tasks, truth_in

_spec = importlib.util.spec_from_file_location("crossing", Path(__file__).parents[1] / "tasks" / "crossing.py")
crossing = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(crossing)

SIZE = {"width": 32, "depth": 1, "heads": 2, "stem": 8, "rounds": 1, "expansion": 2}
FEW = {"body": 16, "scratch": 16, "batch": 8, "validation": 0.2}


def floating(place: int) -> Callable[..., bool]:
    """Whether the argument at a place is not of whole numbers."""
    return lambda *given: given[place].is_floating_point()


def given(place: int) -> Callable[..., bool]:
    """Whether there is an argument at a place."""
    return lambda *told: len(told) > place and told[place] is not None


def always(*_: object) -> bool:
    """For every call."""
    return True


ORDERLESS: dict[str, Callable[..., bool]] = {
    **dict.fromkeys(
        (
            *("avg_pool3d_backward", "_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward"),
            *("adaptive_max_pool2d_backward", "fractional_max_pool2d_backward", "fractional_max_pool3d_backward"),
            *("max_unpool2d", "max_unpool3d", "upsample_linear1d_backward", "upsample_bilinear2d_backward"),
            *("upsample_bicubic2d_backward", "upsample_trilinear3d_backward", "reflection_pad1d_backward"),
            *("reflection_pad2d_backward", "reflection_pad3d_backward", "nll_loss2d_forward", "nll_loss2d_backward"),
            *("_ctc_loss_backward", "_embedding_bag_dense_backward", "put_", "put", "histc"),
            *("grid_sampler_2d_backward", "grid_sampler_3d_backward", "median", "nanmedian", "index_reduce"),
        ),
        always,
    ),
    "bincount": given(1),
    "cumsum": floating(0),
    "cumsum_": floating(0),
}
"""What has no fixed order on CUDA by the list of ``torch.use_deterministic_algorithms``, and for which arguments."""


class Watch(TorchDispatchMode):
    """Notes all operations, and those that a graphics card would refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.refused: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        """Note one operation and do it."""
        name = func.overloadpacket.__name__
        self.seen.add(name)
        if name in ORDERLESS and ORDERLESS[name](*args):
            self.refused.add(name)
        if name.startswith("scatter_reduce") and "prod" in args:
            self.refused.add(name)
        return func(*args, **(kwargs or {}))


@pytest.fixture
def two_threads() -> Iterator[None]:
    """More than one torch thread, as a machine without a limit has."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def gradient() -> Tensor:
    """Gradient of a gather of 20,000 rows, in which 67 on average are added to each number."""
    draw = torch.Generator().manual_seed(1)
    rows = torch.randn(300, 64, generator=draw, requires_grad=True)
    index, weight = torch.randint(0, 300, (20_000,), generator=draw), torch.randn(20_000, 64, generator=draw)
    (rows[index] * weight).sum().backward()
    return rows.grad


@pytest.mark.usefixtures("two_threads")
def test_gradients_of_gathers_have_the_bits_of_one_thread():
    with repeatable("cpu"):
        several = [gradient() for _ in range(8)]
    torch.set_num_threads(1)
    one = gradient()
    assert all(torch.equal(each, one) for each in several)


def test_torch_is_left_as_it_was_also_by_what_fails():
    def fail() -> None:
        with repeatable("cpu"):
            raise ZeroDivisionError

    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with repeatable("cpu"):
            assert torch.are_deterministic_algorithms_enabled()
            assert not torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
    with pytest.raises(ZeroDivisionError):
        fail()
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_graphics_card_gets_its_fixed_workspace_and_the_users_own_stays(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # so that the end of the test takes away what is set below
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    with repeatable("cpu"):
        assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    with repeatable("cuda:0"):
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    with repeatable("cuda"):
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_a_training_runs_with_a_fixed_order_of_sums(tmp_path):
    module, seen = torch.nn.Linear(2, 1), []

    def loss(rows: Tensor, generator: torch.Generator) -> Tensor:
        seen.append(torch.are_deterministic_algorithms_enabled())
        return module(torch.ones(len(rows), 2)).mean()

    run = Run("line", 0, tmp_path / "state", "identity")
    train(run, module, [torch.arange(4)], loss, Recipe(), peak=1e-3, keys=torch.arange(4))
    assert seen == [True]
    assert not torch.are_deterministic_algorithms_enabled()


def watched(work: Callable[[], object]) -> set[str]:
    """Return the operations that a graphics card would refuse to do in a fixed order."""
    with Watch() as watch:
        work()
    assert len(watch.seen) > 20
    return watch.refused


def test_the_watch_sees_what_has_no_fixed_order():
    number, weight = torch.tensor([0, 0, 1]), torch.ones(3)
    with Watch() as watch:
        torch.bincount(number)
        number.cumsum(0)
    assert watch.refused == set()
    with Watch() as watch:
        torch.bincount(number, weight)
        weight.cumsum(0)
        weight.median()
    assert watch.refused == {"bincount", "cumsum", "median"}


@pytest.mark.parametrize("objective", ["masked_modelling", "self_distillation"])
def test_pretraining_on_images_can_be_done_in_a_fixed_order(objective, lesson, tmp_path):
    recipe = Recipe(objective=objective, size=SIZE, **FEW)
    assert watched(lambda: pretrain(lesson, 0, recipe, Workshop(tmp_path, "x"))) == set()


@pytest.mark.parametrize("network", ["token_transformer", "pet2"])
def test_pretraining_on_tokens_can_be_done_in_a_fixed_order(network, tmp_path):
    if network == "pet2":
        pytest.importorskip("omnilearned.network", reason="needs shiftlab[peers]")
    tokens = read_tokens(locate("studies/samples/minerva_like_tokens.h5"), events=slice(0, 32))
    data = token_set(tokens, named_tasks(["available_energy", "pion_topology"]))
    recipe = Recipe(objective="classify_and_generate", network=network, size="tiny", **FEW)
    assert watched(lambda: pretrain(data, 0, recipe, Workshop(tmp_path, "x"))) == set()


def test_universes_heads_and_counts_can_be_done_in_a_fixed_order(pixel, tmp_path):
    """Images in every universe of the default detector, trained heads of every kind, and what is counted of them."""
    tasks = named_tasks(["direction", "energy", "flavour", "particle_id", "particles", "segmentation", "vertex"])
    data = training_set(crossing.crossings(16, seed=1), pixel, tasks, lambda events: None)
    prepared = pixel.prepare(crossing.crossings(6, seed=2))

    def work() -> None:
        arm = Scratch.train(data, tasks, 0, Recipe(size=SIZE, **FEW), Workshop(tmp_path, "x"))
        truth = truth_in(pixel, prepared, NOMINAL, particles=True)
        for universe in (NOMINAL, *unisim(pixel)):
            image = pixel.image(prepared, universe)
        arm.predict(image, truth, tasks)

    assert watched(work) == set()
