"""With how many threads nets are trained in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ayar.threads import blas_threads


@contextmanager
def using(threads: int | None) -> Iterator[None]:
    """Inside, PyTorch and NumPy use so many threads; as many as PyTorch before where it is None."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        with blas_threads(threads or before):
            yield
    finally:
        torch.set_num_threads(before)
