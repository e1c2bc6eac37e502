"""Whether new data look like the old: a classifier tries to tell them apart.

With many rows every difference is significant, so an effect size decides, not a p value: the area under the ROC
curve (AUC) of a classifier that never saw the rows it is asked about. 0.5 means that old and new can't be told
apart (Lopez-Paz & Oquab 2017, "Revisiting classifier two-sample tests"; Rabanser et al. 2019, "Failing loudly").
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ayar.errors import NotEnoughEvidence, extra
from ayar.recheck.data import Profile

MATERIAL = 0.60
"""An AUC surely above it calls for a recheck."""

MINOR = 0.55
_LABELS_SHIFTED = 0.2  # of the population stability index: a customary threshold for a considerable shift
_FOLDS = 5
_TREES = 60
_TOLD = 3


@dataclass(frozen=True, slots=True)
class Drift:
    """How far new data can be told from old.

    Attributes:
        auc: How often the classifier ranks a new row above an old one; 0.5 is chance.
        low: Lower end of its 95 % interval.
        high: Upper end.
        label_shift: Population stability index of the labels; 0 where they are spread as before, above 0.2 much
            otherwise. None for other targets.
        moved: The columns that moved most, each with how far, in the old standard deviations.
    """

    auc: float
    low: float
    high: float
    label_shift: float | None
    moved: tuple[tuple[str, float], ...]

    @property
    def size(self) -> str:
        """``"material"``, ``"minor"`` or ``"none"``."""
        if self.low > MATERIAL or (self.label_shift or 0.0) > _LABELS_SHIFTED:
            return "material"
        return "minor" if self.low > MINOR else "none"

    @property
    def sentence(self) -> str:
        """The drift in words."""
        text = f"{self.size} drift: old and new rows are told apart with an AUC of {self.auc:.2f}"
        if self.moved and self.size != "none":
            text += f"; {', '.join(f'{name} moved by {by:+.2g} sd' for name, by in self.moved)}"
        return text


def drift(old: Profile, new: Profile, *, seed: int = 0) -> Drift:
    """Compare the samples of two data sets.

    Data with other columns can be told apart for sure: an AUC of 1.

    Raises:
        NotEnoughEvidence: One of them has fewer than five rows.
        MissingExtra: scikit-learn is not installed.
    """
    shift = stability(old.labels, new.labels) if old.labels and new.labels else None
    if old.columns != new.columns or old.width != new.width:
        return Drift(1.0, 1.0, 1.0, shift, ())
    with extra("torch"):
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.model_selection import cross_val_predict
    a, b = _balanced(old.sample, new.sample, np.random.default_rng(seed))
    if len(a) < _FOLDS:
        raise NotEnoughEvidence(f"{len(a)} rows don't tell whether new data look like the old; it takes {_FOLDS}.")
    X = np.nan_to_num(np.vstack([a, b]), nan=-1e9)  # trees split missing values off
    label = np.repeat([0, 1], [len(a), len(b)])
    forest = RandomForestClassifier(_TREES, min_samples_leaf=5, random_state=seed)
    folds = np.random.default_rng(seed).permutation(len(X))
    told = np.empty(len(X))
    told[folds] = cross_val_predict(forest, X[folds], label[folds], cv=_FOLDS, method="predict_proba")[:, 1]
    auc, error = _auc(told[label == 0], told[label == 1])
    return Drift(auc, auc - 1.96 * error, min(auc + 1.96 * error, 1.0), shift, _moved(old, new))


def stability(old: Mapping[str, float], new: Mapping[str, float]) -> float:
    """Population stability index of two distributions of labels, each label -> share.

    >>> stability({"a": 0.5, "b": 0.5}, {"a": 0.5, "b": 0.5})
    0.0
    """
    shares = [(max(old.get(k, 0.0), 1e-4), max(new.get(k, 0.0), 1e-4)) for k in {**old, **new}]
    return math.fsum((b - a) * math.log(b / a) for a, b in shares)


def _balanced(old: np.ndarray, new: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    count = min(len(old), len(new))
    return old[rng.permutation(len(old))[:count]], new[rng.permutation(len(new))[:count]]


def _auc(negative: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
    """Area under the ROC curve and its standard error (Hanley & McNeil 1982, equation 1)."""
    order = np.sort(negative)
    below = np.searchsorted(order, positive, "left") + np.searchsorted(order, positive, "right")
    auc = float(below.mean() / 2 / len(order))
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    n, m = len(negative), len(positive)
    variance = (auc * (1 - auc) + (m - 1) * (q1 - auc**2) + (n - 1) * (q2 - auc**2)) / (n * m)
    return auc, math.sqrt(max(variance, 0.0))


def _moved(old: Profile, new: Profile) -> tuple[tuple[str, float], ...]:
    """The columns whose means moved most, in units of the old standard deviation."""
    shifts: list[tuple[str, float]] = []
    for name, was in old.statistics.items():
        now: Any = new.statistics.get(name, ())
        if len(was) > 2 and len(now) > 2 and was[2] > 0:
            shifts.append((name, float((now[1] - was[1]) / was[2])))
    shifts.sort(key=lambda each: -abs(each[1]))
    return tuple((name, round(by, 3)) for name, by in shifts[:_TOLD] if abs(by) >= 0.1)
