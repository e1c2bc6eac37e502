import asyncio
import json
import re
from dataclasses import replace

import httpx
import pytest
from tests.reports.stories import story

from ayar.reports.page import render
from ayar.web.app import app, version

STORY = story(30)


class Client:
    """Asks the dashboard without a network in between."""

    def __init__(self, read_story):
        self.app = app(read_story)

    def request(self, method, path, headers=None):
        async def ask():
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
                return await client.request(method, path, headers=headers)

        return asyncio.run(ask())

    def get(self, path, headers=None):
        return self.request("GET", path, headers)


@pytest.fixture
def client():
    return Client(lambda: STORY)


def strict(text):
    """JSON as programs of other languages read it: no NaN, no Infinity."""
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def test_the_first_page_is_the_report_and_follows_its_study(client):
    answer = client.get("/")

    assert answer.status_code == 200
    assert answer.text == render(STORY, live=version(STORY))


def test_the_study_is_told_with_its_winner_and_a_version(client):
    told = strict(client.get("/api/study").text)

    assert told["version"] == version(STORY)
    assert (told["name"], told["metric"], told["maximize"], told["horizon"]) == ("digits", "valid_error", False, 50)
    assert told["winner"]["scores"]["fresh-seed"]["mean"] == 0.0183
    assert sum(told["states"].values()) == 30


def test_every_trial_has_a_row_and_an_address_with_its_curve(client):
    rows = strict(client.get("/api/trials").text)
    diverged = next(row for row in rows if row["state"] == "diverged")

    trial = strict(client.get(f"/api/trials/{diverged['trial']}").text)

    assert len(rows) == 30
    assert {key: trial[key] for key in diverged} == diverged
    assert trial["curve"][-1]["loss"] is None
    assert trial["verdicts"][0]["name"] == "diverging"


def test_an_unknown_trial_is_not_found_and_the_answer_says_which(client):
    answer = client.get("/api/trials/999")

    assert answer.status_code == 404
    assert answer.json() == {"error": "This study has no trial 999."}


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/", "/api/study", "/api/trials", "/api/trials/0"])
def test_nothing_can_be_changed(client, method, path):
    assert client.request(method, path).status_code == 405


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", ""])
def test_a_request_that_names_another_host_is_refused(client, host):
    """Otherwise a foreign page could point its own name at this machine and read the study (DNS rebinding)."""
    answer = client.get("/api/study", headers={"host": host})

    assert answer.status_code == 400
    assert "digits" not in answer.text


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:9"])
def test_this_machine_is_served_under_its_own_names(client, host):
    assert client.get("/api/study", headers={"host": host}).status_code == 200


def test_no_other_origin_may_read_the_answers(client):
    answer = client.get("/api/study", headers={"origin": "http://evil.example"})

    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store"


def test_the_page_comes_with_a_policy_that_allows_its_own_script_and_server_only(client):
    answer = client.get("/")

    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert len(re.findall(r"'sha256-", policy)) == 3


def test_the_version_moves_with_the_study_and_only_then():
    more = story(31)

    assert version(story(30)) == version(STORY)
    assert version(more) != version(STORY)
    assert version(replace(STORY, winner=None)) != version(STORY)


def test_each_request_reads_the_study_anew():
    told = [story(3), story(4)]
    client = Client(lambda: told.pop(0))

    counts = [len(client.get("/api/trials").json()) for _ in range(2)]

    assert counts == [3, 4]
