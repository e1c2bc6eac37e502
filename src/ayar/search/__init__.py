"""Searching: what to train next, as a pure function of the problem, the history and the seed."""

from collections.abc import Mapping
from types import MappingProxyType

from ayar.errors import SpaceError, did_you_mean
from ayar.search.auto import Auto
from ayar.search.base import SEARCH_DATA, Problem, Proposal, Recommender, Searcher
from ayar.search.bayesian import Bayesian
from ayar.search.evolution import CmaEs
from ayar.search.grid import Grid
from ayar.search.halving import Halving
from ayar.search.hyperband import Hyperband
from ayar.search.pareto import Pareto
from ayar.search.population import Population
from ayar.search.quasirandom import QuasiRandom
from ayar.search.racer import Racer
from ayar.search.random_search import Random
from ayar.search.tpe import Tpe

SEARCHERS: Mapping[str, type[Searcher]] = MappingProxyType(
    {
        "auto": Auto,
        "bayesian": Bayesian,
        "cmaes": CmaEs,
        "grid": Grid,
        "halving": Halving,
        "hyperband": Hyperband,
        "pareto": Pareto,
        "population": Population,
        "quasirandom": QuasiRandom,
        "racer": Racer,
        "random": Random,
        "tpe": Tpe,
    }
)
"""Name -> class; each can be built without arguments."""


def searcher_named(name: str) -> Searcher:
    """The searcher of this name in ``SEARCHERS``.

    Raises:
        SpaceError: There is none.
    """
    if name not in SEARCHERS:
        names = ", ".join(SEARCHERS)
        raise SpaceError(f"There is no searcher {name!r}. Choose one of: {names}.{did_you_mean(name, SEARCHERS)}")
    return SEARCHERS[name]()


__all__ = [
    "SEARCHERS",
    "SEARCH_DATA",
    "Auto",
    "Bayesian",
    "CmaEs",
    "Grid",
    "Halving",
    "Hyperband",
    "Pareto",
    "Population",
    "Problem",
    "Proposal",
    "QuasiRandom",
    "Racer",
    "Random",
    "Recommender",
    "Searcher",
    "Tpe",
    "searcher_named",
]
