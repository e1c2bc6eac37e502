"""Training one or many trials. Knows no ledger: it trains and yields events."""

from ayar.run.events import Event, Failed, Finished, Measured, Pool
from ayar.run.local import InProcessPool, LocalPool, open_pool
from ayar.run.objective import Kind, Training, as_training

__all__ = [
    "Event",
    "Failed",
    "Finished",
    "InProcessPool",
    "Kind",
    "LocalPool",
    "Measured",
    "Pool",
    "Training",
    "as_training",
    "open_pool",
]
