"""The searches that are compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from lore import misled, with_a_guess, with_sources
from optuna_arm import optuna_search
from replay import Run, search
from smac_arm import smac, smac_hyperband
from syne_tune_arm import syne_tune_search
from tables import Replay

from ayar.records import State, Trial
from ayar.search import CmaEs, Halving, Hyperband, Problem, Proposal, QuasiRandom, Racer, Random, Tpe
from ayar.search.bayesian import Bayesian

Arm = Callable[[Replay, float, int, bool], Run]
"""Searches a task with a budget of so many full runs; so many workers, and live, where that can be simulated."""


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


def _ours(searcher: Callable[[], Any], believing: Callable[[Replay], Problem] = lambda replay: replay.problem) -> Arm:
    return lambda replay, full_runs, workers, live: search(
        replay, searcher(), full_runs, workers, believing(replay), live=live
    )


_FROM_OTHERS, _FROM_KIN = (partial(with_sources, same_family=same) for same in (False, True))
_GUESSED, _MISGUESSED = (partial(with_a_guess, right=right) for right in (True, False))


def _alone(arm: Callable[[Replay, float], Run]) -> Arm:
    def run(replay: Replay, full_runs: float, workers: int, live: bool) -> Run:
        if workers > 1 or live:
            raise SystemExit("--workers, --live: other tools' searches are replayed with one worker, slice by slice.")
        return arm(replay, full_runs)

    return run


def _optuna(sampler: str, pruner: str | None = None) -> Arm:
    return _alone(lambda replay, full_runs: optuna_search(replay, full_runs, sampler, pruner))


def _syne_tune(scheduler: str) -> Arm:
    return _alone(lambda replay, full_runs: syne_tune_search(replay, full_runs, scheduler))


ARMS: dict[str, Arm] = {
    "bayesian": _ours(Bayesian),
    "halving on bayesian": _ours(lambda: Halving(base=Bayesian())),
    "random": _ours(Random),
    "halving": _ours(Halving),
    "racer": _ours(Racer),
    "racer, other families known": _ours(Racer, _FROM_OTHERS),
    "racer, its family known": _ours(Racer, _FROM_KIN),
    "racer, misled by a study": _ours(Racer, misled),
    "racer, misled by a guess": _ours(Racer, _MISGUESSED),
    "racer, told a good guess": _ours(Racer, _GUESSED),
    "bayesian, misled by a study": _ours(Bayesian, misled),
    "bayesian, misled by a guess": _ours(Bayesian, _MISGUESSED),
    "hyperband": _ours(Hyperband),
    "tpe": _ours(Tpe),
    "cmaes": _ours(CmaEs),
    "one step": _ours(OneStep),
    "optuna random + hyperband": _optuna("random", "hyperband"),
    "optuna TPE": _optuna("tpe"),
    "optuna TPE + median": _optuna("tpe", "median"),
    "optuna TPE + hyperband": _optuna("tpe", "hyperband"),
    "optuna GP": _optuna("gp"),
    "optuna GP + hyperband": _optuna("gp", "hyperband"),
    "smac": _alone(smac),
    "smac hyperband": _alone(smac_hyperband),
    "syne tune ASHA": _syne_tune("ASHA"),
    "syne tune BOHB": _syne_tune("BOHB"),
    "syne tune CQR": _syne_tune("ASHACQR"),
    "syne tune MOBSTER": _syne_tune("MOBSTER"),
    "syne tune DyHPO": _syne_tune("DyHPO"),
}
