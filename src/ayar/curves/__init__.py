"""Reading cost curves: signals, verdicts and the next move. Pure functions of records."""

from ayar.curves.signals import Signals, signals
from ayar.curves.verdict import VERDICTS, diagnose

__all__ = ["VERDICTS", "Signals", "diagnose", "signals"]
