"""What is kept of a data set, to tell later whether new data look alike: size, schema, statistics, a sample."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MOST_ROWS = 500
"""Rows of the reference sample. Two such samples tell apart data that a classifier separates with an AUC of 0.55."""

MOST_COLUMNS = 200
_MOST_LABELS = 50
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, eq=False)
class Profile:
    """What is kept of a data set.

    Attributes:
        content: Hash of the content and split.
        rows: Training rows.
        columns: Their names, in order; at most ``MOST_COLUMNS`` of them, evenly chosen.
        width: How many columns there are.
        statistics: By column: share of missing values, mean, standard deviation, five quantiles.
        labels: Share of each label; empty where the target is a number.
        sample: Rows, inputs in the source's units and the target last, shape ``(n, columns + 1)``, float32.
    """

    content: str
    rows: int
    columns: tuple[str, ...]
    width: int
    statistics: Mapping[str, Sequence[float]] = field(default_factory=dict)
    labels: Mapping[str, float] = field(default_factory=dict)
    sample: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.float32))

    @property
    def fields(self) -> dict[str, Any]:
        """The data group of a fingerprint."""
        schema = hashlib.sha256(json.dumps([self.width, self.columns, sorted(self.labels)]).encode()).hexdigest()
        return {"content": self.content, "rows": self.rows, "columns": self.width, "schema": schema}

    def to_dict(self) -> dict[str, Any]:
        """The same in JSON-safe values."""
        packed = base64.b64encode(zlib.compress(self.sample.astype("<f4").tobytes())).decode()
        return {
            "content": self.content,
            "rows": self.rows,
            "columns": list(self.columns),
            "width": self.width,
            "statistics": {name: list(values) for name, values in self.statistics.items()},
            "labels": dict(self.labels),
            "sample": {"shape": list(self.sample.shape), "float32": packed},
        }

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Profile:
        """The inverse of ``to_dict``."""
        packed = zlib.decompress(base64.b64decode(body["sample"]["float32"]))
        sample = np.frombuffer(packed, "<f4").reshape(body["sample"]["shape"])
        return cls(
            body["content"],
            body["rows"],
            tuple(body["columns"]),
            body["width"],
            body["statistics"],
            body["labels"],
            sample,
        )


def profile(X: Any, y: Any = None, *, names: Sequence[str] = (), content: str | None = None) -> Profile:
    """The profile of training rows.

    Args:
        X: Inputs, shape ``(n, ...)``; anything that NumPy reads as numbers.
        y: Targets, shape ``(n,)``; numbers or labels.
        names: One for each column.
        content: What tells the data apart from others; by default the SHA-256 of both arrays.

    >>> profile([[1.0], [3.0]], ["a", "b"], names=["size"]).labels
    {'a': 0.5, 'b': 0.5}
    """
    inputs = np.asarray(X, dtype=np.float32)
    inputs = inputs.reshape(len(inputs), -1)
    targets = np.zeros(len(inputs)) if y is None else np.asarray(y).reshape(len(inputs), -1)[:, 0]
    if content is None:
        digest = hashlib.sha256(np.ascontiguousarray(inputs).data)
        digest.update(
            np.ascontiguousarray(targets).astype("U" if targets.dtype.kind in "OUS" else targets.dtype).tobytes()
        )
        content = digest.hexdigest()
    width = inputs.shape[1]
    kept = np.unique(np.linspace(0, width - 1, min(width, MOST_COLUMNS)).astype(int))
    known = [names[i] if i < len(names) else f"column {i}" for i in kept]
    chosen = np.sort(np.random.default_rng(0).permutation(len(inputs))[:MOST_ROWS])
    values, codes = np.unique(targets, return_inverse=True)
    labelled = targets.dtype.kind != "f" and len(values) <= _MOST_LABELS and y is not None
    column = codes if labelled or targets.dtype.kind in "OUS" else targets
    shares = np.bincount(codes, minlength=len(values)) / max(len(targets), 1)
    return Profile(
        content=content,
        rows=len(inputs),
        columns=tuple(known),
        width=width,
        statistics={name: _statistics(inputs[:, i]) for name, i in zip(known, kept, strict=True)},
        labels={str(v): round(float(s), 6) for v, s in zip(values, shares, strict=True)} if labelled else {},
        sample=np.column_stack([inputs[chosen][:, kept], column[chosen]]).astype(np.float32),
    )


def profile_of(objective: Any) -> Profile | None:
    """The profile of what an objective trains on, as far as its attribute ``data`` says; None where it doesn't.

    Understood are ``X``, a pair ``(X, y)``, an object with ``X_train`` and ``y_train``, and a function without
    arguments that returns one of these. Inputs that were standardised are turned back into the source's units, for
    otherwise a shift of all rows would vanish.
    """
    given = getattr(objective, "data", None)
    data: Any = given() if callable(given) else given
    content = getattr(objective, "data_hash", None)
    if hasattr(data, "X_train") and hasattr(data, "y_train"):
        X, scaling = data.X_train, getattr(data, "scaling", None)
        mean, sd = getattr(scaling, "x_mean", None), getattr(scaling, "x_sd", None)
        if mean is not None and sd is not None:
            X = X * np.asarray(sd, np.float32) + np.asarray(mean, np.float32)
        return profile(X, data.y_train, names=getattr(data, "feature_names", ()), content=content)
    if isinstance(data, tuple) and len(data) == 2:
        return profile(*data, content=content)
    return None if data is None else profile(data, content=content)


def _statistics(column: np.ndarray) -> list[float]:
    present = column[np.isfinite(column)].astype(float)
    missing = round(1 - len(present) / max(len(column), 1), 6)
    if not len(present):
        return [missing]
    values = [present.mean(), present.std(), *np.quantile(present, _QUANTILES)]
    return [missing, *(float(f"{v:.6g}") for v in values)]
