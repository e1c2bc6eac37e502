"""What only a server can get wrong; the promises of every ledger are in ``test_store.py``."""

import builtins
import socket
import threading

import pytest
from tests.conftest import emptied, execute

from ayar.errors import LedgerError, MissingExtra
from ayar.ledger import Ledger
from ayar.ledger.pages import Claim, Seen
from ayar.ledger.reading import news
from ayar.records import Measurement, Move
from ayar.space import Float, Space
from ayar.study import Study


@pytest.fixture
def url(postgres_ledger):
    """An empty ledger."""
    return emptied(postgres_ledger)


@pytest.fixture
def schema(postgres):
    """An empty schema, and nothing in it."""
    execute(postgres, "DROP SCHEMA IF EXISTS empty CASCADE", "CREATE SCHEMA empty")
    return f"{postgres}?options=-csearch_path%3Dempty"


def refusal(url, **how):
    with pytest.raises(LedgerError) as caught:
        Ledger.open(url, **how)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_driver_that_is_not_named_is_psycopg(url):
    with Ledger.open(url.replace("postgresql+psycopg", "postgresql")) as ledger:
        assert ledger.where.startswith("postgresql+psycopg://")


def test_without_the_driver_it_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name == "psycopg":
            raise ModuleNotFoundError("No module named 'psycopg'", name="psycopg")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingExtra, match=r"pip install 'ayar\[postgres\]'"):
        Ledger.open("postgresql://ann@host/ayar")


def test_a_password_stands_in_no_message_and_in_no_report(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    secret = url.replace("ayar@", "ayar:hunter2@")
    assert "hunter2" not in refusal(secret.replace("127.0.0.1", "nowhere.invalid"))
    with Study(secret, space=Space(x=Float(0.0, 1.0)), minimize="error") as study:
        study.tune(lambda config, seed: config["x"], trials=2, workers=0, progress=False)
        page = study.report("report.html").read_text()
    assert "hunter2" not in page + "".join(map(str, tmp_path.rglob("*")))
    assert "hunter2" not in study.where


def test_a_server_that_does_not_run_and_a_database_that_is_not_there_are_named(url):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]  # taken, but nobody listens
        assert "Check that the server runs" in refusal(f"postgresql://ayar@127.0.0.1:{port}/postgres")
    assert "does not exist" in refusal(url.replace("/postgres", "/nowhere"))


def test_a_missing_ledger_is_not_made_for_reading(schema):
    assert "it holds no table" in refusal(schema, create=False)


def test_tables_of_others_may_stay_beside_a_ledger_unless_their_names_clash(schema):
    execute(schema, "CREATE TABLE songs (title TEXT)")
    Ledger.open(schema).close()
    execute(schema, "DROP TABLE ayar_migrations")
    assert "something else lives there, with tables endings" in refusal(schema)


def test_a_move_whose_number_is_smaller_but_that_commits_later_is_not_missed(url):
    """Numbers are given before a commit; whoever read a greater one would never look for the smaller."""
    with Ledger.open(url) as one, Ledger.open(url) as other:
        study = one.create_study("digits", {})
        trials = [one.add_trial(study, {}, seed) for seed in range(2)]
        asked, waiting = threading.Event(), threading.Event()

        def slow():
            with one.claiming(study):
                one.add_move(study, Move(trials[0], {}, 0, 0, 1))
                asked.set()
                waiting.wait(0.5)

        thread = threading.Thread(target=slow)
        thread.start()
        asked.wait()
        other.add_move(study, Move(trials[1], {}, 1, 0, 1))
        with other.reading() as connection:
            seen = news(connection, study, Seen()).moves
        thread.join()
        assert [row.trial for row in seen] == trials


def test_an_append_and_a_takeover_at_the_same_time_come_one_after_the_other(url):
    """Whoever takes over sees every measurement that was accepted before."""
    with Ledger.open(url) as one, Ledger.open(url) as other:
        study = one.create_study("digits", {})
        move = Move(one.add_trial(study, {}, 0), {}, 0, 0, 9)
        claim = Claim(one.add_move(study, move), one.session)
        held = []

        def take_over():
            other.add_move(study, move)
            held.extend(m.step for m in other.curve(study, 0))

        thread = threading.Thread(target=take_over)
        with one.writing():  # whose commit is late
            one.add_measurements(study, 0, [Measurement(1, 0.5)], claim=claim)
            thread.start()
            thread.join(0.3)
        thread.join()
        assert held == [1]


def test_a_connection_that_was_cut_loses_nothing_and_comes_back(url):
    with Ledger.open(url) as ledger:
        study = ledger.create_study("digits", {})
        ledger.add_trial(study, {}, 0)
        ledger.add_measurements(study, 0, [Measurement(1, 0.5)])
        others = "pid <> pg_backend_pid() AND datname = current_database()"
        execute(url, f"SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE {others}")
        with pytest.raises(LedgerError, match="What was written before is safe"):
            ledger.add_measurements(study, 0, [Measurement(2, 0.4)])
        ledger.add_measurements(study, 0, [Measurement(2, 0.4)])
        assert [m.step for m in ledger.curve(study, 0)] == [1, 2]
