"""How many threads the linear algebra of NumPy and SciPy uses in this process.

OpenBLAS shares even a product of some microseconds out among all processors, and its threads wait for each other by
spinning. Where other programs have the processors, as workers have while a searcher thinks, each such wait may last as
long as the scheduler pleases.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from threadpoolctl import ThreadpoolController


@contextmanager
def blas_threads(n: int) -> Iterator[None]:
    """Inside, products of NumPy and SciPy use so many threads; those of PyTorch as many as it was told.

    >>> import numpy as np
    >>> with blas_threads(1):
    ...     np.eye(2) @ np.eye(2)
    array([[1., 0.],
           [0., 1.]])
    """
    with _libraries("scipy.linalg" in sys.modules).limit(limits=n, user_api="blas"):
        yield


@lru_cache(maxsize=2)
def _libraries(with_scipy: bool) -> ThreadpoolController:  # noqa: ARG001 - SciPy has a library of its own
    """What was loaded when it was first asked for, which takes some milliseconds to find out."""
    return ThreadpoolController()
