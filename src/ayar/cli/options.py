"""The options of ``ayar tune``, and what they mean."""

from __future__ import annotations

import argparse

from ayar.errors import BudgetError
from ayar.folds import METHODS
from ayar.run.workers import PLACES, Workers, processors
from ayar.search import SEARCHERS
from ayar.search.advised import Doctor


def tune_arguments(command: argparse.ArgumentParser) -> None:
    """What ``tune`` takes."""
    command.add_argument("source", nargs="?", help="digits, ...; FILE.csv; FILE.npz; FILE.py:FUNCTION; or a ledger")
    command.set_defaults(words=None)
    command.add_argument("--target", metavar="COLUMN", help="the column to predict, for a .csv")
    command.add_argument("--group", metavar="COLUMN", help="rows with one value of it stay together, for a .csv")
    command.add_argument("--time", metavar="COLUMN", help="validate and test only on later rows, for a .csv")
    command.add_argument(
        "--validate",
        choices=METHODS,
        default="auto",
        help="how winners are confirmed on data (default: auto, by the number of rows)",
    )
    command.add_argument("--store", metavar="FILE", help="the ledger (default: NAME.db)")
    command.add_argument("--report", metavar="FILE", help="write an HTML report at the end")
    command.add_argument("--minutes", type=float, help="minutes for all, confirmation included (default: 5)")
    command.add_argument("--trials", type=int, help="search trials to start")
    command.add_argument("--steps", type=int, help="steps of search to train")
    command.add_argument("--workers", type=int, help="processes that train (default: one for each processor)")
    command.add_argument(
        "--lanes",
        type=lanes,
        default="auto",
        metavar="auto|off|K",
        help="trials that each process trains as one computation (default: auto)",
    )
    command.add_argument(
        "--precision",
        choices=("highest", "high", "medium"),
        help="of matrix products; high and medium let the device use TF32 and bfloat16 (default: highest)",
    )
    command.add_argument(
        "--doctor",
        default="listen",
        choices=[str(each) for each in Doctor],
        help="stop trials that diverge, try the moves their curves advise, both (listen), or off (default: listen)",
    )
    command.add_argument("--space", metavar="FILE", help="the search space as TOML")
    for verb in ("minimize", "maximize"):
        command.add_argument(
            f"--{verb}", metavar="METRIC", action="append", help=f"a metric to {verb}; again for several at once"
        )
    command.add_argument("--constraint", metavar="LIMIT", action="append", help="a limit to keep: 'latency_ms <= 5'")
    command.add_argument(
        "--learn-from", metavar="FILE", action="append", help="the ledger of an earlier study, as a source"
    )
    command.add_argument("--change-space", action="store_true", help="go on in the space given, where it has changed")
    command.add_argument(
        "--was", metavar="NAME=VALUE", action="append", help="what a new hyperparameter was in the trials until now"
    )
    command.add_argument("--horizon", type=int, help="the largest step (default: the space's iterations)")
    command.add_argument("--searcher", help=f"how to search: {', '.join(SEARCHERS)} (default: auto)")
    command.add_argument("--seed", type=int, default=0, help="decides the split and the search (default: 0)")
    command.add_argument(
        "--confirm",
        type=share,
        default="auto",
        metavar="auto|SHARE",
        help="share for fresh seeds (default: auto)",
    )
    _resources(command)


def _resources(command: argparse.ArgumentParser) -> None:
    """What each worker may use."""
    group = command.add_argument_group("workers")
    group.add_argument("--on", choices=PLACES, default="local", help="where they are (default: local)")
    group.add_argument("--threads", type=int, help="threads, on Ray processors, of each (default: an even share)")
    group.add_argument("--gpus", metavar="IDS", help="GPUs to share out: 0,1,... or all")
    group.add_argument("--gpus-per-worker", type=float, metavar="N", help="0.5: two on each GPU (default: 1)")
    group.add_argument("--resources", metavar="NAME=N,...", help="on Ray, what else each asks for: TPU=1,fast_disk=0.5")
    group.add_argument("--memory-gb", type=float, metavar="GB", help="the most memory that a training may hold")
    group.add_argument("--step-timeout", type=float, metavar="S", help="seconds after which a step counts as hung")
    group.add_argument("--trial-timeout", type=float, metavar="S", help="seconds that a trial may train in all")


def workers(args: argparse.Namespace) -> Workers:
    """What trains, as the options say: one worker for each GPU that is shared out, else for each processor."""
    given = {
        "threads": args.threads,
        "gpus": args.gpus or (),
        "gpus_per_worker": args.gpus_per_worker,
        "memory_gb": args.memory_gb,
        "step_timeout_s": args.step_timeout,
        "trial_timeout_s": args.trial_timeout,
        "on": args.on,
        "resources": resources(args.resources or ""),
    }
    seats = Workers(**given).seats
    return Workers(args.workers if args.workers is not None else seats or processors(), **given)


def resources(text: str) -> dict[str, float]:
    """Amounts by name, as ``Workers`` takes them.

    >>> resources("TPU=1,fast_disk=0.5")
    {'TPU': 1.0, 'fast_disk': 0.5}

    Raises:
        BudgetError: A part of the text is no name with an amount, or a name comes twice.
    """
    amounts: dict[str, float] = {}
    for part in text.split(",") if text else ():
        name, _, amount = (word.strip() for word in part.partition("="))
        try:
            value = float(amount)
        except ValueError:
            value = 0.0
        if not name or not value:
            raise BudgetError(f"--resources {text}: {part!r} is no NAME=N. For example: TPU=1,fast_disk=0.5")
        if name in amounts:
            raise BudgetError(f"--resources {text}: {name} comes twice. Give it once, with the whole amount.")
        amounts[name] = value
    return amounts


def lanes(text: str) -> str | int:
    """``auto``, ``off`` or a number, as ``Study.tune`` takes it."""
    return int(text) if text.isdecimal() else text


def share(text: str) -> str | float:
    """``auto`` or a number, as ``Study.tune`` takes it for ``confirm``."""
    return text if text == "auto" else float(text)
