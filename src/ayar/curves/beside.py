"""Rules that know the length of a run's steps by the best other run's: asked last, where the curve alone is silent."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from ayar.curves.falling import deficit, diverging, ends_higher, rival_fall, too_high, too_slow
from ayar.curves.faults import silenced
from ayar.curves.reading import UPDATE_RATIO, Reading
from ayar.records import Confidence, Evidence, Verdict


def falls_short(r: Reading) -> Verdict | None:
    """Another run fell much further, and this one, up and down together, did not go far: its steps are short.

    Unless they were as long as that run's, where both are known. Of a loss that jumps or fell at once it is said only
    where they are: a long step may have ended its way.
    """
    s, t = r.signals, r.thresholds
    is_wild = bool(s.spikes) or s.t90 <= t.early
    limit = t.path_wild if is_wild else t.path
    if deficit(r) <= t.deficit or path(r) > limit or r.stride >= 1 or (is_wild and math.isnan(r.stride)):
        return None
    if not _is_open(r):
        return None
    return r.verdict(
        "too slow",
        "The loss went a short way, ups and downs together, and another run's fell much further: longer steps may"
        " get it there.",
        Evidence("path", path(r), limit),
        at_most=Confidence.WEAK,
    )


def steps_too_short(r: Reading) -> Verdict | None:
    """Another run ended lower, and changed its weights much more in each update.

    Where it ended a little lower only, its steps have to be that much longer, and this run's fall smooth.
    """
    s, t, short = r.signals, r.thresholds, deficit(r)
    limit = t.stride_short * min(1.0, short / t.deficit)
    if not r.stride <= limit or short < t.deficit / 2 or path(r) > 2 * t.path:
        return None
    if (short <= t.deficit and s.tvr > t.smooth) or not _is_open(r) or falls_short(r):
        return None
    return r.verdict(
        "too slow",
        f"Another run, whose steps were {1 / r.stride:.2g} times as long, ended lower: longer steps may get there.",
        Evidence("stride", r.stride, limit),
        Evidence("deficit", short, t.deficit / 2),
        at_most=Confidence.WEAK,
    )


def steps_too_long(r: Reading) -> Verdict | None:
    """The loss swings, and another run that changed its weights less ended lower, on validation rows at least."""
    s, t = r.signals, r.thresholds
    if s.span <= 2 * t.level or s.drawdown <= t.rise / 2 or max(deficit(r), r.behind - t.far) <= t.deficit:
        return None
    if not r.stride >= t.stride_long or not _is_open(r) or falls_short(r):
        return None
    return r.verdict(
        "too high",
        f"The loss swings, and another run, whose steps were {r.stride:.2g} times shorter, ended lower: shorter steps"
        " may get there.",
        Evidence("stride", r.stride, t.stride_long),
        Evidence("drawdown", s.drawdown, t.rise / 2),
        Evidence("behind", r.behind, t.deficit),
        at_most=Confidence.WEAK,
    )


def with_update(verdict: Verdict, r: Reading) -> Verdict:
    """A verdict that a run is too slow says so where each step changed a fair share of the weights all the same."""
    ratios, fair = r.measured(UPDATE_RATIO), r.thresholds.update_fair
    update = float(np.median(ratios)) if len(ratios) else 0.0
    if verdict.name != "too slow" or not fair < update <= 1:
        return verdict
    sentence = f"{verdict.sentence} Yet each changes the weights by {update:.1%}: it may as well be too few of them."
    return dataclasses.replace(
        verdict, sentence=sentence, evidence=(*verdict.evidence, Evidence(UPDATE_RATIO, update, fair))
    )


def path(r: Reading) -> float:
    """All the ways that the loss went, up and down, as a share of what the best other run fell; infinite without."""
    fall, way = rival_fall(r), r.signals.tvr * abs(float(r.line.values[0]) - r.signals.end)
    return way / fall if fall > 0 and math.isfinite(way) else math.inf


def _is_open(r: Reading) -> bool:
    """Whether a whole run is read by its training loss, and nothing else says how long its steps are."""
    if r.rival is None or r.paused or r.metric == "loss" or not r.signals.moved:
        return False
    return not (too_slow(r) or too_high(r) or diverging(r) or ends_higher(r) or silenced(r))
