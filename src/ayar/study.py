"""The study: everything known about tuning one objective over one space."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ayar import outcome
from ayar.asking import ask
from ayar.budget import Budget
from ayar.curves.advice import advise
from ayar.curves.tested import Outcome
from ayar.errors import BudgetError, NotInLedger, ObjectiveError, SpaceError, reason
from ayar.goals import constraints_of, front, objectives_of
from ayar.ledger.store import Ledger, Note
from ayar.logbook import Logbook
from ayar.recheck.findings import Recheck
from ayar.recheck.plan import Terms
from ayar.records import Advice, Configuration, Metric, Move, Score, Trial, Verdict, Winner
from ayar.reports.page import render
from ayar.reports.tables import Story
from ayar.run.folders import name_of_folder
from ayar.run.workers import Workers
from ayar.sealed import open_test
from ayar.search import searcher_named, sources
from ayar.search.advised import Doctor
from ayar.search.base import Problem, expected_best
from ayar.search.repeats import steadiest
from ayar.search.sources import check_source, source_of
from ayar.seeds import Purpose, trial_seed
from ayar.space import Space
from ayar.space.change import aged, check_change
from ayar.specification import REFUSED, SOURCE, SPACE_CHANGED, find_or_create, largest_step, was_of
from ayar.story import tell, verdicts_on
from ayar.winner import ranked, standings
from ayar.workshop import Workshop


class Study:
    """Everything known about tuning one objective over one space.

    Args:
        store: The ledger: a path to an SQLite file, made where there is none, or ``postgresql+psycopg://...``. None
            keeps everything in memory.
        space: What is searched. May be left out where the ledger holds the study.
        minimize: Name of the metric to minimise, or names of several; or
        maximize: of those to maximise. Of several the first is the loss on every curve, see ``front``.
        horizon: The largest step. Defaults to the space's ``iterations``, else to 1: final values only.
        searcher: A name in ``ayar.search.SEARCHERS``; by default ``"auto"``.
        seed: Every random choice of the study derives from it; by default 0.
        name: The study's name in the ledger, where it holds several; by default ``"main"``.
        constraints: Limits to keep, by metric: ``{"latency_ms": "<= 5"}``.
        skim: For a look at the winner of a study of thousands of trials: read only what decides who wins, so many of
            the best, and a sample as large. Such a study can't be tuned on. All is read where less would not do.

    Raises:
        SpaceError: A new study lacks its space or metric, or a known one is given others than it has.
        LedgerError: The ledger can't be opened.

    >>> from ayar.space import Float
    >>> study = Study(space=Space(x=Float(0.0, 1.0)), minimize="loss")
    >>> (move,) = study.ask()
    >>> study.tell(move, (move.config["x"] - 0.3) ** 2)
    >>> study.recommend().config
    {'x': 0.5}
    """

    def __init__(
        self,
        store: str | Path | None = None,
        *,
        space: Space | None = None,
        minimize: str | Sequence[str] | None = None,
        maximize: str | Sequence[str] | None = None,
        horizon: int | None = None,
        searcher: str | None = None,
        seed: int | None = None,
        name: str | None = None,
        constraints: Mapping[str, str] | Sequence[str] | None = None,
        skim: int | None = None,
    ) -> None:
        objectives, limits = objectives_of(minimize, maximize), constraints_of(constraints)
        given = {
            "space": None if space is None else space.to_dict(),
            "metric": objectives[0].name if objectives else None,
            "maximize": objectives[0].maximize if objectives else None,
            "horizon": horizon,
            "searcher": searcher,
            "seed": seed,
            "objectives": [[each.name, each.maximize] for each in objectives] if len(objectives) > 1 else None,
            "constraints": [str(limit) for limit in limits] or None,
        }
        self.store = store
        self._ledger = Ledger.open(store, create=space is not None)
        try:
            self._id, self.name, spec = find_or_create(self._ledger, name, given)
        except BaseException:
            self._ledger.close()
            raise
        self.spec: dict[str, Any] = spec
        self.space = space if space is not None else Space.from_dict(spec["space"])
        self.objectives = tuple(Metric(*each) for each in spec.get("objectives") or ())
        self.constraints = constraints_of(spec.get("constraints"))
        self.horizon: int = spec["horizon"]
        self.seed: int = spec["seed"]
        self.searcher: str = spec["searcher"]
        self._metric = Metric(spec["metric"], spec["maximize"])
        self._searcher = searcher_named(self.searcher)
        changes, taken = (self._ledger.notes(self._id, kind) for kind in (SPACE_CHANGED, "adopted"))
        decides_by_loss = not (self.objectives or self.constraints or changes or taken)
        read = skim if decides_by_loss else None
        self._book = Logbook(self._ledger, self._id, self._metric, self.horizon, skim=read)
        self._sources = tuple(sources.from_dict(note.body) for note in self.notes(SOURCE))
        self._changed = False
        if changes:
            self._live_in(self.space, was_of(changes))
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the ledger. Nothing is lost without it: every measurement was written when it came."""
        self._ledger.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    @property
    def where(self) -> str:
        """The ledger, as messages name it: a URL comes without its password."""
        return self._ledger.where

    @property
    def metric(self) -> str:
        """Name of the metric the study is judged by."""
        return self._metric.name

    @property
    def maximize(self) -> bool:
        """Whether more of the metric is better."""
        return self._metric.maximize

    # -- ask and tell, for a loop of your own ------------------------------------------------------------------

    def ask(self, n: int = 1, *, doctor: str = "listen") -> list[Move]:
        """Up to ``n`` moves; any number may be outstanding.

        Fewer come when what is left waits for outstanding moves; none, with nothing outstanding, means that the
        space is exhausted. The same seed, history and order of calls give the same moves. ``doctor`` as for ``tune``:
        a trial that diverges is not continued.
        """
        heeded = Doctor.named(doctor)
        problem = self._problem()
        return ask(self._book, heeded.beside(self._searcher), problem, n, stops=heeded.stops)

    def outstanding(self) -> list[Move]:
        """Moves that were asked and not yet answered, from where they stand now; also those of an earlier run."""
        self._book.refresh()
        return self._book.outstanding()

    def tell(
        self,
        move: Move,
        measurements: Mapping[str, float] | Iterable[Mapping[str, float]] | float = (),
        *,
        error: str | None = None,
        ended: bool = False,
    ) -> None:
        """Answer a move: measurements of steps ``start_step + 1`` to ``stop_step``, at once or piece by piece.

        Args:
            move: The move that is answered.
            measurements: Dicts that hold the study's metric, ``"step"``, and optionally ``"cost_s"`` (seconds this
                step took) and further metrics. A dict without a step, or a bare number, stands for ``stop_step``.
                Step 0, the untrained net, may come first. A non-finite value of the metric, or one beyond
                1e100: the trial diverged.
            error: Why the training failed. The trial is not tried again.
            ended: The training ended by itself before ``stop_step``.

        Raises:
            MoveError: The move isn't outstanding, or a step lies outside it or was told before.
            ObjectiveError: A measurement lacks the metric or isn't made of numbers.
            In both cases nothing is recorded.
        """
        if isinstance(measurements, Mapping):
            rows = [measurements]
        elif isinstance(measurements, Iterable):
            rows = list(measurements)
        else:
            rows = [{self.metric: measurements}]
        self._book.tell(move, rows, error=error, ended=ended)

    def add(
        self,
        config: Configuration,
        measurements: Iterable[Mapping[str, float]],
        *,
        seed: int | None = None,
        purpose: Purpose = Purpose.SEARCH,
        error: str | None = None,
        ended: bool = True,
    ) -> Trial:
        """Record a trial that was trained elsewhere; its measurements as for ``tell``.

        The default stands for hyperparameters that the configuration leaves out; numbers may lie outside the space.

        Raises:
            SpaceError: The configuration has a hyperparameter that the space lacks, or a value it can't take.
            ObjectiveError: A measurement lacks the metric or isn't made of numbers.
            MoveError: The steps don't rise.
        """
        config = self.space.complete(config, outside=True)
        rows = list(measurements)
        last = max((each.step for each in self._book.read(rows, self.horizon)), default=0)
        index = sum(t.purpose is purpose for t in self.trials())
        move = self._book.start(
            config, trial_seed(self.seed, purpose, index) if seed is None else seed, purpose, max(last, 1)
        )
        self._book.tell(move, rows, error=error, ended=ended)
        return self._book.trials[move.trial]

    def change_space(self, space: Space, was: Mapping[str, Any] | None = None) -> None:
        """Go on in another space: wider, narrower, with more choices or other hyperparameters.

        Trials until now stay and are used as far as the new space has a place for them. The change is written down.

        Args:
            space: The space from now on.
            was: For each hyperparameter that is new: the value that trials until now had.

        Raises:
            SpaceError: A new hyperparameter lacks that value, or ``iterations`` would change the horizon.
        """
        if space == self.space:
            return
        was = dict(was or {})
        check_change(self.space, space, was)
        words = space.to_dict()
        if "iterations" in self.space and largest_step(words.get("iterations")) != self.horizon:
            raise SpaceError(
                f"The horizon of study {self.name!r} stays {self.horizon} steps: keep iterations as it is."
            )
        self.note(SPACE_CHANGED, {"space": words, "was": was})
        self._live_in(space, was_of(self.notes(SPACE_CHANGED)))

    def learn_from(self, store: str | Path, name: str | None = None) -> None:
        """Use an earlier study as a source: its best configurations are tried early, its order of trials expected.

        It counts as far as the trials here bear it out, so a study of something else costs little. What is used of it
        is written down here; the other ledger is not needed again. Searchers without a model don't use it.

        Args:
            store: The other ledger.
            name: The study's name there, where it holds several.

        Raises:
            LedgerError: There is no such ledger or study.
            NotEnoughEvidence: It says nothing about this study's space.
        """
        with Study(store, name=name) as other:
            source = source_of(f"{store}:{other.name}", other.trials())
        check_source(self.space, source)
        self.note(SOURCE, sources.to_dict(source))
        self._sources = (*self._sources, source)

    def _live_in(self, space: Space, was: Mapping[str, Any]) -> None:
        self.space, self._changed = space, True
        self._book.history.see(partial(aged, space, was))

    # -- what is known -----------------------------------------------------------------------------------------

    def trials(self) -> list[Trial]:
        """All trials by number; those of attempts and of the confirmation too, told apart by ``purpose``."""
        self._book.refresh()
        return self._book.trials

    def recommend(self) -> Trial:
        """The trial the search would hand back now, from search data only, hence optimistic.

        A searcher that models where trials end names the one it expects to end best, which may not have the least
        loss yet. For the others it is the configuration with the least mean, where some were read with several seeds,
        else the trial with the least loss.

        Raises:
            NotInLedger: No trial has a finite loss yet.
        """
        known = self._eligible()
        order = ranked(known)
        if not order:
            limits = f" that keeps {' and '.join(map(str, self.constraints))}" if self.constraints else ""
            failed = [trial.error for trial in self.trials() if trial.error is not None]
            why = f"{len(failed)} of its {len(self.trials())} trials failed, the last one so: " if failed else ""
            way = f"{why}{reason(failed[-1])}" if failed else "Tune first."
            raise NotInLedger(f"Study {self.name!r} holds no finite {self.metric}{limits} yet. {way}")
        expected = expected_best(self._searcher, self._problem(), self._book.history)
        return expected or steadiest(known) or order[0]

    def front(self) -> list[Trial]:
        """Of several objectives: the trials that no other one beats in all of them, by the first one.

        Whole trainings that keep the constraints. Like every score of a search, theirs are optimistic.
        """
        return front(self._eligible(), self.objectives or (self._metric,), self.constraints)

    def winner(self) -> Winner | None:
        """The configuration chosen so far, each score with its kind and interval; None before any measurement."""
        self._book.refresh()
        return outcome.winner(self._book, self._problem(), changed=self._changed)

    def diagnose(self, trial: int | None = None, *, n_classes: int | None = None) -> dict[int, tuple[Verdict, ...]]:
        """Verdicts by trial, the headline first: of one trial, or of all that were trained.

        Args:
            trial: Number of the trial; None for all.
            n_classes: How many classes the losses, cross-entropies then, tell apart; see ``ayar.curves.diagnose``.

        Raises:
            NotInLedger: There is no such trial.
        """
        everyone = self.trials()
        if trial is not None and trial not in {t.id for t in everyone}:
            raise NotInLedger(f"Study {self.name!r} has no trial {trial}; it has {len(everyone)}, counted from 0.")
        if trial is not None:
            everyone = [t for t in everyone if t.id == trial]
        return verdicts_on(everyone, self._book, self.horizon, n_classes=n_classes)

    def notes(self, kind: str | None = None) -> list[Note]:
        """What was written beside the trials, oldest first: plans, test openings, fingerprints."""
        return self._book.notes(kind)

    def note(self, kind: str, body: Mapping[str, Any]) -> None:
        """Write something beside the trials. Notes are never changed or removed."""
        self._book.note(kind, body)

    # -- training ----------------------------------------------------------------------------------------------

    def attempt(self, objective: Any, **values: Any) -> Trial:
        """Train one configuration chosen by hand up to the horizon, on the record; the default fills the gaps.

        A number may lie outside its range: looking what happens there is what a person's attempt is for. All
        attempts share one seed, so their curves differ by the values alone. An attempt that was made before is
        not paid twice: its trial is handed back.
        """
        config = self.space.complete(values, outside=True)
        return self._workshop().attempt(objective, config, trial_seed(self.seed, Purpose.ATTEMPT, 0), self.horizon)

    def follow(self, objective: Any, trial: int, advice: Advice | None = None) -> Outcome:
        """Put advice on a trial to the test: train its move with the trial's own seed, and note whether it helped.

        The move becomes an attempt, trained as long as the trial was, or to the horizon where that diverged or the
        move is about the number of iterations. Notes of the kind ``"advice tried"`` keep what came of it.

        Args:
            objective: The training, as for ``tune``.
            trial: Number of the trial.
            advice: The advice to follow; by default the first on its curve that changes something.

        Raises:
            NotInLedger: There is no such trial, or no advice on it that stays inside the space.
        """
        verdicts = self.diagnose(trial).get(trial, ())
        before = next(t for t in self.trials() if t.id == trial)
        advised = [advice] if advice is not None else advise(verdicts, before.config, self.space)
        move = next((a for a in advised if a.changes), None)
        if move is None:
            raise NotInLedger(f"There is no advice on trial {trial} to try inside the space: try another trial.")
        return self._workshop().follow(objective, before, move)

    def tune(
        self,
        objective: Any,
        *,
        minutes: float | None = None,
        trials: int | None = None,
        steps: int | None = None,
        workers: int | Workers = 1,
        on: str | None = None,
        confirm: float | str = "auto",
        step_timeout_s: float | None = None,
        progress: bool = True,
        lanes: str | int = "auto",
        doctor: str = "listen",
    ) -> Winner | None:
        """Search, then confirm the winner on fresh seeds. Resumes where it stopped; ends at once when all is done.

        Args:
            objective: The training, in one of the forms of ``ayar.run.objective``.
            minutes: Minutes for the whole, confirmation included, counted from the study's beginning; or
            trials: search trials to start; or
            steps: steps of search to train. The first limit that is met ends the search.
            workers: Processes that train at the same time, 0 for this process; or ``ayar.Workers``, which says what
                each may use, too: threads, GPUs, memory, time.
            on: Where they are: ``"local"``, or ``"ray"`` for a Ray cluster.
            confirm: Share of the budget kept for confirmation; 0 leaves it out. ``"auto"`` trains the
                leaders on fresh seeds, once half of the budget is searched through, and takes 30 %, or up to 50 % where
                their readings were luck.
            step_timeout_s: Seconds one step may take before its training counts as hung.
            progress: Whether to show on standard error how far it is: a bar in a terminal, a line in a notebook, a
                line a minute elsewhere.
            lanes: How many trials of a recipe each worker trains as one computation: ``"auto"`` for as many as
                pay, ``"off"``, or at most this number. No curve changes with it.
            doctor: What the search does with what the curves say: ``"stop"`` those that diverge beyond doubt,
                ``"advise"``, that is try the moves that the best ones ask for, ``"listen"`` for both, or ``"off"``.

        Raises:
            BudgetError: No limit was given for a space that has no end, or ``lanes`` or ``doctor`` is none of these.
            ObjectiveError: The objective can't be used; what was recorded stays.
            KeyboardInterrupt: After Ctrl-C, once the running steps have ended and are recorded; a second one at once.
        """
        try:
            # Fresh seeds confirm one winner; of several objectives there is none.
            budget = Budget(minutes, trials, steps, 0.0 if self.objectives else confirm)
            crew = Workers.of(workers, on=on, step_timeout_s=step_timeout_s)
            self._workshop().tune(objective, budget, crew, lanes=lanes, doctor=doctor, progress=progress)
        except (BudgetError, ObjectiveError):
            if not self.trials():
                self.note(REFUSED, {})
            raise
        return self.winner()

    def recheck(
        self,
        objective: Any,
        *,
        trainings: int = 40,
        workers: int = 1,
        progress: bool = True,
        config: Configuration | None = None,
        changed: Mapping[str, Any] | None = None,
        terms: Terms | None = None,
    ) -> Recheck:
        """Whether the winner is still the best: replay it today, screen challengers, confirm the best of them.

        In a world where nothing beats the winner, it is told to give way in at most 5 % of rechecks. One that was
        stopped goes on where it stood, as long as the fingerprint is the same.

        Args:
            objective: The training, as for ``tune``, in today's world.
            trainings: The most trainings to spend.
            workers: Processes that train at the same time; 0 trains in this process.
            progress: Whether to say, on standard error, what the plan costs and can see, and to show a bar.
            config: A winner found elsewhere, in place of the study's own; the default fills its gaps.
            changed: What has another size today than when the winner was found, so that rules can rescale it:
                ``{"batch_size": 512}`` for a hyperparameter, which then has this value in every training;
                ``{"rows": (10_000, 80_000)}``, old and new, for anything else.
            terms: The fine print: error, margin, whether a replay will do.

        Raises:
            NotInLedger: There is no winner yet.
            BudgetError: ``trainings`` are too few to settle anything.
            NotEnoughEvidence: The space holds nothing to compare the winner with.
            SpaceError: ``config`` or ``changed`` doesn't fit the space.
        """
        return self._workshop().recheck(
            objective,
            self.winner(),
            elsewhere=None if config is None else self.space.complete(config, outside=True),
            changed=changed or {},
            terms=replace(terms or Terms(), trainings=trainings),
            workers=workers,
            progress=progress,
        )

    def _workshop(self) -> Workshop:
        """What trains; the methods above say to a person what the methods there do."""
        return Workshop(self.name, self._book, self._searcher, self._problem(), self.folder, self._changed)

    @property
    def folder(self) -> Path:
        """Where trials keep their files: beside the ledger, or a temporary place for a study in memory.

        With a ledger in a server it lies in the working directory: processes on several machines start in a folder
        that all of them see, so that each goes on from the files of any other.
        """
        if self._ledger.folder is not None:
            return self._ledger.folder / name_of_folder(self.name)
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="ayar-")
            weakref.finalize(self, self._temporary.cleanup)
        return Path(self._temporary.name)

    def _problem(self) -> Problem:
        return Problem(
            self.space,
            self.horizon,
            self.seed,
            objectives=self.objectives,
            constraints=self.constraints,
            sources=self._sources,
        )

    def _eligible(self) -> list[Trial]:
        """The trials that may win."""
        self._book.refresh()
        return outcome.may_win(self._book, self._problem(), changed=self._changed)

    # -- what a person reads -----------------------------------------------------------------------------------

    def open_test(self, read: Callable[[Path], float], *, purpose: str, reason: str | None = None) -> Score:
        """Open the sealed test set for the winner, once, on the record.

        Args:
            read: Gives the metric on the test set for the net in a trial's folder, in the metric's own sign. It is
                called for each fresh-seed trial of the winner that trained to its end.
            purpose: What the score is for; it stands in every report.
            reason: Why a test set that was opened before is opened again; required from the second time on.

        Raises:
            NotInLedger: There is no winner on fresh seeds yet.
            BudgetError: It was opened before, for another winner, and no reason is given.
        """
        winner = self.winner()
        places = standings(self._eligible())
        return open_test(self._book, winner, places, self.folder, read, purpose=purpose, reason=reason)

    def story(self, *, most: int = 1000, **more: Any) -> Story:
        """Everything that is known, for reports.

        Args:
            most: Curves to read at most. Of a larger study the best and an even sample of the others get a verdict,
                and what all show together comes from an even sample; scores and states are those of all.
            more: Fields of ``Story`` that the study can't fill.
        """
        known = {
            "name": self.name,
            "metric": self.metric,
            "maximize": self.maximize,
            "store": None if self.store is None else self.where,  # without a URL's password
            "winner": self.winner(),
            "front": tuple(self.front()) if self.objectives else (),
        }
        return tell(self._book, self._problem(), most=most, **{**known, **more})

    def report(self, path: str | Path, **more: Any) -> Path:
        """Write one self-contained HTML page and hand back where it lies."""
        page = Path(path)
        page.write_text(render(self.story(report=str(page), **more)), encoding="utf-8")
        return page
