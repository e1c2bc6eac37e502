"""What a study teaches beyond its winner: which hyperparameters mattered, and where their good values lie."""

from ayar.intuition.importance import Importance, importance
from ayar.intuition.response import GoodRange, good_range

__all__ = ["GoodRange", "Importance", "good_range", "importance"]
