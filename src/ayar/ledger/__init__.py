"""The append-only record of studies."""

from ayar.ledger.store import Ledger, Note, StudyRow

__all__ = ["Ledger", "Note", "StudyRow"]
