"""One study's pages of the ledger, with their replay in memory.

Every change is written to the ledger first and to memory second, so what a caller has seen acknowledged is on disk.
Where several are written as one transaction, and that fails, memory is ahead of the disk: all is then read anew. Other
processes may write to the same study; ``refresh`` reads what they appended.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from ayar.errors import ClaimLost, LedgerError, MoveError
from ayar.ledger.pages import Pages
from ayar.ledger.reading import Skim
from ayar.ledger.sessions import Heartbeat, Watch
from ayar.ledger.store import Ledger, Note
from ayar.lineage import schedule_of, whole_curve
from ayar.records import Configuration, Curve, Measurement, Metric, Move, State, Trial, config_key
from ayar.run.events import Event, Failed, Finished, Measured
from ayar.search.base import SEARCH_DATA
from ayar.search.history import History
from ayar.seeds import Purpose

WORTH_SKIMMING = 2000
"""So many trials are read at once, however little is asked of them."""


class Logbook:
    """The trials of one study, kept in step with what is appended here, and at each ``refresh`` elsewhere.

    Attributes:
        metric: What the trials are judged by.
        history: All trials by number, as searchers see them. Only the logbook changes it.
        skim: Which trials alone were read, where it is open for a look at a large study; it stays as it is then.
    """

    def __init__(self, ledger: Ledger, study: int, metric: Metric, horizon: int, *, skim: int | None = None) -> None:
        """With ``skim``, read of a large study only what decides who wins, so many of the best, and a sample."""
        self._ledger, self._study, self.metric, self._horizon = ledger, study, metric, horizon
        self.skim: Skim | None = None
        self.history = History()
        self._pages = self._blank()
        self._watch = Watch()
        self._version: int | None = None
        self._claiming, self._is_ahead = False, False  # whether in a transaction; whether one has failed since
        self._retries: dict[int, tuple[int, int]] = {}  # of a trial: the step it stood at, and how often
        with ledger.reading():
            if skim is not None and ledger.count(study) > WORTH_SKIMMING:
                self.skim = ledger.skim(study, best=skim, sample=skim)
            self.refresh()

    def _blank(self) -> Pages:
        """Pages with nothing on them yet, over the history."""
        ledger, study = self._ledger, self._study
        return Pages(self.history, partial(ledger.curve_until, study), partial(ledger.losses, study))

    @property
    def trials(self) -> list[Trial]:
        """All trials by number."""
        return list(self.history)

    def sample(self, most: int) -> list[Trial]:
        """At most twice so many trials that lie evenly among all."""
        if self.skim is not None:
            return [self.trial(number) for number in self.skim.sample]
        return self.history[:: max(1, len(self.history) // most)]

    def trial(self, number: int) -> Trial:
        """The trial of this number, which is there."""
        return self._pages.trial(number)

    def whole_curve(self, number: int) -> Curve:
        """A trial's curve from the beginning of its training; see ``ayar.lineage``."""
        return whole_curve(self.trial(number), self.trial)

    def refresh(self) -> bool:
        """Read what other processes have appended since; False where there can be nothing new."""
        if self._is_ahead:
            return self._reread()
        version = self._ledger.version()
        if (version is not None and version == self._version) or (self.skim and len(self.history)):
            return False
        self._ledger.turn(self._study, self._pages, self.skim)
        self._version = version
        return True

    def _reread(self) -> bool:
        """Take what is on record in the place of what memory holds; the claims of this session stay its own."""
        lost, self.history = self._pages.lost, self.history.emptied()
        self._pages, self._version, self._is_ahead = self._blank(), None, False
        self._pages.lost |= lost
        self.refresh()
        self._pages.own |= {n for n, claim in self._pages.claims.items() if claim.session == self._ledger.session}
        return True

    def outstanding(self) -> list[Move]:
        """Moves that were handed out and not yet answered, from where they stand now."""
        claimed = (self.trial(number) for number in sorted(self._pages.claims))
        return [self._move(t, t.target_step) for t in claimed if t.state is State.RUNNING]

    def _move(self, trial: Trial, stop_step: int) -> Move:
        claim = self._pages.claims.get(trial.id)
        return Move(
            trial.id,
            trial.config,
            trial.seed,
            trial.stands_at,
            stop_step,
            trial.purpose,
            0 if claim is None else claim.fence,
            trial.parent if trial.fork_step > 0 and not len(trial.curve) else None,
            schedule_of(trial, self.trial),
        )

    def of(self, config: Configuration, seed: int) -> Trial | None:
        """The trial of this configuration and seed. Seeds tell purposes apart."""
        return next((t for t in self.history.of(config) if t.seed == seed), None)

    def notes(self, kind: str | None = None) -> list[Note]:
        """What was written beside the trials, oldest first."""
        return self._ledger.notes(self._study, kind)

    def note(self, kind: str, body: Mapping[str, Any]) -> None:
        """Write something beside the trials."""
        self._ledger.add_note(self._study, kind, dict(body))

    def heartbeat(self) -> Heartbeat:
        """Within, other processes see that this one is alive, and leave it what it works on."""
        return Heartbeat(self._ledger)

    # -- who works on what -------------------------------------------------------------------------------------

    @contextmanager
    def claiming(self) -> Iterator[None]:
        """Within, all is up to date and nobody else asks a move, so what is asked here no other process has.

        Raises:
            LedgerError: Only some trials were read, so nobody here knows what is to be done.
        """
        if self.skim is not None:
            raise LedgerError("This study was opened for a look at its best trials. Open it without skim= to go on.")
        outermost, self._claiming = not self._claiming, True
        try:
            with self._ledger.claiming(self._study):
                self.refresh()
                yield
        except BaseException:
            self._is_ahead = self._is_ahead or outermost  # nothing of it was written
            raise
        finally:
            self._claiming = not outermost

    @property
    def elsewhere(self) -> set[int]:
        """Trials that other processes are training, as far as this one has read."""
        return self._pages.claims.keys() - self._pages.own

    def abandoned(self) -> list[Move]:
        """Outstanding moves of processes that have ended, or gave no sign of life for their lease."""
        holders = {trial: self._pages.claims[trial].session for trial in self.elsewhere}
        if not holders:
            return []
        ids = set(holders.values())
        gone = self._watch.gone(ids, self._ledger.sessions(ids))
        left = [self.trial(number) for number, session in holders.items() if session in gone]
        return [self._move(t, t.target_step) for t in left if t.state is State.RUNNING]

    def can_go_on(self, trial: int, stop_step: int) -> bool:
        """Whether a trial waits to be continued to ``stop_step``."""
        record = self.trial(trial)
        return record.state is State.PAUSED and record.stands_at < stop_step

    def start(
        self, config: Configuration, seed: int, purpose: Purpose, stop_step: int, parent: int | None = None
    ) -> Move:
        """Begin a new trial, with the state of another one where ``parent`` is given.

        What repeats a search trial that had a parent goes through the same changes of configuration.
        """
        with self.claiming():
            fork_step = 0 if parent is None else self.trial(parent).stands_at
            if parent is None and purpose not in SEARCH_DATA:
                parent = next((t.id for t in self.history.of(config) if t.fork_step > 0), None)
            number = self._ledger.add_trial(self._study, config, seed, purpose, parent, fork_step)
            trial = Trial(number, config, seed, purpose, target_step=stop_step, parent=parent, fork_step=fork_step)
            move = self._move(trial, stop_step)
            asked = self._ledger.add_move(self._study, move)
        self._pages.claim(trial, asked, self._ledger.session)
        return move

    def go_on(self, trial: int, stop_step: int) -> Move:
        """Let a trial train up to ``stop_step``."""
        record = self.trial(trial)
        asked = self._ledger.add_move(self._study, self._move(record, stop_step))
        going_on = replace(record, target_step=stop_step, ended=False, error=None)
        self._pages.claim(going_on, asked, self._ledger.session)
        return self._move(going_on, stop_step)

    # -- what came of it ---------------------------------------------------------------------------------------

    def read(self, rows: Iterable[Mapping[str, Any]], step: int) -> list[Measurement]:
        """What was told, as measurements; ``step`` stands where a row doesn't say its own.

        Raises:
            ObjectiveError: A row lacks the metric, or isn't made of numbers.
            MoveError: The steps don't rise.
        """
        told = [dict(row) for row in rows]
        found = [self.metric.measurement(row.pop("step", step), row.pop("cost_s", 0.0), row) for row in told]
        try:
            return [*Curve(tuple(found))]
        except ValueError as error:
            raise MoveError(f"{error} Tell each step once, by rising steps.") from None

    def tell(self, move: Move, rows: Iterable[Mapping[str, Any]], *, error: str | None, ended: bool) -> None:
        """Answer an outstanding move, asked here or by another process; see ``Study.tell``."""
        self.refresh()
        if move.trial in self._pages.lost:
            raise ClaimLost(move.trial)
        trial = self.history.numbered(move.trial)
        if (
            trial is None
            or trial.seed != move.seed
            or config_key(trial.config) != config_key(self.history.seen(move.config))
        ):
            raise MoveError(
                f"The study has no trial {move.trial} with this move's configuration and seed. "
                "Tell a move that ask() gave."
            )
        if trial.state is not State.RUNNING or trial.target_step != move.stop_step:
            raise MoveError(
                f"The move of trial {trial.id} to step {move.stop_step} isn't outstanding: the trial is "
                f"{trial.state} at step {trial.curve.last_step}. Was it told before?"
            )
        new = self.read(rows, move.stop_step)
        for each in new:
            if trial.fork_step > 0 and each.step <= trial.fork_step:
                raise MoveError(
                    f"Trial {trial.id} began with the state of trial {trial.parent} at step {trial.fork_step}, but "
                    f"step {each.step} was told. Tell steps start_step + 1 to stop_step."
                )
            if each.step > move.stop_step:
                raise MoveError(
                    f"Trial {trial.id} is to stop at step {move.stop_step}, but step {each.step} was told. "
                    "Tell steps start_step + 1 to stop_step."
                )
        self._append(trial, new)
        trial = self.trial(trial.id)
        if error is not None or ended or trial.diverged or trial.curve.last_step >= move.stop_step:
            self._close(trial, ended=ended, error=error)

    def record(self, event: Event) -> Move | None:
        """Write down what a worker reported; gives the move that is to be trained again, if any.

        A training that its machine took down has a chance to go on, and again where it came further than before.

        Raises:
            ClaimLost: Another process has taken the trial over.
        """
        trial = self.trial(event.trial)
        if trial.id in self._pages.lost:
            raise ClaimLost(trial.id)
        match event:
            case Measured():
                if event.step <= trial.stands_at and (len(trial.curve) or trial.fork_step):
                    return None  # the untrained net, measured again after a restart
                self._append(trial, [self.metric.measurement(event.step, event.cost_s, event.metrics)])
            case Finished():
                self._close(trial, ended=event.ended)
            case Failed() if self._tries(trial) < event.chances:
                return self._retry(trial, event)
            case Failed():
                self._close(trial, ended=True, error=event.error, waste_s=event.waste_s)
        return None

    def _tries(self, trial: Trial) -> int:
        """How often the trial was tried again where it stands."""
        step, count = self._retries.get(trial.id, (0, 0))
        return count if step == trial.curve.last_step else 0

    def _retry(self, trial: Trial, failed: Failed) -> Move:
        """End the move with its error and its cost, and ask it again; no crash can leave one without the other."""
        self._retries[trial.id] = trial.curve.last_step, self._tries(trial) + 1
        with self.claiming():
            if trial.id in self._pages.lost:
                raise ClaimLost(trial.id)
            self._close(trial, ended=False, error=failed.error, waste_s=failed.waste_s)
            return self.go_on(trial.id, trial.target_step)

    def _append(self, trial: Trial, new: Sequence[Measurement]) -> None:
        try:
            curve = trial.curve.extended(new)
        except ValueError as error:
            raise MoveError(f"Trial {trial.id} stands at step {trial.curve.last_step}. {error}") from None
        if new:
            self._ledger.add_measurements(self._study, trial.id, new, claim=self._pages.claims[trial.id])
            self.history.put(replace(trial, curve=curve))

    def _close(self, trial: Trial, *, ended: bool, error: str | None = None, waste_s: float = 0.0) -> None:
        ended = ended or trial.diverged or trial.curve.last_step >= self._horizon
        claim = self._pages.claims[trial.id]
        self._ledger.end_move(self._study, trial.id, ended=ended, error=error, waste_s=waste_s, claim=claim)
        paused = error is None and not ended
        self._pages.close(
            replace(
                trial,
                target_step=trial.curve.last_step if paused else trial.target_step,
                ended=ended,
                error=error,
                waste_s=trial.waste_s + waste_s,
            )
        )
