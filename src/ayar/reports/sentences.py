"""A story in sentences, the same on the page and in the terminal."""

from __future__ import annotations

import math

from ayar.records import Advice, Score, ScoreKind, State, Trial, Winner
from ayar.reports import words
from ayar.reports.tables import Story

_MOST_MOVES = 5  # more than a reader takes in


def summary(story: Story) -> str:
    """How much was trained: trials by state, steps and time."""
    states = ", ".join(f"{count:,} {state.value}" for state, count in story.states.items())
    parts = [words.plural(len(story.trials), "trial") + (f" ({states})" if states else "")]
    if story.trials:
        parts += [words.plural(story.steps, "step"), f"{words.duration(story.cost_s)} of training"]
    return " · ".join(parts)


def certainty(story: Story, score: Score) -> str:
    """Where a score comes from and how sure it is: its kind, its seeds and its interval."""
    seeds = words.plural(len(score.values), "seed")
    if len(score.values) < 2 or not (math.isfinite(score.low) and math.isfinite(score.high)):
        return f"{score.kind.value}, {seeds}"
    low, high = map(story.told, story.interval(score))
    return f"{score.kind.value}, mean of {seeds}, 95 % interval {low} to {high}"


def beside_the_winner(story: Story, winner: Winner) -> list[str]:
    """What must be said beside the winner's score: the optimistic one, the test, the rivals, the ties."""
    told = []
    search = winner.scores.get(ScoreKind.SEARCH_BEST)
    if search:
        told.append(
            f"The search had shown {story.told(search.mean)}: the best of {words.plural(len(story.ranked), 'trial')}, "
            "and so an optimistic number."
        )
    test = winner.scores.get(ScoreKind.TEST)
    if test:
        told.append(f"On the test set: {story.told(test.mean)} ({certainty(story, test)}).")
    told += [
        f"The {name} reaches {story.told(score.mean)} ({certainty(story, score)})."
        for name, score in winner.compared.items()
    ]
    if winner.tied:
        trials = f"trial{'' if len(winner.tied) == 1 else 's'} {', '.join(str(number) for number in winner.tied)}"
        told.append(f"Not to be told apart from it on the seeds that re-ranked it: {trials}.")
    return told


def without_winner(story: Story) -> tuple[str, str]:
    """A headline and a sentence for a study that has named no winner yet."""
    if not story.trials:
        return "Nothing has been trained yet", "The first trial will appear here."
    if story.ranked:
        return "No winner yet", (
            f"The best score so far is the best of {words.plural(len(story.ranked), 'trial')}, and so looks better "
            "than it is. A winner is named once its configuration has been trained again on fresh seeds."
        )
    bad = sum(trial.state in (State.DIVERGED, State.FAILED) for trial in story.trials)
    headline = "All trials diverged or failed" if bad == len(story.trials) else "No trial has a score yet"
    return headline, f"{bad:,} of {words.plural(len(story.trials), 'trial')} diverged or failed."


def verdict(story: Story, trial: Trial) -> str:
    """What is said about a trial in a few words: its error, its verdicts, or nothing."""
    if trial.error is not None:
        lines = trial.error.strip().splitlines()
        return f"failed: {lines[-1]}" if lines else "failed"
    return ", ".join(each.name for each in story.verdicts.get(trial.id, ())) or story.headline(trial)


def next_moves(story: Story) -> list[str]:
    """What to do next, one sentence each: the winner's advice, then what the trials show together."""
    moves = [advised(advice) + hit_rate(story, advice) for advice in story.advice]
    moves += [finding.sentence for finding in story.findings]
    if moves or story.winner is None:
        return moves[:_MOST_MOVES]
    again = f"`ayar recheck {story.store}`" if story.store else "a recheck"
    return [
        "The winner's curve asks for no change. Search on where more time may pay.",
        f"Run {again} when data, code or machine have changed.",
    ]


def hit_rate(story: Story, advice: Advice | str) -> str:
    """How often the moves of this advice's rule helped so far, to be put behind it; empty where none was tried."""
    helped, tried = story.tried.get(advice.rule, (0, 0)) if isinstance(advice, Advice) else (0, 0)
    return f" (Helped in {helped} of {tried}.)" if tried else ""


def advised(advice: Advice | str) -> str:
    """A next move in one sentence.

    >>> advised(Advice("too high", "the curve climbs after step 3.", changes={"learning_rate": 0.1}))
    'Try learning_rate = 0.1: the curve climbs after step 3.'
    """
    if isinstance(advice, str):
        return advice
    moves = [f"try {name} = {words.setting(value)}" for name, value in advice.changes.items()]
    moves += [f"let {name} take {words.setting(value)} in the space" for name, value in advice.widen.items()]
    told = ", ".join(moves)
    return f"{told[:1].upper()}{told[1:]}: {advice.because}" if told else advice.because
