"""The ledger: append what happened, read it back as records.

Every method that writes is one transaction: when it returns, its rows outlive the process; when it raises,
nothing of it was written.
"""

from __future__ import annotations

import gc
import json
import math
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from sqlalchemy import (
    Column,
    Connection,
    CursorResult,
    Engine,
    Select,
    Table,
    bindparam,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from ayar.errors import ClaimLost, LedgerError, MoveError, NotInLedger
from ayar.ledger import rows, schema
from ayar.ledger.backend import Backend, opened
from ayar.ledger.pages import Claim, News, Pages, Seen, Trials
from ayar.ledger.rows import Rows
from ayar.ledger.schema import endings, measurements, moves, notes, now, sessions, studies, trials
from ayar.ledger.sessions import this_machine, this_process
from ayar.records import Configuration, Measurement, Move, Trial
from ayar.seeds import Purpose

if TYPE_CHECKING:
    from types import TracebackType

# Statements are made once: SQLAlchemy finds each one's compiled form again by its identity.
_ADD_STUDY = insert(studies)
_ADD_TRIAL = insert(trials)
_ADD_MOVE = insert(moves)
_ADD_ENDING = insert(endings)
_ADD_NOTE = insert(notes)

_ADD_SESSION = insert(sessions)

_THIS_TRIAL: dict[str, Any] = {"study": bindparam("study"), "trial": bindparam("trial")}
_LAST_NUMBER = select(func.max(trials.c.trial)).where(trials.c.study == bindparam("study"))
_LATEST_MOVE = select(moves.c.id, moves.c.session).filter_by(**_THIS_TRIAL).order_by(moves.c.id.desc()).limit(1)
_ENDING_OF = select(endings.c.id).where(endings.c.move == bindparam("move"))
_LATEST_ENDING = select(endings).filter_by(**_THIS_TRIAL).order_by(endings.c.id.desc()).limit(1)
_STEPS = select(measurements.c.step).filter_by(**_THIS_TRIAL)

_STUDY = select(studies.c.id).where(studies.c.id == bindparam("study"))
_SUMMED = (measurements.c.step, measurements.c.loss, measurements.c.cost_s)


def _later(*columns: Any) -> Select[Any]:
    """A trial's measurements beyond a step."""
    later = select(*columns).filter_by(**_THIS_TRIAL).where(measurements.c.step > bindparam("after"))
    return later.order_by(measurements.c.step)


_LATER, _LATER_LOSSES = _later(*_SUMMED, measurements.c.metrics), _later(*_SUMMED)


def _beyond(table: Table, key: Column[Any], *columns: Any) -> Select[Any]:
    """A study's rows from one key on, in its order."""
    return select(*columns).where(table.c.study == bindparam("study"), key >= bindparam("first")).order_by(key)


_TRIAL_COLUMNS = ("trial", "config", "seed", "purpose", "parent", "fork_step")
_TRIALS = _beyond(trials, trials.c.trial, *(trials.c[name] for name in _TRIAL_COLUMNS))
_MOVES = _beyond(moves, moves.c.id, *(moves.c[name] for name in ("trial", "id", "stop_step", "session")))
_ENDING_COLUMNS = ("trial", "id", "move", "stop_step", "ended", "error", "waste_s")
_SUMMARY_COLUMNS = ("points", "cost_s", "least_loss", "diverged")
_ENDINGS = _beyond(endings, endings.c.id, *(endings.c[name] for name in _ENDING_COLUMNS + _SUMMARY_COLUMNS))
_NOTES = _beyond(notes, notes.c.id, notes)

_NO_STUDY = 0  # ids count from 1

_SESSIONS = select(sessions).where(sessions.c.id.in_(bindparam("ids", expanding=True)))
_THIS_SESSION = sessions.c.id == bindparam("session")
_BEAT = update(sessions).where(_THIS_SESSION).values(beat=sessions.c.beat + 1)
_SET_LEASE = update(sessions).where(_THIS_SESSION).values(lease_s=bindparam("lease"))
_CLOSE_SESSION = update(sessions).where(_THIS_SESSION).values(closed=True)


@dataclass(frozen=True, slots=True)
class StudyRow:
    """A study as the ledger holds it: ``spec`` is the JSON-safe dict that it was created with."""

    id: int
    name: str
    spec: dict[str, Any]
    created_at: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something that happened in a study beside its trials; ``body`` is JSON-safe, ``at`` is in UTC."""

    id: int
    kind: str
    body: Any
    at: str


class Ledger:
    """The append-only record of studies, in an SQLite file, in PostgreSQL or in memory; ``Ledger.open`` makes one.

    Several processes may have it open; each waits for its turn to write. Threads may share a ledger.

    Attributes:
        where: The file, the URL without its password, or ``"in memory"``.
        folder: Where files of trials belong; None where it is in memory.
        read_only: Whether it can be read but not written.
        session: A name for this opening of the ledger; it stands beside every move asked through it.
    """

    def __init__(self, backend: Backend, url: str | Path | None) -> None:
        self._backend = backend
        self._url = url
        self.where = backend.where
        self.folder = backend.folder
        self.read_only = backend.read_only
        self.session = uuid4().hex
        self._in_session = False  # whether it is on record
        self._open: Connection | None = None  # of the transaction that this thread is in
        self._alone: set[int] = set()  # studies whose moves nobody else asks or ends in it
        self._lock = threading.RLock()
        self._closing = weakref.finalize(self, backend.writer.dispose)

    @classmethod
    def open(cls, where: str | Path | None, *, create: bool = True, patience_s: float = 60.0) -> Self:
        """The ledger at ``where``: a path, ``sqlite:///path``, ``postgresql+psycopg://...``, or None for memory.

        An older ledger is brought up to date. A file that may only be read is opened for reading.

        Args:
            where: Path, URL or None.
            create: Whether to make the ledger if there is none.
            patience_s: Seconds to wait for another process that is writing.

        Raises:
            LedgerError: It is no ledger, it is newer than this Ayar, or the file cannot be used.
        """
        backend = opened(where, create=create, patience_s=patience_s)
        ledger = cls(backend, where)
        try:
            with backend.explained():
                ledger._prepare(create=create)
                backend.settle()
        except BaseException:
            ledger.close()
            raise
        return ledger

    def _prepare(self, *, create: bool) -> None:
        """Check that the file is a ledger of a known version, and bring it up to date."""
        newest = len(schema.MIGRATIONS)
        with self.reading() as connection:
            held = schema.version(connection)
            strangers = [] if held else sorted(self._backend.strangers(connection))
        if strangers:
            raise LedgerError(
                f"{self.where} is no ledger: something else lives there, with tables {', '.join(strangers[:3])}. "
                "Give another place."
            )
        if held > newest:
            raise LedgerError(
                f"The ledger {self.where} has schema version {held}, this Ayar knows {newest}. Update Ayar."
            )
        if held == newest:
            return
        if held == 0 and (self.read_only or not create):
            raise LedgerError(f"{self.where} is no ledger: it holds no table. Check the path.")
        with self.writing() as connection:
            self._backend.alone(connection, _NO_STUDY)
            schema.migrate(connection)

    def close(self) -> None:
        """Close the file. Closing twice does nothing. Moves still outstanding are free for others to take over."""
        with self._lock:
            if self._in_session and self._closing.alive:
                with suppress(LedgerError), self.writing() as connection:  # at worst the lease runs out
                    connection.execute(_CLOSE_SESSION, {"session": self.session})
            self._closing()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One transaction that sees the ledger as it is at its start."""
        with self._transaction(self._backend.reader) as connection:
            yield connection

    @contextmanager
    def writing(self, study: int | None = None) -> Iterator[Connection]:
        """One transaction that writes. With ``study`` nobody else asks or ends moves of it, from its start on."""
        self._check_writable()
        with self._transaction(self._backend.writer) as connection:
            if study is not None and study not in self._alone:
                self._backend.alone(connection, study)
                self._alone.add(study)
            yield connection

    def _check_writable(self) -> None:
        if not self._closing.alive:
            raise LedgerError(f"The ledger {self.where} is closed. Open it again with Ledger.open.")
        if self.read_only:
            raise LedgerError(
                f"The ledger {self.where} is open for reading only: the file or its folder is read-only. "
                "Allow writing to both, or use a copy."
            )

    @contextmanager
    def _transaction(self, engine: Engine) -> Iterator[Connection]:
        with self._lock:
            if not self._closing.alive:
                raise LedgerError(f"The ledger {self.where} is closed. Open it again with Ledger.open.")
            if self._open is not None:
                yield self._open
                return
            was_in_session = self._in_session
            try:
                with self._backend.explained(), engine.begin() as connection:
                    self._open = connection
                    yield connection
            except BaseException:
                self._in_session = was_in_session  # what this transaction wrote is gone
                raise
            finally:
                self._open = None
                self._alone.clear()

    @contextmanager
    def claiming(self, study: int) -> Iterator[None]:
        """All that is read and written within is one transaction, in which nobody else asks or ends a move.

        Keep it short: others wait. It is written as a whole, or not at all where something within raises.
        """
        with self.writing(study):
            yield

    # Studies

    def create_study(self, name: str, spec: Mapping[str, Any]) -> int:
        """Append a study and give its id.

        Raises:
            LedgerError: There is a study of that name, or ``spec`` cannot be written as JSON.
        """
        row = {"name": name, "spec": rows.as_json(spec, "the spec"), "created_at": now()}
        try:
            with self.writing() as connection:
                return _new_id(connection.execute(_ADD_STUDY, row))
        except IntegrityError as error:
            raise LedgerError(
                f"The ledger {self.where} already holds a study '{name}'. Resume it, or choose another name."
            ) from error

    def studies(self) -> list[StudyRow]:
        """Every study, oldest first."""
        with self.reading() as connection:
            found = connection.execute(select(studies).order_by(studies.c.id)).all()
        return [StudyRow(row.id, row.name, json.loads(row.spec), row.created_at) for row in found]

    def find_study(self, name: str | None = None) -> StudyRow:
        """The study of that name; with None, the only one.

        Raises:
            NotInLedger: There is no such study, or ``name`` is None and there isn't exactly one.
        """
        held = self.studies()
        found = [study for study in held if name in (None, study.name)]
        if len(found) == 1:
            return found[0]
        names = ", ".join(f"'{study.name}'" for study in held)
        if not held:
            raise NotInLedger(f"The ledger {self.where} holds no study yet. Tune first: that makes one.")
        if name is None:
            raise NotInLedger(f"The ledger {self.where} holds several studies: {names}. Name one of them.")
        raise NotInLedger(f"No study '{name}' in {self.where}. It holds {names}.")

    # Trials

    def add_trial(
        self,
        study: int,
        config: Configuration,
        seed: int,
        purpose: Purpose = Purpose.SEARCH,
        parent: int | None = None,
        fork_step: int = 0,
    ) -> int:
        """Append a trial and give its number: 0, 1, 2, ... in its study, whoever else is appending.

        ``parent`` and ``fork_step`` are those of ``Trial``.

        Raises:
            NotInLedger: There is no such study.
        """
        row = {
            "study": study,
            "config": rows.as_json(config, "the configuration"),
            "seed": seed,
            "purpose": purpose.value,
            "created_at": now(),
            "parent": parent,
            "fork_step": fork_step or None,
        }
        try:
            with self.writing(study) as connection:
                last = connection.scalar(_LAST_NUMBER, row)
                number = 0 if last is None else last + 1
                connection.execute(_ADD_TRIAL, row | {"trial": number})
        except IntegrityError as error:
            raise self._no_study(study) from error
        return number

    def add_move(self, study: int, move: Move) -> int:
        """Append that ``move.trial`` is to be trained up to ``move.stop_step``, and give the move's id.

        The trial is this session's then, whoever had it before.

        Raises:
            NotInLedger: There is no such trial.
        """
        row = {
            "study": study,
            "trial": move.trial,
            "start_step": move.start_step,
            "stop_step": move.stop_step,
            "asked_at": now(),
            "session": self.session,
        }
        try:
            with self.writing(study) as connection:
                self._enter(connection)
                self._backend.take_trial(connection, study, move.trial)
                return _new_id(connection.execute(_ADD_MOVE, row))
        except IntegrityError as error:
            raise self._no_trial(study, move.trial) from error

    def add_measurements(
        self, study: int, trial: int, more: Iterable[Measurement], *, claim: Claim | None = None
    ) -> None:
        """Append measurements of one trial, all of them or none.

        Args:
            study: Id of the study.
            trial: Number of the trial.
            more: The measurements.
            claim: Of the move that they answer; nothing is appended unless that is the trial's latest.

        Raises:
            ClaimLost: Another session has asked a later move of the trial.
            MoveError: One of the steps is there already, or twice among them.
            NotInLedger: There is no such trial.
        """
        new = [rows.of_measurement(study, trial, m) for m in more]
        if not new:
            return
        token = None if claim is None else (claim.move, claim.session)
        try:
            with self._lock:
                self._check_writable()
                with self._backend.explained():
                    if not self._backend.append(self._open, new, token):
                        raise ClaimLost(trial)
        except IntegrityError as error:
            raise self._refused(study, trial, [row[2] for row in new]) from error

    def _check_claim(self, connection: Connection, study: int, trial: int, claim: Claim | None) -> None:
        if claim is None:
            return
        latest = connection.execute(_LATEST_MOVE, {"study": study, "trial": trial}).first()
        if latest != (claim.move, claim.session):
            raise ClaimLost(trial)

    def _refused(self, study: int, trial: int, steps: list[Any]) -> MoveError | NotInLedger:
        """Why measurements at these steps broke a constraint."""
        with self.reading() as connection:
            held = set(connection.scalars(_STEPS, {"study": study, "trial": trial}))
        repeated = sorted({step for step in steps if step in held or steps.count(step) > 1})
        if not repeated:
            return self._no_trial(study, trial)
        return MoveError(
            f"Trial {trial} was told step {repeated[0]} twice: each step is measured once. "
            f"Tell the steps after {max(held, default=0)}."
        )

    def end_move(
        self,
        study: int,
        trial: int,
        *,
        ended: bool,
        error: str | None = None,
        waste_s: float = 0.0,
        claim: Claim | None = None,
    ) -> None:
        """Append that the trial's latest move is over, at the last step measured.

        Args:
            study: Id of the study.
            trial: Number of the trial.
            ended: No move can follow: the horizon is reached, or training ended by itself.
            error: Why it failed; None otherwise.
            waste_s: Seconds spent without a measurement to show for them.
            claim: Of the move that is over; nothing is appended unless that is the trial's latest.

        Raises:
            ClaimLost: Another session has asked a later move of the trial.
            MoveError: The trial has no outstanding move.
        """
        key = {"study": study, "trial": trial}
        with self.writing(study) as connection:
            self._check_claim(connection, study, trial, claim)
            move = connection.scalar(_LATEST_MOVE, key)  # its id
            if move is None or connection.scalar(_ENDING_OF, {"move": move}) is not None:
                raise MoveError(f"Trial {trial} has no outstanding move to end: it was told twice, or never asked.")
            curve = self._summary(connection, study, trial)
            row = {
                **key,
                "move": move,
                "stop_step": curve.last_step,
                "ended": ended,
                "error": None if error is None else rows.as_text(error),
                "waste_s": waste_s,
                "at": now(),
                "points": curve.points,
                "cost_s": curve.cost_s,
                "least_loss": curve.least_loss if math.isfinite(curve.least_loss) else None,
                "diverged": curve.diverged,
            }
            connection.execute(_ADD_ENDING, row)

    def _summary(self, connection: Connection, study: int, trial: int) -> rows.Summary:
        """The trial's curve in a few numbers: what its latest ending says, and what was measured since."""
        key = {"study": study, "trial": trial}
        last = connection.execute(_LATEST_ENDING, key).first()
        known, after = rows.Summary(), -1
        if last is not None and last.points:
            known, after = rows.summary(last), last.stop_step
        return known.extended(connection.execute(_LATER_LOSSES, {**key, "after": after}).all())

    # Reading trials

    def trials(self, study: int) -> list[Trial]:
        """The trials as their rows make them, by number, all as of one moment.

        A trial's latest move says how far it is to go. Once that move is over, the trial goes no further than
        it came: it is paused, unless the move failed or ended it.

        Raises:
            NotInLedger: There is no such study.
        """
        found = Trials()
        self.turn(study, Pages(found, partial(self.curve_until, study)))
        return [*found.values()]

    def turn(self, study: int, pages: Pages) -> None:
        """Bring a study's pages up to date, as of one moment.

        Raises:
            NotInLedger: There is no such study.
        """
        with self.reading(), _no_collections():
            unread = pages.turn(self._news(study, pages.seen))
            for trial in unread | (pages.claims.keys() - pages.own):
                pages.extend(trial, self.curve(study, trial, after=pages.last_step(trial)))

    def _news(self, study: int, seen: Seen) -> News:
        """The rows about trials that were appended since, without measurements."""

        def beyond(statement: Select[Any], first: int) -> Rows:
            return connection.execute(statement, {"study": study, "first": first}).all()

        with self.reading() as connection:
            added = beyond(_TRIALS, seen.trials)
            if not added and not seen.trials and connection.scalar(_STUDY, {"study": study}) is None:
                raise self._no_study(study)
            return News(added, beyond(_MOVES, seen.move + 1), beyond(_ENDINGS, seen.ending + 1))

    def curve(self, study: int, trial: int, after: int = -1) -> tuple[Measurement, ...]:
        """A trial's measurements beyond a step, by step."""
        with self.reading() as connection:
            key = {"study": study, "trial": trial, "after": after}
            return rows.measurements(connection.execute(_LATER, key))

    def curve_until(self, study: int, trial: int, last_step: int) -> tuple[Measurement, ...]:
        """A trial's measurements up to a step, also after the ledger was closed: trials that were read outlive it."""
        if self._closing.alive or self._url is None:
            return tuple(m for m in self.curve(study, trial) if m.step <= last_step)
        with type(self).open(self._url, create=False) as again:
            return again.curve_until(study, trial, last_step)

    def version(self) -> int | None:
        """A number that changes when another opening of the ledger has written; None where nobody can tell."""
        with self.reading() as connection:
            return self._backend.version(connection)

    # Upkeep

    def damage(self, connection: Connection) -> list[str]:
        """What the database itself finds wrong with its pages and keys, in a reading transaction."""
        return self._backend.damage(connection)

    def size(self) -> int:
        """Bytes that it takes."""
        with self.reading() as connection:
            return self._backend.size(connection)

    def vacuum(self) -> None:
        """Let the database give back the room that it doesn't need."""
        with self._lock, self._backend.explained():
            self._check_writable()
            self._backend.vacuum()

    # Sessions

    def hold(self, lease_s: float | None) -> None:
        """Promise heartbeats: a session whose ``beat`` stands still for ``lease_s`` may lose its trials.

        With None no heartbeat is promised, and only the end of the process frees them.
        """
        with self.writing() as connection:
            self._enter(connection)
            connection.execute(_SET_LEASE, {"session": self.session, "lease": lease_s})

    def beat(self) -> None:
        """Give a sign of life."""
        with self.writing() as connection:
            connection.execute(_BEAT, {"session": self.session})

    def sessions(self, ids: Iterable[str]) -> Rows:
        """The rows of these sessions, as far as they are on record."""
        with self.reading() as connection:
            return connection.execute(_SESSIONS, {"ids": list(ids)}).all()

    def _enter(self, connection: Connection) -> None:
        """Put this session on record, once."""
        if self._in_session:
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
        connection.execute(_ADD_SESSION, row)
        self._in_session = True

    # Notes

    def add_note(self, study: int, kind: str, body: Any) -> int:
        """Append a note and give its id; ``body`` is anything that JSON can write.

        Raises:
            NotInLedger: There is no such study.
        """
        row = {"study": study, "kind": kind, "body": rows.as_json(body, "the note"), "at": now()}
        try:
            with self.writing() as connection:
                return _new_id(connection.execute(_ADD_NOTE, row))
        except IntegrityError as error:
            raise self._no_study(study) from error

    def notes(self, study: int, kind: str | None = None) -> list[Note]:
        """The study's notes of that kind, or all of them, oldest first."""
        wanted = select(notes).where(notes.c.study == study).order_by(notes.c.id)
        if kind is not None:
            wanted = wanted.where(notes.c.kind == kind)
        with self.reading() as connection:
            found = connection.execute(wanted).all()
        return [Note(row.id, row.kind, json.loads(row.body), row.at) for row in found]

    def _no_study(self, study: int) -> NotInLedger:
        return NotInLedger(f"The ledger {self.where} holds no study with id {study}; ids come from find_study.")

    def _no_trial(self, study: int, trial: int) -> NotInLedger:
        return NotInLedger(f"Study {study} in {self.where} holds no trial {trial}; numbers come from add_trial.")


def _new_id(inserted: CursorResult[Any]) -> int:
    key = inserted.inserted_primary_key
    assert key is not None  # every insert of one row has one
    return int(key[0])


@contextmanager
def _no_collections() -> Iterator[None]:
    """Keep the garbage collector from looking again and again at all that is being read, none of which is garbage."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
