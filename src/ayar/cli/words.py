"""What the commands say to a person, built from the report's parts; 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from ayar.curves.tested import Outcome
from ayar.intuition.findings import Finding
from ayar.intuition.importance import Importance
from ayar.intuition.response import GoodRange
from ayar.records import Advice, Score, Trial
from ayar.reports import sentences, tables, words
from ayar.reports.tables import Story
from ayar.reports.terminal import cost_curve, verdict_lines, verdict_places

WIDTH = 80


def drawn(story: Story, numbers: Sequence[int], *, height: int = 12) -> str:
    """The cost curves of some trials in one picture, with their verdicts beside the labels."""
    curves: dict[str, tuple[Sequence[float], Sequence[float]]] = {}
    places: list[tuple[str, float, float]] = []
    for letter, number in zip(ascii_uppercase, numbers, strict=False):
        trial = story.trial(number)
        verdicts = verdict_places(story.verdicts.get(number, ()))
        # Beside others a curve's headline is enough, under the letter that it ends in.
        places += verdicts if len(numbers) == 1 else [(letter, first, last) for _, first, last in verdicts[:1]]
        curve = tables.cost_curve(story, trial)
        curves[f"trial {number}: {sentences.verdict(story, trial)}"] = (
            curve if curve[0] else tables.metric_curve(story, trial)
        )
    name = tables.cost_name(story) or story.metric
    return f"{words.spelled(name)} against step\n{cost_curve(curves, width=WIDTH - 4, height=height, places=places)}"


def diagnosis(story: Story, number: int, advice: Sequence[Advice]) -> str:
    """One trial: its curve, what it shows on what evidence, and the moves that follow."""
    trial = story.trial(number)
    parts = [f"Trial {number}: {words.configuration(trial.config)}"]
    if trial.error is not None:
        parts.append(f"It failed: {trial.error}")
    if trial.curve.trained:
        parts += [drawn(story, [number], height=8), verdict_lines(story.verdicts.get(number, ())).rstrip()]
    else:
        parts.append("Nothing was measured, so there is no curve to read.")
    parts += [
        f"Next: {sentences.advised(move)}{sentences.hit_rate(story, move) or ' (Not tried yet.)'}" for move in advice
    ]
    return "\n".join(folded(part) for part in parts)


def outcome(story: Story, found: Outcome) -> str:
    """What came of a piece of advice that was tried."""
    before, after = (story.trial(number) for number in (found.trial, found.attempt))
    changed = {name: value for name, value in after.config.items() if before.config.get(name) != value}
    now, then = (story.told(story.score_of(trial)) for trial in (after, before))
    return folded(
        f"Tried {words.configuration(changed)} as trial {found.attempt}, with the seed of trial {found.trial}: "
        f"{words.spelled(story.metric)} {now}, before {then}. It {'helped' if found.helped else 'did not help'}."
    )


def together(findings: Sequence[Finding]) -> str:
    """What all trials show together, one a line."""
    lines = ["All trials together", *(f"- {finding.name}: {finding.sentence}" for finding in findings)]
    return folded("\n".join(lines))


def attempts(story: Story, last: int, made: Sequence[int], name: str | None, advice: Advice | None) -> str:
    """The lecture's loop: the new curve, its verdict beside the earlier ones, the value to try next."""
    trial = story.trial(last)
    parts = [drawn(story, [last], height=10), "", verdict_lines(story.verdicts.get(last, ())).rstrip()]
    if trial.error is not None:
        parts = [f"Trial {last} failed: {trial.error}"]
    if len(made) > 1:
        parts += ["", "Your attempts so far" + (f" at {name}" if name else "")]
        parts += [_attempt_line(story, story.trial(number), name, last) for number in made]
    if advice is not None:
        parts += ["", f"Next: {sentences.advised(advice)}"]
    return "\n".join(folded(part) for part in parts)


def _attempt_line(story: Story, trial: Trial, name: str | None, last: int) -> str:
    value = words.setting(trial.config[name]) if name in trial.config else f"trial {trial.id}"
    mark = ">" if trial.id == last else " "
    score = story.told(story.score_of(trial))
    return f"{mark} {value:>12}  {words.spelled(story.metric)} {score:>8}  {sentences.verdict(story, trial)}"


def parameters_table(rows: Sequence[Mapping[str, Any]], trial: int) -> str:
    """Every W[l] and b[l] of a net, one a line, with the totals."""
    lines = [
        f"Parameters of trial {trial}",
        f"{'name':<7} {'shape':>12} {'count':>10} {'size':>9}  initialisation; decided by",
    ]
    for row in rows:
        shape = " x ".join(map(str, row["shape"]))
        decided = ", ".join(row["decided_by"]) or "the data"
        first = f"{row['name']:<7} {shape:>12} {row['count']:>10,} {words.size(row['bytes']):>9}  "
        lines += textwrap.wrap(
            f"{row['initialisation']}; {decided}", WIDTH, initial_indent=first, subsequent_indent=" " * len(first)
        )
    count, size = sum(r["count"] for r in rows), sum(r["bytes"] for r in rows)
    lines.append(f"{'all':<7} {'':>12} {count:>10,} {words.size(size):>9}")
    return "\n".join(lines)


def test_record(story: Story, score: Score) -> str:
    """The test score, and every time that the test set was opened."""
    parts = [
        f"Test set: {story.told(score.mean)} ({sentences.certainty(story, score)}).{sentences.test_rows(story, score)}"
    ]
    parts += [sentences.opened(note) for note in story.notes]
    return folded("\n".join(parts))


def importance_table(found: Sequence[Importance], ranges: Mapping[str, GoodRange], trials: int) -> str:
    """Hyperparameters by importance, with intervals, and where the best quarter of the trials lies."""
    lines = [
        f"What mattered in {trials} trials: share of the differences between them (95 % interval)",
        f"{'hyperparameter':<16} {'share':>6} {'interval':>13} {'if good':>8}  good values",
    ]
    for each in found:
        good = ranges.get(each.name)
        place = "too few good trials to say"
        if good is not None and good.low is not None and good.high is not None:
            place = f"{words.setting(good.low)} to {words.setting(good.high)}"
        elif good is not None:
            place = ", ".join(words.setting(value) for value in dict.fromkeys(good.values))
        interval = f"{each.low:.0%} to {each.high:.0%}"
        lines.append(f"{each.name:<16} {each.share:>6.0%} {interval:>13} {each.good_share:>8.0%}  {place}")
    lines.append("'if good': its share among the best quarter of the trials alone.")
    return "\n".join(folded(line) for line in lines)


def folded(text: str) -> str:
    """Lines longer than the terminal wrapped; the others, pictures among them, left alone."""
    return "\n".join(_wrapped(line) if len(line) > WIDTH else line for line in text.split("\n"))


def _wrapped(line: str) -> str:
    indent = "  " if line.startswith((" ", "-")) else ""
    return textwrap.fill(line, WIDTH, subsequent_indent=indent, break_on_hyphens=False)
