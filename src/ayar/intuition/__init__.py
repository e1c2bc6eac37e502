"""What a study teaches beyond its winner: what mattered, where good values lie, what stands in their way."""

from ayar.intuition.findings import Finding, findings
from ayar.intuition.importance import Importance, importance
from ayar.intuition.response import GoodRange, good_range

__all__ = ["Finding", "GoodRange", "Importance", "findings", "good_range", "importance"]
