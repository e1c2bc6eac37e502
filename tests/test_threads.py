"""Threads of NumPy's and SciPy's linear algebra."""

import numpy as np
import pytest
import scipy.linalg
from threadpoolctl import threadpool_info

from ayar.threads import blas_threads


def threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_inside_they_are_as_many_as_asked_for_and_afterwards_as_many_as_before():
    assert np.eye(2).tolist() == scipy.linalg.inv(np.eye(2)).tolist()
    before = threads()
    with blas_threads(1):
        assert threads() == {1}
        with blas_threads(2):
            assert threads() == {2}
        assert threads() == {1}
    with pytest.raises(ValueError, match="of the training"), blas_threads(2):
        raise ValueError("of the training")
    assert threads() == before
