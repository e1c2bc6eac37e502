"""Every number that a rule compares a signal with, in one place, so that they can be fitted together.

``benchmarks/doctor`` says how: on runs whose right answer was found by training every single move from them. Those in
its ``fit.NAMES`` were fitted; the others lie beyond what its sound runs ever show, or are what is agreed to matter.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What the rules in ``falling`` and ``faults`` ask for; signals are those of ``ayar.curves.signals``.

    Attributes:
        rise: ``drawdown`` of a restless run that is too high.
        rise_settled: The same where the run calmed down by its end, or fell late: an accident early on is none later.
        swings: ``tvr`` of a restless run that is too high.
        swings_settled: The same of one that calmed down.
        calm: ``swing`` up to which a run has calmed down.
        calm_enough: The same of a run that no other run beats.
        lost: ``regress`` up to which what was gained is kept.
        still: ``t90`` above which a run that swings is still falling.
        asleep: ``span`` up to which a loss hardly moves, whatever it does.
        level: ``span`` up to which nothing that a loss does is a swing: so little may be luck.
        far: What another run fell further, as a share of its fall, from which on that is most of the way.
        reach: Largest less least loss over that run's fall, up to which a loss hardly moves.
        path: All its ways up and down over that run's fall, up to which it did not go far.
        path_wild: The same of a run that jumps, or falls at once.
        early: ``t90`` up to which that is.
        stride_short: ``stride`` up to which another run's steps were much longer.
        stride_long: The same from which on they were shorter.
        update_fair: ``update_ratio`` above which steps are no short ones, though they may be too short.
        smooth: ``tvr`` below which a fall is smooth.
        gaining: ``gain_end`` above which a smooth fall is unfinished.
        late: ``t90`` above which a smooth fall came late.
        late_annealed: The same where the learning rate had come down.
        more: ``gain_end`` above which more steps are needed.
        more_unbeaten: The same of a run that no other run beats.
        left: ``left`` up to which nothing that a training loss does matters any more.
        deficit: What another run fell further, as a share of its fall, from which on that counts.
        beaten: The same up to which a run is as good as any.
        late_beaten: ``late`` for a run that is clearly beaten.
        smooth_beaten: ``smooth`` for such a run.
        restless: ``tvr`` over that of the best other run above which the steps are to blame for ending higher.
        unlearned: Loss at the end over that of guessing, from which on hardly anything was learned.
        gap: Validation loss less training loss, as a share of the fall, up to which both are alike.
        gap_learned: The same from which on the examples were learnt by heart.
        onward: What runs that went on gained afterwards, from which on a run stopped too early.
        unfinished: ``t90`` above which a beaten run was not through.
        valid_rise: Rise of the validation loss from its least, as a share of its fall.
        noise: ``noise`` that is more than a tremble.
        tremble: The same that points to the mini-batches where nothing else is at fault.
        start_low: Loss of the untrained net over that of guessing, below which it knows too much.
        start_high: The same above which its inputs or first weights are too large.
        start_other: The same over another run's start, where the loss of guessing is unknown.
        start_even: How far that may be from 1 in a net that tells no class from another.
        grown: First gradient over the largest one, above which gradients were large from the start.
        dead: Share of silent units at the end.
        born_dead: Share of silent units before training.
        vanishing: Gradient of the first layers over that of the last.
        tail: Largest gradient over the usual one.
        easy: ``left`` below which a loss is as good as gone.
        at_once: ``t90`` below which that came too soon to be learning.
        settled: ``t90`` below which a run settled early.
        idle: What the second half gained, as a share of the fall, up to which it was for nothing.
    """

    rise: float = 0.35
    rise_settled: float = 1.0
    swings: float = 6.0
    swings_settled: float = 14.0
    calm: float = 0.05
    calm_enough: float = 0.1
    lost: float = 0.05
    still: float = 0.35
    asleep: float = 0.01
    level: float = 0.14
    far: float = 0.3
    reach: float = 0.12
    path: float = 2.2
    path_wild: float = 1.5
    stride_short: float = 0.5
    stride_long: float = 1.5
    early: float = 0.12
    update_fair: float = 0.003
    smooth: float = 1.3
    gaining: float = 0.005
    late: float = 0.45
    late_annealed: float = 0.42
    more: float = 0.03
    more_unbeaten: float = 0.06
    left: float = 0.05
    deficit: float = 0.06
    beaten: float = 0.06
    late_beaten: float = 0.18
    smooth_beaten: float = 2.5
    restless: float = 1.0
    unlearned: float = 0.9
    gap: float = 0.1
    gap_learned: float = 0.25
    onward: float = 0.1
    unfinished: float = 0.6
    start_other: float = 5.0
    valid_rise: float = 0.1
    noise: float = 0.05
    tremble: float = 0.01
    start_low: float = 0.5
    start_high: float = 3.0
    start_even: float = 1e-3
    grown: float = 0.6
    dead: float = 0.4
    born_dead: float = 0.2
    vanishing: float = 1e-3
    tail: float = 20.0
    easy: float = 0.01
    at_once: float = 0.1
    settled: float = 0.25
    idle: float = 0.002


FITTED = Thresholds()
"""The thresholds that ``diagnose`` uses."""
