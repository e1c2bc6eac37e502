"""A story in sentences, the same on the page and in the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ayar.curves.advice import is_unread
from ayar.errors import reason
from ayar.intuition.findings import ALL_DIVERGE, NO_DIFFERENCE
from ayar.records import Advice, Curve, Gain, Score, ScoreKind, State, Tie, Trial, Winner
from ayar.reports import tables, words
from ayar.reports.tables import Story

_MOST_MOVES = 5  # more than a reader takes in
_MOST_TIES = 6


def summary(story: Story) -> str:
    """How much was trained: trials by state, steps and time."""
    states = ", ".join(f"{count:,} {state.value}" for state, count in story.states.items())
    if stopped := sum(stopped_early(story, trial) for trial in story.searched):
        states += f"; {stopped:,} stopped early"
    parts = [words.plural(len(story.trials), "trial") + (f" ({states})" if states else "")]
    if story.trials:
        parts += [words.plural(story.steps, "step"), f"{words.duration(story.cost_s)} of training"]
    return " · ".join(parts)


def stopped_early(story: Story, trial: Trial) -> bool:
    """Whether the search ended a trial before its last step because its curve diverged."""
    whole = trial.config.get("iterations", story.horizon)
    last_step = min(whole, story.horizon) if isinstance(whole, int) else story.horizon
    has_ended = trial.state is State.COMPLETED and trial.curve.last_step < last_step
    return has_ended and story.headline(trial) == "diverging"


def certainty(story: Story, score: Score) -> str:
    """Where a score comes from and how sure it is: its kind, its seeds and its interval."""
    seeds = words.plural(len(score.values), "seed")
    if score.failed:
        seeds += f"; training failed on {words.plural(score.failed, 'further seed')}"
    if len(score.values) < 2 or not (math.isfinite(score.low) and math.isfinite(score.high)):
        return f"{score.kind.value}, {seeds}"
    low, high = map(story.told, story.interval(score))
    return f"{score.kind.value}, mean of {seeds}, 95 % interval {low} to {high}"


def beside_the_winner(story: Story, winner: Winner) -> list[str]:
    """What must be said beside the winner's score: the optimism, the gain, the test, the rivals, the ties."""
    told = changes(story, winner.trial)
    search = winner.scores.get(ScoreKind.SEARCH_BEST)
    if search:
        kind, of = search.kind.value, words.plural(story.scored, "trial")
        told.append(
            f"{kind[:1].upper()}{kind[1:]}: {story.told(search.mean)}, picked from {of}: "
            f"{_optimism(story, winner.optimism)}."
        )
    if story.facts.get("validation"):
        told.append(f"Validation: {story.facts['validation']}")
    if winner.improvement is not None:
        told.append(improved(story, winner.improvement))
    elif winner.config == story.space.default() and ScoreKind.RERANKED in winner.scores:
        told.append("It is the default: nothing that the search found did better on fresh seeds.")
    test = winner.scores.get(ScoreKind.TEST)
    if test:
        told.append(f"On the test set: {story.told(test.mean)} ({certainty(story, test)}).{test_rows(story, test)}")
    told += [opened(note) for note in story.notes if (note.get("count") or 0) > 1 or not test]
    told += [
        f"The {name} reaches {story.told(score.mean)} ({certainty(story, score)})."
        for name, score in winner.compared.items()
    ]
    return told + tied(story, winner)


def changes(story: Story, number: int) -> list[str]:
    """How the configuration of a trial came about, where it changed during the training."""
    legs = tables.schedule(story, number)
    if not legs:
        return []
    configs = [*(leg.config for leg in legs), story.trial(number).config]
    names = [name for name in configs[-1] if len({repr(config.get(name)) for config in configs}) > 1]
    changed = [{name: leg.config[name] for name in names if name in leg.config} for leg in legs]
    told = "; ".join(f"{words.configuration(c)} to step {leg.stop_step}" for c, leg in zip(changed, legs, strict=True))
    return [f"Its configuration changed while it trained: {told}; then as above. So does its confirmation's."]


def _optimism(story: Story, optimism: float | None) -> str:
    if optimism is None:
        return "a reading whose luck helped it to be picked"
    by = story.difference(abs(optimism))
    return f"{by} too good" if optimism > 0 else f"{by} worse than fresh seeds say" if optimism else "just right"


def improved(story: Story, gain: Gain) -> str:
    """What the winner gains over the default, and whether that is more than luck."""
    direction = "better" if gain.mean >= 0 else "worse"
    pairs = words.plural(gain.pairs, "common seed")
    told = f"Against the default it is {story.difference(abs(gain.mean))} {direction}"
    if gain.pairs > 1:
        ends = sorted([gain.low, gain.high] if gain.mean >= 0 else [-gain.low, -gain.high])
        told += f" (95 % interval {story.difference(ends[0])} to {story.difference(ends[1])}, {pairs})"
    else:
        told += f" ({pairs})"
    if gain.p is None:
        return f"{told}: too few seeds to call it significant, which takes 5."
    return f"{told}: {'significant' if gain.significant else 'not significant'}, p = {words.number(gain.p, 2)}."


def test_rows(story: Story, score: Score) -> str:
    """How far the test rows themselves leave a share of wrong labels open; empty where that can't be said."""
    rows = story.facts.get("rows for the test")
    if not rows or story.facts.get("kind") != "classification" or not 0 <= score.mean <= 1:
        return ""
    share = (score.mean * rows + 2) / (rows + 4)  # Agresti & Coull, 1998
    half = 1.96 * math.sqrt(share * (1 - share) / (rows + 4))
    return f" Other {rows:,} test rows would give another score: by up to {story.difference(half)}, 19 times in 20."


def opened(note: Mapping[str, Any]) -> str:
    """That the test set was opened, when, what for and, from the second time on, why: each look weakens it."""
    again = f" again (time {note['count']})" if (note.get("count") or 0) > 1 else ""
    why = f"; {note['reason']}" if note.get("reason") else ""
    told = f"The test set was opened{again} on {words.fact(note.get('time'))}: {note.get('purpose')}{why}"
    return f"{told.rstrip('.')}."


def tied(story: Story, winner: Winner) -> list[str]:
    """Which configurations cannot be told from the winner, and why it was preferred."""
    told = []
    if winner.because:
        told.append(
            f"Of those that read as good, within one standard error, it was preferred because it is {winner.because}."
        )
    if winner.ties:
        named = [_tie(story, tie) for tie in winner.ties[:_MOST_TIES]]
        more = len(winner.ties) - len(named)
        rest = f" and {more} more" if more else ""
        alone = all(tie.behind.pairs == 1 for tie in winner.ties)
        seeds = "the one seed that re-ranked it, which can't tell" if alone else "the seeds that re-ranked it"
        told.append(f"Not to be told from it on {seeds}: {', '.join(named)}{rest}.")
    elif ScoreKind.RERANKED in winner.scores and len(story.ranked) > 1:
        told.append("No other configuration that was re-ranked is tied with it.")
    return told


def _tie(story: Story, tie: Tie) -> str:
    name = "the default" if tie.trial is None else f"trial {tie.trial}"
    gap = story.difference(abs(tie.behind.mean))
    where = f"{gap} behind" if tie.behind.mean > 0 else f"{gap} ahead" if tie.behind.mean < 0 else "level"
    return f"{name} ({where}, {words.duration(tie.cost_s)} a training)" if tie.cost_s else f"{name} ({where})"


def front(story: Story) -> str:
    """How many trials the front of several objectives has, and where their scores come from."""
    limits = f", among those with {' and '.join(map(str, story.constraints))}" if story.constraints else ""
    count = len(story.front)
    trials = "1 trial that no other beats" if count == 1 else f"{count} trials that no other beats"
    return f"Front: {trials} in everything{limits} (search-best, optimistic)"


def without_winner(story: Story) -> tuple[str, str]:
    """A headline and a sentence for a study that has named no winner yet."""
    if not story.trials:
        return "Nothing has been trained yet", "The first trial will appear here."
    if story.ranked:
        return "No winner yet", (
            f"The best score so far is the best of {words.plural(story.scored, 'trial')}, and so looks better "
            "than it is. A winner is named once its configuration has been trained again on fresh seeds."
        )
    bad = sum(trial.state in (State.DIVERGED, State.FAILED) for trial in story.trials)
    headline = "All trials diverged or failed" if bad == len(story.trials) else "No trial has a score yet"
    return headline, f"{bad:,} of {words.plural(len(story.trials), 'trial')} diverged or failed."


def verdict(story: Story, trial: Trial) -> str:
    """What is said about a trial in a few words: its error, its verdicts, or nothing."""
    if trial.error is not None:
        return f"failed: {reason(trial.error)}".rstrip(": ")
    return ", ".join(each.name for each in story.verdicts.get(trial.id, ())) or story.headline(trial)


def next_moves(story: Story) -> list[str]:
    """What to do next, one sentence each: the winner's advice, then what the trials show together."""
    broken = [finding.sentence for finding in story.findings if finding.name in (ALL_DIVERGE, NO_DIFFERENCE)]
    if broken:
        return broken
    moves = [advised(advice) + hit_rate(story, advice) for advice in story.advice]
    moves += [finding.sentence for finding in story.findings]
    if moves or story.winner is None:
        return moves[:_MOST_MOVES]
    again = f"`ayar recheck {story.store}`" if story.store else "a recheck"
    curve = next((t.curve for t in story.trials if t.id == story.winner.trial), Curve())
    is_short = story.horizon > 1 and is_unread(story.verdicts.get(story.winner.trial, ()), curve)
    short = f"The winner's curve has {words.plural(len(curve), 'point')}, too few for advice: measure more often."
    return [
        short if is_short else "The winner's curve asks for no change. Search on where more time may pay.",
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
