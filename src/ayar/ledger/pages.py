"""A study's trials as far as they have been read: the replay of its rows, a few new ones at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from ayar.ledger.ahead import ReadAhead, Reader
from ayar.ledger.rows import Rows, StoredCurve, as_values, summary
from ayar.records import Measurement, Trial
from ayar.seeds import Purpose


class Shelf(Protocol):
    """Where trials stand, by number."""

    def put(self, trial: Trial) -> None:
        """Take in a trial: a new one, or a known one as it stands now."""
        ...

    def numbered(self, number: int) -> Trial | None:
        """The trial with this number; None without one."""
        ...


class Trials(dict[int, Trial]):
    """A shelf that is a dict."""

    def put(self, trial: Trial) -> None:
        """Take in a trial."""
        self[trial.id] = trial

    numbered = dict[int, Trial].get


_PURPOSES = {purpose.value: purpose for purpose in Purpose}

Loader = Callable[[int, int], tuple[Measurement, ...]]
"""Gives the measurements of a trial up to a step."""


@dataclass(frozen=True, slots=True)
class Seen:
    """How far a study has been read: trials below a number, moves and endings up to an id."""

    trials: int = 0
    move: int = 0
    ending: int = 0


@dataclass(frozen=True, slots=True)
class News:
    """Rows of a study that were appended since, oldest first."""

    trials: Rows
    moves: Rows
    endings: Rows


@dataclass(frozen=True, slots=True)
class Claim:
    """Who works on a trial: the session that asked its latest move, which is not over yet.

    Measurements are taken only from its holder, so a process that was suspended, and whose trial another one has
    taken over, cannot write into it any more.

    Attributes:
        fence: How many times the trial had passed from one session to another by then.
    """

    move: int
    session: str
    fence: int = 0


class Pages:
    """Keeps the trials on a shelf up to date, and the claims on those that are being trained.

    Attributes:
        claims: By trial; only outstanding ones.
        own: The trials among them that were claimed here, not read.
        lost: Trials that were claimed here until another session took them over.
        seen: How far the ledger has been read.
    """

    def __init__(self, shelf: Shelf, load: Loader, read_losses: Reader) -> None:
        self._shelf = shelf
        self.claims: dict[int, Claim] = {}
        self.own: set[int] = set()
        self.lost: set[int] = set()
        self.seen = Seen()
        self._load = load
        self._load_losses = ReadAhead(read_losses)
        self._latest: dict[int, Claim] = {}  # by trial, also of moves that are over
        self._closed: set[int] = set()  # moves

    def turn(self, news: News) -> set[int]:
        """Take in what was appended since; gives the trials whose curves no ending sums up, which are to be read."""
        asked = {}
        for row in news.moves:
            before = self._latest.get(row.trial)
            if before is None or row.id > before.move:
                self._latest[row.trial] = _next(before, row.id, row.session)
                asked[row.trial] = row
        over: dict[int, list[Any]] = defaultdict(list)
        for row in news.endings:
            if row.move not in self._closed:
                over[row.trial].append(row)
                self._closed.add(row.move)
        added = [row for row in news.trials if self._shelf.numbered(row.trial) is None]
        new = {
            row.trial: Trial(
                row.trial, config, row.seed, _PURPOSES[row.purpose], parent=row.parent, fork_step=row.fork_step or 0
            )
            for row, config in zip(added, as_values([row.config for row in added]), strict=True)
        }
        for number in asked:
            self.claims[number] = self._latest[number]
            if number in self.own:
                self.own.remove(number)
                self.lost.add(number)
        for number in sorted(new.keys() | asked.keys() | over.keys()):
            trial = new.get(number) or self.trial(number)
            self._shelf.put(self._turned(trial, asked.get(number), over.get(number, [])))
        self.seen = Seen(
            news.trials[-1].trial + 1 if news.trials else self.seen.trials,
            news.moves[-1].id if news.moves else self.seen.move,
            news.endings[-1].id if news.endings else self.seen.ending,
        )
        unknown = {number for number, rows in over.items() if rows[-1].points is None}
        return unknown | (new.keys() - self._latest.keys())

    def _turned(self, trial: Trial, move: Any | None, over: list[Any]) -> Trial:
        """The trial after a move was asked for it, or endings came."""
        target_step = trial.target_step if move is None else move.stop_step
        last = over[-1] if over else None
        ending = last if last is not None and last.move == self._latest[trial.id].move else None
        ended, error = (trial.ended, trial.error) if move is None else (False, None)
        curve = trial.curve
        if last is not None and last.points is not None and last.points != len(curve):
            where = (trial.id, last.stop_step)
            curve = StoredCurve(summary(last), partial(self._load, *where), partial(self._load_losses, *where))
        if ending is not None:
            self._let_go(trial.id)
            ended, error = ending.ended, ending.error
            target_step = ending.stop_step if not ended and error is None else target_step
        waste_s = trial.waste_s + sum([row.waste_s for row in over])
        # Not ``replace``, which takes twice the time: a large study has all its trials go through here.
        known = (trial.id, trial.config, trial.seed, trial.purpose)
        return Trial(*known, curve, target_step, ended, error, waste_s, trial.parent, trial.fork_step)

    def trial(self, number: int) -> Trial:
        """The trial of this number, which is there."""
        trial = self._shelf.numbered(number)
        assert trial is not None
        return trial

    def last_step(self, trial: int) -> int:
        """The last step of a trial that has been read; -1 before any."""
        curve = self.trial(trial).curve
        return curve.last_step if len(curve) else -1

    def extend(self, trial: int, more: Iterable[Measurement]) -> None:
        """Take in measurements of one trial."""
        later = tuple(more)
        if later:
            record = self.trial(trial)
            self._shelf.put(replace(record, curve=record.curve.extended(later)))

    def claim(self, trial: Trial, move: int, session: str) -> Claim:
        """Take in a move asked here, by its id; ``trial`` is as it stands with it."""
        self._shelf.put(trial)
        claim = _next(self._latest.get(trial.id), move, session)
        self.claims[trial.id] = self._latest[trial.id] = claim
        self.own.add(trial.id)
        self.lost.discard(trial.id)
        return claim

    def close(self, trial: Trial) -> None:
        """Take in an ending written here; ``trial`` is as it stands after it."""
        self._shelf.put(trial)
        self._closed.add(self._latest[trial.id].move)
        self._let_go(trial.id)

    def _let_go(self, trial: int) -> None:
        self.claims.pop(trial, None)
        self.own.discard(trial)


def _next(before: Claim | None, move: int, session: str) -> Claim:
    """The claim that a move makes, after the one before it on the same trial."""
    if before is None:
        return Claim(move, session)
    return Claim(move, session, before.fence + (session != before.session))
