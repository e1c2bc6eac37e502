"""The searches that are compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from replay import CHECKPOINTS, Run, search
from smac_arm import smac
from tables import Replay

from ayar.records import State, Trial
from ayar.search import CmaEs, Halving, Hyperband, Problem, Proposal, QuasiRandom, Racer, Random, Tpe
from ayar.search.bayesian import Bayesian
from ayar.space import Choice, Float, Int

Arm = Callable[[Replay, float, int], Run]
"""Searches a task with a budget of so many full runs, and so many workers where they can be simulated."""


@dataclass(frozen=True)
class OneStep:
    """One step for every configuration; half of the units bring the best of them to the end (arXiv:2307.15422)."""

    base: QuasiRandom = field(default_factory=QuasiRandom)

    def propose(self, problem: Problem, history: Sequence[Trial], n: int) -> list[Proposal]:
        """The next move; see ``Searcher``."""
        if not problem.sliceable:
            return self.base.propose(problem, history, n)
        paused = [trial for trial in history if trial.state is State.PAUSED]
        later = sum(max(trial.curve.last_step - 1, 0) for trial in history)
        new = [] if later < len(history) and paused else self.base.propose(problem, history, n)
        if new:
            return [Proposal(proposal.config, 1) for proposal in new]
        best = sorted(paused, key=lambda trial: (trial.loss, trial.id))[:n]
        return [Proposal(trial.config, problem.horizon, trial.id) for trial in best]


def _ours(searcher: Callable[[], Any]) -> Arm:
    return lambda replay, full_runs, workers: search(replay, searcher(), full_runs, workers)


def _alone(workers: int) -> None:
    if workers > 1:
        raise SystemExit(f"--workers {workers}: other tools' searches are replayed with one worker only.")


def _optuna(sampler: str, pruner: str | None) -> Arm:
    """Optuna with its defaults; what it suggests becomes the nearest configuration that was not trained yet."""

    def run(replay: Replay, full_runs: float, workers: int) -> Run:
        _alone(workers)
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        horizon = replay.problem.horizon
        samplers = {
            "random": lambda: optuna.samplers.RandomSampler(seed=replay.problem.seed),
            "tpe": lambda: optuna.samplers.TPESampler(seed=replay.problem.seed),
            "gp": lambda: optuna.samplers.GPSampler(seed=replay.problem.seed),
        }
        pruners = {
            None: optuna.pruners.NopPruner,
            "median": optuna.pruners.MedianPruner,
            "hyperband": lambda: optuna.pruners.HyperbandPruner(min_resource=1, max_resource=horizon),
        }
        study = optuna.create_study(sampler=samplers[sampler](), pruner=pruners[pruner]())
        return _sequential(replay, study, full_runs)

    return run


@dataclass
class _Account:
    """Units spent, and the regret of the best reading at each checkpoint passed."""

    full_runs: float
    run: Run = field(default_factory=Run)
    spent: float = 0.0
    best: tuple[float, float] = (np.inf, 1.0)

    def spend(self, full_runs: float) -> None:
        """Move on; what is read from now on was not known at the checkpoints passed."""
        self.spent += full_runs
        self.fill(self.spent - 1e-9)

    def fill(self, until: float) -> None:
        """Note the best so far for all checkpoints before ``until``."""
        while len(self.run.regrets) < len(CHECKPOINTS) and CHECKPOINTS[len(self.run.regrets)] < until:
            self.run.regrets.append(self.best[1])

    def read(self, loss: float, regret: float) -> None:
        """Take in a reading, if the budget reached so far."""
        if self.spent <= self.full_runs + 1e-9:
            self.best = min(self.best, (loss, regret))


def _sequential(replay: Replay, study: Any, full_runs: float) -> Run:
    from optuna.trial import TrialState

    account, space = _Account(full_runs), replay.problem.space
    free = np.ones(len(space.candidate_points), dtype=bool)
    while account.spent < full_runs and free.any():
        asked = study.ask()
        wish = space.encode(_suggested(asked, space))
        distance = ((space.candidate_points - wish) ** 2).sum(axis=1)
        nearest = int(np.where(free, distance, np.inf).argmin())
        free[nearest] = False
        loss, pruned = _trained(replay, asked, replay.row(space.candidates[nearest]), account)
        if pruned:
            study.tell(asked, state=TrialState.PRUNED)
        elif np.isfinite(loss):
            study.tell(asked, loss)
        else:
            study.tell(asked, state=TrialState.FAIL)
    account.fill(np.inf)
    return account.run


def _trained(replay: Replay, asked: Any, row: int, account: _Account) -> tuple[float, bool]:
    """The last loss of a training that Optuna may end early, and whether it did."""
    horizon, sliceable = replay.problem.horizon, replay.problem.sliceable
    if not sliceable:
        account.spend(1.0)
    reached, loss = 0, float("nan")
    for measurement in replay.train(row, 0, horizon)[0]:
        if measurement.step == 0:
            continue
        if sliceable:
            account.spend((measurement.step - reached) / horizon)
        reached, loss = measurement.step, measurement.loss
        if not np.isfinite(loss):
            break
        if sliceable or measurement.step == horizon:
            account.read(loss, float(replay.regret[row]))
        if sliceable:
            asked.report(loss, measurement.step)
            if asked.should_prune():
                return loss, True
    return loss, False


def _suggested(trial: Any, space: Any) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for name in space.names:
        entry = space[name]
        when = entry.when or {}
        if any(config.get(parent) not in values for parent, values in when.items()):
            continue
        if isinstance(entry, Choice) and entry.ordered:
            config[name] = entry.choices[trial.suggest_int(name, 0, len(entry.choices) - 1)]
        elif isinstance(entry, Choice):
            config[name] = trial.suggest_categorical(name, entry.choices)
        elif isinstance(entry, Int):
            config[name] = trial.suggest_int(name, entry.low, entry.high, log=entry.log)
        elif isinstance(entry, Float):
            config[name] = trial.suggest_float(name, entry.low, entry.high, log=entry.log)
    return config


ARMS: dict[str, Arm] = {
    "bayesian": _ours(Bayesian),
    "halving on bayesian": _ours(lambda: Halving(base=Bayesian())),
    "random": _ours(Random),
    "halving": _ours(Halving),
    "racer": _ours(Racer),
    "hyperband": _ours(Hyperband),
    "tpe": _ours(Tpe),
    "cmaes": _ours(CmaEs),
    "one step": _ours(OneStep),
    "optuna random + hyperband": _optuna("random", "hyperband"),
    "optuna TPE": _optuna("tpe", None),
    "optuna TPE + median": _optuna("tpe", "median"),
    "optuna TPE + hyperband": _optuna("tpe", "hyperband"),
    "optuna GP": _optuna("gp", None),
    "smac": lambda replay, full_runs, workers: _alone(workers) or smac(replay, full_runs),
}
