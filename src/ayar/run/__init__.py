"""Training one or many trials. Knows no ledger: it trains and yields events."""

from ayar.run.events import Event, Failed, Finished, Measured, Pool
from ayar.run.local import InProcessPool, open_pool
from ayar.run.objective import Kind, Training, as_training
from ayar.run.workers import Workers

__all__ = [
    "Event",
    "Failed",
    "Finished",
    "InProcessPool",
    "Kind",
    "Measured",
    "Pool",
    "Training",
    "Workers",
    "as_training",
    "open_pool",
]
