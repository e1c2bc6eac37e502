"""SMAC's incumbent: its own intensifier, with random candidates as all others here (``smac.RandomFacade``).

SMAC 2 imports ``pyrfr``, which has no wheel for every machine, also where its forest isn't used, as here. Where it is
missing an empty module stands in for it.
"""

from __future__ import annotations

import logging
import math
import sys
import tempfile
import types
from typing import Any

from arms import Found
from worlds import SPACE, World

from ayar.seeds import Purpose, trial_seed


def _without_forest() -> None:
    try:
        import pyrfr  # noqa: F401
    except ImportError:
        package, inner = types.ModuleType("pyrfr"), types.ModuleType("pyrfr.regression")
        inner.binary_rss_forest = inner.default_data_container = object  # type: ignore[attr-defined]
        package.regression = inner  # type: ignore[attr-defined]
        sys.modules |= {"pyrfr": package, "pyrfr.regression": inner}


def smac_incumbent(world: World, ratio: float, trainings: int, study_seed: int) -> Found:
    """What ``facade.optimize()`` hands back, and the mean that its run history holds of it."""
    _without_forest()
    from ConfigSpace import ConfigurationSpace
    from ConfigSpace import Float as Real
    from smac import RandomFacade, Scenario

    logging.disable(logging.WARNING)
    cube = ConfigurationSpace(seed=study_seed)
    cube.add([Real(name, (0.0, 1.0)) for name in SPACE.names])

    def objective(config: Any, seed: int = 0) -> float:
        loss = world.reading(dict(config), trial_seed(study_seed, Purpose.SEARCH, seed % 2**28), ratio)
        return loss if math.isfinite(loss) else 1e9

    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(cube, deterministic=False, n_trials=trainings, seed=study_seed, output_directory=folder)
        facade = RandomFacade(scenario, objective, overwrite=True, logging_level=False)
        facade._optimizer.save = lambda: None  # noqa: SLF001 - it writes all it knows after each trial, half of its time
        best = facade.optimize()
        if isinstance(best, list):
            best = best[0]
        return Found(dict(best), float(facade.runhistory.average_cost(best)), facade.runhistory.finished)
