"""Trials in order, with what searchers ask about each of them kept as columns.

A searcher looks at the whole history for every move. Walking a hundred thousand records each time would take longer
than many trainings, so a ``History`` remembers what was asked of each trial and asks again only where a trial has
changed. It is a plain sequence of trials for everybody else, and no answer depends on whether it is used::

    column(history, FACTS)["loss"]       -> shape (n,): each trial's least loss
    column(history, Points(space))       -> shape (n, dimensions): its configuration in the unit cube
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, overload

import numpy as np

from ayar.errors import SpaceError
from ayar.records import Configuration, State, Trial, config_key
from ayar.search.base import SEARCH_DATA
from ayar.seeds import Purpose
from ayar.space import Space

STATES: tuple[State, ...] = tuple(State)
"""A state's number in ``FACTS`` is its place here."""

PURPOSES: tuple[Purpose, ...] = tuple(Purpose)
"""A purpose's number in ``FACTS`` is its place here."""

_MOST_COLUMNS = 8  # kept at a time; another space or other rungs make new ones
_LEAST_ROOM = 64


class Column(Protocol):
    """A function of one trial. It must be hashable, and equal to another one that asks the same."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """What it answers: a number, several (a subarray type), or named ones (a structured type)."""
        ...

    def __call__(self, trial: Trial) -> Any:
        """The answer for one trial; it depends on nothing else."""
        ...


@dataclass(frozen=True)
class Facts:
    """What every searcher wants to know of a trial, as named columns.

    ``id``, ``purpose`` and ``state`` (numbers of ``PURPOSES`` and ``STATES``), ``data`` (whether it is search data),
    ``last_step`` and ``target_step``, ``fork_step``, ``readings`` (measurements after step 0), ``loss`` (the least one;
    infinite for a failed, diverged or untrained trial), ``last_loss`` (the latest; NaN before any), ``cost_s``
    (failures included).
    """

    @property
    def dtype(self) -> np.dtype[Any]:
        """See ``Column``."""
        return _FACTS

    def __call__(self, trial: Trial) -> Any:
        """See ``Column``."""
        known = trial.curve.summed()
        broken = trial.error is not None or known.diverged
        return (
            trial.id,
            _NUMBER_OF_PURPOSE[trial.purpose],
            STATES.index(_state(trial, broken, known.last_step)),
            trial.purpose in SEARCH_DATA,
            known.last_step,
            trial.target_step,
            trial.fork_step,
            known.readings,
            math.inf if broken else known.least_loss,
            known.last_loss,
            known.cost_s + trial.waste_s,
        )


_FACTS = np.dtype(
    [
        ("id", np.int64),
        ("purpose", np.int8),
        ("state", np.int8),
        ("data", np.bool_),
        ("last_step", np.int64),
        ("target_step", np.int64),
        ("fork_step", np.int64),
        ("readings", np.int64),
        ("loss", np.float64),
        ("last_loss", np.float64),
        ("cost_s", np.float64),
    ]
)
_NUMBER_OF_PURPOSE = {purpose: number for number, purpose in enumerate(PURPOSES)}

FACTS = Facts()


def _state(trial: Trial, broken: bool, last_step: int) -> State:
    """``trial.state`` without walking the curve again."""
    if broken:
        return State.FAILED if trial.error is not None else State.DIVERGED
    if trial.ended:
        return State.COMPLETED
    return State.RUNNING if trial.target_step > last_step else State.PAUSED


@dataclass(frozen=True, eq=False)
class Points:
    """Where a trial's configuration lies in a space's unit cube.

    Numbers beyond the ends of their ranges lie beyond 0 and 1. A configuration that the space cannot place at all
    is NaN.
    """

    space: Space

    @property
    def dtype(self) -> np.dtype[Any]:
        """See ``Column``."""
        return np.dtype((np.float64, (self.space.dimensions,)))

    def __call__(self, trial: Trial) -> Any:
        """See ``Column``."""
        try:
            return self.space.encode(trial.config, outside=True)
        except SpaceError:
            return np.nan

    # The same space object, not an equal one: comparing thousands of candidates would cost more than encoding.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Points) and other.space is self.space

    def __hash__(self) -> int:
        return id(self.space)


class _Kept:
    """One column's answers so far, with room to grow, and the places whose trials have changed since."""

    def __init__(self, of: Column, trials: Sequence[Trial]) -> None:
        self.of = of
        self.changed = dict.fromkeys(range(len(trials)))  # a set that keeps its order
        self.values = np.zeros(0, of.dtype)

    def brought_up(self, trials: Sequence[Trial]) -> np.ndarray:
        count = len(trials)
        if count > len(self.values):
            grown = np.zeros(max(_LEAST_ROOM, 2 * count), self.of.dtype)
            grown[: len(self.values)] = self.values
            self.values = grown
        for place in self.changed:
            self.values[place] = self.of(trials[place])
        self.changed.clear()
        view = self.values[:count]
        view.flags.writeable = False
        return view


class History(Sequence[Trial]):
    """The trials of one study in the order in which they were started.

    Attributes:
        started: How many there are of each purpose.
    """

    def __init__(self, trials: Iterable[Trial] = ()) -> None:
        self._trials: list[Trial] = []
        self._places: dict[int, int] = {}
        self._columns: dict[Column, _Kept] = {}
        self._keys: dict[str, list[int]] = {}
        self._keyed = 0
        self._seen: Callable[[Configuration], Configuration] | None = None
        self.started: Counter[Purpose] = Counter()
        for trial in trials:
            self.put(trial)

    def put(self, trial: Trial) -> None:
        """Take in a trial: a new one at the end, a known one (by its ``id``) in place of what it was.

        Its configuration, seed and purpose stay what they were.
        """
        if self._seen is not None and (config := self._seen(trial.config)) is not trial.config:
            trial = replace(trial, config=config)
        place = self._places.setdefault(trial.id, len(self._trials))
        moved = True
        if place == len(self._trials):
            self._trials.append(trial)
            self.started[trial.purpose] += 1
        else:
            moved = trial.config is not self._trials[place].config
            self._trials[place] = trial
        for kept in self._columns.values():
            if moved or not isinstance(kept.of, Points):
                kept.changed[place] = None

    def emptied(self) -> History:
        """One without trials yet, which shows configurations as this one does."""
        fresh = History()
        fresh._seen = self._seen
        return fresh

    def see(self, config_of: Callable[[Configuration], Configuration]) -> None:
        """From now on show each configuration, also of trials to come, as ``config_of`` gives it: spaces change."""
        self._seen = config_of
        self._keys, self._keyed = {}, 0
        for trial in list(self._trials):
            self.put(trial)

    def seen(self, config: Configuration) -> Configuration:
        """A configuration as trials here show it."""
        return config if self._seen is None else self._seen(config)

    def numbered(self, number: int) -> Trial | None:
        """The trial with this ``id``; None without one."""
        place = self._places.get(number)
        return None if place is None else self._trials[place]

    def of(self, config: Configuration) -> list[Trial]:
        """The trials of this very configuration, whatever their seed and purpose."""
        for place in range(self._keyed, len(self._trials)):
            self._keys.setdefault(config_key(self._trials[place].config), []).append(place)
        self._keyed = len(self._trials)
        return [self._trials[place] for place in self._keys.get(config_key(config), ())]

    def column(self, of: Column) -> np.ndarray:
        """What ``of`` says of each trial: a read-only view, valid until the next ``put``."""
        kept = self._columns.pop(of, None) or _Kept(of, self._trials)
        self._columns[of] = kept  # the latest asked stands last
        if len(self._columns) > _MOST_COLUMNS:
            del self._columns[next(iter(self._columns))]
        return kept.brought_up(self._trials)

    @overload
    def __getitem__(self, index: int) -> Trial: ...
    @overload
    def __getitem__(self, index: slice) -> list[Trial]: ...
    def __getitem__(self, index: int | slice) -> Trial | list[Trial]:
        return self._trials[index]

    def __len__(self) -> int:
        return len(self._trials)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, History) and self._trials == other._trials

    __hash__ = None  # type: ignore[assignment]  # it changes


def column(history: Sequence[Trial], of: Column) -> np.ndarray:
    """What ``of`` says of each trial, one row for each; quick again and again where ``history`` is a ``History``."""
    if isinstance(history, History):
        return history.column(of)
    values = np.zeros(len(history), of.dtype)
    for place, trial in enumerate(history):
        values[place] = of(trial)
    return values
