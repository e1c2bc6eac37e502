"""One opening of a ledger: its transactions, and the session under which it stands on record."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from uuid import uuid4

from sqlalchemy import Connection, Engine, bindparam, insert, select, update

from ayar.errors import LedgerError
from ayar.ledger.backend import Backend
from ayar.ledger.rows import MeasurementRow, Rows, Token
from ayar.ledger.schema import now, sessions
from ayar.ledger.sessions import this_machine, this_process

_ENTER = insert(sessions)
_SESSIONS = select(sessions).where(sessions.c.id.in_(bindparam("ids", expanding=True)))
_THIS_SESSION = sessions.c.id == bindparam("session")
_BEAT = update(sessions).where(_THIS_SESSION).values(beat=sessions.c.beat + 1)
_SET_LEASE = update(sessions).where(_THIS_SESSION).values(lease_s=bindparam("lease"))
_LEAVE = update(sessions).where(_THIS_SESSION).values(closed=True)


class Opening:
    """What a ledger reads and writes through. Threads may share it; each waits for its turn.

    Attributes:
        backend: The database.
        session: A name for this opening; it stands beside every move asked through it.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.session = uuid4().hex
        self._entered = False  # whether the session is on record
        self._open: Connection | None = None  # of the transaction that this thread is in
        self._alone: set[int] = set()  # studies whose moves nobody else asks or ends in it
        self._lock = threading.RLock()
        self._closing = weakref.finalize(self, backend.writer.dispose)

    @property
    def closed(self) -> bool:
        """Whether nothing can be read or written any more."""
        return not self._closing.alive

    def close(self) -> None:
        """Close the database. Closing twice does nothing."""
        with self._lock:
            if self._entered and not self.closed:
                with suppress(LedgerError), self.writing() as connection:  # at worst the lease runs out
                    connection.execute(_LEAVE, {"session": self.session})
            self._closing()

    # Transactions

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One transaction that sees the ledger as it is at its start."""
        with self._transaction(self.backend.reader) as connection:
            yield connection

    @contextmanager
    def writing(self, study: int | None = None) -> Iterator[Connection]:
        """One transaction that writes. With ``study`` nobody else asks or ends moves of it, from its start on."""
        self._check_writable()
        with self._transaction(self.backend.writer) as connection:
            if study is not None and study not in self._alone:
                self.backend.alone(connection, study)
                self._alone.add(study)
            yield connection

    @contextmanager
    def outside(self) -> Iterator[Connection | None]:
        """What the driver is told to write by itself; gives the transaction that is open, if any."""
        with self._lock:
            self._check_writable()
            with self.backend.explained():
                yield self._open

    def version(self) -> int | None:
        """A number that changes when another opening has written; see ``Backend.version``."""
        with self._lock:
            self._check_open()
            with self.backend.explained():
                return self.backend.version()

    def append(self, rows: Sequence[MeasurementRow], claim: Token | None) -> bool:
        """Append measurements; see ``Backend.append``."""
        with self.outside() as transaction:
            return self.backend.append(transaction, rows, claim)

    def _check_open(self) -> None:
        if self.closed:
            raise LedgerError(f"The ledger {self.backend.where} is closed. Open it again with Ledger.open.")

    def _check_writable(self) -> None:
        self._check_open()
        if self.backend.read_only:
            raise LedgerError(
                f"The ledger {self.backend.where} is open for reading only: the file or its folder is read-only. "
                "Allow writing to both, or use a copy."
            )

    @contextmanager
    def _transaction(self, engine: Engine) -> Iterator[Connection]:
        with self._lock:
            self._check_open()
            if self._open is not None:
                yield self._open
                return
            had_entered = self._entered
            try:
                with self.backend.explained(), engine.begin() as connection:
                    self._open = connection
                    yield connection
            except BaseException:
                self._entered = had_entered  # what this transaction wrote is gone
                raise
            finally:
                self._open = None
                self._alone.clear()

    # The session

    def enter(self, connection: Connection) -> None:
        """Put the session on record, once."""
        if self._entered:
            return
        row = {
            "id": self.session,
            "machine": this_machine(),
            "process": this_process(),
            "lease_s": None,
            "beat": 0,
            "closed": False,
            "opened_at": now(),
        }
        connection.execute(_ENTER, row)
        self._entered = True

    def hold(self, lease_s: float | None) -> None:
        """Promise heartbeats, or with None no more."""
        with self.writing() as connection:
            self.enter(connection)
            connection.execute(_SET_LEASE, {"session": self.session, "lease": lease_s})

    def beat(self) -> None:
        """Give a sign of life."""
        with self.writing() as connection:
            connection.execute(_BEAT, {"session": self.session})

    def sessions(self, ids: Iterable[str]) -> Rows:
        """The rows of these sessions, as far as they are on record."""
        with self.reading() as connection:
            return connection.execute(_SESSIONS, {"ids": list(ids)}).all()
