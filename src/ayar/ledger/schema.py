"""The ledger's tables and the named steps that bring an older ledger up to date.

Rows are only ever inserted. What a trial is now follows from its rows by replay (``rows.py``)::

    studies 1--n trials 1--n moves         asked: train from start_step to stop_step
                        1--n measurements  one row per step: a step is there once by construction
                        1--n endings       how a move ended, and what the curve came to
            1--n notes                     whatever else happened, by kind
    sessions                               who asks: an opening of the ledger, with its heartbeat

A trial's latest move is a claim: it belongs to the session that asked it, until it is ended or another session asks
a later one. A session's row is the one thing that changes in place: a heartbeat is a sign of life, not a record.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    func,
    insert,
    inspect,
    select,
    text,
)

TABLES = MetaData()

LONG = BigInteger().with_variant(Integer, "sqlite")
"""A number that may exceed 2**31; SQLite's integers all may."""

ayar_migrations = Table(
    "ayar_migrations",
    TABLES,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("applied_at", Text, nullable=False),
)

studies = Table(
    "studies",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("spec", Text, nullable=False),  # JSON
    Column("created_at", Text, nullable=False),
)

trials = Table(
    "trials",
    TABLES,
    Column("study", Integer, ForeignKey("studies.id"), primary_key=True),
    Column("trial", Integer, primary_key=True),
    Column("config", Text, nullable=False),  # JSON
    Column("seed", BigInteger, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("parent", Integer),  # the trial whose state it began with, or whose changes it goes through again
    Column("fork_step", LONG),  # NULL is 0
    sqlite_with_rowid=False,
)


def _of_a_trial() -> tuple[Column[int], Column[int], ForeignKeyConstraint]:
    """The columns by which a row belongs to a trial."""
    return (
        Column("study", Integer, nullable=False),
        Column("trial", Integer, nullable=False),
        ForeignKeyConstraint(["study", "trial"], ["trials.study", "trials.trial"]),
    )


moves = Table(
    "moves",
    TABLES,
    Column("id", LONG, primary_key=True),
    *_of_a_trial(),
    Column("start_step", LONG, nullable=False),
    Column("stop_step", LONG, nullable=False),
    Column("asked_at", Text, nullable=False),
    Column("session", Text, nullable=False),  # the opening of the ledger that asked
    Index("moves_of_trial", "study", "trial"),
)

sessions = Table(
    "sessions",
    TABLES,
    Column("id", Text, primary_key=True),
    Column("machine", Text, nullable=False),
    Column("process", Text, nullable=False),  # its id and when it started
    Column("lease_s", Double),  # NULL: it sends no heartbeats
    Column("beat", BigInteger, nullable=False),  # counts up while it lives
    Column("closed", Boolean, nullable=False),
    Column("opened_at", Text, nullable=False),
)

# Without rowid a curve lies together on disk in the order of its steps, and the key costs no second tree.
measurements = Table(
    "measurements",
    TABLES,
    Column("study", Integer, primary_key=True),
    Column("trial", Integer, primary_key=True),
    Column("step", LONG, primary_key=True),
    Column("loss", Double),  # NULL is NaN: SQLite has no other way to keep it
    Column("cost_s", Double, nullable=False),
    Column("metrics", Text, nullable=False),  # JSON, with Python's NaN and Infinity
    ForeignKeyConstraint(["study", "trial"], ["trials.study", "trials.trial"]),
    sqlite_with_rowid=False,
)

endings = Table(
    "endings",
    TABLES,
    Column("id", LONG, primary_key=True),
    *_of_a_trial(),
    Column("move", LONG, ForeignKey("moves.id"), nullable=False, unique=True),
    Column("stop_step", LONG, nullable=False),  # the last step measured by then
    Column("ended", Boolean, nullable=False),
    Column("error", Text),
    Column("waste_s", Double, nullable=False),
    Column("at", Text, nullable=False),
    # The trial's curve at that time in a few numbers, so that a study is read without its measurements. All NULL:
    # an older Ayar wrote it.
    Column("points", Integer),
    Column("cost_s", Double),
    Column("least_loss", Double),  # NULL: none is finite
    Column("diverged", Boolean),
    Column("readings", Integer),  # measurements after step 0; NULL: an older Ayar wrote it
    Column("last_loss", Double),  # the latest of those; NULL: NaN, or none
    Index("endings_of_trial", "study", "trial"),
)

notes = Table(
    "notes",
    TABLES,
    Column("id", LONG, primary_key=True),
    Column("study", Integer, ForeignKey("studies.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),  # JSON
    Column("at", Text, nullable=False),
    Index("notes_of_study", "study", "kind"),
)


def now() -> str:
    """The present moment in UTC, as the ledger writes it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


Migration = Callable[[Connection], None]


def first_tables(connection: Connection) -> None:
    """Version 1: every table."""
    TABLES.create_all(connection)


def leases_and_summaries(connection: Connection) -> None:
    """Version 2: who works on what, and every ending says what the curve came to."""
    sessions.create(connection)
    for column in ("points INTEGER", "cost_s DOUBLE", "least_loss DOUBLE", "diverged BOOLEAN"):
        connection.execute(text(f"ALTER TABLE endings ADD COLUMN {column}"))
    connection.execute(text(_SUMMARISE), {"infinity": math.inf})


_SUMMARISE = """
UPDATE endings SET points = known.points, cost_s = known.cost_s, least_loss = known.least, diverged = known.broken
FROM (
    SELECT e.id AS id, count(m.step) AS points, coalesce(sum(m.cost_s), 0.0) AS cost_s,
        min(CASE WHEN m.step > 0 AND abs(m.loss) < :infinity THEN m.loss END) AS least,
        max(m.step IS NOT NULL AND (m.loss IS NULL OR abs(m.loss) = :infinity)) AS broken
    FROM endings e LEFT JOIN measurements m ON m.study = e.study AND m.trial = e.trial AND m.step <= e.stop_step
    GROUP BY e.id
) AS known WHERE known.id = endings.id"""


def lineage(connection: Connection) -> None:
    """Version 3: a trial may begin with another one's state."""
    for column in ("parent INTEGER", f"fork_step {LONG.compile(dialect=connection.dialect)}"):
        connection.execute(text(f"ALTER TABLE trials ADD COLUMN {column}"))


def last_losses(connection: Connection) -> None:
    """Version 4: every ending says how many readings there are, and the last one."""
    double = Double().compile(dialect=connection.dialect)
    for column in ("readings INTEGER", f"last_loss {double}"):
        connection.execute(text(f"ALTER TABLE endings ADD COLUMN {column}"))
    connection.execute(text(_LAST_LOSSES))


_LAST_LOSSES = """
UPDATE endings SET
    readings = points - (
        SELECT count(*) FROM measurements m WHERE m.study = endings.study AND m.trial = endings.trial AND m.step = 0
    ),
    last_loss = (
        SELECT m.loss FROM measurements m
        WHERE m.study = endings.study AND m.trial = endings.trial AND m.step = endings.stop_step AND m.step > 0
    )
WHERE points IS NOT NULL"""


MIGRATIONS: tuple[Migration, ...] = (first_tables, leases_and_summaries, lineage, last_losses)
"""Migration number n, counted from 1, makes version n of version n - 1."""


def version(connection: Connection) -> int:
    """The schema version of the open ledger; 0 where there is none."""
    if not inspect(connection).has_table(ayar_migrations.name):
        return 0
    return connection.scalar(select(func.max(ayar_migrations.c.version))) or 0


def migrate(connection: Connection, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring the ledger to the newest version, inside the transaction that the caller has begun.

    A new ledger gets the tables as they are defined above, which is where all migrations together lead.
    """
    held = version(connection)
    if held == 0:
        TABLES.create_all(connection)
    for number, migration in enumerate(migrations[held:], start=held + 1):
        if held > 0:
            migration(connection)
        note = {"version": number, "name": migration.__name__, "applied_at": now()}
        connection.execute(insert(ayar_migrations), note)
