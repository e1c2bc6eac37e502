"""What is read of a study's trials, within a transaction."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, Select, Table, bindparam, exists, func, select

from ayar.ledger import rows
from ayar.ledger.pages import News, Seen
from ayar.ledger.schema import endings, measurements, moves, studies, trials
from ayar.records import Measurement
from ayar.seeds import Purpose

# Statements are made once: SQLAlchemy finds each one's compiled form again by its identity.

_OF_STUDY: dict[str, Any] = {"study": bindparam("study")}
_OF_TRIAL = {**_OF_STUDY, "trial": bindparam("trial")}
_STUDY = select(studies.c.id).where(studies.c.id == bindparam("study"))
_LAST_NUMBER = select(func.max(trials.c.trial)).filter_by(**_OF_STUDY)
_STEPS = select(measurements.c.step).filter_by(**_OF_TRIAL)
_LATER = (
    select(measurements.c.step, measurements.c.loss, measurements.c.cost_s, measurements.c.metrics)
    .filter_by(**_OF_TRIAL)
    .where(measurements.c.step > bindparam("after"), measurements.c.step <= bindparam("until"))
    .order_by(measurements.c.step)
)
_LOSSES = (
    select(measurements.c.trial, measurements.c.step, measurements.c.loss)
    .filter_by(**_OF_STUDY)
    .where(measurements.c.trial >= bindparam("first"), measurements.c.trial <= bindparam("last"))
    .order_by(measurements.c.trial, measurements.c.step)
)
_NO_END = 2**62  # a step that no training reaches


def _of(table: Table, order: Column[Any], *names: str) -> Select[Any]:
    return select(*(table.c[name] for name in names)).filter_by(**_OF_STUDY).order_by(order)


_TRIALS = _of(trials, trials.c.trial, "trial", "config", "seed", "purpose", "parent", "fork_step")
_MOVES = _of(moves, moves.c.id, "trial", "id", "stop_step", "session")
_ENDINGS = _of(
    endings,
    endings.c.id,
    *("trial", "id", "move", "stop_step", "ended", "error", "waste_s"),
    *("points", "cost_s", "least_loss", "diverged", "readings", "last_loss"),
)
_NEW = tuple(
    (statement.where(key >= bindparam("first")))
    for statement, key in ((_TRIALS, trials.c.trial), (_MOVES, moves.c.id), (_ENDINGS, endings.c.id))
)
_SOME = tuple(
    (statement.where(key.in_(bindparam("some", expanding=True))))
    for statement, key in ((_TRIALS, trials.c.trial), (_MOVES, moves.c.trial), (_ENDINGS, endings.c.trial))
)
_AT_ONCE = 500  # numbers in one statement; SQLite takes 32,766 values at most


def has_study(connection: Connection, study: int) -> bool:
    """Whether there is a study with this id."""
    return connection.scalar(_STUDY, {"study": study}) is not None


def last_number(connection: Connection, study: int) -> int | None:
    """The number of the study's last trial; None before any."""
    number: int | None = connection.scalar(_LAST_NUMBER, {"study": study})
    return number


def news(connection: Connection, study: int, seen: Seen) -> News:
    """The rows about trials that were appended since, without measurements."""
    firsts = (seen.trials, seen.move + 1, seen.ending + 1)
    found = [
        connection.execute(s, {"study": study, "first": first}).all() for s, first in zip(_NEW, firsts, strict=True)
    ]
    return News(*found)


def news_of(connection: Connection, study: int, numbers: Sequence[int]) -> News:
    """The rows about these trials, without measurements."""
    found: tuple[list[Any], ...] = ([], [], [])
    for first in range(0, len(numbers), _AT_ONCE):
        key = {"study": study, "some": numbers[first : first + _AT_ONCE]}
        for statement, into in zip(_SOME, found, strict=True):
            into.extend(connection.execute(statement, key).all())
    return News(*found)


def curve(
    connection: Connection, study: int, trial: int, after: int = -1, until: int = _NO_END
) -> tuple[Measurement, ...]:
    """A trial's measurements beyond a step, up to another one."""
    key = {"study": study, "trial": trial, "after": after, "until": until}
    return rows.measurements(connection.execute(_LATER, key))


def losses(connection: Connection, study: int, first: int, last: int) -> rows.Rows:
    """``(trial, step, loss)`` of the trials from a first one to a last one; a loss of None is NaN."""
    return connection.execute(_LOSSES, {"study": study, "first": first, "last": last}).all()


def steps(connection: Connection, study: int, trial: int) -> set[int]:
    """The steps that a trial was measured at."""
    return set(connection.scalars(_STEPS, {"study": study, "trial": trial}))


# -- a large study in a few of its trials

_SEARCHED = (Purpose.SEARCH.value, Purpose.ATTEMPT.value)
_OTHERS = select(trials.c.trial, trials.c.purpose).filter_by(**_OF_STUDY).where(trials.c.purpose.not_in(_SEARCHED))
_RERANKED = select(trials.c.config).filter_by(**_OF_STUDY).where(trials.c.purpose == Purpose.RERANK.value)
_ALIKE = select(trials.c.trial).filter_by(**_OF_STUDY).where(trials.c.config.in_(_RERANKED))
_PARENTS = select(trials.c.trial, trials.c.parent).filter_by(**_OF_STUDY).where(trials.c.parent.is_not(None))
_OUTSTANDING = select(moves.c.trial).filter_by(**_OF_STUDY).where(~exists().where(endings.c.move == moves.c.id))
_LATEST = select(func.max(endings.c.id).label("id")).filter_by(**_OF_STUDY).group_by(endings.c.trial).subquery()
_STANDINGS = select(
    endings.c.trial,
    endings.c.least_loss,
    (endings.c.error.is_not(None) | endings.c.diverged).label("broken"),  # NULL: an older Ayar counted nothing
).join(_LATEST, endings.c.id == _LATEST.c.id)


@dataclass(frozen=True, slots=True)
class Skim:
    """Which trials of a study to read, where all would take long.

    Attributes:
        numbers: Of the trials that decide who wins, as far as the search and the re-ranking do, and of the sample.
        sample: Of trials that lie evenly among all.
        unread: The least losses of the searched trials that are not among them, in no order.
    """

    numbers: list[int]
    sample: list[int]
    unread: list[float]


def skim(connection: Connection, study: int, best: int, sample: int) -> Skim:
    """The search's ``best`` trials, those of confirmations with what they are compared with, and an even sample."""
    key = {"study": study}
    total = 1 + (last_number(connection, study) or 0)
    even = list(range(0, total, max(1, total // sample)))
    others = {row.trial: row.purpose for row in connection.execute(_OTHERS, key)}
    outstanding = set(connection.scalars(_OUTSTANDING, key))
    chosen = {*even, *others, *outstanding}
    sound, broken = [], []
    for trial, loss, is_broken in connection.execute(_STANDINGS, key):
        if is_broken == 0 and loss is not None:
            sound.append((loss, trial))
        elif is_broken:
            broken.append(trial)
        else:
            chosen.add(trial)
    searched = [each for each in sound if each[1] not in outstanding and each[1] not in others]
    chosen.update(trial for _, trial in heapq.nsmallest(best, searched))
    if Purpose.RERANK.value in others.values():
        # A winner is preferred where it lies far from failures, and named by the search's trial of its configuration.
        chosen.update(broken, connection.scalars(_ALIKE, key))
    parents = {row.trial: row.parent for row in connection.execute(_PARENTS, key)}
    ahead = list(chosen)
    while ahead:  # where their states come from
        ahead = [parents[trial] for trial in ahead if trial in parents and parents[trial] not in chosen]
        chosen.update(ahead)
    return Skim(sorted(chosen), even, [loss for loss, trial in searched if trial not in chosen])
