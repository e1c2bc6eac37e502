"""What another tool recorded, in one form: the space as far as it is known, and the trials."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ayar.errors import LedgerError
from ayar.records import Configuration
from ayar.space import Choice, Float, Int, Space
from ayar.study import Study

_LOG_FROM = 100.0  # a range of positive numbers as wide as this is searched by factors


@dataclass(frozen=True, slots=True)
class Past:
    """One trial of the past.

    Attributes:
        config: Its hyperparameters.
        measurements: Dicts with ``"step"`` and metrics, and perhaps ``"cost_s"``, by rising steps.
        error: Why it failed; None where it did not.
        ended: Whether it was trained to its own end, not stopped early.
        seed: Its seed, where that is known.
    """

    config: Configuration
    measurements: Sequence[Mapping[str, float]]
    error: str | None = None
    ended: bool = True
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class History:
    """A study of another tool.

    Attributes:
        name: What the tool calls it.
        trials: Its trials, oldest first.
        metric: The metric it is judged by, where the tool says so.
        maximize: Whether more of it is better, where the tool says so.
        axes: What is known of the space, by name.
    """

    name: str
    trials: Sequence[Past]
    metric: str | None = None
    maximize: bool | None = None
    axes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def metrics(self) -> list[str]:
        """Every metric that was measured, in the order of their appearance."""
        names = dict.fromkeys(n for past in self.trials for row in past.measurements for n in row)
        return [name for name in names if name not in ("step", "cost_s")]

    def space(self) -> Space:
        """The space: what is known of it, else the ranges that were used.

        A hyperparameter that only some trials have is active where another one's value tells those apart, and is
        left out where none does.
        """
        configs = [past.config for past in self.trials]
        names = dict.fromkeys(name for config in configs for name in config)
        axes: dict[str, Any] = {}
        for name in sorted(names, key=lambda name: sum(name not in config for config in configs)):
            used = [config[name] for config in configs if name in config]
            axis = self.axes.get(name) or guessed(used)
            when = {} if len(used) == len(configs) else condition(name, configs, axes)
            if when is None:
                continue
            axes[name] = _made(axis, when)
        return Space(**axes)


def with_metric(history: History, name: str) -> History:
    """The history with its one metric under another name: a tool that needs none calls it ``value``, say."""
    (known,) = history.metrics
    trials = [
        replace(past, measurements=[{name if key == known else key: v for key, v in row.items()} for row in rows])
        for past in history.trials
        for rows in [past.measurements]
    ]
    return replace(history, trials=trials, metric=name)


def record(history: History, study: Study) -> None:
    """Write the trials of a history into a study. Hyperparameters outside its space are left out."""
    for past in history.trials:
        config = {name: value for name, value in past.config.items() if name in study.space.names}
        rows = [row for row in past.measurements if study.metric in row]
        study.add(config, rows, seed=past.seed, error=past.error, ended=past.ended)


def counted_from_one(trials: Sequence[Past]) -> list[Past]:
    """The trials with steps from 1, where the tool counts from 0: in Ayar, step 0 is the untrained net."""
    if all(row["step"] > 0 for past in trials for row in past.measurements):
        return list(trials)
    return [
        Past(
            past.config,
            [{**row, "step": row["step"] + 1} for row in past.measurements],
            past.error,
            past.ended,
            past.seed,
        )
        for past in trials
    ]


def guessed(values: Sequence[Any]) -> Any:
    """The axis that these values may have come from.

    >>> guessed([0.1, 0.001]) == Float(0.001, 0.1, log=True)
    True
    """
    distinct = list(dict.fromkeys(values))
    if len(distinct) == 1:
        return distinct[0]
    if any(isinstance(value, bool | str) for value in distinct):
        return Choice(*distinct)
    low, high = min(distinct), max(distinct)
    log = low > 0 and high / low >= _LOG_FROM
    if all(isinstance(value, int) for value in distinct):
        return Int(low, high, log=log)
    return Float(float(low), float(high), log=log)


def condition(name: str, configs: Sequence[Configuration], known: Mapping[str, Any]) -> dict[str, list[Any]] | None:
    """The choice whose values tell where a hyperparameter is active; None where none does."""
    for parent, axis in known.items():
        if not isinstance(axis, Choice) or axis.when:
            continue
        active = {config[parent] for config in configs if name in config}
        if active.isdisjoint(config[parent] for config in configs if name not in config):
            return {parent: sorted(active, key=str)}
    return None


def scalars(given: Mapping[str, Any], prefix: str = "") -> Configuration:
    """Nested hyperparameters as a flat configuration, under names that a space can have.

    >>> scalars({"optimizer": {"lr": 1}, "net/units": 8})
    {'optimizer_lr': 1, 'net_units': 8}
    """
    flat: Configuration = {}
    for key, value in given.items():
        name = re.sub(r"\W|^(?=\d)", "_", f"{prefix}{key}", flags=re.ASCII)
        if isinstance(value, Mapping):
            flat |= scalars(value, f"{name}_")
        elif isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
            flat[name] = value
        elif value is not None:
            flat[name] = str(value)
    return flat


def numbers(given: Mapping[str, Any]) -> dict[str, float]:
    """What in a row is a number; NaN as text, as some tools write it, is one too."""
    return {name: float(value) for name, value in given.items() if _is_number(value)}


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return value.lower() in ("nan", "inf", "-inf", "infinity", "-infinity")
    return isinstance(value, int | float) and not isinstance(value, bool)


def unreadable(path: object, kind: str, error: Exception) -> LedgerError:
    """The error for a file that is not what it is taken for."""
    return LedgerError(f"{path} can't be read as {kind}: {error}. Say what it is with --from.")


def _made(axis: Any, when: dict[str, list[Any]]) -> Any:
    if not when:
        return axis
    make: Callable[..., Any] = type(axis)
    if isinstance(axis, Choice):
        return Choice(*axis.choices, ordered=axis.ordered, when=when)
    if isinstance(axis, Float | Int):
        return make(axis.low, axis.high, log=axis.log, step=axis.step, when=when)
    return Choice(axis, when=when)
