"""Trials that train on splits of their own: the data of each by its seed."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ayar.folds import Folds
from ayar.nets.data import Data, Scaling
from ayar.search.base import SEARCH_DATA
from ayar.seeds import purpose_of


@dataclass(frozen=True, eq=False)
class Splits:
    """The data of a trial, by its seed. The search's trials share one split, those that confirm go through folds.

    Attributes:
        X: Train and validation rows in the source's units, shape ``(n, n_features)``; no test row is among them.
        y: Their targets, in the source's units.
        folds: Says which rows a seed trains and validates on.
        shared: What the search trains on.
    """

    X: np.ndarray
    y: np.ndarray
    folds: Folds
    shared: Data

    def key(self, seed: int) -> Hashable:
        """Equal for seeds with the same data."""
        return None if purpose_of(seed) in SEARCH_DATA else self.folds.key(seed)

    def __call__(self, seed: int) -> Data:
        """The data of the trial with this seed, scaled by its own training rows."""
        key = self.key(seed)
        if key is None:
            return self.shared
        if key not in self._made:
            self._made[key] = self._data(*self.folds(seed))
        return self._made[key]

    def __getstate__(self) -> dict[str, object]:
        """Without what was made from it: another process makes its own."""
        return {name: value for name, value in self.__dict__.items() if name != "_made"}

    @cached_property
    def _made(self) -> dict[Hashable, Data]:
        return {}

    def _data(self, train: np.ndarray, valid: np.ndarray) -> Data:
        scaling = Scaling.fitted(self.X[train], self.y[train], self.shared.kind)
        as_targets = scaling.targets if self.shared.kind == "regression" else np.asarray
        parts: dict[str, Any] = {}
        for part, rows in (("train", train), ("valid", valid)):
            parts |= {f"X_{part}": scaling.inputs(self.X, rows), f"y_{part}": as_targets(self.y[rows])}
        return replace(self.shared, **parts, scaling=scaling)
