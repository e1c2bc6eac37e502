"""The one loop that joins the floors: ask the searcher, run, append, repeat; then confirm on fresh seeds."""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NoReturn

from ayar.asking import all_failed, ask, hopeless, once_more
from ayar.budget import Budget, plan_of
from ayar.checkpoints import that_fit
from ayar.confirmation import (
    AUTO,
    MOST_SHARE,
    Plan,
    Training,
    confirm,
    plan_confirmation,
    probes,
    share_by_luck,
)
from ayar.curves.stopping import diverges
from ayar.errors import ClaimLost, LedgerError, ObjectiveError, did_you_mean
from ayar.goals import eligible, unmeasured
from ayar.interrupt import Interrupt
from ayar.logbook import Logbook
from ayar.progress import ProgressDisplay
from ayar.records import Configuration, Metric, Move, State, Trial
from ayar.run.events import Event, Failed, Finished, Measured, Pool
from ayar.run.folders import folders, latest_folder, own_folder
from ayar.run.handover import hand_over
from ayar.search.advised import Doctor
from ayar.search.base import Problem, Searcher, expected_best
from ayar.seeds import Purpose, trial_seed
from ayar.thinking import Thinking
from ayar.winner import ranked, search_steps

LUCK = "luck"
"""The kind of notes that keep what luck was measured to be worth; ledgers of before have them under another name."""
_LUCK_ONCE = "noise"

KEPT_FOLDERS = 40  # search trials whose folders stay on disk; any other trains again up to where it was, if thawed
KEPT_BYTES = 20e9  # of those folders together, and no more than is still free on the disk
KEPT_FOR_EACH_LANE = 4  # the more trials take turns, the more of them are soon thawed
_LOOK_EVERY_S = 0.2  # for Ctrl-C, and for what other processes have done
SPARED = 4  # leaders that get a further seed while the search leaves lanes empty
TOGETHER = 8  # one of so many lanes is free before moves are asked for
HOPELESS = 8  # so many failures, and nothing else, mean a broken training rather than bad configurations

_LOG = logging.getLogger("ayar")


@dataclass(frozen=True, slots=True)
class Tuning:
    """What one tuning works with. Its methods train; what they find out is in the book.

    Attributes:
        folder: Where trials keep their files, each in one of its own.
        stops: Whether search trials that diverge are stopped early.
        active: Trials that the pool is training.
        postponed: Moves of trials that the pool is still training for a claim that was lost.
        thinking: What moves have taken lately.
        _unpaid_s: Seconds that each search of this tuning took beyond what trials cost: for thinking, and to start.
    """

    book: Logbook
    searcher: Searcher
    problem: Problem
    metric: Metric
    pool: Pool
    folder: Path
    display: ProgressDisplay
    interrupt: Interrupt
    stops: bool = False
    _stopped: set[int] = field(default_factory=set)
    active: set[int] = field(default_factory=set)
    postponed: list[Move] = field(default_factory=list)
    thinking: Thinking = field(default_factory=Thinking)
    _unpaid_s: list[float] = field(default_factory=list)

    def heed(self, doctor: Doctor) -> Tuning:
        """This tuning with a search that does so much of what the curves say."""
        return replace(self, searcher=doctor.beside(self.searcher), stops=doctor.stops)

    def search(self, budget: Budget, workers: int, *, settled: Callable[[], bool] = lambda: False) -> None:
        """Search until the budget's share for it is used, the space is exhausted, or another process says that it is.

        Args:
            budget: When to end.
            workers: Trainings at the same time, by which the time of trials counts.
            settled: Whether another process has ended this search; asked when others have written.
        """
        book = self.book
        begun, paid_s = time.monotonic(), self._paid_s(workers)
        broken = hopeless(book.trials)  # what a broken training took is no search
        ends_at = begun + budget.search_s - (0.0 if broken else paid_s) - math.fsum(self._unpaid_s)
        left_over = [m for m in book.outstanding() if m.purpose is Purpose.SEARCH and m.trial not in book.elsewhere]

        def used() -> float:
            by_time = 1 - (ends_at - time.monotonic()) / budget.search_s if budget.minutes else 0.0
            by_steps = search_steps(book.history) / budget.steps if budget.steps else 0.0
            return max(by_time, by_steps)

        def shown() -> float:
            started = book.history.started[Purpose.SEARCH]
            return max(used(), started / budget.trials if budget.trials else 0.0)

        def next_moves(n: int) -> list[Move]:
            while left_over:
                move = left_over.pop()
                if not (self.stops and diverges(book.whole_curve(move.trial), self.problem.horizon)):
                    return [move]
                book.record(Finished(move.trial, ended=True))  # it was about to be stopped
            moves = once_more(book, broken) or self._taken_over(n) or self._asked(n, workers)
            return moves or (self._spare(n) if budget.confirm else [])

        def waits() -> bool:
            return any(book.trial(number).purpose is Purpose.SEARCH for number in book.elsewhere)

        self._drive(
            next_moves, phase="search", shown=shown, over=lambda: used() >= 1, waits=waits, over_elsewhere=settled
        )
        self._unpaid_s.append(time.monotonic() - begun - (self._paid_s(workers) - paid_s))
        if (said := all_failed(book.trials)) and not self.interrupt.asked:
            _LOG.warning(said)

    def _asked(self, n: int, workers: int) -> list[Move]:
        """Up to ``n`` moves that the searcher wants; in lanes, which train quickly, none too short to think about."""
        least = self.thinking.least_slice(workers) if self.pool.lanes else 1
        begun = time.perf_counter()
        moves = ask(self.book, self.searcher, replace(self.problem, least_slice=least), n, stops=self.stops)
        self.thinking.decided(time.perf_counter() - begun, len(moves))
        return moves

    def _paid_s(self, workers: int) -> float:
        """Seconds of search that the costs of trials tell of, those of earlier tunings included."""
        return sum(t.cost_s for t in self.book.trials if t.purpose is Purpose.SEARCH) / workers

    def _taken_over(self, n: int) -> list[Move]:
        """Up to ``n`` moves of the search that other processes have abandoned, claimed."""
        if not self.book.elsewhere:
            return []
        with self.book.claiming():
            left = [m for m in self.book.abandoned() if m.purpose is Purpose.SEARCH]
            return [self.book.go_on(m.trial, m.stop_step) for m in left[:n]]

    def measured(self, budget: Budget, workers: int) -> Budget:
        """The budget with the share for confirmation that luck asks for, once half of it is searched through.

        Luck is seen where the default and the leaders, who are to be re-ranked anyway, train on the first seeds of
        the re-ranking. Where so many trainings are too many for the budget, the share stays the usual one. It is
        measured once.
        """
        if budget.confirm != AUTO:
            return budget
        for note in (*self.book.notes(LUCK), *self.book.notes(_LUCK_ONCE)):
            if note.body["budget"] == asdict(budget):
                return replace(budget, confirm=note.body["share"])
        self.search(
            replace(budget, confirm=MOST_SHARE), workers, settled=lambda: plan_of(self.book, budget) is not None
        )
        rounds = budget.confirm_rounds(self.book.trials, self.problem.horizon, workers)
        wanted = probes(self.book.trials, self.problem.space.default())
        if self.interrupt.asked or not ranked(self.book.trials) or rounds * workers < 3 * len(wanted):
            return budget
        seed, horizon = self.problem.seed, self.problem.horizon
        seeded = [(c, trial_seed(seed, Purpose.RERANK, n), Purpose.RERANK, horizon) for c, n in wanted]
        self.train(seeded, phase="luck")
        share = share_by_luck(self.book.trials, rounds * workers / budget.share)
        if share is None:
            return budget
        self.book.note(LUCK, {"budget": asdict(budget), "share": share})
        return replace(budget, confirm=share)

    def settled(self, budget: Budget, measured: Budget, candidates: Sequence[Trial], workers: int, folds: int) -> Plan:
        """The confirmation of a search that is over; processes that tune together agree on the first one's."""
        with self.book.claiming():
            plan = plan_of(self.book, budget)
            if plan is None:
                rounds = measured.confirm_rounds(self.book.trials, self.problem.horizon, workers)
                expected = expected_best(self.searcher, self.problem, self.book.history)
                if expected is not None and expected.id not in {t.id for t in candidates}:
                    expected = None  # it breaks a limit, or the space has become narrower
                plan = plan_confirmation(candidates, rounds, workers, folds, self.problem.space.default(), expected)
                body = {"budget": asdict(budget), "share": measured.share, "plan": asdict(plan)}
                self.book.note("confirmation", body)
        return plan

    def _spare(self, n: int) -> list[Move]:
        """Moves for lanes that the search leaves empty while it waits: a fresh seed for each leader so far.

        It is the first that a confirmation would train, which finds it done.
        """
        searching = any(self.book.trial(number).purpose is Purpose.SEARCH for number in self.active)
        if not self.pool.lanes or not searching:
            return []
        seed = trial_seed(self.problem.seed, Purpose.RERANK, 0)
        with self.book.claiming():
            leaders = ranked(eligible(self.book.trials, self.problem.constraints))[:SPARED]
            wanted = [leader.config for leader in leaders if self.book.of(leader.config, seed) is None]
            return [self.book.start(config, seed, Purpose.RERANK, self.problem.horizon) for config in wanted[:n]]

    def confirm(self, plan: Plan) -> None:
        """Re-rank and finalise; see ``ayar.confirmation.confirm``."""

        def train(wanted: Sequence[Training], phase: str) -> bool:
            self.train(wanted, phase=phase)
            return not self.interrupt.asked

        problem = self.problem
        at_least = max(self.pool.free, 1)
        confirm(
            plan,
            problem.space,
            problem.seed,
            problem.horizon,
            lambda: self.book.trials,
            train,
            at_least=at_least,
            fit=lambda trials: eligible(trials, problem.constraints),
        )

    def train(self, wanted: Sequence[Training], *, phase: str) -> None:
        """Train what isn't in the book yet; wait for what other processes are training of it."""
        open_ = [*wanted]

        def next_moves(n: int) -> list[Move]:
            moves: list[Move] = []
            with self.book.claiming():
                open_[:] = [each for each in open_ if not self._is_done(each)]
                busy = self.active | (self.book.elsewhere - {m.trial for m in self.book.abandoned()})
                for config, seed, purpose, stop_step in open_:
                    trial = self.book.of(config, seed)
                    if len(moves) == n:
                        break
                    if trial is None:
                        moves.append(self.book.start(config, seed, purpose, stop_step))
                    elif trial.id not in busy:
                        moves.append(self.book.go_on(trial.id, stop_step))
            return moves

        self.display.begin()
        begun = len(wanted)
        self._drive(
            next_moves,
            phase=phase,
            shown=lambda: sum(self._share_done(each) for each in wanted) / begun,
            waits=lambda: any(not self._is_done(each) for each in open_),
        )

    def _is_done(self, wanted: Training) -> bool:
        config, seed, _, stop_step = wanted
        trial = self.book.of(config, seed)
        if trial is None:
            return False
        return trial.state not in (State.RUNNING, State.PAUSED) or trial.curve.last_step >= stop_step

    def _share_done(self, wanted: Training) -> float:
        config, seed, _, stop_step = wanted
        trial = self.book.of(config, seed)
        return 1.0 if self._is_done(wanted) else min(1.0, trial.curve.last_step / stop_step) if trial else 0.0

    def train_arms(
        self, first: Mapping[str, int], arms: Sequence[tuple[Configuration, int]], purpose: Purpose, numbers: range
    ) -> list[list[Trial]]:
        """Train several configurations, each up to its last step, on common seeds; gives each one's trials by seed.

        Args:
            first: For each purpose, the number in its stream that ``numbers`` count from.
            arms: Configurations with their last steps.
            purpose: The stream that the seeds come from.
            numbers: Which seeds.

        Raises:
            KeyboardInterrupt: Ctrl-C came, so some are missing.
        """
        seeds = [trial_seed(self.problem.seed, purpose, first[purpose] + number) for number in numbers]
        self.train([(config, seed, purpose, stop) for seed in seeds for config, stop in arms], phase=purpose.value)
        self.interrupt.check()
        return [[t for seed in seeds if (t := self.book.of(config, seed))] for config, _ in arms]

    def _drive(
        self,
        next_moves: Callable[[int], list[Move]],
        *,
        phase: str,
        shown: Callable[[], float],
        waits: Callable[[], bool],
        over: Callable[[], bool] = lambda: False,
        over_elsewhere: Callable[[], bool] = lambda: False,
    ) -> None:
        """Keep the pool busy until no move is left, ``over()``, or Ctrl-C; write down all that it reports.

        ``next_moves(n)`` gives up to ``n``; none while all that is left waits for outstanding ones. Those may be in
        other processes: ``waits()`` says so. ``over_elsewhere()`` is asked when others have written.
        """
        closed, stopped = 0, False
        while True:
            if self.book.refresh():
                stopped = stopped or over_elsewhere()
            stop = stopped or self.interrupt.asked or over()
            if stop:
                self.pool.pause()
            while not stop and self._wants_moves and (moves := next_moves(self.pool.free if self.pool.busy else 1)):
                self._submit(moves)
            if not self.pool.busy:
                if stop or not waits():
                    break
                time.sleep(_LOOK_EVERY_S)
            closed += self._record_all(self.pool.wait(_LOOK_EVERY_S))
            if closed >= max(KEPT_FOLDERS, len(self.book.history) // 10):
                self._prune_folders()
                closed = 0
            if self.display.due:
                self.display.show(phase, shown(), self.book.trials, self._best_words(), self.pool.lanes)
        self._prune_folders()

    @property
    def _wants_moves(self) -> bool:
        """Whether to ask for moves: of many lanes, some are to be free, for to ask for one takes as long as for two."""
        free = self.pool.free
        return free > 0 and (not self.pool.busy or free * TOGETHER >= (self.pool.lanes or 1))

    def _submit(self, moves: Sequence[Move]) -> None:
        for move in moves:
            if move.parent is not None:
                self._hand_over(move, move.parent)
        for move in moves:
            if move.trial in self.active:
                self.postponed.append(move)
            else:
                self.active.add(move.trial)
                self.pool.submit(move, spent_s=self.book.trial(move.trial).cost_s)

    def _hand_over(self, move: Move, parent: int) -> None:
        """Give a trial its parent's files, as long as those are of the step that it begins at.

        Otherwise, because the parent has gone on or its folder was removed, the trial's own worker trains as far.
        """
        busy = parent in self.active or parent in self.book.elsewhere
        busy = busy or (self.pool.lanes is not None and self.pool.holds(parent))  # its state is in memory alone
        if not busy and self.book.trial(parent).stands_at == move.start_step:
            hand_over(latest_folder(parent, self.folder), own_folder(move, self.folder), move.schedule[-1])

    def _record_all(self, events: Sequence[Event]) -> int:
        """Write down what workers reported, in one transaction, for lanes report by the hundred; how many ended."""
        if events:
            with self.book.claiming():
                failures = [failure for event in events if (failure := self._record(event))]
            for failure in failures:
                self._refuse_hopeless(failure)
            for event in events:
                if isinstance(event, Finished):
                    self._refuse_unmeasured(self.book.trial(event.trial))
        self.thinking.trained(event.cost_s for event in events if isinstance(event, Measured))
        return sum(not isinstance(event, Measured) for event in events)

    def _record(self, event: Event) -> Failed | None:
        """Write down what a worker reported; let a search trial whose curve diverges end with the step it is in.

        Gives a failure that is final.
        """
        if not isinstance(event, Measured):
            self._over(event.trial)
        if isinstance(event, Failed) and event.full_disk:
            return event  # its move stays outstanding
        lost = isinstance(event, Failed) and event.chances > 0
        if event.trial in self._stopped and (lost or isinstance(event, Finished)):
            event = Finished(event.trial, ended=True)
        try:
            again = self.book.record(event)
        except ClaimLost:  # this process was suspended, and another one took the trial over
            self.pool.pause(event.trial)
            return None
        if again is not None:
            self._submit([again])
        elif isinstance(event, Failed):
            return event
        if not self.stops or not isinstance(event, Measured) or event.trial in self._stopped:
            return None
        trial = self.book.trial(event.trial)
        if trial.purpose is Purpose.SEARCH and diverges(self.book.whole_curve(trial.id), self.problem.horizon):
            self._stopped.add(trial.id)
            self.pool.pause(trial.id)
        return None

    def _over(self, trial: int) -> None:
        """The pool is done with a trial: let it have what was postponed until then."""
        self.active.discard(trial)
        ready = [move for move in self.postponed if move.trial == trial]
        self.postponed[:] = [move for move in self.postponed if move.trial != trial]
        self._submit(ready)

    def _refuse_hopeless(self, failure: Failed) -> None:
        """Stop where the training itself is broken: other configurations would only fail alike."""
        if failure.full_disk:
            raise LedgerError(
                f"Trial {failure.trial} can't go on: {failure.error.splitlines()[0]}. Make room under {self.folder}, "
                "and run the same command again: it goes on from here."
            )
        trials = self.book.trials
        all_failed = len(trials) >= HOPELESS and all(t.error is not None and not t.curve.trained for t in trials)
        if failure.contract or all_failed:
            lead = "" if failure.contract else f"All of the first {len(trials)} trainings failed; the last one so: "
            self._give_up(f"{lead}{failure.error}")

    def _refuse_unmeasured(self, trial: Trial) -> None:
        """Stop where a whole training measured nothing for an objective or a limit: nothing could be said of it."""
        goals = self.problem.objectives, self.problem.constraints
        if trial.state is State.COMPLETED and any(goals) and (missing := unmeasured(trial, *goals)):
            given = sorted({name for measurement in trial.curve for name in measurement.metrics})
            hint = did_you_mean(missing[0], given) or " Measure it too."
            self._give_up(f"The training gave {', '.join(map(repr, given))} but not {missing[0]!r}.{hint}")

    def _give_up(self, why: str) -> NoReturn:
        for number in self.active:  # nobody trains them any more
            with suppress(ClaimLost):
                self.book.record(Finished(number, ended=False))
        raise ObjectiveError(why)

    def _prune_folders(self) -> None:
        """Remove the folders of search trials that are unlikely to be thawed; they can train again."""
        count = max(KEPT_FOLDERS, KEPT_FOR_EACH_LANE * (self.pool.lanes or 0))
        if not self.folder.is_dir():
            return
        held, room = folders(self.folder), min(KEPT_BYTES, shutil.disk_usage(self.folder).free)
        everything = [folder for each in held.values() for folder in each]
        if len(everything) <= count and that_fit(everything, room) == everything:
            return
        best = [held[t.id][-1] for t in ranked(self.book.trials) if t.id in held]
        kept, doomed = set(that_fit(best[:count], room)), []
        with self.book.claiming():  # so that nobody begins to work in a folder meanwhile
            for number in held:
                trial = self.book.history.numbered(number)
                if trial is None or trial.purpose is not Purpose.SEARCH or trial.state is State.RUNNING:
                    continue
                if self.pool.holds(number):  # alive in a worker, it may go on writing there
                    continue
                for folder in held[number]:
                    if folder not in kept:
                        doomed.append(folder.with_name(f"{folder.name}.removed"))
                        shutil.rmtree(doomed[-1], ignore_errors=True)
                        folder.rename(doomed[-1])
        for folder in doomed:
            shutil.rmtree(folder, ignore_errors=True)

    def _best_words(self) -> str:
        order = ranked(self.book.trials)
        if not order:
            return ""
        return f"best {self.metric.loss(order[0].loss):.4g} (trial {order[0].id})"
