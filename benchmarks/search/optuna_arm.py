"""Optuna as an arm, with its defaults."""

from __future__ import annotations

from typing import Any

import numpy as np
from accounting import Account, Candidates
from replay import Run
from tables import Replay

from ayar.space import Choice, Float, Int


def optuna_search(replay: Replay, full_runs: float, sampler: str, pruner: str | None) -> Run:
    """Search a task; what is suggested becomes the nearest configuration that was not trained yet."""
    import optuna
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    problem = replay.problem
    samplers = {
        "random": lambda: optuna.samplers.RandomSampler(seed=problem.seed),
        "tpe": lambda: optuna.samplers.TPESampler(seed=problem.seed),
        "gp": lambda: optuna.samplers.GPSampler(seed=problem.seed),
    }
    pruners = {
        None: optuna.pruners.NopPruner,
        "median": optuna.pruners.MedianPruner,
        "hyperband": lambda: optuna.pruners.HyperbandPruner(min_resource=1, max_resource=problem.horizon),
    }
    study = optuna.create_study(sampler=samplers[sampler](), pruner=pruners[pruner]())
    account, free = Account(replay, full_runs), Candidates(problem.space)
    while account.open:
        asked = study.ask()
        row = replay.row(free.nearest(_suggested(asked, problem.space)))
        loss, pruned = float("nan"), False
        for step, loss in account.train(row, 0, problem.horizon):
            if np.isfinite(loss) and problem.sliceable:
                asked.report(loss, step)
                if pruned := asked.should_prune():
                    break
        if pruned:
            study.tell(asked, state=TrialState.PRUNED)
        elif np.isfinite(loss):
            study.tell(asked, loss)
        else:
            study.tell(asked, state=TrialState.FAIL)
    return account.closed()


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
