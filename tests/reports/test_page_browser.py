"""The page as a person meets it: in a real browser, without a network."""

from dataclasses import replace

import pytest
from tests.reports.chromium import chromium, watched_page
from tests.reports.stories import story

from ayar.reports.page import render

pytestmark = pytest.mark.browser

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "digits.html"
    path.write_text(render(story(80)), encoding="utf-8")
    return path


@pytest.fixture
def page(browser, report):
    """The report, opened at desktop size; nothing may have gone wrong by the end of the test."""
    with watched_page(browser, viewport=DESKTOP) as (page, faults, requests):
        page.goto(report.as_uri())
        yield page
        assert faults == []
        assert requests == [report.as_uri()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_page_is_drawn_without_fault_or_request_and_fits_its_window(browser, report, viewport, scheme):
    with watched_page(browser, viewport=viewport, color_scheme=scheme) as (page, faults, requests):
        page.goto(report.as_uri())

        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        for css in ("svg.curves", "svg.slice", "svg.intervals", "svg.legend"):
            figure = page.locator(f"{css} >> visible=true").first
            box = figure.bounding_box()
            assert box["width"] > 100
            assert box["height"] > 20
            assert box["x"] + box["width"] <= viewport["width"]
        lengths = page.eval_on_selector_all("svg.curves path.l", "paths => paths.map(path => path.getTotalLength())")
        assert sum(length > 50 for length in lengths) > 100
        assert faults == []
        assert requests == [report.as_uri()]


def test_light_and_dark_have_papers_of_their_own(browser, report):
    papers = []
    for scheme in ("light", "dark"):
        with watched_page(browser, viewport=DESKTOP, color_scheme=scheme) as (page, _, _):
            page.goto(report.as_uri())
            papers.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    assert papers == ["rgb(252, 252, 250)", "rgb(20, 22, 26)"]


def on_screen(page, mark):
    """The place on the screen of a path's middle."""
    return page.evaluate(
        """css => {
            const path = document.querySelector(css);
            path.ownerSVGElement.scrollIntoView({ block: "center" });
            const middle = path.getPointAtLength(path.getTotalLength() / 2);
            const { x, y } = new DOMPoint(middle.x, middle.y).matrixTransform(path.getScreenCTM());
            return [x, y];
        }""",
        mark,
    )


def test_pointing_at_a_curve_tells_its_trial_and_lights_it_up_everywhere(page):
    winner = story(80).winner.trial

    page.mouse.move(*on_screen(page, f"svg.curves path.l[data-t='{winner}']"))

    card = page.locator("#card")
    assert card.is_visible()
    text = card.inner_text()
    assert f"Trial {winner} · completed · 50 steps" in text
    assert "falling well (medium): The cost falls fast, then settles." in text
    assert "learning_rate" in text
    lit = page.eval_on_selector_all(".on", "marks => [...new Set(marks.map(mark => mark.dataset.t))]")
    assert lit == [str(winner)]
    assert page.locator("svg.slice .on").count() >= 8

    page.mouse.move(5, 5)
    assert card.is_hidden()
    assert page.locator(".on").count() == 0


def test_the_card_stays_inside_the_window(page):
    """Also for the marks at the right edge."""
    on_screen(page, "svg.curves path.l.chosen")
    box = page.locator("svg.curves >> visible=true").nth(1).bounding_box()

    page.mouse.move(box["x"] + box["width"] - 16, box["y"] + box["height"] * 0.8)

    card = page.locator("#card").bounding_box()
    assert card["x"] >= 0
    assert card["x"] + card["width"] <= DESKTOP["width"]
    assert card["y"] + card["height"] <= DESKTOP["height"]


def test_the_curves_can_be_walked_through_with_the_keyboard(page):
    page.locator("svg.curves >> visible=true").first.focus()
    titles = []
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
        titles.append(page.locator("#card strong").inner_text().split(" ·")[0])

    assert titles == ["Trial 0", "Trial 1", "Trial 0"]
    page.keyboard.press("Escape")
    assert page.locator("#card").is_hidden()


def test_a_click_on_a_column_sorts_by_it_and_a_second_one_turns_the_order_round(page):
    head = page.get_by_role("columnheader", name="learning_rate")
    column = head.evaluate("head => head.cellIndex")
    read = "(rows, column) => rows.map(row => row.cells[column].dataset.v)"

    head.get_by_role("button").click()
    rising = [float(v) for v in page.eval_on_selector_all("table.trials tbody tr", read, column)]
    head.get_by_role("button").click()
    falling = [float(v) for v in page.eval_on_selector_all("table.trials tbody tr", read, column)]

    assert len(rising) == 80
    assert rising == sorted(rising) != falling
    assert falling == sorted(falling, reverse=True)
    assert head.get_attribute("aria-sort") == "descending"


def test_missing_scores_stay_at_the_end_in_both_orders(page):
    head = page.get_by_role("columnheader", name="validation error")
    for _ in range(2):
        head.get_by_role("button").click()
        states = page.eval_on_selector_all("table.trials tbody tr", "rows => rows.map(row => row.cells[1].innerText)")
        assert set(states[-13:]) == {"diverged", "failed"}


def test_the_scale_can_be_switched_between_log_and_linear(page):
    figure = page.locator("figure", has=page.locator("svg.curves")).first
    assert figure.locator(".drawing.log").is_visible()
    assert figure.locator(".drawing.linear").is_hidden()

    figure.get_by_text("linear", exact=True).click()

    assert figure.locator(".drawing.log").is_hidden()
    assert figure.locator(".drawing.linear").is_visible()


def test_a_tap_on_a_phone_tells_the_nearest_trial(browser, report):
    with watched_page(browser, viewport=PHONE, has_touch=True, is_mobile=True) as (page, faults, _):
        page.goto(report.as_uri())
        page.touchscreen.tap(*on_screen(page, "svg.curves path.l.chosen"))

        card = page.locator("#card")
        assert card.is_visible()
        assert card.bounding_box()["x"] + card.bounding_box()["width"] <= PHONE["width"]
        assert faults == []


def test_hostile_words_are_shown_as_words(browser, tmp_path):
    nasty = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    path = tmp_path / "nasty.html"
    path.write_text(render(replace(story(20), name=nasty, advice=[nasty], facts={nasty: nasty})), encoding="utf-8")
    with watched_page(browser, viewport=DESKTOP) as (page, faults, requests):
        page.goto(path.as_uri())

        assert page.title() == f"{nasty} · Ayar"
        assert nasty in page.locator("main").inner_text()
        assert faults == []
        assert requests == [path.as_uri()]


def test_a_large_study_answers_the_pointer(browser, tmp_path):
    path = tmp_path / "large.html"
    path.write_text(render(story(5000)), encoding="utf-8")
    with watched_page(browser, viewport=DESKTOP) as (page, faults, _):
        page.goto(path.as_uri())
        page.mouse.move(*on_screen(page, "svg.curves path.l.chosen"))

        assert page.locator("#card").is_visible()
        assert faults == []
