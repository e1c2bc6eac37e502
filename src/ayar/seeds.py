"""Named streams of seeds. The only place where seeds are made.

A score is honest when the seeds that give it took no part in choosing. So each purpose draws from a stream of
its own, and the streams cannot meet: the purpose is written into the seed's upper bits.
"""

from enum import StrEnum
from numbers import Integral
from typing import Any

import numpy as np

from ayar.errors import SpaceError

_BITS = 28  # seeds per stream: 2**28; with eight streams a seed stays below 2**31, which every library accepts
_ODD = 0x9E3779B  # an odd factor makes index -> seed a bijection modulo 2**28


class Purpose(StrEnum):
    """Why a trial is trained. Each purpose has seeds of its own."""

    SEARCH = "search"
    ATTEMPT = "attempt"
    RERANK = "rerank"
    FINALISE = "finalise"
    CONFIRM = "confirm"
    RECHECK = "recheck"


_STREAM = {purpose: position for position, purpose in enumerate(Purpose)}


def check_seed(seed: Any) -> None:
    """Refuse what no random numbers can begin with, before anything is written.

    Raises:
        SpaceError: It is no whole number, or a negative one.
    """
    if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
        raise SpaceError(f"seed={seed!r} can't begin random numbers. Give a whole number, 0 or more.")


def trial_seed(study_seed: int, purpose: Purpose, index: int) -> int:
    """Seed number ``index`` of the stream ``purpose``; in [0, 2**31).

    Seeds of different purposes are never equal, whatever the study's seed; within one stream the first 2**28
    indices give different seeds.

    >>> trial_seed(0, Purpose.SEARCH, 0) != trial_seed(0, Purpose.RERANK, 0)
    True
    """
    if index < 0:
        raise ValueError(f"A seed's index counts from 0, got {index}.")
    stream = _STREAM[purpose]
    start = int(np.random.SeedSequence(study_seed, spawn_key=(stream,)).generate_state(1)[0])
    return (stream << _BITS) | ((start + index * _ODD) % (1 << _BITS))


def number_of(study_seed: int, seed: int) -> int:
    """Which number in its stream a seed of ``trial_seed(study_seed, ...)`` has: the index it was made from.

    Of any other seed it gives a number in [0, 2**28) all the same, always the same one.

    >>> number_of(7, trial_seed(7, Purpose.RERANK, 12))
    12
    """
    purpose = purpose_of(seed)
    offset = seed - trial_seed(study_seed, purpose, 0)
    return offset * pow(_ODD, -1, 1 << _BITS) % (1 << _BITS)


def purpose_of(seed: int) -> Purpose:
    """The stream that a seed of ``trial_seed`` belongs to."""
    return list(Purpose)[seed >> _BITS]
