import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from tests.reports.stories import SPACE, score, story

from ayar.records import Advice, Curve, Measurement, Metric, Purpose, Score, ScoreKind, Trial, Winner
from ayar.reports import page
from ayar.reports.page import render
from ayar.reports.tables import Story
from ayar.space import Choice, Float, Space

VOID = {"meta", "input", "circle", "line", "rect", "path", "br"}


class Reader(HTMLParser):
    """Reads a page as a browser would: its tags, its visible text, and whether every tag is closed."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.open, self.words = [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def having(self, css):
        return [attributes for _, attributes in self.tags if css in attributes.get("class", "").split()]


def test_the_page_says_the_winner_in_words_each_score_with_its_kind():
    text = Reader(render(story(60))).text

    assert "1.83 % Validation error fresh-seed, mean of 8 seeds, 95 % interval 1.66 % to 2.00 %" in text
    assert "Search-best (optimistic): 1.39 %, picked from" in text
    assert "0.44 points too good." in text
    assert "Against the default it is 1.29 points better (95 % interval 1.01 points to 1.57 points" in text
    assert "On the test set: 2.14 % (test, mean of 8 seeds" in text
    assert "The runner-up reaches 1.97 % (fresh-seed" in text
    assert "The default reaches 3.12 % (fresh-seed" in text
    assert "Train 38 steps with this configuration" in text
    assert "trial 3 (0.04 points behind, 21 s a training), trial 17 (0.12 points behind" in text


def test_the_page_is_whole_and_every_tag_is_closed():
    reader = Reader(render(story(60)))

    assert reader.open == []
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in reader.tags:
        if "aria-labelledby" in attributes:
            assert attributes["aria-labelledby"] in ids


def test_the_page_loads_nothing():
    """No address of anything outside the page stands in it."""
    html = render(story(60))
    reader = Reader(html)

    assert [a for _, a in reader.tags if "src" in a or "style" in a] == []
    assert {a["href"] for _, a in reader.tags if "href" in a} == {"#main"}
    assert "url(" not in html
    assert "@import" not in html
    assert "connect-src &#39;none&#39;" in html


def test_what_a_user_wrote_never_becomes_markup():
    nasty = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    space = Space(learning_rate=Float(0.1, 1.0), activation=Choice(nasty, "relu"))
    curve = Curve((Measurement(1, 0.5, metrics={nasty: 1.0, "train_loss": 0.1}),))
    trials = tuple(
        Trial(k, {"learning_rate": 0.1 + 0.1 * k, "activation": a}, k, curve=curve, error=e)
        for k, (a, e) in enumerate([(nasty, None), ("relu", None), (nasty, nasty)])
    )
    told = Story(
        nasty,
        nasty,
        1,
        space,
        trials,
        advice=[nasty, Advice(nasty, nasty, changes={nasty: nasty})],
        parameters=[{"name": nasty, "shape": nasty}],
        environment={nasty: {nasty: nasty}},
        notes=[{nasty: nasty}],
        facts={nasty: nasty},
    )

    reader = Reader(render(told))

    assert [tag for tag, _ in reader.tags if tag == "img"] == []
    assert len([tag for tag, _ in reader.tags if tag == "script"]) == 2
    assert not [a for _, attributes in reader.tags for a in attributes if a.startswith("on")]
    assert reader.open == []


def test_the_policy_names_the_very_scripts_and_styles_of_the_page():
    """Only their hashes are allowed; a changed letter would leave the page without them."""
    html = render(story(3))
    bodies = [
        *re.findall(r"<style>(.*?)</style>", html, re.DOTALL),
        *re.findall(r"<script>(.*?)</script>", html, re.DOTALL),
    ]

    assert len(bodies) == 2
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', html)[1].replace("&#39;", "'")
    assert policy == page.policy()
    assert all(page._hash(body) in policy for body in bodies)


def test_a_study_without_trials_has_a_page():
    text = Reader(render(Story("new", "valid_error", 50, SPACE))).text

    assert "Nothing has been trained yet" in text
    assert "0 trials" in text


def test_a_single_trial_with_a_single_measurement_has_a_page():
    curve = Curve((Measurement(1, 0.25, metrics={"valid_error": 0.25, "train_loss": 0.0}),))
    config = SPACE.default()

    html = render(Story("one", "valid_error", 50, SPACE, (Trial(0, config, 1, curve=curve),)))

    assert "25.0 %" in html
    assert "No winner yet" in html
    assert 'class="plot slice"' not in html  # nothing to compare


def test_a_study_in_which_everything_diverged_says_so_and_shows_the_crosses():
    trials = tuple(
        Trial(k, {"learning_rate": 0.1 * (k + 1)}, k, curve=Curve((Measurement(0, 0.9), Measurement(1, math.nan))))
        for k in range(5)
    )

    reader = Reader(render(Story("bad", "valid_error", 9, Space(learning_rate=Float(0.1, 1)), trials)))

    assert "All trials diverged or failed" in reader.text
    assert len(reader.having("x")) == 5 * 2  # in one figure of curves and in one slice


def test_a_winner_without_any_readings_has_a_page():
    told = replace(story(5), winner=Winner(0, {"learning_rate": 0.1}, 3, "valid_error", scores={}))

    assert "Winner · trial 0" in Reader(render(told)).text


def test_scores_that_are_not_finite_are_told_and_not_drawn():
    broken = Score(ScoreKind.TEST, math.nan, math.nan, math.inf, (math.nan, 0.1))
    fresh = score(ScoreKind.FRESH_SEED, 0.02, 0.01, 5)
    winner = Winner(0, {}, 3, "valid_error", {ScoreKind.FRESH_SEED: fresh, ScoreKind.TEST: broken})

    reader = Reader(render(replace(story(5), winner=winner)))

    assert "On the test set: NaN (test, 2 seeds)." in reader.text
    assert len(reader.having("mean")) == 1
    assert not [a for _, a in reader.tags if "nan" in a.get("cx", "") or "nan" in a.get("d", "")]


def test_a_maximised_metric_is_shown_in_its_own_sign():
    html = render(story(40, maximize=True))
    text = Reader(html).text

    assert "98.2 % Validation accuracy" in text
    assert "Higher is better" in text
    assert ">-" not in html.replace("-->", "")


def test_a_very_large_study_stays_small_and_says_what_it_left_out():
    html = render(story(5000))
    reader = Reader(html)

    assert len(html) < 3_000_000
    assert "The best 500 of 5,000 trials; 4,500 are left out." in reader.text
    assert "150 of 4,999 curves are drawn" in reader.text
    assert "400 of 5,000 trials are drawn" in reader.text
    assert len(re.findall(r"<tr data-t", html)) == 500


def test_every_mark_of_a_trial_can_be_explained_by_the_page():
    html = render(story(1500))

    known = json.loads(re.search(r'id="trials">(.*?)</script>', html, re.DOTALL)[1])
    assert set(re.findall(r'data-t="(\d+)"', html)) <= set(known)
    assert known["0"][0].startswith("Trial 0 · ")


def test_diverged_and_failed_trials_stand_in_the_slices():
    told = story(40)
    bad = [t for t in told.trials if t.diverged or t.error]

    html = render(told)

    first_slice = html[html.index('class="plot slice"') :].split("</svg>")[0]
    crossed = re.findall(r'class="x [^"]*" data-t="(\d+)"', first_slice)
    assert sorted(map(int, crossed)) == [t.id for t in bad]


def test_confirmation_trials_are_in_the_table_and_not_among_the_curves():
    confirming = replace(story(1).trials[0], id=900, purpose=Purpose.FINALISE)
    told = replace(story(10, winner=False), trials=(*story(10).trials, confirming))

    html = render(told)

    assert '<tr data-t="900"' in html
    assert '<path class="l c0" data-t="900"' not in html
    assert "10 curves" not in html  # one failed without a measurement
    assert "9 curves." in html


def test_missing_and_non_finite_numbers_in_a_curve_are_drawn_as_far_as_they_go():
    curve = Curve(
        (
            Measurement(1, 0.9, metrics={"train_probe": 2.0}),
            Measurement(2, 0.8),
            Measurement(3, 0.7, metrics={"train_probe": math.inf}),
        )
    )
    told = Story(
        "gaps",
        "valid_error",
        3,
        Space(learning_rate=Float(0.1, 1)),
        (Trial(0, {"learning_rate": 0.1}, 0, curve=curve),),
    )

    reader = Reader(render(told))

    assert len(reader.having("l")) > 0
    assert not re.search(r'="[^"]*\b(nan|inf)\b', render(told))


@pytest.mark.parametrize("live", [None, "abc"])
def test_only_a_served_page_asks_for_news(live):
    html = render(story(3), live=live)

    assert ("fetch(" in html) is (live is not None)
    assert ("connect-src &#39;self&#39;" in html) is (live is not None)
    assert f'data-version="{live or ""}"' in html


def test_the_same_story_gives_the_same_page():
    assert render(story(30)) == render(story(30))


def test_backticks_in_advice_become_code_and_a_lone_one_stays():
    html = render(replace(story(3), advice=["run `ayar <x>` now", "a lone ` here"]))

    assert "run <code>ayar &lt;x&gt;</code> now" in html
    assert "a lone ` here" in html


def test_a_winner_without_advice_still_says_what_to_do_next():
    text = Reader(render(replace(story(5), advice=()))).text

    assert "What to do next The winner's curve asks for no change." in text
    assert "ayar recheck digits.db" in text


def test_facts_of_one_group_stand_together():
    told = replace(story(3), facts={"rows": 10}, environment={"data": {"warnings": []}, "host": "here"})

    text = Reader(render(told)).text

    assert "Data rows 10 warnings none" in text
    assert "Environment host here" in text


def test_the_front_of_several_objectives_stands_on_the_page_as_picture_and_table():
    """Three of five trials are on it; one measured nothing of the second objective, one is beaten in both."""
    pairs = [(0.1, 900.0), (0.2, 400.0), (0.3, 100.0), (0.4, 500.0), (0.5, math.nan)]
    trials = tuple(
        Trial(n, {"learning_rate": 0.1 * (n + 1)}, n, ended=True, target_step=1,
              curve=Curve((Measurement(1, error, 1.0, {"valid_error": error, "parameters": size}),)))
        for n, (error, size) in enumerate(pairs)
    )  # fmt: skip
    objectives = (Metric("valid_error"), Metric("parameters"))
    space = Space(learning_rate=Float(0.01, 1.0))
    told = Story("two", "valid_error", 1, space, trials, objectives=objectives, front=trials[:3])

    html = render(told)

    section = html[html.index('<h2 id="front">') :].split("</section>")[0]
    assert "3 trials that no other beats in everything" in section
    assert sorted(re.findall(r'class="p c\d+ chosen" data-t="(\d+)"', section)) == ["0", "1", "2"]
    assert re.findall(r'<tr data-t="(\d+)"', section) == ["0", "1", "2"]
    assert "900" in section
    assert Reader(html).open == []
    assert 'id="front"' not in render(replace(told, front=()))
