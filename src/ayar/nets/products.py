"""Products of stacked matrices, by the library that is quicker at them on this machine.

PyTorch multiplies with the library that it was built with, NumPy with another; which of them uses a processor's widest
instructions differs by more than two times. Both work on the same memory here, so either may do it.
"""

from __future__ import annotations

from functools import cache, partial

import numpy as np
import torch
from torch import Tensor

from ayar.nets.measured import Call, Measured, remembered, times_as_quick

_LANES, _SIZE = 16, 64  # of the products that the two are compared by


def by_numpy(out: Tensor) -> bool:
    """Whether NumPy fills ``out``: where it is quicker, and nobody asked for less than full precision."""
    exact = torch.get_float32_matmul_precision() == "highest"
    return exact and numpy_is_quicker(out.device.type, out.dtype)


def product(a: Tensor, b: Tensor, out: Tensor) -> list[Call]:
    """Calls that leave ``a[i] @ b[i]`` in ``out[i]`` for each i."""
    if by_numpy(out):
        return [partial(np.matmul, a.numpy(), b.numpy(), out=out.numpy())]
    if out.is_contiguous():
        return [partial(torch.bmm, a, b, out=out)]
    whole = torch.empty_like(out, memory_format=torch.contiguous_format)  # bmm writes slowly to where there are gaps
    return [partial(torch.bmm, a, b, out=whole), partial(out.copy_, whole)]


def affine(c: Tensor, a: Tensor, b: Tensor, out: Tensor) -> list[Call]:
    """Calls that leave ``c[i] + a[i] @ b[i]`` in ``out[i]`` for each i; c is repeated along a dimension of size 1."""
    if by_numpy(out):
        return [*product(a, b, out), partial(out.add_, c)]
    return [partial(torch.baddbmm, c, a, b, out=out)]


@cache
def numpy_is_quicker(device: str, dtype: torch.dtype) -> bool:
    """Whether NumPy multiplies quicker than PyTorch: measured once for each machine, in a few milliseconds."""
    if device != "cpu" or dtype not in (torch.float32, torch.float64):
        return False
    return remembered(f"products of {dtype}", partial(_measured, dtype))["numpy"] > 1


def _measured(dtype: torch.dtype) -> Measured:
    """How many times as quick as PyTorch NumPy is, with one thread each."""
    a, b = (torch.randn(_LANES, _SIZE, _SIZE, dtype=dtype) for _ in range(2))
    out = torch.empty_like(a)
    ours = partial(np.matmul, a.numpy(), b.numpy(), out=out.numpy())
    return {"numpy": times_as_quick(ours, partial(torch.bmm, a, b, out=out))}
