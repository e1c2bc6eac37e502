"""Parse, call one function, print. Exit status: 0 done, 1 a known error in one line, 2 wrong usage."""

from __future__ import annotations

import argparse
import inspect
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

import ayar
from ayar.cli import due, know, ledger, recheck, show, train
from ayar.cli.options import tune_arguments
from ayar.cli.words import folded
from ayar.errors import AyarError, did_you_mean
from ayar.integrations.readers import KINDS

Command = Callable[[argparse.Namespace], int | None]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 done, 1 a known error (one line on standard error), 2 wrong usage, 130 stopped by Ctrl-C; ``recheck``
        adds 10 replace, 11 retune, 12 inconclusive, 20 regressed.
    """
    args = _parsed(argv)
    logging.getLogger("ayar").handlers = [logging.NullHandler()]  # a command says by itself what went wrong
    try:
        return args.command(args) or 0
    except AyarError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; everything measured is kept, and the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments; what follows ``--`` is a command to tune. Options may stand between the others."""
    given = list(sys.argv[1:] if argv is None else argv)
    end = given.index("--") if "--" in given else len(given)
    root, commands = _parsers()
    if not given:
        root.print_help(sys.stderr)
        raise SystemExit(2)
    if end == 0 or given[0] not in commands:
        return root.parse_args(given[:end])
    args = commands[given[0]].parse_intermixed_args(given[1:end])
    if given[end:] and not hasattr(args, "words"):
        root.error(f"unrecognized arguments: {' '.join(given[end:])}")
    if given[end:]:
        args.words = given[end + 1 :]
    return args


class _Parser(argparse.ArgumentParser):
    """A parser that says what a mistyped word was probably meant to be."""

    def error(self, message: str) -> NoReturn:
        """End with the usage and the message."""
        known, word = list(self._option_string_actions), ""
        if found := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message):
            word, known = found[1], re.findall(r"[\w-]+", found[2])
        elif message.startswith("unrecognized arguments: "):
            word = message.removeprefix("unrecognized arguments: ").split()[0].partition("=")[0]
        hint = did_you_mean(word, known)
        message = f"{message}.{hint}" if hint else message
        super().error(message)


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    return _parsers()[0]


def _parsers() -> tuple[argparse.ArgumentParser, Mapping[str, argparse.ArgumentParser]]:
    """The parser of all commands, and that of each by its name."""
    root: argparse.ArgumentParser = _Parser(
        prog="ayar",
        description="Keeps deep nets' hyperparameters in tune.",
        epilog="Start with: ayar tune digits --minutes 1",
    )
    root.add_argument("--version", action="version", version=f"ayar {ayar.__version__}")
    commands = root.add_subparsers(metavar="COMMAND", required=True)

    tune = _command(commands, "tune", train.tune)
    tune_arguments(tune)
    _study(tune)

    attempt = _command(commands, "try", train.attempt)
    attempt.add_argument("store", metavar="STORE", help="the ledger; made where there is none, with --task")
    attempt.add_argument("values", nargs="*", metavar="NAME=VALUE", help="hyperparameters; the default fills the rest")
    attempt.add_argument("--task", metavar="SOURCE", help="what to train, where the ledger is new: as for tune")
    attempt.add_argument("--target", metavar="COLUMN", help="the column to predict, for a .csv")
    _study(attempt)

    look = _command(commands, "test", train.look)
    look.add_argument("store", metavar="STORE", help="the ledger")
    look.add_argument("--reason", metavar="WHY", help="why it is opened again; needed from the second time on")
    look.add_argument("--purpose", metavar="WHAT", default="asked by hand", help="what the score is for")
    _study(look)

    for name, function in (("best", show.best), ("explain", know.explain)):
        command = _command(commands, name, function)
        command.add_argument("store", metavar="STORE", help="the ledger")
        if name == "best":
            command.add_argument("--trials", type=int, metavar="N", help="list the best N trials, too")
        _study(command)
    for name, function in (("curves", show.curves), ("diagnose", show.diagnose)):
        command = _command(commands, name, function)
        command.add_argument("store", metavar="STORE", help="the ledger")
        command.add_argument("trials", nargs="*", type=int, metavar="TRIAL", help="default: the telling ones")
        if name == "diagnose":
            command.add_argument("--try", dest="attempt", action="store_true", help="train the first move and count it")
        _study(command)

    params = _command(commands, "params", show.params)
    params.add_argument("store", metavar="STORE", help="the ledger")
    params.add_argument("trial", nargs="?", type=int, metavar="TRIAL", help="trial number (default: the winner's)")
    _study(params)

    again = _command(commands, "recheck", recheck.recheck)
    recheck.arguments(again)
    _study(again)
    ripe = _command(commands, "due", due.due)
    due.arguments(ripe)

    report = _command(commands, "report", show.report)
    report.add_argument("store", metavar="STORE", help="the ledger")
    report.add_argument("path", nargs="?", metavar="FILE", help="where to write it (default: beside the ledger)")
    _study(report)

    serve = _command(commands, "serve", show.serve)
    serve.add_argument("store", metavar="STORE", help="the ledger")
    serve.add_argument("--port", type=int, default=8080, help="port on this machine (default: 8080)")
    _study(serve)

    export = _command(commands, "export", show.export)
    export.add_argument("store", metavar="STORE", help="the ledger")
    export.add_argument("path", nargs="?", metavar="FILE", help=".csv, .json, .jsonl, .parquet, .toml (default: CSV)")
    export.add_argument(
        "--what", choices=["trials", "measurements", "best", "study"], default="trials", help="what (default: trials)"
    )
    _study(export)

    upkeep = _command(commands, "ledger", ledger.ledger)
    upkeep.add_argument("action", choices=["check", "compact", "copy"], help="what to do")
    upkeep.add_argument("store", metavar="STORE", help="the ledger")
    upkeep.add_argument("path", nargs="?", metavar="FILE", help="where a copy is written")

    import_ = _command(commands, "import", know.import_)
    import_.add_argument("path", metavar="FILE", help="a file or folder with a study")
    import_.add_argument("store", metavar="STORE", help="the ledger to write a new study into")
    import_.add_argument("--from", dest="from_", choices=KINDS, help="the tool that wrote it (default: seen from it)")
    import_.add_argument("--space", metavar="FILE", help="the search space as TOML (default: what the study shows)")
    import_.add_argument("--minimize", metavar="METRIC", help="of another tool's study: the metric to minimise")
    import_.add_argument("--maximize", metavar="METRIC", help="of another tool's study: the metric to maximise")
    import_.add_argument(
        "--study", metavar="NAME", help="which study, where the file holds several; its name here, too"
    )
    return root, commands.choices


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, run: Command
) -> argparse.ArgumentParser:
    """One command; its function's docstring is its help: the first line what it does, the last an example."""
    text = inspect.cleandoc(run.__doc__ or "").replace("``", "")
    summary, _, rest = text.partition("\n")
    raw = argparse.RawDescriptionHelpFormatter
    description, epilog = folded(summary), "\n\n".join(_paragraph(each) for each in rest.strip().split("\n\n"))
    command = commands.add_parser(name, help=summary, description=description, epilog=epilog, formatter_class=raw)
    command.set_defaults(command=run)
    command.add_argument("--json", action="store_true", help="print JSON for programs instead of words")
    return command


def _paragraph(text: str) -> str:
    """Prose folded to the terminal's width; examples keep their lines."""
    return text if text.startswith("Example:") else folded(text.replace("\n", " "))


def _study(command: argparse.ArgumentParser) -> None:
    command.add_argument("--study", metavar="NAME", help="which study, where the ledger holds several")
