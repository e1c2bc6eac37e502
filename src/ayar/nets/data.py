"""Data as a training sees it, and the test part that no training sees."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ayar.errors import DataError
from ayar.nets.mapped import Mapped, pieces

ALL = slice(None)
CLIP_SD = 5.0
CONSTANT_SD = 1e-6  # of the mean: what rounding leaves of a constant column


@dataclass(frozen=True, eq=False)
class Scaling:
    """How the source's units become those the net sees: ``(X - x_mean) / x_sd``, and likewise for y.

    Missing inputs become 0, the train mean. Inputs beyond five standard deviations are cut there: in a column
    that is nearly constant in the train rows (a picture's corner), one odd value would outweigh all others.
    The default changes nothing.
    """

    x_mean: np.ndarray | None = None
    x_sd: np.ndarray | None = None
    y_mean: float = 0.0
    y_sd: float = 1.0

    @classmethod
    def fitted(cls, X: np.ndarray, y: np.ndarray, kind: str) -> Scaling:
        """Standardises by the mean and standard deviation of these (train) rows; a constant column becomes 0."""
        return cls.fitted_to(lambda: iter((X,)), y, kind)

    @classmethod
    def fitted_to(cls, read: Callable[[], Iterator[np.ndarray]], y: np.ndarray, kind: str) -> Scaling:
        """The same for rows that ``read()`` gives some at a time, always the same."""
        count = np.maximum(sum((~np.isnan(X)).sum(axis=0) for X in read()), 1)
        x_mean = sum(np.where(np.isnan(X), 0, X).sum(axis=0, dtype=np.float64) for X in read()) / count
        squares = (np.square(np.where(np.isnan(X), 0, X - x_mean)).sum(axis=0) for X in read())
        x_sd = np.sqrt(sum(squares) / count)
        x_sd[x_sd <= CONSTANT_SD * np.abs(x_mean)] = 1.0
        if kind == "classification":
            return cls(x_mean, x_sd)
        return cls(x_mean, x_sd, float(np.mean(y)), float(np.std(y)) or 1.0)

    def inputs(self, X: np.ndarray, rows: np.ndarray | slice = ALL) -> np.ndarray:
        """Rows in the source's units as the net sees them; all, or those with the numbers ``rows``."""
        if self.x_mean is None or self.x_sd is None:
            return X[rows]
        chosen = np.arange(len(X))[rows]
        seen = np.empty((len(chosen), *X.shape[1:]), np.float32)
        for part in pieces(len(chosen), X[:1].nbytes):
            standardised = (X[chosen[part]] - self.x_mean) / self.x_sd
            np.clip(standardised, -CLIP_SD, CLIP_SD, out=standardised)
            standardised[np.isnan(standardised)] = 0
            seen[part] = standardised
        return seen

    def targets(self, y: np.ndarray) -> np.ndarray:
        """Real targets as the net sees them."""
        return ((y - self.y_mean) / self.y_sd).astype(np.float32)

    def outputs(self, outputs: np.ndarray) -> np.ndarray:
        """The net's outputs in the target's units."""
        return outputs * self.y_sd + self.y_mean


@dataclass(frozen=True, eq=False)
class Data:
    """What a training may see: train and validation rows, as the net is to see them.

    Attributes:
        X_train: Inputs, shape ``(n_train, n_features)`` float32 (other shapes for nets of your own).
        y_train: Class numbers int64 or, for regression, standardised targets float32; shape ``(n_train,)``.
        X_valid: As ``X_train``.
        y_valid: As ``y_train``.
        kind: ``"classification"`` or ``"regression"``.
        n_classes: Number of classes; 0 for regression.
        feature_names: One name for each column of ``X_train``; may be empty.
        target_name: What is predicted.
        class_names: The classes 0, 1, ... as the source names them; empty for regression.
        scaling: How rows and targets of the source became these.
        content_hash: Equal for the same source with the same split; None where nobody knows.
    """

    X_train: np.ndarray
    y_train: np.ndarray
    X_valid: np.ndarray
    y_valid: np.ndarray
    kind: str = "classification"
    n_classes: int = 0
    feature_names: tuple[str, ...] = ()
    target_name: str = "y"
    class_names: tuple[str, ...] = ()
    scaling: Scaling = field(default_factory=Scaling)
    content_hash: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("classification", "regression"):
            raise DataError(f"kind must be 'classification' or 'regression', got {self.kind!r}.")
        for part, X, y in (("train", self.X_train, self.y_train), ("valid", self.X_valid, self.y_valid)):
            if len(X) == 0 or len(X) != len(y):
                raise DataError(f"X_{part} and y_{part} need the same number of rows, at least 1: {len(X)}, {len(y)}.")
        if self.kind == "classification" and self.n_classes < 2:
            raise DataError(f"Classification needs n_classes of at least 2, got {self.n_classes}.")

    def __getstate__(self) -> dict[str, Any]:
        """An array that is mapped from a file goes to another process as the name of that file."""
        return {name: Mapped.instead_of(value) for name, value in self.__dict__.items()}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(
            {name: value.opened() if isinstance(value, Mapped) else value for name, value in state.items()}
        )


class SealedTest:
    """The test part. It can be scored, not seen; no training is ever given it."""

    __slots__ = ("_X", "_kind", "_y", "_y_sd")

    def __init__(self, X: np.ndarray, y: np.ndarray, kind: str, y_sd: float) -> None:
        self._X = X
        self._y = y
        self._kind = kind
        self._y_sd = y_sd

    @property
    def n(self) -> int:
        """Number of test rows."""
        return len(self._y)

    def score(self, predict: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
        """``{"test_error", "test_loss"}`` of ``predict(X) -> outputs``; X and outputs in the source's units.

        Classification: outputs are logits (log-probabilities are logits, too) of shape ``(n, n_classes)``; the
        share of wrong labels and the mean cross-entropy. Regression: outputs of shape ``(n,)``; the
        root-mean-square error and the mean squared error divided by the variance of the train targets.

        Raises:
            DataError: The outputs have another shape.
        """
        outputs = np.asarray(predict(self._X.copy()), dtype=np.float64)
        wanted_ndim = 1 if self._kind == "regression" else 2
        if outputs.ndim != wanted_ndim or len(outputs) != self.n:
            shape = f"({self.n},)" if wanted_ndim == 1 else f"({self.n}, n_classes)"
            raise DataError(f"predict must return an array of shape {shape} for this test part, got {outputs.shape}.")
        if self._kind == "regression":
            mse = float(np.mean((outputs - self._y) ** 2))
            return {"test_error": math.sqrt(mse), "test_loss": mse / self._y_sd**2}
        top = outputs.max(axis=1, keepdims=True)
        log_sums = top[:, 0] + np.log(np.exp(outputs - top).sum(axis=1))
        right = outputs[np.arange(self.n), self._y]
        return {
            "test_error": float(np.mean(outputs.argmax(axis=1) != self._y)),
            "test_loss": float(np.mean(log_sums - right)),
        }
