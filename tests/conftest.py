"""What tests of several rooms share."""

import itertools

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import create_engine, text
from tests.postgres import server

from ayar.ledger import Ledger
from ayar.ledger.schema import TABLES

collect_ignore_glob = ["*/data/*"]  # fixtures, and the scripts that wrote them with other tools
_NUMBERS = itertools.count()

# How long an example takes says how busy the machine is, and breaks no promise. All else is as hypothesis has it: other
# examples each time, and where CI is set the same ones each time.
settings.register_profile("unhurried", settings(deadline=None, suppress_health_check=[HealthCheck.too_slow]))
settings.load_profile("unhurried")


def execute(url, *statements):
    """Run statements in a server, and commit them."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


@pytest.fixture(scope="session")
def postgres():
    """The URL of a PostgreSQL server that lives as long as the tests."""
    with server() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_ledger(postgres):
    """The URL of a ledger in that server."""
    Ledger.open(postgres).close()
    return postgres


def emptied(url):
    """The ledger at this URL, without rows and with all numbers from 1 on: quicker than new tables."""
    tables = [table for table in reversed(TABLES.sorted_tables) if table.name != "ayar_migrations"]
    counted = [table for table in tables if "id" in table.c and table.name != "sessions"]
    execute(
        url,
        *(f"DELETE FROM {table}" for table in tables),
        *(f"ALTER SEQUENCE {table}_id_seq RESTART" for table in counted),
    )
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request, tmp_path):
    """An empty ledger, or the place for one: a file, and a database of a server."""
    if request.param == "sqlite":
        return tmp_path / "study.db"
    return emptied(request.getfixturevalue("postgres_ledger"))


@pytest.fixture(params=["sqlite", "postgresql"])
def new_store(request, tmp_path):
    """A place where there is no ledger yet."""
    if request.param == "sqlite":
        return tmp_path / "study.db"
    name = f"new_{next(_NUMBERS)}"
    url = request.getfixturevalue("postgres")
    execute(url, f"CREATE SCHEMA {name}")
    return f"{url}?options=-csearch_path%3D{name}"
