"""Syne Tune as an arm: its schedulers with their defaults, driven directly, one trial at a time.

ASHA, BOHB and CQR are those of Syne Tune 0.16. MOBSTER and DyHPO left it with 0.14: they need 0.13, which wants another
numpy, so an interpreter of their own: ``PYTHONPATH=src .venv-0.13/bin/python benchmarks/search TABLES --arms ...``.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import logging
import warnings
from copy import copy
from importlib.metadata import version
from typing import Any

import numpy as np
from accounting import Account, Candidates
from replay import Run
from tables import Replay

from ayar.space import Choice, Int, Space

_LOSS, _STEP = "loss", "step"


def syne_tune_search(replay: Replay, full_runs: float, scheduler: str) -> Run:
    """Search a task; what is suggested becomes the nearest configuration that was not trained yet.

    The scheduler is told about the configuration that was trained, not about the one that it suggested.
    """
    from syne_tune.backend.trial_status import Trial

    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    problem, space = replay.problem, replay.problem.space
    if _old():
        replay = _read_from_the_first_step(replay)
    np.random.seed(problem.seed)  # noqa: NPY002 - some of its schedulers draw from there
    tuned = _scheduler(scheduler, _space(space), problem.horizon, problem.seed)
    account, free = Account(replay, full_runs), Candidates(space)
    trials: dict[int, tuple[Any, int, int]] = {}  # each with its row and the last step
    while account.open:
        asked = tuned.suggest(len(trials)) if _old() else tuned.suggest()
        if asked is None:
            break
        if asked.spawn_new_trial_id:
            config = free.nearest(_config(asked.config, space))
            told = {**asked.config, **_words(config, space)}
            trial, row, start = Trial(len(trials), told, dt.datetime.now()), replay.row(config), 0
            tuned.on_trial_add(trial)
        else:
            trial, row, start = trials[int(asked.checkpoint_trial_id)]
        reached = _trained(tuned, trial, account, row, start)
        trials[trial.trial_id] = trial, row, reached
    return account.closed()


def _trained(tuned: Any, trial: Any, account: Account, row: int, start: int) -> int:
    """The step at which the scheduler, or the training itself, stopped."""
    horizon, reached, result = account.replay.problem.horizon, start, None
    for reached, loss in account.train(row, start, horizon):
        if not np.isfinite(loss):
            tuned.on_trial_error(trial)
            return reached
        result = {_LOSS: loss, _STEP: reached}
        decision = tuned.on_trial_result(trial, result)
        if decision != "CONTINUE" and reached < horizon:
            return reached
    if result is None:
        tuned.on_trial_error(trial)
    else:
        tuned.on_trial_complete(trial, result)
    return reached


def _read_from_the_first_step(replay: Replay) -> Replay:
    """The task with the first reading of a run at all steps before it, too: version 0.13 breaks down without one."""
    losses = replay.table.losses
    first = np.take_along_axis(losses, np.isfinite(losses).argmax(axis=1, keepdims=True), axis=1)
    before = np.maximum.accumulate(np.isfinite(losses), axis=1)
    read = copy(replay)
    read.table = dataclasses.replace(replay.table, losses=np.where(before, losses, first))
    return read


def _old() -> bool:
    return version("syne-tune").startswith("0.13")


def _scheduler(name: str, space: dict[str, Any], horizon: int, seed: int) -> Any:
    from syne_tune.optimizer import baselines

    if _old():
        more = {"metric": _LOSS, "resource_attr": _STEP, "max_t": horizon, "mode": "min", "random_seed": seed}
        return getattr(baselines, name)(space, search_options={"debug_log": False}, **more)
    more = {"metric": _LOSS, "time_attr": _STEP, "max_t": horizon, "do_minimize": True, "random_seed": seed}
    return getattr(baselines, name)(space, **more)


def _space(space: Space) -> dict[str, Any]:
    """It knows no conditions: what is not active is suggested all the same, and ignored."""
    from syne_tune import config_space as made

    def domain(entry: Any) -> Any:
        if isinstance(entry, Choice):
            if entry.size == 1:
                return 0
            places = list(range(entry.size))
            return made.ordinal(places, kind="equal") if entry.ordered else made.choice([*map(str, places)])
        if isinstance(entry, Int):
            return (made.lograndint if entry.log else made.randint)(entry.low, entry.high)
        return (made.loguniform if entry.log else made.uniform)(entry.low, entry.high)

    return {name: domain(space[name]) for name in space.names}


def _config(asked: dict[str, Any], space: Space) -> dict[str, Any]:
    """What it suggests, in our words."""
    config: dict[str, Any] = {}
    for name in space.names:
        entry: Any = space[name]
        if any(config.get(parent) not in values for parent, values in (entry.when or {}).items()):
            continue
        value = asked[name]
        config[name] = entry.choices[int(value)] if isinstance(entry, Choice) else type(entry.low)(value)
    return config


def _words(config: dict[str, Any], space: Space) -> dict[str, Any]:
    """A configuration of ours, in its words."""
    told = {}
    for name, value in config.items():
        entry: Any = space[name]
        place = entry.choices.index(value) if isinstance(entry, Choice) else value
        told[name] = str(place) if isinstance(entry, Choice) and not entry.ordered and entry.size > 1 else place
    return told
