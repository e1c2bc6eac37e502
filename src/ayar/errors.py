"""Every error a caller can meet, as one tree.

AyarError
├── SpaceError         a hyperparameter, a space or a configuration is malformed   (ValueError)
├── DataError          a data file or a split cannot be used                       (ValueError)
├── ObjectiveError     the user's training broke its contract
├── TrainingFailed     a command that trains ended with an error
├── BudgetError        a tuning was asked for without an end, or with an impossible one   (ValueError)
├── MoveError          a move was told twice, out of order or by a stranger        (ValueError)
│   └── ClaimLost      another process has taken the trial over
├── LedgerError        the ledger cannot be opened, read or written
│   └── NotInLedger    it holds no such study or trial                             (KeyError)
├── NotEnoughEvidence  too few measurements to conclude anything
└── MissingExtra       an optional part of Ayar is not installed                   (ImportError)

Each message names the culprit, its value, the likely cause and the next move.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


class AyarError(Exception):
    """Base of every error Ayar raises on purpose; the command line prints it in one line."""

    def __str__(self) -> str:
        # KeyError would show the message in quotes.
        return str(self.args[0]) if self.args else ""


class SpaceError(AyarError, ValueError):
    """A hyperparameter, a space or a configuration is malformed."""


class DataError(AyarError, ValueError):
    """A data file or a split cannot be used."""


class ObjectiveError(AyarError):
    """The user's training broke its contract: what it yields cannot be read as a measurement."""


class TrainingFailed(AyarError):
    """A command that trains ended with an error; another configuration may do better."""


class MoveError(AyarError, ValueError):
    """What was told does not answer an outstanding move."""


class ClaimLost(MoveError):
    """Another process has taken the trial over, because this one gave no sign of life for too long."""

    def __init__(self, trial: int) -> None:
        super().__init__(
            f"Trial {trial} was taken over by another process, as this one gave no sign of life for too long. "
            "What was recorded by then stays; go on with other moves."
        )


class BudgetError(AyarError, ValueError):
    """A tuning was asked for without an end, or with an impossible one."""


class LedgerError(AyarError):
    """The ledger cannot be opened, read or written."""


class NotInLedger(LedgerError, KeyError):
    """The ledger holds no such study or trial."""


class NotEnoughEvidence(AyarError):
    """Too few measurements to conclude anything."""


class MissingExtra(AyarError, ImportError):
    """An optional part of Ayar is not installed."""


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Turn the absence of an optional package, within, into what to install: the extra ``name`` of Ayar.

    >>> with extra("torch"):
    ...     import a_package_that_nobody_has
    Traceback (most recent call last):
    ayar.errors.MissingExtra: a_package_that_nobody_has is not installed. Install it with: pip install 'ayar[torch]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "A package").partition(".")[0]
        raise MissingExtra(f"{package} is not installed. Install it with: pip install 'ayar[{name}]'") from error


def reason(message: str) -> str:
    r"""What a failed training's message comes to, in one line.

    It begins with the error where a traceback follows; of a command's output the last line tells most.

    >>> reason("KeyError: 'lr'\n  File \"train.py\", line 3, in train\n    config['lr']")
    "KeyError: 'lr'"
    >>> reason("The command ended with exit status 1 after 0 measurements: python a.py\nIts last output:\nno GPU")
    'no GPU'
    """
    lines = message.strip().splitlines() or [""]
    is_traced = any(line.lstrip().startswith("File ") for line in lines[1:]) and not lines[0].startswith("Traceback")
    return lines[0 if is_traced else -1].strip()


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the known one most like it; empty where none is like it.

    >>> did_you_mean("adma", ["adam", "sgd"])
    " Did you mean 'adam'?"
    """
    near = get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
