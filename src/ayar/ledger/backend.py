"""What a ledger needs from the database that holds it; ``SqliteFile`` and ``PostgresDatabase`` offer it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError

from ayar.errors import LedgerError
from ayar.ledger.postgres import PostgresDatabase
from ayar.ledger.rows import MeasurementRow, Token
from ayar.ledger.sqlite import SqliteFile

_GIVE = "Give a path, sqlite:///path, or postgresql+psycopg://user@host/name."


class Backend(Protocol):
    """An opened database.

    Attributes:
        where: What it is called in messages; no password in it.
        folder: Where files of trials belong; None where it is in memory.
        read_only: Whether it can be read but not written.
        reader: Its transactions see one moment.
        writer: For transactions that write.
    """

    @property
    def where(self) -> str: ...  # noqa: D102
    @property
    def folder(self) -> Path | None: ...  # noqa: D102
    @property
    def read_only(self) -> bool: ...  # noqa: D102
    @property
    def reader(self) -> Engine: ...  # noqa: D102
    @property
    def writer(self) -> Engine: ...  # noqa: D102

    def explained(self) -> AbstractContextManager[None]:
        """Turn what the database raises into one LedgerError; a broken constraint is the caller's."""
        ...

    def strangers(self, connection: Connection) -> list[str]:
        """Tables of something else that leave no room for a ledger."""
        ...

    def settle(self) -> None:
        """Whatever is to be done once the tables are there."""
        ...

    def alone(self, connection: Connection, study: int) -> None:
        """Wait until nobody else is in the midst of asking or ending a study's moves; nobody is until the commit."""
        ...

    def append(self, transaction: Connection | None, rows: Sequence[MeasurementRow], claim: Token | None) -> bool:
        """Append measurements of one trial, in the transaction that is open, or in one of their own.

        False, and nothing is appended, where the trial's latest move is not ``claim``, its id and its session.

        Raises:
            IntegrityError: There is no such trial, or one of the steps is there already.
        """
        ...

    def take_trial(self, connection: Connection, study: int, trial: int) -> None:
        """Wait until nobody is in the midst of appending to the trial; nobody is until the commit."""
        ...

    def version(self) -> int | None:
        """A number that changes when another connection has written; None where nobody can tell."""
        ...

    def damage(self, connection: Connection) -> list[str]:
        """What it finds wrong with its own pages and keys."""
        ...

    def size(self, connection: Connection) -> int:
        """Bytes that it takes."""
        ...

    def vacuum(self) -> None:
        """Give back the room that it doesn't need."""
        ...


def opened(where: str | Path | None, *, create: bool, patience_s: float) -> Backend:
    """The database that ``where`` names: a path, ``sqlite:///path``, ``postgresql+psycopg://...``, None for memory.

    Raises:
        LedgerError: It is none of these, or cannot be opened.
        MissingExtra: The driver is not installed.
    """
    if where is None or isinstance(where, Path) or "://" not in where:
        return SqliteFile(None if where is None else Path(where), create=create, patience_s=patience_s)
    try:
        url = make_url(where)
    except ArgumentError as error:
        raise LedgerError(f"The ledger's URL cannot be read. {_GIVE}") from error
    kind = url.get_backend_name()
    if kind in ("postgresql", "postgres"):
        return PostgresDatabase(url, patience_s=patience_s)
    if kind != "sqlite":
        # The URL itself may hold a password and stays out of the message.
        raise LedgerError(f"A ledger at {kind}:// is not supported. {_GIVE}")
    name = url.database
    return SqliteFile(None if name in (None, "", ":memory:") else Path(name), create=create, patience_s=patience_s)
