"""SMAC3 as an arm: its facade for hyperparameter optimisation with its defaults, on final values."""

from __future__ import annotations

import logging
import tempfile
import warnings
from typing import Any

import numpy as np
from replay import CHECKPOINTS, Run
from tables import Replay

from ayar.space import Choice, Float, Int, Space


def smac(replay: Replay, full_runs: float) -> Run:
    """Search a task whose trainings cannot be sliced; a suggestion becomes the nearest one not trained yet."""
    from smac import HyperparameterOptimizationFacade, Scenario
    from smac.runhistory.dataclasses import TrialValue
    from smac.runhistory.enumerations import StatusType

    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    problem, run = replay.problem, Run()
    space, points = problem.space, problem.space.candidate_points
    assert points is not None
    free, best = np.ones(len(points), dtype=bool), (np.inf, 1.0)
    budget = min(int(full_runs), len(points))
    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(
            _space(space), deterministic=True, n_trials=budget, seed=problem.seed, output_directory=folder
        )
        facade = HyperparameterOptimizationFacade(scenario, _untrained, overwrite=True)
        losses: dict[Any, float] = {}
        for spent in range(1, budget + 1):
            while len(run.regrets) < len(CHECKPOINTS) and CHECKPOINTS[len(run.regrets)] < spent - 1e-9:
                run.regrets.append(best[1])
            asked = facade.ask()
            wish = space.encode(_config(dict(asked.config), space))
            nearest = int(np.where(free, ((points - wish) ** 2).sum(axis=1), np.inf).argmin())
            free[nearest] = False
            row = replay.row(space.candidates[nearest])
            readings = [m.loss for m in replay.train(row, 0, problem.horizon)[0] if m.step == problem.horizon]
            loss = readings[-1] if readings and np.isfinite(readings[-1]) else np.inf
            losses[asked.config] = loss
            best = min(best, (loss, float(replay.regret[row])))
            failed = not np.isfinite(loss)
            told = max([x for x in losses.values() if np.isfinite(x)], default=1.0) if failed else loss
            facade.tell(asked, TrialValue(told, status=StatusType.CRASHED if failed else StatusType.SUCCESS))
    run.regrets += [best[1]] * (len(CHECKPOINTS) - len(run.regrets))
    return run


def _untrained(config: Any, seed: int = 0) -> float:
    """SMAC wants a training, but is only asked and told here."""
    raise NotImplementedError(f"{config} with seed {seed} is trained outside.")


def _space(space: Space) -> Any:
    from ConfigSpace import (
        CategoricalHyperparameter,
        ConfigurationSpace,
        InCondition,
        OrdinalHyperparameter,
        UniformFloatHyperparameter,
        UniformIntegerHyperparameter,
    )

    made = ConfigurationSpace()
    for name in space.names:
        entry = space[name]
        if isinstance(entry, Choice):
            kind = OrdinalHyperparameter if entry.ordered and entry.size > 1 else CategoricalHyperparameter
            made.add(kind(name, [*map(str, range(entry.size))], default_value=str(entry.choices.index(entry.default))))
        elif isinstance(entry, Int):
            made.add(UniformIntegerHyperparameter(name, entry.low, entry.high, log=entry.log))
        elif isinstance(entry, Float):
            made.add(UniformFloatHyperparameter(name, entry.low, entry.high, log=entry.log))
    for name in space.names:
        for parent, values in (getattr(space[name], "when", None) or {}).items():
            numbers = [str(space[parent].choices.index(value)) for value in values]
            made.add(InCondition(made[name], made[parent], numbers))
    return made


def _config(asked: dict[str, Any], space: Space) -> dict[str, Any]:
    config = {}
    for name, value in asked.items():
        entry = space[name]
        config[name] = entry.choices[int(value)] if isinstance(entry, Choice) else type(entry.low)(value)
    return config
