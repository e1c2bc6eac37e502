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
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, StaticPool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError

from ayar.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Turn what SQLite or the file system raises into one LedgerError; a broken constraint is the caller's."""
    try:
        yield
    except IntegrityError:
        raise
    except (DBAPIError, sqlite3.Error) as error:
        raise LedgerError(f"The ledger {where} cannot be used: {_cause(error)}.") from error
    except OSError as error:
        raise LedgerError(f"The ledger {where} cannot be used: {error.strerror}. Check its rights.") from error


def _cause(error: DBAPIError | sqlite3.Error) -> str:
    original = error.orig if isinstance(error, DBAPIError) else error
    name = getattr(original, "sqlite_errorname", "")
    return next((words for prefix, words in _CAUSES.items() if name.startswith(prefix)), str(original))


def file_of(where: str | Path | None) -> Path | None:
    """The file that ``where`` names; None for memory.

    Raises:
        LedgerError: It is a URL of something else than an SQLite file.
    """
    if where is None or isinstance(where, Path) or "://" not in where:
        return None if where is None else Path(where)
    try:
        url = make_url(where)
    except ArgumentError as error:
        raise LedgerError("The ledger's URL cannot be read. Give a path, or sqlite:///path.") from error
    if url.get_backend_name() != "sqlite":
        # The URL itself may hold a password and stays out of the message.
        raise LedgerError(
            f"A ledger at {url.get_backend_name()}:// is not supported yet, PostgreSQL included. "
            "Give a path, or sqlite:///path."
        )
    return None if url.database in (None, "", ":memory:") else Path(url.database)


def open_engine(path: Path | None, *, create: bool, patience_s: float) -> tuple[Engine, bool]:
    """An engine of one connection on the file, or in memory, and whether it can only be read.

    Every transaction begins with the engine's execution option ``begin`` (``"BEGIN"`` unless set).

    Raises:
        LedgerError: The path cannot be a ledger, whatever is in it; or there is none and ``create`` is False.
    """
    if path is None:
        return _engine("file::memory:", patience_s), False
    _check_path(path, create=create)
    uri = path.absolute().as_uri()
    if not path.exists() or (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        return _engine(f"{uri}?mode=rwc", patience_s), False
    return _engine(f"{uri}?{_read_only_mode(path)}", patience_s), True


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


def _engine(uri: str, patience_s: float) -> Engine:
    def connect() -> sqlite3.Connection:
        # isolation_level=None: transactions begin where SQLAlchemy says, not where the driver guesses.
        connection = sqlite3.connect(uri, uri=True, timeout=patience_s, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=StaticPool)
    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))


def use_wal(engine: Engine, patience_s: float) -> None:
    """Switch the file to write-ahead logging.

    Call it after the tables are made: they are in the file itself then, so that even a copy of the bare file,
    made while the ledger is in use, is a ledger.
    """
    deadline = time.monotonic() + patience_s
    while not _switched_to_wal(engine, deadline):
        time.sleep(0.01)


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
