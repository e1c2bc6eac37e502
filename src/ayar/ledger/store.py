"""The ledger: append what happened, read it back as records.

Every method that writes is one transaction: when it returns, its rows outlive the process; when it raises,
nothing of it was written.
"""

from __future__ import annotations

import json
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from sqlalchemy import (
    Connection,
    CursorResult,
    Engine,
    Select,
    Table,
    bindparam,
    func,
    insert,
    inspect,
    select,
)
from sqlalchemy.exc import IntegrityError

from ayar.errors import LedgerError, MoveError, NotInLedger
from ayar.ledger import rows, schema, sqlite
from ayar.ledger.schema import endings, measurements, moves, notes, now, studies, trials
from ayar.records import Configuration, Measurement, Move, Trial
from ayar.seeds import Purpose

if TYPE_CHECKING:
    from types import TracebackType

# Statements are made once: SQLAlchemy finds each one's compiled form again by its identity.
_ADD_STUDY = insert(studies)
_ADD_TRIAL = insert(trials)
_ADD_MOVE = insert(moves)
_ADD_MEASUREMENTS = insert(measurements)
_ADD_ENDING = insert(endings)
_ADD_NOTE = insert(notes)

_THIS_TRIAL: dict[str, Any] = {"study": bindparam("study"), "trial": bindparam("trial")}
_LAST_NUMBER = select(func.max(trials.c.trial)).where(trials.c.study == bindparam("study"))
_LATEST_MOVE = select(func.max(moves.c.id)).filter_by(**_THIS_TRIAL)
_LAST_STEP = select(func.max(measurements.c.step)).filter_by(**_THIS_TRIAL)
_ENDING_OF = select(endings.c.id).where(endings.c.move == bindparam("move"))
_STEPS = select(measurements.c.step).filter_by(**_THIS_TRIAL)

_STUDY = select(studies.c.id).where(studies.c.id == bindparam("study"))


def _since(table: Table, *columns: Any) -> Select[Any]:
    """A study's rows from one trial on."""
    return select(*columns).where(table.c.study == bindparam("study"), table.c.trial >= bindparam("since"))


_TRIALS = _since(trials, trials).order_by(trials.c.trial)
_MOVES = _since(moves, moves.c.trial, moves.c.id, moves.c.stop_step).order_by(moves.c.id)
_ENDINGS = _since(
    endings, endings.c.trial, endings.c.move, endings.c.ended, endings.c.error, endings.c.waste_s
).order_by(endings.c.trial, endings.c.id)
_MEASUREMENTS = _since(
    measurements,
    measurements.c.trial,
    measurements.c.step,
    measurements.c.loss,
    measurements.c.cost_s,
    measurements.c.metrics,
).order_by(measurements.c.trial, measurements.c.step)


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
    """The append-only record of studies, in an SQLite file or in memory; ``Ledger.open`` makes one.

    Several processes may have the file open; each waits for its turn to write. Threads may share a ledger.

    Attributes:
        where: The file, or ``"in memory"``.
        read_only: Whether the file can be read but not written.
        session: A name for this opening of the ledger; it stands beside every move asked through it.
    """

    def __init__(self, engine: Engine, where: str, *, read_only: bool) -> None:
        self.where = where
        self.read_only = read_only
        self.session = uuid4().hex
        self._reader = engine
        self._writer = engine.execution_options(begin="BEGIN IMMEDIATE")
        self._lock = threading.RLock()
        self._closing = weakref.finalize(self, engine.dispose)

    @classmethod
    def open(cls, where: str | Path | None, *, create: bool = True, patience_s: float = 60.0) -> Self:
        """The ledger at ``where``: a path, ``sqlite:///path``, or None for one in memory.

        An older ledger is brought up to date. A file that may only be read is opened for reading.

        Args:
            where: Path, URL or None.
            create: Whether to make the ledger if there is none.
            patience_s: Seconds to wait for another process that is writing.

        Raises:
            LedgerError: It is no ledger, it is newer than this Ayar, or the file cannot be used.
        """
        path = sqlite.file_of(where)
        name = "in memory" if path is None else str(path)
        with sqlite.explained(name):
            engine, read_only = sqlite.open_engine(path, create=create, patience_s=patience_s)
            ledger = cls(engine, name, read_only=read_only)
            try:
                ledger._prepare(create=create)
                if not read_only:
                    sqlite.use_wal(engine, patience_s)
            except BaseException:
                ledger.close()
                raise
        return ledger

    def _prepare(self, *, create: bool) -> None:
        """Check that the file is a ledger of a known version, and bring it up to date."""
        newest = len(schema.MIGRATIONS)
        with self._reading() as connection:
            held = schema.version(connection)
            foreign = [] if held else inspect(connection).get_table_names()
        if foreign:
            found = ", ".join(sorted(foreign)[:3])
            raise LedgerError(
                f"{self.where} is no ledger: it is an SQLite file of something else, with tables {found}. "
                "Give another path."
            )
        if held > newest:
            raise LedgerError(
                f"The ledger {self.where} has schema version {held}, this Ayar knows {newest}. Update Ayar."
            )
        if held == newest:
            return
        if held == 0 and (self.read_only or not create):
            raise LedgerError(f"{self.where} is no ledger: it holds no table. Check the path.")
        with self._writing() as connection:
            schema.migrate(connection)

    def close(self) -> None:
        """Close the file. Closing twice does nothing."""
        with self._lock:
            self._closing()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """One transaction that sees the ledger as it is at its start."""
        with self._transaction(self._reader) as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """One transaction that is the only writer from its start on, so what it reads stays true."""
        if self.read_only:
            raise LedgerError(
                f"The ledger {self.where} is open for reading only: the file or its folder is read-only. "
                "Allow writing to both, or use a copy."
            )
        with self._transaction(self._writer) as connection:
            yield connection

    @contextmanager
    def _transaction(self, engine: Engine) -> Iterator[Connection]:
        with self._lock:
            if not self._closing.alive:
                raise LedgerError(f"The ledger {self.where} is closed. Open it again with Ledger.open.")
            with sqlite.explained(self.where), engine.begin() as connection:
                yield connection

    # Studies

    def create_study(self, name: str, spec: Mapping[str, Any]) -> int:
        """Append a study and give its id.

        Raises:
            LedgerError: There is a study of that name, or ``spec`` cannot be written as JSON.
        """
        row = {"name": name, "spec": rows.as_json(spec, "the spec"), "created_at": now()}
        try:
            with self._writing() as connection:
                return _new_id(connection.execute(_ADD_STUDY, row))
        except IntegrityError as error:
            raise LedgerError(
                f"The ledger {self.where} already holds a study '{name}'. Resume it, or choose another name."
            ) from error

    def studies(self) -> list[StudyRow]:
        """Every study, oldest first."""
        with self._reading() as connection:
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
        *,
        stop_step: int | None = None,
    ) -> int:
        """Append a trial and give its number: 0, 1, 2, ... in its study, whoever else is appending.

        With ``stop_step`` the move that starts it is appended too, so that no crash can leave one without the
        other.

        Raises:
            NotInLedger: There is no such study.
        """
        row = {
            "study": study,
            "config": rows.as_json(config, "the configuration"),
            "seed": seed,
            "purpose": purpose.value,
            "created_at": now(),
        }
        try:
            with self._writing() as connection:
                last = connection.scalar(_LAST_NUMBER, row)
                number = 0 if last is None else last + 1
                connection.execute(_ADD_TRIAL, row | {"trial": number})
                if stop_step is not None:
                    connection.execute(_ADD_MOVE, self._asked(study, Move(number, config, seed, 0, stop_step)))
        except IntegrityError as error:
            raise self._no_study(study) from error
        return number

    def add_move(self, study: int, move: Move) -> None:
        """Append that ``move.trial`` is to be trained up to ``move.stop_step``.

        Raises:
            NotInLedger: There is no such trial.
        """
        try:
            with self._writing() as connection:
                connection.execute(_ADD_MOVE, self._asked(study, move))
        except IntegrityError as error:
            raise self._no_trial(study, move.trial) from error

    def _asked(self, study: int, move: Move) -> dict[str, Any]:
        """The row that says that ``move`` is asked now, through this opening of the ledger."""
        return {
            "study": study,
            "trial": move.trial,
            "start_step": move.start_step,
            "stop_step": move.stop_step,
            "asked_at": now(),
            "session": self.session,
        }

    def add_measurements(self, study: int, trial: int, more: Iterable[Measurement]) -> None:
        """Append measurements of one trial, all of them or none.

        Raises:
            MoveError: One of the steps is there already, or twice among them.
            NotInLedger: There is no such trial.
        """
        new = [rows.of_measurement(study, trial, m) for m in more]
        if not new:
            return
        try:
            with self._writing() as connection:
                connection.execute(_ADD_MEASUREMENTS, new)
        except IntegrityError as error:
            raise self._refused(study, trial, [row["step"] for row in new]) from error

    def _refused(self, study: int, trial: int, steps: list[Any]) -> MoveError | NotInLedger:
        """Why measurements at these steps broke a constraint."""
        with self._reading() as connection:
            held = set(connection.scalars(_STEPS, {"study": study, "trial": trial}))
        repeated = sorted({step for step in steps if step in held or steps.count(step) > 1})
        if not repeated:
            return self._no_trial(study, trial)
        return MoveError(
            f"Trial {trial} was told step {repeated[0]} twice: each step is measured once. "
            f"Tell the steps after {max(held, default=0)}."
        )

    def end_move(self, study: int, trial: int, *, ended: bool, error: str | None = None, waste_s: float = 0.0) -> None:
        """Append that the trial's latest move is over, at the last step measured.

        Args:
            study: Id of the study.
            trial: Number of the trial.
            ended: No move can follow: the horizon is reached, or training ended by itself.
            error: Why it failed; None otherwise.
            waste_s: Seconds spent without a measurement to show for them.

        Raises:
            MoveError: The trial has no outstanding move.
        """
        key = {"study": study, "trial": trial}
        with self._writing() as connection:
            move = connection.scalar(_LATEST_MOVE, key)
            if move is None or connection.scalar(_ENDING_OF, {"move": move}) is not None:
                raise MoveError(f"Trial {trial} has no outstanding move to end: it was told twice, or never asked.")
            row = {
                **key,
                "move": move,
                "stop_step": connection.scalar(_LAST_STEP, key) or 0,
                "ended": ended,
                "error": error,
                "waste_s": waste_s,
                "at": now(),
            }
            connection.execute(_ADD_ENDING, row)

    def trials(self, study: int, *, since: int = 0) -> list[Trial]:
        """The trials numbered from ``since`` on, as their rows make them, all as of one moment.

        A trial's latest move says how far it is to go. Once that move is over, the trial goes no further than
        it came: it is paused, unless the move failed or ended it.

        Raises:
            NotInLedger: There is no such study.
        """
        chosen = {"study": study, "since": since}
        with self._reading() as connection:
            added = connection.execute(_TRIALS, chosen).all()
            if not added and connection.scalar(_STUDY, chosen) is None:
                raise self._no_study(study)
            asked = connection.execute(_MOVES, chosen).all()
            over = connection.execute(_ENDINGS, chosen).all()
            measured = connection.execute(_MEASUREMENTS, chosen).all()
        return rows.replay(added, asked, over, measured)

    # Notes

    def add_note(self, study: int, kind: str, body: Any) -> int:
        """Append a note and give its id; ``body`` is anything that JSON can write.

        Raises:
            NotInLedger: There is no such study.
        """
        row = {"study": study, "kind": kind, "body": rows.as_json(body, "the note"), "at": now()}
        try:
            with self._writing() as connection:
                return _new_id(connection.execute(_ADD_NOTE, row))
        except IntegrityError as error:
            raise self._no_study(study) from error

    def notes(self, study: int, kind: str | None = None) -> list[Note]:
        """The study's notes of that kind, or all of them, oldest first."""
        wanted = select(notes).where(notes.c.study == study).order_by(notes.c.id)
        if kind is not None:
            wanted = wanted.where(notes.c.kind == kind)
        with self._reading() as connection:
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
