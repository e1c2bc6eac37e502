"""The dashboard as it runs: a real server and a real browser."""

import socket
import threading

import pytest
import uvicorn
from playwright.sync_api import expect
from tests.reports.chromium import PATIENCE_MS, chromium, watched_page
from tests.reports.stories import story

from ayar.web.app import app

pytestmark = pytest.mark.browser


class Served:
    """A study that grows while it is served."""

    def __init__(self):
        self.count = 10
        self.server = uvicorn.Server(uvicorn.Config(app(self.read), log_level="error"))

    def read(self):
        return story(self.count)


@pytest.fixture
def served():
    study = Served()
    listening = socket.create_server(("127.0.0.1", 0))  # whoever connects before the server runs waits in its queue
    study.address = f"http://127.0.0.1:{listening.getsockname()[1]}/"
    thread = threading.Thread(target=study.server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield study
    study.server.should_exit = True
    thread.join()
    listening.close()


def test_the_page_renews_itself_when_the_study_has_grown(served):
    with chromium() as browser, watched_page(browser, offline=False) as (page, faults, requests):
        page.goto(served.address)
        assert page.locator("table.trials tbody tr").count() == 10

        by_steps = page.locator("table.trials th button", has_text="steps")
        by_steps.click()
        by_steps.click()
        served.count = 14

        expect(page.locator("table.trials tbody tr")).to_have_count(14, timeout=PATIENCE_MS)
        assert page.locator("table.trials th[aria-sort=descending]").inner_text().startswith("steps")
        assert page.locator("header .sum").inner_text().startswith("14 trials")
        page.locator("svg.curves >> visible=true").first.focus()
        page.keyboard.press("ArrowLeft")
        assert page.locator("#card strong").inner_text().startswith("Trial 13 ·")
        assert page.locator("#live").inner_text() == "live"
        assert faults == []
        assert all(request.startswith(served.address) for request in requests)


def test_the_page_says_so_when_its_server_is_gone(served):
    with chromium() as browser, watched_page(browser, offline=False) as (page, _, _):
        page.goto(served.address)

        served.server.should_exit = True

        expect(page.locator("#live")).to_have_text("not connected", timeout=PATIENCE_MS)
        assert page.locator("table.trials tbody tr").count() == 10  # what is known stays to be read
