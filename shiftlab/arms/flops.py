"""Floating-point operations of forward and backward passes, as they ran: products, convolutions and attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Final

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

__all__ = ["Meter", "metered"]


def _forward(query: Any, key: Any, value: Any, *rest: Any, **named: Any) -> int:
    del rest, named
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


def _backward(gradient: Any, query: Any, key: Any, value: Any, *rest: Any, **named: Any) -> int:
    del rest, named
    return int(sdpa_backward_flop_count(gradient, query, key, value))  # type: ignore[no-untyped-call]


# torch counts the attention of CUDA but not that of the CPU, which it would take for free.
_ATTENTION: Final[dict[Any, Callable[..., int]]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _forward,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _backward,
}


class Meter:
    """What a measured piece of work took.

    Attributes:
        flops: Operations, a multiplication and an addition counted as two.
    """

    flops: int = 0


@contextmanager
def metered(enabled: bool = True, compiled: bool = False) -> Iterator[Meter]:
    """Count the operations that run inside, whether forward or backward; ``flops`` is filled at the end.

    Only what runs is counted: no backward pass through frozen parts, no gradient of weights that need none.
    Backward of fused attention holds five products, since it makes the weights of attention anew.
    Sums, norms and activations are not counted, as is usual (``torch.utils.flop_counter``).

    Args:
        enabled: Count at all.
        compiled: There are compiled parts; while counted they run as they are written, since the compiler hides
            their products.
    """
    meter = Meter()
    if not enabled:
        yield meter
        return
    stance = torch.compiler.set_stance("force_eager") if compiled else nullcontext()
    with stance, FlopCounterMode(display=False, custom_mapping=_ATTENTION) as counter:
        yield meter
    meter.flops = int(counter.get_total_flops())
