"""Ways to arrive at one configuration, and what each claims it to be worth, for the same number of trainings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from worlds import SPACE, World

from ayar.confirmation import USUAL_SHARE, Training, confirm, plan_confirmation, probes, share_by_luck
from ayar.records import Configuration, Curve, Measurement, Metric, ScoreKind, Trial, Winner
from ayar.seeds import Purpose, trial_seed
from ayar.winner import choose

LOSS = Metric("loss")


@dataclass(frozen=True)
class Found:
    """What a way arrived at.

    Attributes:
        config: The configuration it would hand over.
        claim: What it says it is worth.
        trainings: What it cost.
        winner: Ayar's whole record.
        share: Of the trainings that Ayar kept for confirmation.
    """

    config: Configuration
    claim: float
    trainings: int
    winner: Winner | None = None
    share: float = math.nan


class Book:
    """Trials in memory: what a tuning would have in its ledger."""

    def __init__(self, world: World, ratio: float, study_seed: int) -> None:
        self.world, self.ratio, self.study_seed = world, ratio, study_seed
        self.trials: list[Trial] = []
        self._known: set[tuple[int, str]] = set()

    def train(self, wanted: Sequence[Training], phase: str = "") -> bool:  # noqa: ARG002 - as a tuning is asked
        """Train what is not known yet."""
        for config, seed, purpose, step in wanted:
            key = (seed, repr(config))
            if key in self._known:
                continue
            self._known.add(key)
            loss = self.world.reading(config, seed, self.ratio)
            made = Trial(len(self.trials), config, seed, purpose, target_step=step, ended=True)
            failed = not math.isfinite(loss)
            self.trials.append(
                replace(made, error="failed") if failed else replace(made, curve=Curve((Measurement(step, loss, 1.0),)))
            )
        return True

    def search(self, count: int, rng: np.random.Generator) -> None:
        """Train so many more random configurations."""
        first = sum(t.purpose is Purpose.SEARCH for t in self.trials)
        seeds = [trial_seed(self.study_seed, Purpose.SEARCH, first + i) for i in range(count)]
        self.train([(SPACE.sample(rng), seed, Purpose.SEARCH, 1) for seed in seeds])


def ayar(world: World, ratio: float, trainings: int, study_seed: int, share: float | None = None) -> Found:
    """Ayar's: random search, then re-ranking and finalising by ``ayar.confirmation``; ``share`` None: measured."""
    rng = np.random.default_rng([study_seed, 1])
    book = Book(world, ratio, study_seed)
    if share is None:
        book.search(trainings // 2, rng)
        seeded = probes(book.trials, SPACE.default())
        share = USUAL_SHARE
        if trainings * share >= 3 * len(seeded):  # as a tuning does
            book.train([(c, trial_seed(study_seed, Purpose.RERANK, n), Purpose.RERANK, 1) for c, n in seeded])
            share = share_by_luck(book.trials, trainings) or USUAL_SHARE
    searched = sum(t.purpose is Purpose.SEARCH for t in book.trials)
    book.search(max(round(trainings * (1 - share)) - searched, 0), rng)
    searched = sum(t.purpose is Purpose.SEARCH for t in book.trials)
    plan = plan_confirmation(book.trials, trainings - searched, 1, default=SPACE.default())
    confirm(plan, SPACE, study_seed, 1, lambda: book.trials, book.train)
    winner = choose(book.trials, LOSS, SPACE)
    assert winner is not None
    score = winner.scores.get(ScoreKind.FRESH_SEED, winner.scores.get(ScoreKind.SEARCH_BEST))
    return Found(winner.config, score.mean if score else math.nan, len(book.trials), winner, share)


def single_best(world: World, ratio: float, trainings: int, study_seed: int) -> Found:
    """The best single reading of as many random trials."""
    book = Book(world, ratio, study_seed)
    book.search(trainings, np.random.default_rng([study_seed, 1]))
    best = min((t for t in book.trials), key=lambda t: t.loss)
    return Found(best.config, best.loss, trainings)


def optuna_best(world: World, ratio: float, trainings: int, study_seed: int, sampler: str) -> Found:
    """Optuna's ``best_trial``."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    samplers = {"random": optuna.samplers.RandomSampler, "TPE": optuna.samplers.TPESampler}

    def objective(trial: optuna.Trial) -> float:
        config = {name: trial.suggest_float(name, 0.0, 1.0) for name in SPACE.names}
        loss = world.reading(config, trial_seed(study_seed, Purpose.SEARCH, trial.number), ratio)
        if not math.isfinite(loss):
            raise optuna.TrialPruned
        return loss

    study = optuna.create_study(sampler=samplers[sampler](seed=study_seed))
    study.optimize(objective, n_trials=trainings)
    return Found(study.best_trial.params, study.best_value, trainings)
