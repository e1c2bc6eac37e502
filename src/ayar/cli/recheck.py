"""The command ``recheck``: is the winner still the best?"""

from __future__ import annotations

import argparse
import json
import math
import textwrap
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ayar.cli.due import found_reasons
from ayar.cli.output import say, say_json, write
from ayar.cli.sources import Opened, Source, remember, reopen
from ayar.errors import AyarError, BudgetError, ObjectiveError, SpaceError
from ayar.recheck.confirm import ERROR, Decision, Estimate
from ayar.recheck.due import EVERY_DAYS, Action, Reason, yearly
from ayar.recheck.findings import Recheck, Shift
from ayar.recheck.history import ADOPTED, HISTORY, Event, adoption, timeline
from ayar.recheck.plan import Terms
from ayar.records import Configuration
from ayar.reports import words
from ayar.reports.recheck_page import render
from ayar.run.workers import processors
from ayar.study import Study

EXIT = {
    Decision.KEEP_CONFIRMED: 0,
    Decision.KEEP_NOT_BEATEN: 0,
    Decision.BETTER_NOT_WORTH: 0,
    Decision.REPLACE: 10,
    Decision.RETUNE: 11,
    Decision.INCONCLUSIVE: 12,
    Decision.REGRESSED: 20,
}
"""Exit status by conclusion, for cron and CI."""

_LEAST_ERROR = 0.001


def arguments(command: argparse.ArgumentParser) -> None:
    """What ``recheck`` takes, beside the study's name."""
    add = command.add_argument
    add("store", metavar="STORE", help="the ledger; made where there is none, with --task and --config")
    add("--trainings", type=int, default=40, help="most trainings to spend (default: 40)")
    add("--workers", type=int, help="processes that train (default: one for each processor)")
    add("--if-due", action="store_true", help="do nothing unless something changed, an alarm came, or time passed")
    add("--every", type=float, default=EVERY_DAYS, metavar="DAYS", help=f"days between rechecks ({EVERY_DAYS})")
    add("--config", metavar="FILE", help="a winner from elsewhere, as JSON or TOML, in place of the study's own")
    add("--task", metavar="SOURCE", help="what to train, where the ledger is new: as for tune")
    add("--target", metavar="COLUMN", help="the column to predict, for a .csv")
    add("--minimize", metavar="METRIC", help="of a training of yours: the metric to minimise")
    add("--maximize", metavar="METRIC", help="of a training of yours: the metric to maximise")
    add(
        "--changed",
        action="append",
        default=[],
        metavar="NAME=[OLD:]NEW",
        help="a size that changed, as batch_size=512 or rows=10000:80000, so that rules can rescale the winner",
    )
    add("--margin", type=float, help="the least gain worth a change (default: half the spread of a run)")
    add("--yearly-alarms", type=float, metavar="N", help="most false replacements a year, as 0.1")
    add("--adopt", action="store_true", help="where a challenger is proven better, make it the winner")
    add("--report", metavar="FILE", help="write one page of HTML")


def recheck(args: argparse.Namespace) -> int:
    """Train the winner again today, beside challengers on common seeds, and say whether it is still the best.

    Exit status: 0 keep it, 10 replace it, 11 tune again, 12 inconclusive, 20 regressed (find the fault first).

    Example: ayar recheck digits.db --trainings 40
    Example: ayar recheck digits.db --if-due --report recheck.html
    Example: ayar recheck new.db --task digits --config best.json
    """
    config = None if args.config is None else _read_config(args.config)
    if args.report is not None and not Path(args.report).absolute().parent.is_dir():
        raise AyarError(f"The report can't be written to {args.report}: there is no such folder. Name another place.")
    opened = _opened(args)
    study = opened.study
    reasons = _reasons(opened, args) if args.if_due else []
    if args.if_due and not reasons:
        say_json({"verdict": None, "due": []}) if args.json else say(f"{args.store}: not due, nothing was trained.")
        return 0
    replay_only = bool(reasons) and all(reason.action is Action.REPLAY for reason in reasons)
    if reasons and not args.json:
        say("\n".join(_wrapped("due", f"{reason.trigger}: {reason.sentence}") for reason in reasons))
    found = study.recheck(
        opened.source.objective,
        trainings=args.trainings,
        workers=processors() if args.workers is None else args.workers,
        progress=not args.json,
        config=config,
        changed=dict(map(_changed_size, args.changed)),
        terms=Terms(error=_error(study, args), margin=args.margin, replay_only=replay_only),
    )
    taken = args.adopt and found.verdict in (Decision.REPLACE, Decision.RETUNE)
    if taken:
        study.note(ADOPTED, adoption(found))
    events = timeline([note for kind in HISTORY for note in study.notes(kind)])
    if args.report is not None:
        story = study.story(facts=opened.facts)
        next_at = datetime.now(UTC) + timedelta(days=args.every)
        write(args.report, render(found, story, events, next_at).encode(), "The report")
    if args.json:
        say_json({**found.to_dict(), "due": reasons, "adopted": taken, "exit": EXIT[found.verdict]})
    else:
        say(in_words(found, study.metric, events))
        if taken:
            say(_wrapped("adopted", "the challenger is the winner from now on"))
        if args.report is not None:
            say(_wrapped("report", args.report))
    return EXIT[found.verdict]


def _opened(args: argparse.Namespace) -> Opened:
    """The study to check; a new one on a source where only a configuration is known."""
    if args.task is not None:
        source = Source(args.task, args.target)
        if source.is_own and args.minimize is args.maximize is None:
            raise SpaceError(f"Say which metric of {source} counts: --minimize METRIC or --maximize METRIC.")
        metric = {"maximize": args.maximize} if args.maximize else {"minimize": args.minimize or "valid_error"}
        return remember(Study(args.store, space=source.space(None), name=args.study, **metric), source)
    opened = reopen(args.store, args.study)
    if not opened.source.known:
        raise ObjectiveError(
            f"{args.store} doesn't say what its study trains. "
            f"Check its winner from Python: ayar.Study({args.store!r}).recheck(train)"
        )
    return opened


def _reasons(opened: Opened, args: argparse.Namespace) -> list[Reason]:
    """Why the study is due; a winner that was never confirmed always is."""
    found = found_reasons(opened, args.every, imported=args.config is not None)
    return [Reason("age", "never checked", Action.RECHECK)] if found is None else found


def _error(study: Study, args: argparse.Namespace) -> float:
    """The share of false alarms for this recheck."""
    if args.yearly_alarms is None:
        return ERROR
    now = datetime.now(UTC)
    spent = [(datetime.fromisoformat(n.at), n.body.get("error", ERROR)) for n in study.notes("recheck")]
    error = yearly(args.yearly_alarms, args.every, spent, now, ERROR)
    if error < _LEAST_ERROR:
        year = now - timedelta(days=365)
        count = words.plural(sum(at > year for at, _ in spent), "recheck")
        raise BudgetError(
            f"--yearly-alarms {args.yearly_alarms:g} is used up: {count} since {year:%Y-%m-%d} may have raised as many "
            "false alarms. Wait, or allow more."
        )
    return error


def _read_config(path: str) -> Configuration:
    """A configuration in a file, alone or under ``config``."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        body = tomllib.loads(text) if path.endswith(".toml") else json.loads(text)
    except (OSError, ValueError) as error:
        raise SpaceError(f"{path} can't be read as a configuration: {error}. Give JSON or TOML.") from error
    config = body.get("config", body) if isinstance(body, dict) else body
    if not isinstance(config, dict):
        raise SpaceError(f"{path} holds {type(config).__name__}, not hyperparameters by name.")
    return config


def _changed_size(text: str) -> tuple[str, Any]:
    """``batch_size=512`` or ``rows=10000:80000``."""
    name, _, value = text.partition("=")
    try:
        numbers = [json.loads(part) for part in value.split(":")]
    except json.JSONDecodeError:
        numbers = []
    if not name or len(numbers) not in (1, 2):
        raise SpaceError(f"--changed {text!r} is no NAME=[OLD:]NEW, as batch_size=512 or rows=10000:80000.")
    return name, numbers[0] if len(numbers) == 1 else tuple(numbers)


def in_words(found: Recheck, metric: str, events: list[Event] | None = None) -> str:
    """A recheck for a person, at most 80 columns wide."""
    seen = "unknown" if found.resolution is None else f"a gain of {found.resolution:.3g} is seen with 80 %"
    shared = "" if found.correlation is None else f"; same-seed correlation {found.correlation:.2f}"
    rows = [
        ("winner", words.configuration(found.incumbent)),
        ("challenger", "none looked better" if found.challenger is None else _differing(found)),
        ("gain", "not measured" if found.gain is None else f"{_interval(found.gain)}, {_pairs(found.pairs)}"),
        ("level", f"{metric} {_moved(found.level_shift)}{_others(found)}"),
        ("changed", _changed(found.changed)),
        ("resolution", seen + shared),
        ("margin", f"{found.margin:.3g} is the least gain worth a change"),
        ("cost", words.plural(found.trainings, "training") + _failures(found)),
    ]
    lines = [found.verdict.upper(), *textwrap.wrap(found.sentence, 79), ""]
    lines += [_wrapped(name, text) for name, text in rows]
    if found.screened:
        lines += ["", "screened on common seeds, mean gain over the winner:"]
        for arm in found.screened:
            gain = "failed" if arm.gain is None else f"{arm.gain:+.3g}"
            lines += textwrap.wrap(f"  {gain:>10}  {words.plural(arm.seeds, 'seed')}  {arm.origin}", 79)
    if events:
        lines += ["", "history:"]
        lines += [_wrapped(f"{e.at:%Y-%m-%d}", f"{e.what}; {e.detail}") for e in events]
    return "\n".join(lines)


def _wrapped(name: str, text: str) -> str:
    return "\n".join(textwrap.wrap(f"{name:<12}{text}", 79, subsequent_indent=" " * 12))


def _differing(found: Recheck) -> str:
    """The challenger by what it has otherwise than the winner."""
    changed = {k: v for k, v in (found.challenger or {}).items() if found.incumbent.get(k) != v}
    return words.configuration(changed)


def _interval(estimate: Estimate) -> str:
    if not (math.isfinite(estimate.low) and math.isfinite(estimate.high)):
        return f"{estimate.mean:+.3g}"
    return f"{estimate.mean:+.3g} (95 % interval {estimate.low:+.3g} to {estimate.high:+.3g})"


def _pairs(count: int) -> str:
    return f"{count} fresh pairs of trainings"


def _moved(shift: Estimate | None) -> str:
    return "can't be compared" if shift is None else f"moved by {_interval(shift)} since it was stored"


def _others(found: Recheck) -> str:
    """What the challengers' scores did, and so whether the order moved, too."""
    others = "" if found.others_shift is None else f"; that of runners-up by {found.others_shift:+.3g}"
    order = found.shift in (Shift.RANKING, Shift.BOTH)
    return f"{others}; {'the order moved, too' if order else 'no change of order was seen'}"


def _failures(found: Recheck) -> str:
    return f", {found.failures} of the winner's failed" if found.failures else ""


def _changed(lines: tuple[str, ...] | None) -> str:
    if lines is None:
        return "unknown: no fingerprint was stored with the winner"
    return "; ".join(lines) if lines else "nothing that the fingerprint holds"
