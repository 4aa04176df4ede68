"""Floating-point operations of forward and backward passes, as they ran: products, convolutions and attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count, shape_wrapper

__all__ = ["Meter", "metered"]


def _forward(query: Any, key: Any, value: Any, *rest: Any, **named: Any) -> int:
    del rest, named
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


def _backward(gradient: Any, query: Any, key: Any, value: Any, *rest: Any, **named: Any) -> int:
    del rest, named
    return int(sdpa_backward_flop_count(gradient, query, key, value))  # type: ignore[no-untyped-call]


def _nested_forward(left: Tensor, right: Tensor, **named: Any) -> int:
    """Products of nested tensors, which attention over jagged ones falls back to where no fused form fits."""
    del named
    sizes, columns = left._nested_tensor_size(), right._nested_tensor_size()[:, -1]
    return 2 * int((sizes.prod(1) * columns).sum())


def _nested_backward(gradient: Tensor, left: Tensor, right: Tensor, mask: list[bool], **named: Any) -> int:
    del gradient, named
    return sum(mask) * _nested_forward(left, right)


_CPU: Final = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_CPU_BACKWARD: Final = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward

# torch counts the attention of CUDA but not that of the CPU, which it would take for free.
_FORMULAS: Final[dict[Any, Callable[..., Any]]] = {
    **flop_registry,
    _CPU: shape_wrapper(_forward),  # type: ignore[no-untyped-call]
    _CPU_BACKWARD: shape_wrapper(_backward),  # type: ignore[no-untyped-call]
}
_NESTED: Final[dict[Any, Callable[..., int]]] = {
    torch.ops.aten.matmul: _nested_forward,
    torch.ops.aten.matmul_backward: _nested_backward,
}
_PLAIN: Final = (Tensor, nn.Parameter)


class Meter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what runs while it is active.

    It counts with the formulas of ``torch.utils.flop_counter`` but, unlike the counter there, leaves jagged tensors
    to themselves and counts what they do inside, since their products have no shape that a formula could read.

    Attributes:
        flops: Operations so far, a multiplication and an addition counted as two.
    """

    flops: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation and count it, or what it is made of where it has no formula."""
        kwargs = kwargs or {}
        if any(kind not in _PLAIN for kind in types):
            return NotImplemented
        packet = getattr(func, "_overloadpacket", func)
        formula = _FORMULAS.get(packet)
        nested = any(isinstance(one, Tensor) and one.is_nested for one in args)
        if nested and packet in _NESTED:
            formula = _NESTED[packet]
        elif formula is None and not nested:
            with self:
                parts = func.decompose(*args, **kwargs) if hasattr(func, "decompose") else NotImplemented
            if parts is not NotImplemented:
                return parts
        out = func(*args, **kwargs)
        if formula is not None:
            self.flops += int(formula(*args, **kwargs, out_val=out))
        return out


@contextmanager
def metered(enabled: bool = True, compiled: bool = False) -> Iterator[Meter]:
    """Count the operations that run inside, whether forward or backward, in the meter's ``flops``.

    Only what runs is counted: no backward pass through frozen parts, no gradient of weights that need none.
    Backward of fused attention holds five products, since it makes the weights of attention anew.
    Sums, norms and activations are not counted, as is usual (``torch.utils.flop_counter``).

    Args:
        enabled: Count at all.
        compiled: There are compiled parts; while counted they run as they are written, since the compiler hides
            their products.
    """
    meter = Meter()  # type: ignore[no-untyped-call]
    if not enabled:
        yield meter
        return
    stance = torch.compiler.set_stance("force_eager") if compiled else nullcontext()
    with stance, meter:
        yield meter
