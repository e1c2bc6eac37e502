"""The one-page report of a recheck: the verdict, what changed, the level, every arm, cost, resolution, history."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

from ayar.recheck.confirm import Estimate
from ayar.recheck.findings import Recheck, Shift
from ayar.recheck.history import Event
from ayar.reports import figures, page, words
from ayar.reports.tables import Story, configuration_rows


def render(found: Recheck, story: Story, events: Sequence[Event], next_at: datetime | None = None) -> str:
    """The page as HTML.

    Args:
        found: What the recheck found.
        story: The study's.
        events: The history of its winners.
        next_at: When the next recheck is planned.
    """
    better = found.challenger if found.verdict in ("replace", "retune", "better, not worth it") else None
    return page.filled(
        "recheck.html.j2",
        found=found,
        story=story,
        metric=words.spelled(story.metric),
        settings=configuration_rows(story, better or found.incumbent),
        whose="The challenger" if better else "The winner",
        changed=_changed(found),
        level=_level(found),
        arms=_arms(found),
        chart=_chart(found),
        facts=_facts(found, next_at),
        history=[(f"{e.at:%Y-%m-%d %H:%M}", e.what, e.detail) for e in events],
    )


def _changed(found: Recheck) -> list[str]:
    if found.changed is None:
        return ["Unknown: no fingerprint was stored with the winner."]
    return list(found.changed) or ["Nothing that the fingerprint holds."]


def _level(found: Recheck) -> str:
    """Whether the scores of all moved, or their order."""
    if found.level_shift is None:
        moved = "The winner's score can't be compared with a stored one."
    else:
        moved = f"The winner's score moved by {_told(found.level_shift)} since it was stored."
    if found.others_shift is not None:
        moved += f" That of runners-up moved by {found.others_shift:+.3g}."
    if found.shift in (Shift.RANKING, Shift.BOTH):
        return f"{moved} The order moved: another configuration is better on the same seeds."
    return f"{moved} No change of order was seen, and only that would call for other values."


def _told(estimate: Estimate) -> str:
    if not (math.isfinite(estimate.low) and math.isfinite(estimate.high)):
        return f"{estimate.mean:+.3g}"
    return f"{estimate.mean:+.3g} ({estimate.low:+.3g} to {estimate.high:+.3g})"


def _arms(found: Recheck) -> list[tuple[str, str, str, str, str]]:
    """One row for each challenger: origin, what differs, gain in the screening, seeds, gain on fresh pairs."""
    rows = []
    for arm in found.screened:
        differing = {k: v for k, v in arm.config.items() if found.incumbent.get(k) != v}
        went_on = found.challenger == arm.config
        fresh = _told(found.gain) + f", {found.pairs} pairs" if went_on and found.gain else ""
        gain = "failed" if arm.gain is None else f"{arm.gain:+.3g}"
        rows.append((arm.origin, words.configuration(differing), gain, str(arm.seeds), fresh))
    return rows


def _chart(found: Recheck) -> str:
    """The gain on the fresh pairs beside zero and the margin; empty where none was measured."""
    gain = found.gain
    if gain is None or not (math.isfinite(gain.low) and math.isfinite(gain.high)):
        return ""
    rows = [
        figures.Interval("challenger", "gain on fresh seeds", f"{gain.mean:+.3g}", gain.mean, gain.low, gain.high),
        figures.Interval("winner", "no gain", "0", 0.0, 0.0, 0.0),
        figures.Interval("margin", "least worth a change", f"{found.margin:.3g}", *[found.margin] * 3),
    ]
    return figures.intervals(rows, label="gain over the winner, with its 95 % interval")


def _facts(found: Recheck, next_at: datetime | None) -> list[tuple[str, str]]:
    resolution, correlation = found.resolution, found.correlation
    return [
        ("trainings", str(found.trainings)),
        ("failed ones of the winner", str(found.failures)),
        ("least gain worth a change", f"{found.margin:.3g}"),
        ("gain seen with 80 %", "unknown" if resolution is None else f"{resolution:.3g}"),
        ("false alarms, at most", f"{found.error:.2g} of rechecks"),
        ("same-seed correlation", "unknown" if correlation is None else f"{correlation:.2f}"),
        ("seconds per step", "too short to tell" if found.step_s is None else f"{found.step_s:.2g}"),
        ("assumed", "differences of 4 or more pairs are roughly normal, seeds exchangeable"),
        *([("next recheck", f"{next_at:%Y-%m-%d}")] if next_at else []),
    ]
