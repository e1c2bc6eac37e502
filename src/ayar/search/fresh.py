"""Turning guesses into new proposals: the part that the searchers share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

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


def golden_order(size: int, seed: int) -> tuple[int, int]:
    """A first number below ``size``, and a stride that visits every number once before it comes back.

    The stride is about the golden section of the whole, so that any beginning is spread over all of it.
    """
    stride = size * 618_033_989 // 10**9 or 1  # in whole numbers: a grid may have more points than a float can count
    while math.gcd(stride, size) != 1:
        stride += 1
    return below(size, np.random.default_rng(seed)), stride


Guess = Callable[[int, list[Configuration]], Iterable[Configuration]]
"""``guess(number, earlier)``: what to propose as the search's configuration of this number, the most wanted first,
after those that were proposed ``earlier`` in the same call."""


def propose_each(problem: Problem, history: Sequence[Trial], n: int, guess: Guess) -> list[Proposal]:
    """``n`` new trials up to the horizon, as far as the limit lets them start; each guessed when the earlier are known.

    The search's first trial is the space's default instead, so that it is always measured as the baseline. Where all
    guesses are known already comes a random configuration. The result is shorter when a finite space has nothing new
    left.
    """
    known = Known(history)
    earlier: list[Configuration] = []
    first = searched(history)
    for number in range(first, first + allowed(problem, history, n)):
        guesses = [problem.space.default()] if number == 0 else guess(number, earlier)
        wishes = chain(guesses, _anything(problem, number))
        config = next((wish for wish in wishes if wish not in known), None)
        if config is None:
            break
        known.add(config)
        earlier.append(config)
    return [Proposal(config, problem.horizon) for config in earlier]


def propose_fresh(problem: Problem, history: Sequence[Trial], guesses: Sequence[Configuration]) -> list[Proposal]:
    """``propose_each`` with one guess for each new trial."""
    first = searched(history)
    return propose_each(problem, history, len(guesses), lambda number, _: [guesses[number - first]])


def _anything(problem: Problem, number: int) -> Iterator[Configuration]:
    """Random configurations; in a finite space, in the end all of them."""
    space = problem.space
    rng = np.random.default_rng((problem.seed, number, 1))
    for _ in range(_DRAWS_IN_A_CONTINUUM if space.size is None else _DRAWS):
        yield space.sample(rng)
    if space.size is not None:
        everything = space.grid()
        start = below(space.size, rng)
        yield from (everything.pick((start + step) % space.size) for step in range(space.size))
