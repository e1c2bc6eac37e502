import numpy as np
import pytest
import torch

from ayar.nets.tasks import Data

torch.set_num_threads(1)


def made_data(kind: str, n_train: int = 90, n_valid: int = 40, seed: int = 0) -> Data:
    """Rows whose target follows from the inputs through a bend and a little noise; real targets all differ."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_train + n_valid, 5)).astype(np.float32)
    signal = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + 0.1 * rng.normal(size=len(X))
    if kind == "classification":
        y, n_classes = np.digitize(signal, [-0.5, 0.5]).astype(np.int64), 3
    else:
        y, n_classes = signal.astype(np.float32), 0
    train, valid = slice(0, n_train), slice(n_train, None)
    return Data(X[train], y[train], X[valid], y[valid], kind, n_classes)


@pytest.fixture(params=["classification", "regression"])
def data(request) -> Data:
    return made_data(request.param)


@pytest.fixture
def classes() -> Data:
    return made_data("classification")


@pytest.fixture
def reals() -> Data:
    return made_data("regression")
