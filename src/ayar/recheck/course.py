"""The course of a recheck: replay the incumbent, screen challengers, confirm the best of them, decide.

Old scores prove nothing about today, so the incumbent is trained again beside every challenger: on the same data,
with the same seeds, up to the same horizon. Each then counts with the loss at its own best step, which is read
from the screening and stays fixed in the confirmation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ayar.recheck import confirm
from ayar.recheck.challengers import at_edge
from ayar.recheck.confirm import Decision
from ayar.recheck.contest import contest
from ayar.recheck.findings import Findings, Fingerprint, Recheck
from ayar.recheck.plan import Course, seconds_per_step
from ayar.records import Configuration, Trial
from ayar.seeds import Purpose
from ayar.winner import Standing, loss_by, standing

Arm = tuple[Configuration, int]
"""A configuration and the last step to train it to."""

Train = Callable[[Sequence[Arm], Purpose, range], list[list[Trial]]]
"""Trains every arm with the seeds of these numbers in a recheck's own part of the stream, what is on record left
out; gives each arm's trials by seed."""


def run(course: Course, train: Train, before: Fingerprint | None, after: Fingerprint) -> Recheck:
    """Go through the course: replay, screen, confirm, decide.

    Args:
        course: What ``plan`` gave.
        train: Trains, and writes down.
        before: The fingerprint stored with the winner, if there is one.
        after: Today's.
    """
    configs = [course.incumbent, *(c.config for c in course.challengers)]
    places: dict[int, Standing] = {}

    def screening(arms: Sequence[int], numbers: range) -> list[np.ndarray]:
        groups = train([(configs[arm], course.horizon) for arm in arms], Purpose.RECHECK, numbers)
        places.update((arm, standing(group)) for arm, group in zip(arms, groups, strict=True))
        return [np.array(places[arm].losses) for arm in arms]

    fought: dict[int, list[float]] = {}

    def confirmation(arms: Sequence[int], numbers: range) -> list[np.ndarray]:
        stops = [places[arm].stop_step for arm in arms]
        groups = train([(configs[arm], stop) for arm, stop in zip(arms, stops, strict=True)], Purpose.CONFIRM, numbers)
        losses = [[loss_by(trial, stop) for trial in group] for group, stop in zip(groups, stops, strict=True)]
        for arm, more in zip(arms, losses, strict=True):
            fought.setdefault(arm, []).extend(more)
        return [np.array(each) for each in losses]

    seeds = range(course.design.seeds)
    (replay,) = train([(course.incumbent, course.horizon)], Purpose.RECHECK, seeds)
    found = Findings(
        course=course,
        home=standing(replay),
        now=[loss_by(trial, course.stop_step) for trial in replay],
        step_s=seconds_per_step(replay),
        before=before,
        after=after,
    )
    fault = found.fault()
    if fault is not None:
        return found.recheck(Decision.REGRESSED, fault)
    if course.terms.replay_only and found.is_settled:
        return found.recheck(Decision.KEEP_NOT_BEATEN, found.as_before())

    result = contest(course.design, screening, confirmation)
    found = found.with_result(result, places, fought)
    fault = found.fault()
    if fault is not None:
        return found.recheck(Decision.REGRESSED, fault)
    best = result.best
    challenger = course.challengers[best] if best is not None else None
    far = challenger is not None and (challenger.far or at_edge(challenger.config, course.incumbent, course.space))
    decision = confirm.decide(result.screened, best, result.outcome, result.confirmed, found.margin, far)
    return found.recheck(decision, found.words(decision))
