"""Opening an SQLite file as a ledger's engine, and saying in words what SQLite refuses.

WAL mode with ``synchronous=NORMAL``: a commit is in the operating system's hands when it returns, so nothing
acknowledged is lost when a process is killed; only a power cut can take the last commits, never the file.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import Connection, Engine, StaticPool, create_engine, event, inspect
from sqlalchemy.exc import DBAPIError, IntegrityError

from ayar.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ayar.ledger.rows import MeasurementRow, Token

_HEADER = b"SQLite format 3\0"

_CAUSES = {
    "SQLITE_FULL": "the disk is full. What was written before is safe; free some space and run it again",
    "SQLITE_BUSY": "another process has held it locked for too long. Wait for that process, or stop it",
    "SQLITE_READONLY": "it can be read but not written. Make the file and its folder writable, or use a copy",
    "SQLITE_NOTADB": "it is not an SQLite file. Give another path",
    "SQLITE_CORRUPT": "the file is damaged. Go back to a copy, or save what is left with sqlite3's .recover",
    "SQLITE_CANTOPEN": "SQLite cannot open it. Check that the file and its folder may be read and written",
    "SQLITE_PERM": "access is not permitted. Check the rights of the file and its folder",
    "SQLITE_IOERR": "the disk refuses; it may be full or failing. Free some space, or use another disk",
}


_APPEND = "INSERT INTO measurements (study, trial, step, loss, cost_s, metrics) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
_LATEST_MOVE = "SELECT id, session FROM moves WHERE study = ?1 AND trial = ?2 ORDER BY id DESC LIMIT 1"
_APPEND_CLAIMED = """
INSERT INTO measurements (study, trial, step, loss, cost_s, metrics) SELECT ?1, ?2, ?3, ?4, ?5, ?6
FROM (SELECT id, session FROM moves WHERE study = ?1 AND trial = ?2 ORDER BY id DESC LIMIT 1)
WHERE id = ?7 AND session = ?8"""


_LOOK_AGAIN_MS = 20
"""SQLite tries to get its lock more and more rarely: 1, 2, 5 ms after the last time, in the end each 100 ms. Who has
waited long in a crowd would then hardly ever find it free; so it is told to give up after this, and to begin anew."""

T = TypeVar("T")


class SqliteFile:
    """A file, or with None a database in memory; see ``Backend``. One connection serves all threads.

    Args:
        path: The file.
        create: Whether to make it if there is none.
        patience_s: Seconds to wait for another process that is writing.

    Raises:
        LedgerError: The path cannot be a ledger, whatever is in it; or there is none and ``create`` is False.
    """

    def __init__(self, path: Path | None, *, create: bool, patience_s: float) -> None:
        self.where = "in memory" if path is None else str(path)
        self.folder = None if path is None else Path(f"{path}.trials")
        self._patience_s = patience_s
        with self.explained():
            uri, self.read_only = _uri(path, create=create)
        with self.explained():
            self._raw = _connected(uri, patience_s)
        self.reader = create_engine("sqlite://", creator=lambda: self._raw, poolclass=StaticPool)
        event.listen(self.reader, "begin", self._begin)
        self.writer = self.reader.execution_options(writes=True)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn what SQLite or the file system raises into one LedgerError; a broken constraint is the caller's."""
        try:
            yield
        except IntegrityError:
            raise
        except (DBAPIError, sqlite3.Error) as error:
            raise LedgerError(f"The ledger {self.where} cannot be used: {_cause(error)}.") from error
        except OSError as error:
            raise LedgerError(f"The ledger {self.where} cannot be used: {error.strerror}. Check its rights.") from error

    def strangers(self, connection: Connection) -> list[str]:
        """Its tables: a file that is not a ledger yet must have none."""
        return inspect(connection).get_table_names()

    def settle(self) -> None:
        """Switch the file to write-ahead logging.

        The tables are in the file itself by then, so that even a copy of the bare file, made while the ledger is in
        use, is a ledger.
        """
        deadline = time.monotonic() + self._patience_s
        while not self.read_only and not _switched_to_wal(self.reader, deadline):
            time.sleep(0.01)

    def alone(self, connection: Connection, study: int) -> None:
        """A transaction that writes is alone from its start."""

    def append(self, transaction: Connection | None, rows: Sequence[MeasurementRow], claim: Token | None) -> bool:
        """Append measurements of one trial; see ``Backend``.

        This is what a study does most, so it goes straight to the driver: one row is one statement, claim and commit
        included.
        """
        raw = self._raw  # without SQLAlchemy around it
        try:
            if transaction is not None:
                return self._appended(raw, rows, claim)
            if len(rows) == 1:
                if claim is None:
                    return self._in_turn(lambda: raw.execute(_APPEND, rows[0])).rowcount == 1
                return self._in_turn(lambda: raw.execute(_APPEND_CLAIMED, rows[0] + claim)).rowcount == 1
            with self._transaction():
                return self._appended(raw, rows, claim)
        except sqlite3.IntegrityError as error:
            raise IntegrityError(_APPEND, None, error) from error

    def _in_turn(self, take: Callable[[], T]) -> T:
        """Do what takes the lock that only one process can have, once it is free; all that wait look equally often."""
        deadline = time.monotonic() + self._patience_s
        self._wait_at_most(min(_LOOK_AGAIN_MS, 1000 * self._patience_s))
        try:
            while True:
                try:
                    return take()
                except sqlite3.OperationalError as error:
                    if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > deadline:
                        raise
        finally:
            self._wait_at_most(1000 * self._patience_s)

    def _wait_at_most(self, milliseconds: float) -> None:
        self._raw.execute(f"PRAGMA busy_timeout = {round(milliseconds)}")

    def _begin(self, connection: Connection) -> None:
        if connection.get_execution_options().get("writes"):
            self._in_turn(lambda: self._raw.execute("BEGIN IMMEDIATE"))
        else:
            connection.exec_driver_sql("BEGIN")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._in_turn(lambda: self._raw.execute("BEGIN IMMEDIATE"))
        try:
            yield
        except BaseException:
            self._raw.execute("ROLLBACK")
            raise
        self._raw.execute("COMMIT")

    @staticmethod
    def _appended(raw: sqlite3.Connection, rows: Sequence[MeasurementRow], claim: Token | None) -> bool:
        if claim is not None and raw.execute(_LATEST_MOVE, rows[0][:2]).fetchone() != claim:
            return False
        raw.executemany(_APPEND, rows)
        return True

    def take_trial(self, connection: Connection, study: int, trial: int) -> None:
        """A transaction that writes is alone from its start."""

    def version(self) -> int | None:
        """SQLite counts the transactions of other connections. It is asked often, so without SQLAlchemy."""
        return int(self._raw.execute("PRAGMA data_version").fetchone()[0])

    def damage(self, connection: Connection) -> list[str]:
        """What SQLite finds wrong with its pages, its indexes and its foreign keys."""
        pages = [row[0] for row in connection.exec_driver_sql("PRAGMA integrity_check(20)") if row[0] != "ok"]
        orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(20)
        return pages + [f"a row of {row[0]} refers to one of {row[2]} that is not there" for row in orphans]

    def size(self, connection: Connection) -> int:
        """Bytes of the pages; the write-ahead log beside the file not counted."""
        pages, size = (
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("page_count", "page_size")
        )
        return int(pages) * int(size)

    def vacuum(self) -> None:
        """Write the file anew without its holes, and empty the write-ahead log."""
        self._raw.execute("VACUUM")
        self._raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _cause(error: DBAPIError | sqlite3.Error) -> str:
    original = error.orig if isinstance(error, DBAPIError) else error
    name = getattr(original, "sqlite_errorname", "")
    return next((words for prefix, words in _CAUSES.items() if name.startswith(prefix)), str(original))


def _uri(path: Path | None, *, create: bool) -> tuple[str, bool]:
    """What SQLite is to open, and whether it can only be read."""
    if path is None:
        return "file::memory:", False
    _check_path(path, create=create)
    uri = path.absolute().as_uri()
    if not path.exists() or (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        return f"{uri}?mode=rwc", False
    return f"{uri}?{_read_only_mode(path)}", True


def _check_path(path: Path, *, create: bool) -> None:
    if path.is_dir():
        raise LedgerError(f"{path} is a folder, not a ledger. Name a file in it, say {path / 'study.db'}.")
    if not path.exists():
        if not create:
            raise LedgerError(f"There is no ledger {path}. Check the path, or tune first: that makes it.")
        if not path.parent.is_dir():
            raise LedgerError(f"The folder {path.parent} of the ledger {path} does not exist. Make it first.")
        if not os.access(path.parent, os.W_OK):
            raise LedgerError(f"The ledger {path} cannot be made: its folder is read-only. Use another folder.")
        return
    if not path.is_file():
        raise LedgerError(f"{path} is not a regular file and cannot be a ledger. Give another path.")
    with path.open("rb") as file:
        header = file.read(len(_HEADER))
    if header not in (_HEADER, b""):
        raise LedgerError(f"{path} is no ledger: it is not an SQLite file. Give another path.")
    if not header and not create:
        raise LedgerError(f"{path} is no ledger: the file is empty. Check the path.")


def _read_only_mode(path: Path) -> str:
    # Without a -wal file nobody has the ledger open and SQLite may take it as it is; any other way it needs a
    # -shm file, which a read-only folder does not let it make.
    return "mode=ro" if path.with_name(path.name + "-wal").exists() else "mode=ro&immutable=1"


def _connected(uri: str, patience_s: float) -> sqlite3.Connection:
    # isolation_level=None: transactions begin where SQLAlchemy says, not where the driver guesses.
    connection = sqlite3.connect(uri, uri=True, timeout=patience_s, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _switched_to_wal(engine: Engine, deadline: float) -> bool:
    raw = engine.raw_connection()
    try:
        raw.cursor().execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        # SQLite does not wait here by itself for a process that is writing, say another one that opens the file.
        if time.monotonic() > deadline or not error.sqlite_errorname.startswith("SQLITE_BUSY"):
            raise
        return False
    finally:
        raw.close()
    return True
