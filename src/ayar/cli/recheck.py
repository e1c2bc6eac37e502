"""The command ``recheck``: is the winner still the best?"""

from __future__ import annotations

import argparse
import math
import textwrap

from ayar.cli.output import say, say_json
from ayar.cli.sources import reopen
from ayar.cli.train import processors
from ayar.errors import ObjectiveError
from ayar.recheck.confirm import Decision, Estimate
from ayar.recheck.findings import Recheck
from ayar.reports import words

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


def recheck(args: argparse.Namespace) -> int:
    """Train the winner again today, beside challengers on common seeds, and say whether it is still the best.

    Exit status: 0 keep it, 10 replace it, 11 tune again, 12 inconclusive, 20 regressed (find the fault first).

    Example: ayar recheck digits.db --trainings 40
    """
    opened = reopen(args.store, args.study)
    if not opened.source.known:
        raise ObjectiveError(
            f"{args.store} doesn't say what its study trains. "
            f"Check its winner from Python: ayar.Study({args.store!r}).recheck(train)"
        )
    found = opened.study.recheck(
        opened.source.objective,
        trainings=args.trainings,
        workers=processors() if args.workers is None else args.workers,
        progress=not args.json,
    )
    if args.json:
        say_json(found)
    else:
        say(in_words(found, opened.study.metric))
    return EXIT[found.verdict]


def in_words(found: Recheck, metric: str) -> str:
    """A recheck for a person, at most 80 columns wide."""
    seen = "unknown" if found.resolution is None else f"a gain of {found.resolution:.3g} is seen with 80 %"
    rows = [
        ("winner", words.configuration(found.incumbent)),
        ("challenger", "none looked better" if found.challenger is None else _differing(found)),
        ("gain", "not measured" if found.gain is None else f"{_interval(found.gain)}, {_pairs(found.pairs)}"),
        ("level", f"{metric} {_moved(found.level_shift)}"),
        ("changed", _changed(found.changed)),
        ("resolution", seen),
        ("margin", f"{found.margin:.3g} is the least gain worth a change"),
        ("cost", words.plural(found.trainings, "training")),
    ]
    lines = [found.verdict.upper(), *textwrap.wrap(found.sentence, 79), ""]
    for name, text in rows:
        lines += textwrap.wrap(f"{name:<12}{text}", 79, subsequent_indent=" " * 12)
    if found.screened:
        lines += ["", "screened on three common seeds, gain over the winner:"]
        for arm in found.screened:
            gain = "failed" if arm.gain is None else f"{arm.gain:+.3g}"
            lines.append(f"  {gain:>10}  {arm.origin}")
    return "\n".join(lines)


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


def _changed(lines: tuple[str, ...] | None) -> str:
    if lines is None:
        return "unknown: no fingerprint was stored with the winner"
    return "; ".join(lines) if lines else "nothing that the fingerprint holds"
