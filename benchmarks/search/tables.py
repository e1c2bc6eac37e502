"""Recorded tuning runs as problems: a configuration is "trained" by looking its curve up.

One ``.npz`` file for each task, in the format that the file's own ``meta`` describes: ``X`` (configurations by
settings), ``budgets``, ``curve__NAME`` (configurations by budgets, by repeats where there are several).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ayar.records import Configuration, Measurement, config_key
from ayar.search import Problem
from ayar.space import Choice, Float, Int, Space

_MOST_ROWS = 4_000  # of a larger table each seed searches its own random part


@dataclass(frozen=True)
class Table:
    """One task.

    Attributes:
        settings: One mapping of meta data for each column of ``X``.
        steps: Whole numbers, 0 for the untrained net, shape ``(budgets,)``.
        losses: Minimised, NaN where there is no value, shape ``(configurations, budgets, repeats)``.
        seconds: Recorded seconds of training up to each budget, shape ``(configurations, budgets)``; None where the
            source has none.
        final: What a configuration is worth, shape ``(configurations,)``: the mean over repeats at the last budget.
        resumable: Whether a longer run continues a shorter one.
    """

    path: Path
    name: str
    family: str
    settings: tuple[Mapping[str, Any], ...]
    X: np.ndarray
    steps: np.ndarray
    losses: np.ndarray
    seconds: np.ndarray | None
    final: np.ndarray
    resumable: bool
    missing: str

    def configs(self, rows: np.ndarray) -> list[Configuration]:
        """The configurations in these rows."""
        return [_config(self.settings, row) for row in self.X[rows].tolist()]

    @property
    def horizon(self) -> int:
        """The last step."""
        return int(self.steps[-1])

    @property
    def sliceable(self) -> bool:
        """Whether a training can be stopped and continued."""
        return self.resumable and self.horizon > 1


def load(path: Path) -> Table:
    """The task in a file; configurations that were never run to the end are left out."""
    with np.load(path, allow_pickle=False) as file:
        meta = json.loads(str(file["meta"]))
        X, budgets = file["X"], file["budgets"]
        losses = file[f"curve__{meta['objective']}"].astype(float)
        seconds = file["time"].astype(float) if "time" in file.files else None
    losses = losses.reshape(len(X), len(budgets), -1)
    if meta["metrics"][meta["objective"]]["direction"] == "max":
        losses = -losses
    steps = np.arange(len(budgets)) + (budgets[0] > 0)
    final = _filled(losses, meta["missing"])[:, -1].mean(axis=1)
    was_run = np.isfinite(final)
    return Table(
        path,
        meta["task"],
        meta["family"],
        tuple(meta["params"]),
        _settled(X[was_run], meta["params"]),
        steps,
        losses[was_run],
        None if seconds is None else seconds[was_run].reshape(was_run.sum(), len(budgets)),
        final[was_run],
        meta["resumable"],
        meta["missing"],
    )


def _filled(losses: np.ndarray, missing: str) -> np.ndarray:
    """Gaps closed as the source says: the best value so far is carried on, or the worst of the task stands in."""
    if missing == "stopped_early":
        return np.fmin.accumulate(losses, axis=1)
    if missing in ("diverged", "not_yet_evaluated_or_diverged"):
        finite = np.isfinite(losses)
        return np.where(finite, losses, losses[finite].max())
    return losses


class Replay:
    """One task as one seed sees it: its order of candidates, its repeat of each configuration.

    Attributes:
        problem: What the searcher is given.
        regret: What each row of the table is worth: 0 the best of the task, 1 the median or worse.
    """

    def __init__(self, table: Table, seed: int) -> None:
        self.table = table
        self.seed = zlib.crc32(f"{table.name}/{seed}".encode())
        rng = np.random.default_rng(self.seed)
        rows = rng.permutation(len(table.X))[:_MOST_ROWS]
        configs = table.configs(rows)
        space = Space(candidates=configs, **_hyperparameters(table))
        if len(space.candidates or ()) != len(rows):
            raise ValueError(f"{table.name} holds a configuration twice.")
        self.problem = Problem(space, table.horizon, self.seed % 2**31, sliceable=table.sliceable)
        self._row = {config_key(config): row for config, row in zip(space.candidates or (), rows.tolist(), strict=True)}
        self._repeat = rng.integers(table.losses.shape[2], size=len(table.X))
        best, median = table.final[rows].min(), np.median(table.final[rows])
        self.regret = np.clip((table.final - best) / (median - best), 0, 1)

    def row(self, config: Configuration) -> int:
        """The configuration's row in the table."""
        return self._row[config_key(config)]

    def train(self, row: int, start: int, stop: int) -> tuple[list[Measurement], bool]:
        """The measurements after step ``start`` up to ``stop``, and whether training ended by itself.

        Where nothing is measured until ``stop``, training goes on to the first reading, or to its end.
        """
        table = self.table
        curve = table.losses[row, :, self._repeat[row]]
        news = []
        for step, loss in zip(table.steps.tolist(), curve.tolist(), strict=True):
            if step <= start and not (step == start == 0):
                continue
            if step > stop and (news or table.missing != "not_yet_evaluated_or_diverged"):
                break
            if np.isnan(loss):
                if table.missing == "stopped_early":
                    return news, True
                if table.missing == "not_yet_evaluated_or_diverged" and not news and start == 0:
                    continue
            news.append(Measurement(step, loss))
            if not np.isfinite(loss):
                return news, True
        return news, stop == table.horizon or not news  # to the end without a reading: nothing will come

    def seconds(self, row: int, step: int) -> float:
        """Seconds of training up to a step, as recorded; or one for each step."""
        if self.table.seconds is None or step == 0:
            return float(step)
        seconds = self.table.seconds[row, int(np.searchsorted(self.table.steps, step))]
        return float(seconds if np.isfinite(seconds) else np.nanmax(self.table.seconds[row]))


def _settled(X: np.ndarray, settings: list[Mapping[str, Any]]) -> np.ndarray:
    """``X`` with the middle value where a setting is missing though no category decides whether it is there."""
    X = X.copy()
    for column in np.flatnonzero(np.isnan(X).any(axis=0)):
        if _deciding(X, settings, column) is None:
            X[np.isnan(X[:, column]), column] = np.nanmedian(X[:, column])
    return X


def _deciding(X: np.ndarray, settings: Sequence[Mapping[str, Any]], column: int) -> tuple[int, list[float]] | None:
    """The column of a category that decides whether a setting is active, and its values where it is."""
    active = ~np.isnan(X[:, column])
    for parent in np.flatnonzero(~np.isnan(X).any(axis=0)).tolist():
        values = set(X[active, parent].tolist())
        if settings[parent]["type"] == "cat" and values.isdisjoint(X[~active, parent].tolist()):
            return parent, sorted(values)
    return None


def _config(settings: tuple[Mapping[str, Any], ...], row: list[float]) -> Configuration:
    return {s["name"]: _value(s, value) for s, value in zip(settings, row, strict=True) if not np.isnan(value)}


def _value(setting: Mapping[str, Any], value: float) -> Any:
    if setting["type"] == "cat":
        return str(setting["choices"][int(value)])
    return int(value) if setting["type"] == "int" else float(value)


def _hyperparameters(table: Table) -> dict[str, Any]:
    """The columns as hyperparameters, those that others depend on first."""
    entries: dict[str, Any] = {}
    for column in np.argsort(np.isnan(table.X).any(axis=0), kind="stable").tolist():
        setting, values, when = table.settings[column], table.X[:, column], None
        if np.isnan(values).any():
            decision = _deciding(table.X, table.settings, column)
            assert decision is not None
            parent, active = decision
            when = {table.settings[parent]["name"]: [_value(table.settings[parent], value) for value in active]}
        entries[setting["name"]] = _hyperparameter(setting, values, when)
    return entries


def _hyperparameter(setting: Mapping[str, Any], column: np.ndarray, when: dict[str, list[Any]] | None) -> Any:
    values = np.unique(column[~np.isnan(column)])
    if setting["type"] == "cat" or len(values) == 1:
        choices = dict.fromkeys(_value(setting, v) for v in values)
        return Choice(*choices, when=when)
    if setting["type"] == "ordinal" and len(values) <= 50:
        return Choice(*values.tolist(), ordered=True, when=when)
    kind = Int if setting["type"] == "int" else Float
    low, high = (_value(setting, v) for v in (values[0], values[-1]))
    return kind(low, high, log=bool(setting.get("log")) and low > 0, when=when)
