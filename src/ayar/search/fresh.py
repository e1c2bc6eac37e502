"""Turning guesses into new proposals: the part that the searchers share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ayar.records import Configuration, Trial, config_key
from ayar.search.base import SEARCH_DATA, Problem, Proposal
from ayar.search.history import History
from ayar.seeds import Purpose

_DRAWS = 16  # random tries in a finite space before it is gone through one by one
_DRAWS_IN_A_CONTINUUM = 1000


class Known:
    """The configurations of the search data, which are not to be proposed again."""

    def __init__(self, history: Sequence[Trial]) -> None:
        self._history = history
        self._more: set[str] = set()
        self._keys: set[str] | None = None

    def __contains__(self, config: Configuration) -> bool:
        if config_key(config) in self._more:
            return True
        if isinstance(self._history, History):
            return any(trial.purpose in SEARCH_DATA for trial in self._history.of(config))
        if self._keys is None:
            self._keys = {config_key(trial.config) for trial in self._history if trial.purpose in SEARCH_DATA}
        return config_key(config) in self._keys

    def add(self, config: Configuration) -> None:
        """Take in one more."""
        self._more.add(config_key(config))


def searched(history: Sequence[Trial]) -> int:
    """How many trials the search has started: the number of the next new configuration."""
    if isinstance(history, History):
        return history.started[Purpose.SEARCH]
    return sum(trial.purpose is Purpose.SEARCH for trial in history)


def allowed(problem: Problem, history: Sequence[Trial], n: int) -> int:
    """How many of ``n`` new trials the problem's limit still lets start."""
    return n if problem.max_trials is None else max(0, min(n, problem.max_trials - searched(history)))


def below(size: int, rng: np.random.Generator) -> int:
    """A random whole number below ``size``, which may exceed what a float or an int64 can hold."""
    return int.from_bytes(rng.bytes(size.bit_length() // 8 + 8)) % size


def propose_fresh(problem: Problem, history: Sequence[Trial], guesses: Iterable[Configuration]) -> list[Proposal]:
    """A new trial up to the horizon for each guess.

    The search's first trial is the space's default instead, so that it is always measured as the baseline. In
    place of a guess that is known already comes a random configuration. The result is shorter than ``guesses``
    when a finite space has nothing new left.
    """
    known = Known(history)
    proposals = []
    for index, guess in enumerate(guesses, start=searched(history)):
        wishes = _wishes(problem, index, guess)
        config = next((wish for wish in wishes if wish not in known), None)
        if config is None:
            break
        known.add(config)
        proposals.append(Proposal(config, problem.horizon))
    return proposals


def _wishes(problem: Problem, index: int, guess: Configuration) -> Iterator[Configuration]:
    """What to propose as new configuration number ``index``, the most wanted first."""
    space = problem.space
    yield space.default() if index == 0 else guess
    rng = np.random.default_rng((problem.seed, index, 1))
    for _ in range(_DRAWS_IN_A_CONTINUUM if space.size is None else _DRAWS):
        yield space.sample(rng)
    if space.size is not None:
        everything = space.grid()
        start = below(space.size, rng)
        yield from (everything.pick((start + step) % space.size) for step in range(space.size))
