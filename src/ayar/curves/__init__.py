"""Reading cost curves: signals, verdicts and the next move. Pure functions of records."""

from ayar.curves.advice import Attempt, advise, try_next
from ayar.curves.signals import Signals, signals
from ayar.curves.verdict import TOO_HIGH, TOO_LOW, VERDICTS, diagnose

__all__ = ["TOO_HIGH", "TOO_LOW", "VERDICTS", "Attempt", "Signals", "advise", "diagnose", "signals", "try_next"]
