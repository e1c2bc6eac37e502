"""The ledger: append what happened, read it back as records.

Every method that writes is one transaction: when it returns, its rows outlive the process; when it raises,
nothing of it was written.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import IntegrityError

from ayar.errors import ClaimLost, LedgerError, MoveError, NotInLedger
from ayar.ledger import reading, rows, schema, writing
from ayar.ledger.backend import Backend, opened
from ayar.ledger.opening import Opening
from ayar.ledger.pages import Claim, Pages, Trials
from ayar.ledger.reading import Skim
from ayar.ledger.rows import Rows
from ayar.ledger.schema import notes, now, studies
from ayar.records import Configuration, Measurement, Move, Trial
from ayar.seeds import Purpose

if TYPE_CHECKING:
    from types import TracebackType

_ADD_STUDY = insert(studies)
_ADD_NOTE = insert(notes)
_NO_STUDY = 0  # ids count from 1


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
        self._opening = Opening(backend)
        self._url = url
        self.where = backend.where
        self.folder = backend.folder
        self.read_only = backend.read_only
        self.session = self._opening.session

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
                ledger._prepare(backend, create=create)
                backend.settle()
        except BaseException:
            ledger.close()
            raise
        return ledger

    def _prepare(self, backend: Backend, *, create: bool) -> None:
        """Check that the file is a ledger of a known version, and bring it up to date."""
        newest = len(schema.MIGRATIONS)
        with self.reading() as connection:
            held = schema.version(connection)
            strangers = [] if held else sorted(backend.strangers(connection))
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
            backend.alone(connection, _NO_STUDY)
            schema.migrate(connection)

    def close(self) -> None:
        """Close the file. Closing twice does nothing. Moves still outstanding are free for others to take over."""
        self._opening.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def reading(self) -> AbstractContextManager[Connection]:
        """One transaction that sees the ledger as it is at its start."""
        return self._opening.reading()

    def writing(self, study: int | None = None) -> AbstractContextManager[Connection]:
        """One transaction that writes. With ``study`` nobody else asks or ends moves of it, from its start on."""
        return self._opening.writing(study)

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
                return writing.new_id(connection.execute(_ADD_STUDY, row))
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

    # Writing trials

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
        try:
            with self.writing(study) as connection:
                return writing.add_trial(connection, study, config, seed, purpose, parent, fork_step)
        except IntegrityError as error:
            raise self._no_study(study) from error

    def add_move(self, study: int, move: Move) -> int:
        """Append that ``move.trial`` is to be trained up to ``move.stop_step``, and give the move's id.

        The trial is this session's then, whoever had it before.

        Raises:
            NotInLedger: There is no such trial.
        """
        try:
            with self.writing(study) as connection:
                self._opening.enter(connection)
                self._opening.backend.take_trial(connection, study, move.trial)
                return writing.add_move(connection, study, move, self.session)
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
            if not self._opening.append(new, token):
                raise ClaimLost(trial)
        except IntegrityError as error:
            raise self._refused(study, trial, [row[2] for row in new]) from error

    def _refused(self, study: int, trial: int, steps: list[Any]) -> MoveError | NotInLedger:
        """Why measurements at these steps broke a constraint."""
        with self.reading() as connection:
            held = reading.steps(connection, study, trial)
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
        with self.writing(study) as connection:
            writing.end_move(connection, study, trial, claim, ended=ended, error=error, waste_s=waste_s)

    # Reading trials

    def trials(self, study: int) -> list[Trial]:
        """The trials as their rows make them, by number, all as of one moment.

        A trial's latest move says how far it is to go. Once that move is over, the trial goes no further than
        it came: it is paused, unless the move failed or ended it.

        Raises:
            NotInLedger: There is no such study.
        """
        found = Trials()
        self.turn(study, Pages(found, partial(self.curve_until, study), partial(self.losses, study)))
        return [*found.values()]

    def turn(self, study: int, pages: Pages, only: Skim | None = None) -> None:
        """Bring a study's pages up to date, as of one moment; with ``only``, as far as these trials go.

        Raises:
            NotInLedger: There is no such study.
        """
        with self.reading() as connection, _no_collections():
            if only is None:
                news = reading.news(connection, study, pages.seen)
            else:
                news = reading.news_of(connection, study, only.numbers)
            if not news.trials and not pages.seen.trials and not reading.has_study(connection, study):
                raise self._no_study(study)
            unread = pages.turn(news)
            for trial in unread | (pages.claims.keys() - pages.own):
                pages.extend(trial, reading.curve(connection, study, trial, after=pages.last_step(trial)))

    def skim(self, study: int, best: int, sample: int) -> Skim:
        """Which trials to read of a large study; see ``ayar.ledger.reading.skim``."""
        with self.reading() as connection, _no_collections():
            return reading.skim(connection, study, best, sample)

    def count(self, study: int) -> int:
        """How many trials a study has."""
        with self.reading() as connection:
            last = reading.last_number(connection, study)
        return 0 if last is None else last + 1

    def curve(self, study: int, trial: int, after: int = -1) -> tuple[Measurement, ...]:
        """A trial's measurements beyond a step, by step."""
        with self.reading() as connection:
            return reading.curve(connection, study, trial, after)

    def curve_until(self, study: int, trial: int, last_step: int) -> tuple[Measurement, ...]:
        """A trial's measurements up to a step, also after the ledger was closed: trials that were read outlive it."""
        with self._afterwards() as connection:
            return reading.curve(connection, study, trial, until=last_step)

    def losses(self, study: int, first: int, last: int) -> Rows:
        """``(trial, step, loss)`` of the trials from a first one to a last one; also after the ledger was closed."""
        with self._afterwards() as connection, _no_collections():
            return reading.losses(connection, study, first, last)

    @contextmanager
    def _afterwards(self) -> Iterator[Connection]:
        """A reading transaction; where the ledger was closed, in another opening of it."""
        if not self._opening.closed or self._url is None:
            with self.reading() as connection:
                yield connection
        else:
            with type(self).open(self._url, create=False) as again, again.reading() as connection:
                yield connection

    def version(self) -> int | None:
        """A number that changes when another opening of the ledger has written; None where nobody can tell."""
        return self._opening.version()

    # Upkeep

    def damage(self, connection: Connection) -> list[str]:
        """What the database itself finds wrong with its pages and keys, in a reading transaction."""
        return self._opening.backend.damage(connection)

    def size(self) -> int:
        """Bytes that it takes."""
        with self.reading() as connection:
            return self._opening.backend.size(connection)

    def vacuum(self) -> None:
        """Let the database give back the room that it doesn't need."""
        with self._opening.outside():
            self._opening.backend.vacuum()

    # Sessions

    def hold(self, lease_s: float | None) -> None:
        """Promise heartbeats: a session whose ``beat`` stands still for ``lease_s`` may lose its trials.

        With None no heartbeat is promised, and only the end of the process frees them.
        """
        self._opening.hold(lease_s)

    def beat(self) -> None:
        """Give a sign of life."""
        self._opening.beat()

    def sessions(self, ids: Iterable[str]) -> Rows:
        """The rows of these sessions, as far as they are on record."""
        return self._opening.sessions(ids)

    # Notes

    def add_note(self, study: int, kind: str, body: Any) -> int:
        """Append a note and give its id; ``body`` is anything that JSON can write.

        Raises:
            NotInLedger: There is no such study.
        """
        row = {"study": study, "kind": kind, "body": rows.as_json(body, "the note"), "at": now()}
        try:
            with self.writing() as connection:
                return writing.new_id(connection.execute(_ADD_NOTE, row))
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
