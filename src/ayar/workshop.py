"""Where a study trains: tunings, attempts by hand, advice put to the test, rechecks; all of it on the record."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ayar.budget import Budget, plan_of
from ayar.curves.advice import ROLES
from ayar.curves.tested import TRIED, Outcome
from ayar.errors import BudgetError, NotInLedger, ObjectiveError
from ayar.folds import Folds
from ayar.interrupt import Interrupt
from ayar.intuition.importance import important_names
from ayar.logbook import Logbook
from ayar.outcome import may_win
from ayar.progress import ProgressDisplay
from ayar.recheck.course import run
from ayar.recheck.findings import Recheck
from ayar.recheck.history import begin
from ayar.recheck.plan import Terms, plan
from ayar.recheck.sizes import resized
from ayar.recheck.world import PRINT, news, world_of
from ayar.records import Advice, Configuration, State, Trial, Winner
from ayar.run.events import Pool
from ayar.run.local import open_pool
from ayar.run.objective import as_training
from ayar.run.workers import Workers
from ayar.search import Population
from ayar.search.advised import Doctor
from ayar.search.base import Problem, Searcher
from ayar.seeds import Purpose
from ayar.specification import largest_step
from ayar.tuning import Tuning
from ayar.winner import ranked


@dataclass(frozen=True, slots=True)
class Workshop:
    """What trainings of a study work with. What they find out is in the book.

    Attributes:
        name: Of the study.
        folder: Where trials keep their files.
        changed: Whether the space is another one than at first.
    """

    name: str
    book: Logbook
    searcher: Searcher
    problem: Problem
    folder: Path
    changed: bool = False

    @contextmanager
    def opened(
        self, objective: Any, workers: int | Workers = 0, lanes: int | None = 0, *, progress: bool = False
    ) -> Iterator[Tuning]:
        """Workers and display for one tuning; raises KeyboardInterrupt at its end if Ctrl-C came."""
        metric, horizon = self.book.metric, self.problem.horizon
        training = as_training(objective, metric=metric.name)
        if training.command is not None:
            training.command.check(self.problem.space.names)
        with (
            self.book.heartbeat(),
            Interrupt() as interrupt,
            ProgressDisplay(wanted=progress) as display,
            open_pool(
                objective, metric=metric.name, horizon=horizon, workers=workers, folder=self.folder, lanes=lanes
            ) as pool,
        ):
            yield Tuning(self.book, self.searcher, self.problem, metric, pool, self.folder, display, interrupt)
            interrupt.check()

    def tune(
        self, objective: Any, budget: Budget, crew: Workers, *, lanes: str | int, doctor: str, progress: bool
    ) -> None:
        """Search, then confirm; see ``Study.tune``."""
        if budget.minutes is budget.trials is budget.steps is None and self.problem.space.size is None:
            raise BudgetError("This space has no end. Say when to stop: minutes=, trials= or steps=.")
        # Of a paused trial that a lane keeps in memory there is no file that another trial could begin with.
        at_most, listens = 0 if self._branches else at_most_lanes(lanes), Doctor.named(doctor)
        busy = max(crew.count, 1)
        problem = replace(self.problem, sliceable=self._sliceable(objective), max_trials=budget.trials)
        folds = self._note_folds(objective)
        self.book.refresh()
        known = len(self.book.trials)
        with replace(self, problem=problem).opened(objective, crew, at_most, progress=progress) as tuning:
            settled = plan_of(self.book, budget)
            if settled is None:
                heeding = tuning.heed(listens)
                measured = heeding.measured(budget, busy)
                heeding.search(measured, busy, settled=lambda: plan_of(self.book, budget) is not None)
            candidates = self._candidates()
            if budget.confirm and not tuning.interrupt.asked and ranked(candidates):
                tuning.confirm(settled or tuning.settled(budget, measured, candidates, busy, folds))
            self._note_lanes(tuning.pool, lanes, say=progress)
        self.book.refresh()
        if len(self.book.trials) > known or not self.book.notes(PRINT):
            for kind, body in news(self.book.notes(), world_of(objective)):
                self.book.note(kind, body)

    def attempt(self, objective: Any, config: Configuration, seed: int, stop_step: int) -> Trial:
        """Train one configuration, on the record; what was trained before isn't paid twice."""
        with self.opened(objective) as tuning:
            tuning.train([(config, seed, Purpose.ATTEMPT, stop_step)], phase="attempt")
        trial = self.book.of(config, seed)
        assert trial is not None
        return trial

    def follow(self, objective: Any, trial: Trial, move: Advice) -> Outcome:
        """Put advice on a trial to the test; see ``Study.follow``."""
        config = self.problem.space.complete({**trial.config, **move.changes}, outside=True)
        is_longer = any(name in ROLES["iterations"] for name in move.changes)
        is_whole = is_longer or trial.state not in (State.PAUSED, State.COMPLETED)
        stop_step = self.problem.horizon if is_whole else trial.curve.last_step
        after = self.attempt(objective, config, trial.seed, stop_step)
        outcome = Outcome(move.rule, trial.id, after.id, trial.loss, after.loss)
        if outcome.to_dict() not in [note.body for note in self.book.notes(TRIED)]:
            self.book.note(TRIED, outcome.to_dict())
        return outcome

    def recheck(
        self,
        objective: Any,
        winner: Winner | None,
        *,
        elsewhere: Configuration | None,
        changed: Mapping[str, Any],
        terms: Terms,
        workers: int,
        progress: bool,
    ) -> Recheck:
        """Whether the winner, or a configuration from ``elsewhere``, is still the best; see ``Study.recheck``."""
        problem, book = self.problem, self.book
        if elsewhere is not None:
            winner = Winner(-1, elsewhere, problem.horizon, book.metric.name, {})
        if winner is None:
            raise NotInLedger(f"Study {self.name!r} has no winner to check yet. Tune first.")
        prints = book.notes("fingerprint")
        before, world = prints[-1].body if prints and elsewhere is None else None, world_of(objective)
        sizes, now = resized(changed, winner.config, problem.space, before, world.fingerprint)
        important = important_names(book.trials, problem.space)
        terms = replace(terms, changed=sizes, now=now, important=important)
        course = plan(winner, book.trials, problem.space, book.metric, problem.horizon, terms)
        begun = begin(book, course, world.fingerprint)
        if progress:
            print(textwrap.fill(course.sentence, 79), file=sys.stderr)
        with self.opened(objective, workers, None, progress=progress) as tuning:
            found = run(course, partial(tuning.train_arms, begun.body["first"]), before, begun.body["fingerprint"])
        book.note("recheck", {"begun": begun.id, "imported": elsewhere is not None, **found.to_dict()})
        for kind, body in news(book.notes(), world):
            if kind != PRINT:  # a winner keeps the fingerprint it was found with
                book.note(kind, body)
        return found

    def _candidates(self) -> list[Trial]:
        self.book.refresh()
        return may_win(self.book, self.problem, changed=self.changed)

    @property
    def _branches(self) -> bool:
        """Whether trials may begin with the state of others."""
        return isinstance(self.searcher, Population) and self.searcher.changes(self.problem.space)

    def _sliceable(self, objective: Any) -> bool:
        """Whether the objective can be stopped and continued; refuses one whose steps nobody limited."""
        training = as_training(objective, metric=self.book.metric.name)
        if training.needs_horizon and self.problem.horizon == 1 and "iterations" not in self.problem.space.names:
            words = self.problem.space.to_dict()
            steps = next((largest_step(words[name]) for name in ROLES["iterations"] if name in words), 50)
            raise ObjectiveError(
                "This training reports step by step, but the study's horizon is 1 step. Say how many steps a whole "
                f"training has: iterations={steps} in the space, or Study(..., horizon={steps}) (--horizon {steps})."
            )
        if self._branches and not training.hands_over:
            raise ObjectiveError(
                f"Population-based training goes on from other trials' files, but this {training.kind} keeps none. "
                "Write train(config, seed, folder) and save the state before each yield, or take another searcher."
            )
        return training.sliceable

    def _note_folds(self, objective: Any) -> int:
        """Write down how the objective's seeds stand for splits, where they do; how many make one cross-validation."""
        folds: Folds | None = getattr(objective, "folds", None)
        if folds is None:
            return 0
        if folds.seed != self.problem.seed:
            raise ObjectiveError(
                f"The folds were made with seed={folds.seed}, the study with seed={self.problem.seed}: seeds would not "
                f"go through the folds in turn. Give Folds(..., seed={self.problem.seed})."
            )
        body = {"method": folds.method, "k": folds.k, "share": folds.share, "reason": folds.reason}
        known = self.book.notes("validation")
        if known and known[-1].body != body:
            raise ObjectiveError(
                f"Study {self.name!r} was confirmed otherwise: {known[-1].body['reason']} Scores on different splits "
                "can't be compared: give the folds it had, or a new name= or store."
            )
        if not known:
            self.book.note("validation", body)
        return folds.raced

    def _note_lanes(self, pool: Pool, asked: str | int, *, say: bool) -> None:
        """Write down how trials were trained side by side, where that has changed."""
        if pool.lanes is None and not pool.reasons:
            return
        body = {"asked": asked, "lanes": pool.lanes, "reasons": pool.reasons}
        known = self.book.notes("lanes")
        if known and known[-1].body == body:
            return
        self.book.note("lanes", body)
        if say and pool.reasons:
            which = "Trials" if pool.lanes is None else "Some trials"
            print(textwrap.fill(f"{which} were trained alone. {' '.join(pool.reasons)}", 79), file=sys.stderr)


def at_most_lanes(lanes: str | int) -> int | None:
    """The most lanes for each worker, as pools take it."""
    limits = {"auto": None, "off": 0}
    if lanes in limits:
        return limits[str(lanes)]
    if isinstance(lanes, int) and lanes >= 1:
        return lanes
    raise BudgetError(f"lanes={lanes!r} is unknown. Give 'auto', 'off', or how many at most, say 16.")
