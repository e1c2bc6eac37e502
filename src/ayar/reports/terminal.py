"""A study as plain text, at most 80 columns wide; curves in braille dots, legible without colours."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ayar.records import State, Trial, Verdict
from ayar.reports import sentences, tables, words
from ayar.reports.scales import Scale, fitted, tick_label
from ayar.reports.tables import Story

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # braille bit by row and column of a cell
_BLANK = 0x2800
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_INDENT = (0, 0, 0, 7)  # of what stands below a row of the table; top, right, bottom, left
_MARGIN = 9  # columns for the value axis
_STATE_STYLE = {State.DIVERGED: "red", State.FAILED: "red", State.RUNNING: "cyan", State.COMPLETED: "green"}


def cost_curve(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    width: int = 72,
    height: int = 12,
    log: bool | None = None,
    places: Sequence[tuple[str, float, float]] = (),
) -> str:
    """One or several curves as text: label -> (steps, values).

    Each curve ends in the letter that stands beside its label below the picture (a single curve without a
    label has none); a cross marks where one became infinite or NaN.

    Args:
        curves: By label; the steps rise.
        width: Columns in all, axis included.
        height: Rows of the picture, without axis and labels.
        log: Whether the values stand on a log scale; None: where all are positive and span more than a factor of 5.
        places: Stretches to mark below the picture: a name, the first and the last step.
    """
    finite = [v for _, values in curves.values() for v in values if math.isfinite(v)]
    if not finite:
        return "No finite value to draw."
    log = min(finite) > 0 and max(finite) > 5 * min(finite) if log is None else log and min(finite) > 0
    y = _value_scale(curves, log=log)
    x = Scale(0, max(1, *(steps[-1] for steps, _ in curves.values() if len(steps))))
    canvas = _Canvas(width - _MARGIN - 2, height)
    letters = _LETTERS if any(curves) else (None,)
    for letter, (steps, values) in zip(letters, curves.values(), strict=False):
        canvas.draw([(x.at(s), y.at(v)) for s, v in zip(steps, values, strict=True) if math.isfinite(v)], letter)
        broken = next((s for s, v in zip(steps, values, strict=True) if not math.isfinite(v)), None)
        if broken is not None:
            canvas.put(x.at(broken), 1.0, words.TIMES)
    lines = _with_axes(canvas.lines(), x, y)
    lines += [_bracket(name, x.clipped(first), x.clipped(last), width - _MARGIN - 2) for name, first, last in places]
    if any(curves):
        lines += [f"{' ' * _MARGIN} {letter}  {label}" for letter, label in zip(letters, curves, strict=False)]
    return "\n".join(lines)


def trials_table(story: Story, *, most: int = 20, colour: bool = False) -> str:
    """The best trials as a table: number, state, score, steps, cost, verdict, configuration."""
    order = story.best_first
    if not order:
        return "No trials yet."
    metric = words.spelled(story.metric)
    wide = max(len(metric), 8)
    told: list[RenderableType] = [
        Text(f"{'trial':>5}  {'state':<9}  {metric:>{wide}}  {'steps':>6}  {'cost':>9}  verdict", style="bold")
    ]
    same = dict(tables.fixed(story))
    for trial in order[:most]:
        score = story.score_of(trial)
        line = Text(f"{trial.id:>5}  ")
        line.append(f"{trial.state.value:<9}", style=_STATE_STYLE.get(trial.state, ""))
        line.append(
            f"  {story.told(score) if math.isfinite(score) else words.NOTHING:>{wide}}  {trial.curve.last_step:>6,}"
        )
        line.append(f"  {words.duration(trial.cost_s):>9}  {story.headline(trial)}")
        error = [Padding(Text(sentences.verdict(story, trial)), _INDENT)] if trial.error is not None else []
        settings = words.configuration({name: value for name, value in trial.config.items() if name not in same})
        told += [line, *error, Padding(Text(settings, style="dim"), _INDENT)]
    if same:
        told.append(Text(f"In every trial: {' · '.join(f'{name} {value}' for name, value in same.items())}"))
    if len(order) > most:
        told.append(Text(f"{len(order) - most:,} more trials are not shown."))
    return _as_text(*told, colour=colour)


def verdict_lines(verdicts: Sequence[Verdict], *, colour: bool = False) -> str:
    """Verdicts, the headline first, each with its confidence, its sentence and the evidence it rests on."""
    told: list[RenderableType] = []
    for verdict in verdicts:
        told.append(
            Text.assemble((verdict.name, "bold"), f" ({verdict.confidence.value} evidence): {verdict.sentence}")
        )
        proofs = [
            f"{e.signal} {words.number(e.value, 3)} (limit {words.number(e.threshold, 3)})" for e in verdict.evidence
        ]
        if proofs:
            told.append(Text(f"  {', '.join(proofs)}", style="dim"))
    return _as_text(*told, colour=colour)


def verdict_places(verdicts: Sequence[Verdict]) -> list[tuple[str, float, float]]:
    """The places on a curve that show its verdicts, as ``cost_curve`` marks them. Abstaining has none."""
    return [(verdict.name, *verdict.steps) for verdict in verdicts if verdict.evidence]


def winner_summary(story: Story, *, colour: bool = False) -> str:
    """What `ayar tune` prints at the end: the winner, its honest score, the most telling curves, what to do next."""
    told: list[RenderableType] = [Text(""), *_winner_lines(story), Text("")]
    if story.objectives:
        told += [Text(front_table(story)), Text("")]
    for number in tables.telling(story):
        told += [*_telling_curve(story, story.trial(number)), Text("")]
    if moves := sentences.next_moves(story):
        told += [Text("What to do next", style="bold"), _bullets(moves), Text("")]
    if story.report:
        told.append(Text.assemble("Report: ", (story.report, "bold cyan")))
    return _as_text(*told, colour=colour)


def front_table(story: Story, *, colour: bool = False) -> str:
    """Of several objectives: the trials that no other one beats in all of them."""
    head, rows = tables.front_rows(story)
    if not rows:
        return "No whole training yet that measured all objectives and keeps the constraints."
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head) - 1)]
    told: list[RenderableType] = [Text(sentences.front(story), style="bold")]
    for row in [head[:-1], *(row[:-1] for row in rows)]:
        told.append(Text("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))))
        if row != head[:-1]:
            told.append(Padding(Text(rows[len(told) // 2 - 1][-1], style="dim"), _INDENT))
    return _as_text(*told, colour=colour)


def _bullets(lines: Sequence[str]) -> Table:
    table = Table.grid(padding=(0, 1))
    for line in lines:
        table.add_row("  -", Text(line))
    return table


def _winner_lines(story: Story) -> list[RenderableType]:
    metric, winner = words.spelled(story.metric), story.winner
    if winner is None:
        best = tables.best(story)
        title, sentence = sentences.without_winner(story)
        lines: list[RenderableType] = [Text(title, style="bold"), Text(sentence)]
        if best is not None:
            lines.append(
                Text(f"Trial {best.id}: {metric} {story.told(story.score_of(best))}, search-best (optimistic)")
            )
            lines += _settings(tables.configuration_rows(story, best.config))
        return lines
    steps = words.steps(winner.stop_step, story.horizon)
    lines = [Text.assemble((f"Winner: trial {winner.trial}", "bold green"), f", trained {steps}")]
    lines += _settings(tables.configuration_rows(story, winner.config))
    lines.append(Text(""))
    first = tables.scores(winner)[:1]
    lines += [
        Text.assemble(f"{metric[:1].upper()}{metric[1:]} ", (story.told(score.mean), "bold"),
                      f" ({sentences.certainty(story, score)}).")
        for _, score in first
    ]  # fmt: skip
    return lines + [Text(sentence) for sentence in sentences.beside_the_winner(story, winner)]


def _settings(rows: Sequence[tuple[str, str]]) -> list[RenderableType]:
    wide = max((len(name) for name, _ in rows), default=0)
    return [Text(f"  {name:<{wide}}  {value}") for name, value in rows]


def _telling_curve(story: Story, trial: Trial) -> list[RenderableType]:
    curve, name = tables.cost_curve(story, trial), tables.cost_name(story)
    if not curve[0]:
        curve, name = tables.metric_curve(story, trial), story.metric
    verdicts = story.verdicts.get(trial.id, ())
    said = verdicts[0].sentence if verdicts else ""
    title = Text.assemble(
        (f"Trial {trial.id}", "bold"), f": {sentences.verdict(story, trial)}. " if said else ". ", said
    )
    picture = cost_curve({"": curve}, width=60, height=7, places=verdict_places(verdicts))
    return [title, Text(f"{words.spelled(name or '')} against step", style="dim"), Text(picture)]


def _value_scale(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, log: bool) -> Scale:
    """A scale for all curves; what an exploding one reaches beyond ten times every start is cut off."""
    finite = [v for _, values in curves.values() for v in values if math.isfinite(v)]
    starts = [values[0] for _, values in curves.values() if len(values) and math.isfinite(values[0])]
    high = max(finite)
    if starts and max(starts) > 0:
        high = min(high, 10 * max(starts)) if log else min(high, 2 * max(starts))
    return fitted([min(*finite, high), high], log=log, margin=0.02)


def _with_axes(rows: Sequence[str], x: Scale, y: Scale) -> list[str]:
    height, wide = len(rows), len(rows[0])
    names: dict[int, str] = {}
    for tick in y.ticks(max(2, height // 2)):
        place = y.at(tick)
        if -0.01 <= place <= 1.01:
            names.setdefault(round((1 - place) * (height - 1)), tick_label(tick))
    lines = [
        f"{names.get(k, ''):>{_MARGIN - 1}} {'┤' if k in names else '│'}{row}".rstrip() for k, row in enumerate(rows)
    ]
    base, labels = ["─"] * wide, [" "] * (wide + 8)
    for tick in x.ticks(6):
        column = round(x.at(tick) * (wide - 1))
        base[column] = "┬"
        text = tick_label(tick)
        start = max(0, column - len(text) // 2)
        labels[start : start + len(text)] = text
    return [*lines, f"{' ' * _MARGIN}└{''.join(base)}", f"{' ' * _MARGIN} {''.join(labels).rstrip()} step"]


def _bracket(name: str, first: float, last: float, wide: int) -> str:
    """A stretch of the axis, from one place in [0, 1] to another, with its name inside it or else beside it.

    Where there is no room for the name, it is cut to the largest room that there is.
    """
    start, stop = round(first * (wide - 1)), round(last * (wide - 1))
    inside = stop - start - 1
    mark = f"├{'─' * inside}┤" if stop > start else "▲"
    rooms = {"inside": inside - 2, "right": wide - start - len(mark) - 1, "left": start - 1}
    side = next((side for side, room in rooms.items() if room >= len(name)), max(rooms, key=lambda side: rooms[side]))
    if len(name) > rooms[side]:
        name = f"{name[: max(rooms[side] - 1, 0)]}…"
    margin = " " * (_MARGIN + 1)
    if side == "inside":
        return f"{margin}{' ' * start}├{f' {name} ':─^{inside}}┤"
    if side == "right":
        return f"{margin}{' ' * start}{mark} {name}"
    return f"{margin}{' ' * (start - len(name) - 1)}{name} {mark}"


class _Canvas:
    """A picture of ``width`` by ``height`` characters, each two dots wide and four high."""

    def __init__(self, width: int, height: int) -> None:
        self._width, self._height = width, height
        self._cells = [[0] * width for _ in range(height)]
        self._letters: dict[tuple[int, int], str] = {}

    def draw(self, points: Sequence[tuple[float, float]], letter: str | None) -> None:
        """A line through points of the unit square, ending in a letter where there is one."""
        places = [self._dot(px, py) for px, py in points]
        for (ax, ay), (bx, by) in zip(places, places[1:] or places, strict=False):
            count = max(abs(bx - ax), abs(by - ay), 1)
            for k in range(count + 1):
                self._set(round(ax + (bx - ax) * k / count), round(ay + (by - ay) * k / count))
        if points and letter:
            self.put(*points[-1], letter)

    def put(self, px: float, py: float, letter: str) -> None:
        """A letter at a point; the next free cell to the left or below where one stands there already."""
        column, row = (place // size for place, size in zip(self._dot(px, py), (2, 4), strict=True))
        while (column, row) in self._letters and column > 0:
            column -= 1
        self._letters[column, row] = letter

    def lines(self) -> list[str]:
        """The picture's rows."""
        return [
            "".join(self._letters.get((c, r)) or (chr(_BLANK + bits) if bits else " ") for c, bits in enumerate(row))
            for r, row in enumerate(self._cells)
        ]

    def _dot(self, px: float, py: float) -> tuple[int, int]:
        px, py = min(1.0, max(0.0, px)), min(1.0, max(0.0, py))
        return round(px * (2 * self._width - 1)), round((1 - py) * (4 * self._height - 1))

    def _set(self, column: int, row: int) -> None:
        self._cells[row // 4][column // 2] |= _DOTS[row % 4][column % 2]


def _as_text(*told: RenderableType, colour: bool, width: int = 80) -> str:
    """What rich would print; escape codes only where ``colour``, and then without overriding NO_COLOR."""
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=colour, highlight=False, markup=False, emoji=False)
    for each in told:
        console.print(each)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())
