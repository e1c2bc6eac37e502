"""Functions of every number of a tensor, by the library that is quicker at them on this machine.

As with products: on some processors NumPy's ``tanh`` and ``exp`` take a tenth and a fifth of the time of PyTorch's.
"""

from __future__ import annotations

from functools import cache, partial

import numpy as np
import torch
from torch import Tensor

from ayar.nets.measured import Call, Measured, remembered, times_as_quick

_SIZE = 2**14  # of what the two are compared by


def elementwise(name: str, a: Tensor, out: Tensor) -> Call:
    """A call that leaves ``exp``, ``sqrt`` or ``tanh`` of ``a`` in ``out``."""
    if numpy_is_quicker_at(name, out.device.type, out.dtype):
        return partial(getattr(np, name), a.numpy(), out=out.numpy())
    return partial(getattr(torch, name), a, out=out)


@cache
def numpy_is_quicker_at(name: str, device: str, dtype: torch.dtype) -> bool:
    """Whether NumPy is quicker at a function: measured once for each machine, in a few milliseconds."""
    if device != "cpu" or dtype not in (torch.float32, torch.float64):
        return False
    return remembered(f"{name} of {dtype}", partial(_measured, name, dtype))["numpy"] > 1


def _measured(name: str, dtype: torch.dtype) -> Measured:
    """How many times as quick as PyTorch NumPy is, with one thread each."""
    a = torch.randn(_SIZE, dtype=dtype).abs()
    out = torch.empty_like(a)
    ours = partial(getattr(np, name), a.numpy(), out=out.numpy())
    return {"numpy": times_as_quick(ours, partial(getattr(torch, name), a, out=out))}
