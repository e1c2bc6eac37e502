"""One self-contained HTML page per study: it opens without a network and runs no script but its own."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from ayar.records import ScoreKind, State, Trial, Winner
from ayar.reports import charts, sentences, tables, verdicts, words
from ayar.reports.tables import Story

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

_MOST_ROWS = 500


def render(story: Story, *, live: str | None = None) -> str:
    """The report as one HTML page.

    Args:
        story: What is told; a report can be written at any time, also before the first trial.
        live: The study's change counter, for a page that is served: it then asks ``/api/study`` for a newer one
            every two seconds and renews itself. None: a file, which opens no connection at all.
    """
    colour, readings = charts.colours(story), verdicts.readings(story)
    return _template().render(
        story=story,
        metric=words.spelled(story.metric),
        summary=sentences.summary(story),
        hero=_hero(story),
        score_chart=charts.score_chart(story),
        front=_front(story, colour),
        advice=sentences.next_moves(story),
        cost_charts=charts.cost_charts(story, colour),
        readings=readings,
        slice_charts=charts.slice_charts(story, colour),
        slice_caption=charts.slice_caption(story),
        colour={"name": words.spelled(colour.name), "legend": colour.legend()} if colour else None,
        table=_table(story),
        parameters=_parameters(story),
        facts=_facts(story),
        notes=_notes(story),
        history=[(f"{e.at:%Y-%m-%d %H:%M}", e.what, e.detail) for e in story.history],
        known=_known(story, [reading.trial for reading in readings]),
        style=_asset("style.css"),
        scripts=_scripts(live=live is not None),
        policy=policy(live=live is not None),
        version=live or "",
        live=live is not None,
    )


def filled(template: str, **values: Any) -> str:
    """Another page of ours in the same style, without a script."""
    return _template(template).render(style=_asset("style.css"), policy=policy(), **values)


def policy(*, live: bool = False) -> str:
    """The content security policy of a page: nothing but its own style and scripts, known by their hashes."""
    scripts = " ".join(_hash(script) for script in _scripts(live=live))
    reach = "'self'" if live else "'none'"
    return (
        f"default-src 'none'; script-src {scripts}; style-src {_hash(_asset('style.css'))}; "
        f"connect-src {reach}; base-uri 'none'; form-action 'none'"
    )


@dataclass(frozen=True)
class _Hero:
    eyebrow: str
    title: str
    big: str = ""
    under: str = ""
    sentences: list[str] = field(default_factory=list)
    order: str = ""
    settings: list[tuple[str, str]] = field(default_factory=list)


def _hero(story: Story) -> _Hero:
    if story.winner is not None:
        return _won(story, story.winner)
    best = tables.best(story)
    title, sentence = sentences.without_winner(story)
    if best is None:
        return _Hero("No score yet", title, sentences=[sentence])
    return _Hero(
        eyebrow="Best so far",
        title=title,
        big=story.told(story.score_of(best)),
        under=f"{words.spelled(story.metric)} of trial {best.id}, {ScoreKind.SEARCH_BEST.value}",
        order="Its configuration",
        sentences=[sentence],
        settings=tables.configuration_rows(story, best.config),
    )


def _won(story: Story, winner: Winner) -> _Hero:
    metric = words.spelled(story.metric)
    score = next((s for _, s in tables.scores(winner)), None)
    return _Hero(
        eyebrow=f"Winner · trial {winner.trial}",
        big=story.told(score.mean) if score else "",
        title=metric[:1].upper() + metric[1:] if score else "No score",
        under=sentences.certainty(story, score) if score else "",
        sentences=sentences.beside_the_winner(story, winner),
        order=f"Train {words.plural(winner.stop_step, 'step')} with this configuration",
        settings=tables.configuration_rows(story, winner.config),
    )


def _front(story: Story, colour: charts.Colours | None) -> dict[str, Any] | None:
    """Of several objectives: the trials that no other one beats, as pictures and as a table."""
    if not story.front:
        return None
    head, rows = tables.front_rows(story)
    return {
        "sentence": sentences.front(story) + ".",
        "charts": charts.front_charts(story, colour),
        "columns": head,
        "rows": [(row[0], row[1:-1], row[-1]) for row in rows],
    }


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    numeric: bool


@dataclass(frozen=True, slots=True)
class _Cell:
    text: str
    sort: str
    css: str = ""


def _table(story: Story) -> dict[str, Any]:
    shown, best = _best_rows(story), tables.best(story)
    names = [name for name in story.space.names if any(name in trial.config for trial in shown)]
    columns = [("trial", True), ("state", False), (words.spelled(story.metric), True), ("steps", True)]
    columns += [("cost", True), ("verdict", False), ("purpose", False)]
    rows = [
        {"trial": trial.id, "chosen": best is not None and trial.id == best.id, "cells": _cells(story, trial, names)}
        for trial in shown
    ]
    return {
        "caption": _table_caption(story, len(shown)),
        "columns": [_Column(*column) for column in columns] + [_Column(name, False) for name in names],
        "rows": rows,
    }


def _best_rows(story: Story) -> list[Trial]:
    return list(story.best_first[:_MOST_ROWS])


def _table_caption(story: Story, shown: int) -> str:
    if not shown:
        return "None yet."
    told = "Click on a column's name to sort by it."
    left_out = len(story.trials) - shown
    if left_out:
        told = f"The best {shown:,} of {len(story.trials):,} trials; {left_out:,} are left out. {told}"
    return told


def _cells(story: Story, trial: Trial, names: Sequence[str]) -> list[_Cell]:
    score, bad = story.score_of(trial), trial.state in (State.DIVERGED, State.FAILED)
    cells = [
        _Cell(str(trial.id), str(trial.id), "num"),
        _Cell(trial.state.value, trial.state.value, "bad" if bad else ""),
        _Cell(*((story.told(score), repr(score)) if math.isfinite(score) else (words.NOTHING, "")), "num"),
        _Cell(f"{trial.curve.last_step:,}", str(trial.curve.last_step), "num"),
        _Cell(words.duration(trial.cost_s), repr(trial.cost_s), "num"),
        _Cell(sentences.verdict(story, trial), story.headline(trial), "long"),
        _Cell(trial.purpose.value, trial.purpose.value),
    ]
    for name in names:
        value = trial.config.get(name)
        text = words.setting(value) if name in trial.config else words.NOTHING
        plain = isinstance(value, (int, float)) and not isinstance(value, bool)
        cells.append(_Cell(text, repr(value) if plain else text if name in trial.config else ""))
    return cells


def _known(story: Story, read: Sequence[int]) -> dict[str, Any]:
    """What the page's script tells of each trial that can be pointed at, those that are ``read`` among them."""
    shown = {*read} | {trial.id for trial in [*_best_rows(story), *charts.drawn(story), *charts.placed(story)]}
    return {str(trial.id): _card(story, trial) for trial in story.trials if trial.id in shown}


def _card(story: Story, trial: Trial) -> list[Any]:
    score = story.score_of(trial)
    told = f"{words.spelled(story.metric)} {story.told(score)}" if math.isfinite(score) else ""
    found = story.verdicts.get(trial.id, ())
    said = f"{found[0].name} ({found[0].confidence.value}): {found[0].sentence}" if found else ""
    title = f"Trial {trial.id} · {trial.state.value} · {words.plural(trial.curve.last_step, 'step')}"
    return [title, told, said, tables.configuration_rows(story, trial.config)]


def _parameters(story: Story) -> dict[str, Any]:
    columns = ("name", "shape", "count", "bytes", "initialisation", "decided_by")
    rows = [[_parameter_text(name, row.get(name)) for name in columns] for row in story.parameters]
    count = sum(int(row.get("count") or 0) for row in story.parameters)
    caption = f"What training sets: {count:,} numbers in the winner's net." if count else "What training sets."
    return {"columns": [name.replace("_", " ") for name in columns], "rows": rows, "caption": caption}


def _parameter_text(column: str, value: Any) -> str:
    if value is None:
        return words.NOTHING
    if column == "shape" and isinstance(value, (list, tuple)):
        return f" {words.TIMES} ".join(str(each) for each in value)
    if column == "bytes":
        return words.size(int(value))
    return words.setting(value)


def _facts(story: Story) -> list[tuple[str, list[tuple[str, str]]]]:
    groups: dict[str, list[tuple[str, str]]] = {}
    if story.facts:
        groups["Data"] = _pairs(story.facts)
    if same := tables.fixed(story):
        groups["The same in every trial"] = same
    for name, value in story.environment.items():
        grouped = isinstance(value, Mapping)
        title = words.spelled(str(name)).capitalize() if grouped else "Environment"
        groups.setdefault(title, []).extend(_pairs(value if grouped else {name: value}))
    return [(title, rows) for title, rows in groups.items() if rows]


def _pairs(rows: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(words.spelled(str(name)), words.fact(value)) for name, value in rows.items()]


def _notes(story: Story) -> dict[str, Any] | None:
    if not story.notes:
        return None
    columns = list(dict.fromkeys(name for note in story.notes for name in note))
    rows = [[words.fact(note.get(name)) for name in columns] for note in story.notes]
    return {"columns": columns, "rows": rows}


def _scripts(*, live: bool) -> list[str]:
    return [_asset("script.js"), *([_asset("live.js")] if live else [])]


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _with_code(text: str) -> Markup:
    """What stands between backticks as code; everything escaped."""
    from markupsafe import Markup, escape

    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        return escape(text)
    return Markup().join(  # the odd pieces stood between two backticks
        Markup("<code>{}</code>").format(piece) if position % 2 else piece for position, piece in enumerate(pieces)
    )


@cache
def _asset(name: str) -> str:
    return resources.files("ayar.reports").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def _template(name: str = "report.html.j2") -> Template:
    from jinja2 import Environment, StrictUndefined  # here, so that commands without a page start sooner

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["code"] = _with_code
    return environment.from_string(_asset(name))
