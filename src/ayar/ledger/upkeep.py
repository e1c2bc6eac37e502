"""Looking after a ledger: is it whole, and does it take more room than it needs?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, delete, func, insert, select

from ayar.errors import LedgerError
from ayar.ledger.schema import TABLES, ayar_migrations, endings, measurements, moves, notes, sessions, studies, trials
from ayar.ledger.store import Ledger

_JSON = (
    (studies.c.spec, "the spec of study", (studies.c.id,)),
    (trials.c.config, "the configuration of trial", (trials.c.study, trials.c.trial)),
    (measurements.c.metrics, "the metrics of measurement", (measurements.c.study, measurements.c.trial)),
    (notes.c.body, "the body of note", (notes.c.id,)),
)
_MOST = 20  # faults of one kind that are named; a broken disk may make millions

_MISCOUNTED = (
    select(endings.c.study, endings.c.trial, endings.c.points, func.count(measurements.c.step).label("held"))
    .join_from(
        endings,
        measurements,
        (measurements.c.study == endings.c.study)
        & (measurements.c.trial == endings.c.trial)
        & (measurements.c.step <= endings.c.stop_step),
        isouter=True,
    )
    .where(endings.c.points.is_not(None))
    .group_by(endings.c.id, endings.c.study, endings.c.trial, endings.c.points)
    .having(func.count(measurements.c.step) != endings.c.points)
    .limit(_MOST)
)
_GAPS = select(trials.c.study, func.count().label("held"), func.max(trials.c.trial).label("last")).group_by(
    trials.c.study
)
_FREE_SESSIONS = (
    delete(sessions)
    .where(sessions.c.closed)
    .where(sessions.c.id.not_in(select(moves.c.session).where(moves.c.id.not_in(select(endings.c.move)))))
)


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes that a ledger takes, before and after it was compacted."""

    before: int
    after: int


def check(ledger: Ledger) -> list[str]:
    """What is wrong with a ledger, one sentence each; empty where it is whole.

    The database checks its own pages and keys. Then every JSON text is read, every summary of a curve is held against
    its measurements, and the numbers of trials are counted. All of it is read, so that takes a while.
    """
    with ledger.reading() as connection:
        faults = [f"The database says: {fault}." for fault in ledger.damage(connection)]
        return faults or [*_unreadable(connection), *_miscounted(connection), *_missing(connection)]


def _unreadable(connection: Connection) -> Iterator[str]:
    for text, what, names in _JSON:
        found = connection.execution_options(yield_per=10_000).execute(select(text, *names))
        named = 0
        for row in found:
            try:
                json.loads(row[0])
            except ValueError as error:
                named += 1
                if named <= _MOST:
                    yield f"{what.capitalize()} {', '.join(map(str, row[1:]))} is no JSON: {error}."


def _miscounted(connection: Connection) -> Iterator[str]:
    for row in connection.execute(_MISCOUNTED):
        yield (
            f"Trial {row.trial} of study {row.study} holds {row.held} measurements up to the end of a move that "
            f"counted {row.points}."
        )


def _missing(connection: Connection) -> Iterator[str]:
    for row in connection.execute(_GAPS):
        if row.held != row.last + 1:
            yield f"Study {row.study} holds {row.held} trials, but they are numbered up to {row.last}."


def compact(ledger: Ledger) -> Size:
    """Give back the room that a ledger doesn't need, and forget sessions that have ended.

    Nothing of any study is removed. Others may go on working; it may wait for them, and they for it.
    """
    before = ledger.size()
    with ledger.writing() as connection:
        connection.execute(_FREE_SESSIONS)
    ledger.vacuum()
    return Size(before, ledger.size())


def copy(ledger: Ledger, path: Path) -> None:
    """Write all that a ledger holds at this moment into a new SQLite file, also from a server, while others write.

    Raises:
        LedgerError: There is something at ``path`` already, or it cannot be written.
    """
    if path.exists():
        raise LedgerError(f"There is something at {path} already. Name a file that doesn't exist yet.")
    with Ledger.open(path) as new, ledger.reading() as source, new.writing() as target:
        for table in TABLES.sorted_tables:
            if table is not ayar_migrations:
                found = source.execution_options(yield_per=10_000).execute(select(table))
                for rows in found.mappings().partitions():
                    target.execute(insert(table), [dict(row) for row in rows])
