"""Ayar keeps deep nets' hyperparameters in tune."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ayar.checkpoints import checkpoint, latest_checkpoint
from ayar.errors import AyarError, extra
from ayar.records import Advice, Curve, Measurement, Move, Score, ScoreKind, State, Trial, Verdict, Winner
from ayar.reporting import report
from ayar.seeds import Purpose
from ayar.space import Choice, Float, Int, PerLayer, Space

if TYPE_CHECKING:
    from ayar.folds import Folds
    from ayar.leaks import find_leaks
    from ayar.nets.data import Data
    from ayar.nets.deep_net import deep_net
    from ayar.nets.recipe import Recipe
    from ayar.nets.spaces import default_space
    from ayar.nets.tasks import Task, load_task
    from ayar.run.workers import Workers
    from ayar.study import Study

__version__ = "0.1.0"

__all__ = [
    "Advice",
    "AyarError",
    "Choice",
    "Curve",
    "Data",
    "Float",
    "Folds",
    "Int",
    "Measurement",
    "Move",
    "PerLayer",
    "Purpose",
    "Recipe",
    "Score",
    "ScoreKind",
    "Space",
    "State",
    "Study",
    "Task",
    "Trial",
    "Verdict",
    "Winner",
    "Workers",
    "checkpoint",
    "deep_net",
    "default_space",
    "find_leaks",
    "latest_checkpoint",
    "load_task",
    "report",
]

# Imported when first asked for: torch takes seconds, the ledger and the page a good part of one.
_LAZY = {
    "Data": "ayar.nets.data",
    "Folds": "ayar.folds",
    "Recipe": "ayar.nets.recipe",
    "Study": "ayar.study",
    "Task": "ayar.nets.tasks",
    "Workers": "ayar.run.workers",
    "deep_net": "ayar.nets.deep_net",
    "default_space": "ayar.nets.spaces",
    "find_leaks": "ayar.leaks",
    "load_task": "ayar.nets.tasks",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'ayar' has no attribute {name!r}")
    from importlib import import_module

    with extra("torch"):
        return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
