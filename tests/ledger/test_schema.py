import math
import shutil
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text

from ayar.ledger import Ledger
from ayar.ledger.schema import MIGRATIONS, migrate, version
from ayar.records import State

DATA = Path(__file__).parent / "data"


@pytest.fixture
def engine():
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        migrate(connection)
    yield engine
    engine.dispose()


def add_colour(connection):
    connection.execute(text("ALTER TABLE studies ADD COLUMN colour TEXT"))


def break_halfway(connection):
    connection.execute(text("CREATE TABLE half (id INTEGER)"))
    raise RuntimeError("the lights went out")


def test_a_new_ledger_notes_each_migration_by_name(engine):
    with engine.begin() as connection:
        rows = connection.execute(text("SELECT version, name FROM ayar_migrations ORDER BY version")).all()
    assert rows == [(number, step.__name__) for number, step in enumerate(MIGRATIONS, start=1)]
    assert rows[0] == (1, "first_tables")


def test_migrating_twice_changes_nothing(engine):
    with engine.begin() as connection:
        migrate(connection)
        assert version(connection) == len(MIGRATIONS)


def test_an_older_ledger_goes_through_the_steps_it_lacks(engine):
    """The step runs once, and the note that it ran is there with it."""
    for _ in range(2):
        with engine.begin() as connection:
            migrate(connection, (*MIGRATIONS, add_colour))
    with engine.begin() as connection:
        assert "colour" in {column["name"] for column in inspect(connection).get_columns("studies")}
        names = connection.scalars(text("SELECT name FROM ayar_migrations ORDER BY version")).all()
    assert names == [*(step.__name__ for step in MIGRATIONS), "add_colour"]


def test_a_migration_that_fails_leaves_the_ledger_as_it_was(tmp_path):
    path = tmp_path / "study.db"
    with Ledger.open(path) as ledger:
        with pytest.raises(RuntimeError, match="lights"), ledger.writing() as connection:
            migrate(connection, (*MIGRATIONS, break_halfway))
        with ledger.reading() as connection:
            assert version(connection) == len(MIGRATIONS)
            assert not inspect(connection).has_table("half")


@pytest.mark.parametrize("held", range(1, len(MIGRATIONS) + 1))
def test_a_ledger_of_every_released_version_opens_and_says_the_same(held, tmp_path):
    path = tmp_path / "old.db"
    shutil.copy(DATA / f"version_{held}.db", path)

    with Ledger.open(path) as ledger:
        study = ledger.find_study("digits")
        done, diverged, failed = ledger.trials(study.id)
        (note,) = ledger.notes(study.id)

    assert study.spec == {"minimize": "valid_error", "horizon": 3}
    assert (done.config, done.seed) == ({"learning_rate": 0.1, "hidden_units": [32, 16]}, 11)
    assert [m.loss for m in done.curve] == [1.0, 0.5, 1 / 3]
    assert (done.state, done.cost_s) == (State.COMPLETED, 1.5)
    assert math.isnan(diverged.curve.measurements[0].loss)
    assert diverged.curve.measurements[0].metrics == {"valid_error": math.inf}
    assert diverged.state is State.DIVERGED
    assert (failed.state, failed.error, failed.cost_s) == (State.FAILED, "RuntimeError: out of memory", 1.25)
    assert (note.kind, note.body) == ("winner", {"trial": 0})


@pytest.mark.parametrize("held", range(1, len(MIGRATIONS) + 1))
def test_an_upgraded_ledger_has_the_tables_of_a_new_one(held, tmp_path):
    shutil.copy(DATA / f"version_{held}.db", tmp_path / "old.db")
    assert shape(tmp_path / "old.db") == shape(tmp_path / "new.db")


def shape(path):
    """Every table with its columns and its keys."""
    with Ledger.open(path) as ledger, ledger.reading() as connection:
        tables = inspect(connection)
        return {
            table: (
                {column["name"]: (str(column["type"]), column["nullable"]) for column in tables.get_columns(table)},
                tables.get_pk_constraint(table)["constrained_columns"],
            )
            for table in tables.get_table_names()
        }
