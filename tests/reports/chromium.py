"""A real browser that may not reach a network, for the tests of pages."""

import os
import shutil
from contextlib import contextmanager

import pytest
from playwright.sync_api import sync_playwright

PATH = "/usr/bin/chromium"
PATIENCE_MS = 120_000  # a busy machine may take its time to start it, or to lay out a large page
FLAGS = (
    "--no-sandbox",  # the tests may run as root in a container
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@contextmanager
def chromium():
    """Debian's Chromium; skips the test where it is missing, but fails where CI is set."""
    if shutil.which(PATH) is None:
        missing = f"{PATH} is not installed: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PATH, args=list(FLAGS), timeout=PATIENCE_MS)
        yield browser
        browser.close()


@contextmanager
def watched_page(browser, *, offline=True, **options):
    """A page together with the list of everything that goes wrong on it and every address that it asks for."""
    context = browser.new_context(offline=offline, **options)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    faults, requests = [], []
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    yield page, faults, requests
    context.close()
