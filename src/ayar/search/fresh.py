"""Turning guesses into new proposals: the part that the searchers share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ayar.records import Configuration, Trial, config_key
from ayar.search.base import SEARCH_DATA, Problem, Proposal
from ayar.seeds import Purpose

_SCANS = 32  # so many look-ups by comparing are quicker than writing thousands of keys
_DRAWS = 16  # random tries in a finite space before it is gone through one by one
_DRAWS_IN_A_CONTINUUM = 1000


class Known:
    """The configurations of the search data, which are not to be proposed again."""

    def __init__(self, history: Iterable[Trial]) -> None:
        self._configs = [trial.config for trial in history if trial.purpose in SEARCH_DATA]
        self._keys: set[str] | None = None
        self._asked = 0

    def __contains__(self, config: Configuration) -> bool:
        key = config_key(config)
        if self._keys is None and self._asked >= _SCANS:
            self._keys = set(map(config_key, self._configs))
        if self._keys is not None:
            return key in self._keys
        self._asked += 1
        return any(other == config and config_key(other) == key for other in self._configs)

    def add(self, config: Configuration) -> None:
        """Take in one more."""
        self._configs.append(config)
        if self._keys is not None:
            self._keys.add(config_key(config))


def searched(history: Iterable[Trial]) -> int:
    """How many trials the search has started: the number of the next new configuration."""
    return sum(trial.purpose is Purpose.SEARCH for trial in history)


def allowed(problem: Problem, history: Iterable[Trial], n: int) -> int:
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
