"""Tasks: real data, split once into train, validation and a sealed test part.

Everything that is fitted to data here (categories, means, standard deviations) is fitted to train rows only.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ayar.errors import DataError, extra
from ayar.nets import sources
from ayar.nets.sources import PARTS, Source

SHARES = {"train": 0.6, "valid": 0.2, "test": 0.2}
"""Share of the rows that each part gets where the source does not fix it: a choice among many configurations, and
its score, need validation and test rows enough to tell them apart."""

CLIP_SD = 5.0
CONSTANT_SD = 1e-6  # of the mean: what rounding leaves of a constant column
LARGEST_INPUT = 1e30  # its square still fits into 64 bits many times over
MOST_CATEGORIES = 50
MOST_CLASSES = 20
ROWS_PER_CLASS = 5


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
        present = ~np.isnan(X)
        count = np.maximum(present.sum(axis=0), 1)
        x_mean = np.where(present, X, 0).sum(axis=0, dtype=np.float64) / count
        x_sd = np.sqrt(np.square(np.where(present, X - x_mean, 0)).sum(axis=0) / count)
        x_sd[x_sd <= CONSTANT_SD * np.abs(x_mean)] = 1.0
        if kind == "classification":
            return cls(x_mean, x_sd)
        return cls(x_mean, x_sd, float(np.mean(y)), float(np.std(y)) or 1.0)

    def inputs(self, X: np.ndarray) -> np.ndarray:
        """Rows in the source's units as the net sees them."""
        if self.x_mean is None or self.x_sd is None:
            return X
        standardised = np.clip((X - self.x_mean) / self.x_sd, -CLIP_SD, CLIP_SD)
        return np.where(np.isnan(standardised), 0, standardised).astype(np.float32)

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


@dataclass(frozen=True, eq=False)
class Task:
    """Data to learn from, with its test part sealed.

    Attributes:
        name: Of the built-in task or the file.
        data: Train and validation part.
        sealed: Test part.
        split_hash: SHA-256 over the rows and the split: equal hashes mean the same task.
        warnings: What a person should know of the data, as sentences.
    """

    name: str
    data: Data
    sealed: SealedTest
    split_hash: str
    warnings: tuple[str, ...] = ()


@extra("torch")
def load_task(source: str | Path, *, target: str | None = None, seed: int = 0, kind: str | None = None) -> Task:
    """A task from a built-in table (``"digits"``), an ``.npz`` file or a ``.csv`` file.

    The target decides the kind of task. Text names classes. So do whole numbers with at most 20 different
    values, or exactly 0 ... C-1 or 1 ... C with on average five rows each. Everything else is regression.

    Parts of the split that the source does not fix are drawn once from ``seed``, class by class: 60 % train,
    20 % validation, 20 % test. They come from rows of no part, or where all have one, from the train part.

    Args:
        source: Name of a built-in task, or path of a file.
        target: Column to predict, for ``.csv``.
        seed: Of the split; another seed is another task.
        kind: ``"classification"`` or ``"regression"``, to overrule what the target suggests.

    Raises:
        DataError: The data cannot be used; the message says why and what to do.
    """
    raw = sources.read(source, target)
    kind = kind or raw.kind or _kind_of(raw.y)
    y, class_names = _labels(raw, kind)
    rows, warnings = _split(raw, y, kind, seed)
    X, feature_names = _encoded(raw, rows["train"])
    _check_inputs(X, raw)
    warnings += _missing(X, raw) + _unseen_classes(y, rows, class_names) + _duplicates(X, rows)

    scaling = Scaling.fitted(X[rows["train"]], y[rows["train"]], kind)
    as_targets = scaling.targets if kind == "regression" else np.asarray
    parts: dict[str, Any] = {}
    for part in ("train", "valid"):
        parts |= {f"X_{part}": scaling.inputs(X[rows[part]]), f"y_{part}": as_targets(y[rows[part]])}
    split_hash = _hash(raw, rows)
    data = Data(
        **parts,
        kind=kind,
        n_classes=len(class_names),
        feature_names=feature_names,
        target_name=raw.target_name,
        class_names=class_names,
        scaling=scaling,
        content_hash=split_hash,
    )
    sealed = SealedTest(X[rows["test"]], y[rows["test"]], kind, scaling.y_sd)
    return Task(raw.name, data, sealed, split_hash, tuple(warnings))


def _kind_of(y: np.ndarray) -> str:
    if y.dtype.kind not in "fiu":
        return "classification"
    values = np.unique(y)
    if not np.all(np.isfinite(values)) or np.any(values != np.round(values)):
        return "regression"
    first, count = values[0], len(values)
    numbered = first in (0, 1) and values[-1] - first == count - 1 and len(y) >= ROWS_PER_CLASS * count
    return "classification" if count <= MOST_CLASSES or numbered else "regression"


def _labels(raw: Source, kind: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Targets as class numbers int64 with the classes' names, or as real numbers without."""
    y = raw.y
    if y.dtype.kind == "f" and not np.all(np.isfinite(y)):
        bad = np.flatnonzero(~np.isfinite(y))
        raise DataError(
            f"The target of {raw.name} is NaN or infinite in {len(bad)} rows, first in row {bad[0]} "
            "(from 0). Remove those rows: a row without a target teaches nothing."
        )
    if kind == "regression":
        if y.dtype.kind not in "fiub":
            raise DataError(f"The target of {raw.name} is text ({y[0]!r}, ...); regression needs numbers.")
        if len(np.unique(y)) < 2:
            raise DataError(f"The target of {raw.name} has the same value in every row: nothing to learn.")
        return y.astype(np.float64), ()
    values, labels = np.unique(y, return_inverse=True)
    if len(values) < 2:
        raise DataError(f"The target of {raw.name} has one class only, {values[0]}: nothing to learn.")
    names = tuple(f"{v:g}" if y.dtype.kind == "f" else str(v) for v in values)
    if raw.class_names and np.array_equal(values, np.arange(len(raw.class_names))):
        names = raw.class_names
    return labels.astype(np.int64), names


def _split(raw: Source, y: np.ndarray, kind: str, seed: int) -> tuple[dict[str, np.ndarray], list[str]]:
    """Row numbers of each part, ascending, and warnings."""
    n = len(y)
    given = {part: _checked_rows(raw, part, n) for part in PARTS if part in raw.parts}
    owners = np.zeros(n, dtype=int)
    for rows in given.values():
        owners[rows] += 1
    if np.any(owners > 1):
        raise DataError(
            f"Row {np.argmax(owners > 1)} of {raw.name} is in more than one part of the given split. "
            "A row may be in one only: a net must not be judged on rows that it was trained on."
        )
    rest = np.flatnonzero(owners == 0)
    missing = [part for part in PARTS if part not in given]
    if not missing:
        spare = [f"{len(rest)} of {n} rows belong to no part and are not used."] if len(rest) else []
        return given, spare
    if len(rest) == 0:
        if "train" not in given:
            raise DataError(f"The given parts of {raw.name} take all {n} rows: none is left to train on.")
        rest, missing = given["train"], ["train", *missing]
    rng = np.random.default_rng(seed)
    groups = [rest] if kind == "regression" else [rest[y[rest] == label] for label in np.unique(y[rest])]
    drawn: dict[str, list[np.ndarray]] = {part: [] for part in missing}
    for members in groups:
        if len(members) < len(missing):
            whose = raw.name if kind == "regression" else f"Class {raw.y[members[0]]} of {raw.name}"
            raise DataError(
                f"{whose} has {len(members)} rows to be shared among {', '.join(missing)}. "
                "Each part needs at least one: add rows, or leave the class out."
            )
        for part, rows in _shared_out(rng.permutation(members), missing).items():
            drawn[part].append(rows)
    return {**given, **{part: np.sort(np.concatenate(rows)) for part, rows in drawn.items()}}, []


def _shared_out(rows: np.ndarray, parts: list[str]) -> dict[str, np.ndarray]:
    """``rows`` cut into ``parts`` by their shares, at least one row each; the first gets what is left."""
    total = sum(SHARES[part] for part in parts)
    shared = {}
    for part in reversed(parts[1:]):
        count = max(1, round(len(rows) * SHARES[part] / total))
        shared[part], rows = rows[:count], rows[count:]
        total -= SHARES[part]
    return {parts[0]: rows, **shared}


def _checked_rows(raw: Source, part: str, n: int) -> np.ndarray:
    rows = raw.parts[part]
    name = f"{part}_idx of {raw.name}"
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise DataError(f"{name} must hold row numbers, shape (n,), got {rows.dtype} of shape {rows.shape}.")
    if len(rows) == 0:
        raise DataError(f"{name} is empty. Leave it out to have the part drawn.")
    if rows.min() < 0 or rows.max() >= n:
        bad = rows[(rows < 0) | (rows >= n)][0]
        raise DataError(f"{name} holds row {bad}, but rows are numbered 0 to {n - 1}.")
    if len(np.unique(rows)) < len(rows):
        raise DataError(f"{name} holds a row more than once.")
    return np.sort(rows.astype(np.int64))


def _encoded(raw: Source, train: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Numeric columns, then for each other column one 0/1 column per category, the 50 most frequent of train."""
    columns, names = [raw.X], list(raw.feature_names)
    for name, cells in raw.categories.items():
        values, counts = np.unique(cells[train], return_counts=True)
        kept = np.sort(values[np.argsort(-counts, kind="stable")[:MOST_CATEGORIES]])
        columns.append(cells[:, None] == kept)
        names += [f"{name}={value or '(missing)'}" for value in kept]
    return np.concatenate(columns, axis=1, dtype=raw.X.dtype), tuple(names)


def _check_inputs(X: np.ndarray, raw: Source) -> None:
    too_large = np.abs(X) > LARGEST_INPUT
    if too_large.any():
        row, column = np.argwhere(too_large)[0]
        raise DataError(
            f"{too_large.sum()} inputs of {raw.name} are infinite or beyond {LARGEST_INPUT:g}, the first in row {row}, "
            f"column {column} (from 0). Mark them as missing (NaN) or correct them."
        )


def _missing(X: np.ndarray, raw: Source) -> list[str]:
    missing = np.isnan(X)
    if not missing.any():
        return []
    columns = missing.any(axis=0).sum()
    return [f"{missing.sum()} missing inputs in {columns} columns of {raw.name} take the column's train mean."]


def _unseen_classes(y: np.ndarray, rows: Mapping[str, np.ndarray], class_names: tuple[str, ...]) -> list[str]:
    if not class_names:
        return []
    seen = np.unique(y[rows["train"]])
    if len(seen) < 2:
        raise DataError(f"The train part has one class only, {class_names[seen[0]]}: check train_idx.")
    unseen = [name for label, name in enumerate(class_names) if label not in seen]
    return [f"No train row shows the class {name}: no net can learn it." for name in unseen]


def _duplicates(X: np.ndarray, rows: Mapping[str, np.ndarray]) -> list[str]:
    """How many validation and test rows have the very inputs of a row in an earlier part."""
    seen, warnings = {X[row].tobytes() for row in rows["train"]}, []
    for part in ("valid", "test"):
        keys = [X[row].tobytes() for row in rows[part]]
        repeats = sum(key in seen for key in keys)
        if repeats:
            warnings.append(
                f"{repeats} of {len(keys)} {part} rows repeat the inputs of a row in an earlier part: "
                f"the {part} score may look better than it is."
            )
        seen.update(keys)
    return warnings


def _hash(raw: Source, rows: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    named = {"X": raw.X, "y": raw.y, **raw.categories, **{f"{part}_idx": rows[part] for part in PARTS}}
    for name, array in named.items():
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
