"""SMAC3 as an arm: its facades for hyperparameter optimisation and for many fidelities, with their defaults."""

from __future__ import annotations

import logging
import tempfile
import warnings
from typing import Any

import numpy as np
from accounting import Account, Candidates
from replay import Run
from tables import Replay

from ayar.space import Choice, Float, Int, Space

_RETRIES = 2_000  # draws of a configuration that it has not seen, before it takes a discrete space for exhausted
_SLICES = 4  # moves of its Hyperband that cost about a full run together


def smac(replay: Replay, full_runs: float) -> Run:
    """Search with whole trainings; a suggestion becomes the nearest configuration that was not trained yet."""
    from smac import HyperparameterOptimizationFacade, Scenario

    problem, free, account = replay.problem, Candidates(replay.problem.space), Account(replay, full_runs)
    with tempfile.TemporaryDirectory() as folder:
        made = _space(problem.space)
        scenario = Scenario(
            made, deterministic=True, n_trials=int(full_runs), seed=problem.seed, output_directory=folder
        )
        facade = _quiet(HyperparameterOptimizationFacade, scenario)
        losses: list[float] = []
        while account.open:
            asked = facade.ask()
            row = replay.row(free.nearest(_config(dict(asked.config), problem.space)))
            read = dict(account.train(row, 0, problem.horizon))
            _tell(facade, asked, read.get(problem.horizon, np.inf), losses)
    return account.closed()


def smac_hyperband(replay: Replay, full_runs: float) -> Run:
    """Search with its Hyperband over a random forest; trainings are continued, not begun anew."""
    from smac import MultiFidelityFacade, Scenario
    from smac.main.exceptions import ConfigurationSpaceExhaustedException

    problem, free, account = replay.problem, Candidates(replay.problem.space), Account(replay, full_runs)
    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(
            _space(problem.space),
            deterministic=True,
            n_trials=round(_SLICES * full_runs),  # a quarter of which it begins with, before it models anything
            min_budget=1,
            max_budget=problem.horizon,
            seed=problem.seed,
            output_directory=folder,
        )
        facade = _quiet(MultiFidelityFacade, scenario)
        losses: list[float] = []
        curves: dict[Any, tuple[int, dict[int, float]]] = {}
        while account.open:
            try:
                asked = facade.ask()
            except ConfigurationSpaceExhaustedException:  # it has drawn for long enough without meeting a new one
                break
            if asked.config not in curves:
                curves[asked.config] = replay.row(free.nearest(_config(dict(asked.config), problem.space))), {}
            row, curve = curves[asked.config]
            stop, reached = max(round(asked.budget), 1), max(curve, default=0)
            curve.update(account.train(row, reached, stop if all(map(np.isfinite, curve.values())) else 0))
            known = [loss for step, loss in curve.items() if step <= stop or not np.isfinite(loss)]
            _tell(facade, asked, known[-1] if known else np.inf, losses)
    return account.closed()


def _quiet(kind: Any, scenario: Any) -> Any:
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    patient = kind.get_config_selector(scenario, retries=_RETRIES)
    return kind(scenario, _untrained, config_selector=patient, overwrite=True)


def _tell(facade: Any, asked: Any, loss: float, losses: list[float]) -> None:
    """A training that broke has crashed, with the worst loss so far."""
    from smac.runhistory.dataclasses import TrialValue
    from smac.runhistory.enumerations import StatusType

    if np.isfinite(loss):
        losses.append(loss)
        facade.tell(asked, TrialValue(loss, status=StatusType.SUCCESS))
    else:
        facade.tell(asked, TrialValue(max(losses, default=1.0), status=StatusType.CRASHED))


def _untrained(config: Any, seed: int = 0, budget: float = 0) -> float:
    """SMAC wants a training, but is only asked and told here."""
    raise RuntimeError(f"SMAC was to train {config} with seed {seed} and budget {budget} by itself.")


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
