"""A PostgreSQL database as a ledger, for teams; needs the extra ``ayar[postgres]``.

Whoever asks or ends a move holds one advisory lock until the transaction ends, so their ids are seen in the order in
which they were given. Measurements need no such turn: they lock their trial's row against being taken over, and
nothing else, so thousands of workers append side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, Integer, Text, bindparam, create_engine, func, insert, inspect, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from ayar.errors import LedgerError, extra
from ayar.ledger.rows import MeasurementRow, Token
from ayar.ledger.schema import TABLES, measurements, moves, trials

_LOCK = 0x41594152  # "AYAR"
_TRIAL = select(trials.c.trial).where(trials.c.study == bindparam("study"), trials.c.trial == bindparam("trial"))
_COLUMNS = ("study", "trial", "step", "loss", "cost_s", "metrics")
_APPEND = insert(measurements)
_LATEST_MOVE = (
    select(moves.c.id, moves.c.session)
    .where(moves.c.study == bindparam("study"), moves.c.trial == bindparam("trial"))
    .order_by(moves.c.id.desc())
    .limit(1)
)
_SIZE = select(func.pg_total_relation_size(bindparam("name", type_=Text)))
_HOLD = _TRIAL.with_for_update(key_share=True, read=True)
_TAKE = _TRIAL.with_for_update()
_ALONE = select(func.pg_advisory_xact_lock(_LOCK, bindparam("study", type_=Integer)))

# By SQLSTATE, or its class: https://www.postgresql.org/docs/current/errcodes-appendix.html
_CAUSES = {
    "28": "the server does not let this user in. Check user and password in the URL, or PGPASSWORD",
    "3D000": "there is no such database. Make it with createdb, or check the URL",
    "3F000": "there is no such schema. Make it with CREATE SCHEMA, or check the URL",
    "42501": "this user may not do that. GRANT it the rights to create, read and write tables",
    "25006": "the server can be read but not written; it may be a standby. Use the primary",
    "53100": "the server's disk is full. What was written before is safe; free some space and run it again",
    "53300": "the server takes no more connections. Stop some, or raise its max_connections",
    "55P03": "another process has held it locked for too long. Wait for that process, or stop it",
    "57P": "the server is shutting down or starting. What was written before is safe; run it again when it is up",
    "08": "the connection was lost. What was written before is safe; run it again when the server is up",
}


class PostgresDatabase:
    """A database, or a schema in it; see ``Backend``.

    Raises:
        MissingExtra: The driver is not installed.
    """

    def __init__(self, url: URL, *, patience_s: float) -> None:
        with extra("postgres"):
            import psycopg  # noqa: F401 - only whether it is there
        url = url.set(drivername="postgresql+psycopg")
        self.where = url.render_as_string(hide_password=True)
        self.folder = Path(f"{url.database or 'postgres'}.trials")
        self.read_only = False
        query = {"connect_timeout": "10", **url.query}
        given = query.get("options", "")
        query["options"] = f"{given} -c lock_timeout={round(patience_s * 1000)}".strip()
        engine = create_engine(url.set(query=query), pool_size=1, max_overflow=0, hide_parameters=True)
        self.writer: Engine = engine
        self.reader: Engine = engine.execution_options(isolation_level="REPEATABLE READ")

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn what the server raises into one LedgerError; a broken constraint is the caller's."""
        try:
            yield
        except IntegrityError:
            raise
        except DBAPIError as error:
            raise LedgerError(f"The ledger {self.where} cannot be used: {_cause(error)}.") from error

    def strangers(self, connection: Connection) -> list[str]:
        """Tables of something else whose names a ledger needs; all others may stay beside it."""
        return sorted(TABLES.tables.keys() & set(inspect(connection).get_table_names()))

    def settle(self) -> None:
        """Nothing is left to be done."""

    def alone(self, connection: Connection, study: int) -> None:
        """Take the study's advisory lock; the commit gives it back."""
        connection.execute(_ALONE, {"study": study})

    def append(self, transaction: Connection | None, rows: Sequence[MeasurementRow], claim: Token | None) -> bool:
        """Append measurements of one trial; see ``Backend``.

        The trial's row is locked as by a foreign key: others may append, too, but nobody can take it over meanwhile.
        """
        key = dict(zip(("study", "trial"), rows[0], strict=False))
        with self.writer.begin() if transaction is None else nullcontext(transaction) as connection:
            if claim is not None:
                connection.execute(_HOLD, key)
                if connection.execute(_LATEST_MOVE, key).first() != claim:
                    return False
            connection.execute(_APPEND, [dict(zip(_COLUMNS, row, strict=True)) for row in rows])
        return True

    def take_trial(self, connection: Connection, study: int, trial: int) -> None:
        """Lock the trial's row against appending."""
        connection.execute(_TAKE, {"study": study, "trial": trial})

    def version(self) -> int | None:
        """None."""
        return None

    def damage(self, connection: Connection) -> list[str]:  # noqa: ARG002 - the server checks its pages as it reads
        """None: the server's own tools check its pages (``pg_amcheck``), and its keys cannot be broken."""
        return []

    def size(self, connection: Connection) -> int:
        """Bytes of the tables with their indexes."""
        return sum(connection.scalar(_SIZE, {"name": name}) or 0 for name in TABLES.tables)

    def vacuum(self) -> None:
        """Let the server use dead rows' room again, and look at what the tables hold."""
        with self.writer.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            for name in TABLES.tables:
                connection.exec_driver_sql(f'VACUUM (ANALYZE) "{name}"')


def _cause(error: DBAPIError) -> str:
    state = getattr(error.orig, "sqlstate", None)
    if state is None:  # no answer from a server; the lines after the first are the driver's own guess
        first = (str(error.orig).strip().splitlines() or ["no answer"])[0].rstrip(".:")
        return f"{first}. Check that the server runs, and the URL's host, port, user and database"
    return next((words for prefix, words in _CAUSES.items() if state.startswith(prefix)), _one_line(error))


def _one_line(error: DBAPIError) -> str:
    return " ".join(str(error.orig).split()).rstrip(".")
