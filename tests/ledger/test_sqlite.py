"""A ledger that cannot be opened, read or written says so in one clear line."""

import os
import shutil
import sqlite3
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest

from ayar.errors import LedgerError
from ayar.ledger import Ledger
from ayar.ledger.schema import MIGRATIONS
from ayar.records import Measurement


@pytest.fixture
def path(tmp_path):
    """A ledger with one study and one measurement, closed."""
    path = tmp_path / "study.db"
    with Ledger.open(path) as ledger:
        study = ledger.create_study("digits", {})
        ledger.add_trial(study, {}, 0)
        ledger.add_measurements(study, 0, [Measurement(1, 0.5)])
    return path


@contextmanager
def mounted(folder, *options):
    """A small file system of its own in memory; skips where mounting is not permitted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def protectable(folder):
    """A folder, and a function that makes it read-only: for root that takes a file system of its own."""
    if os.geteuid() == 0:
        with mounted(folder, "size=1m"):
            yield folder, lambda: subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    else:
        folder.mkdir()
        yield folder, lambda: folder.chmod(0o500)
        folder.chmod(0o700)


def fill(ledger, study):
    """Append until the disk refuses; every note that was acknowledged must be there."""
    for number in range(10**6):
        assert ledger.add_note(study, "fill", "x" * 1000) == number + 1


def refusal(where, **how):
    """What opening a ledger there is answered with: one line."""
    with pytest.raises(LedgerError) as caught:
        Ledger.open(where, **how)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_new_file_is_a_ledger_in_wal_mode(tmp_path):
    with Ledger.open(tmp_path / "new.db"), closing(sqlite3.connect(tmp_path / "new.db")) as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_closing_leaves_one_file(path):
    assert [file.name for file in path.parent.iterdir()] == ["study.db"]


def test_a_path_with_signs_that_urls_use_is_taken_as_it_is(tmp_path):
    path = tmp_path / "50% done? #1.db"
    Ledger.open(path).close()
    assert [file.name for file in tmp_path.iterdir()] == ["50% done? #1.db"]


def test_a_missing_ledger_is_not_made_for_reading(tmp_path):
    assert "There is no ledger" in refusal(tmp_path / "none.db", create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path):
    assert f"folder {tmp_path / 'lost'} of the ledger" in refusal(tmp_path / "lost" / "study.db")


def test_a_folder_is_no_ledger(tmp_path):
    assert "is a folder, not a ledger" in refusal(tmp_path)


def test_a_device_is_no_ledger():
    assert "is not a regular file" in refusal("/dev/full")


def test_what_the_file_system_refuses_is_said_in_one_line(tmp_path):
    assert "cannot be used" in refusal(tmp_path / ("x" * 300))


def test_garbage_is_no_ledger_and_stays_as_it_was(tmp_path):
    garbage = tmp_path / "notes.txt"
    garbage.write_text("buy milk\n" * 500)
    assert "is no ledger: it is not an SQLite file" in refusal(garbage)
    assert garbage.read_text() == "buy milk\n" * 500


def test_an_empty_file_becomes_a_ledger_only_when_one_is_to_be_made(tmp_path):
    empty = tmp_path / "empty.db"
    empty.touch()
    assert "is empty" in refusal(empty, create=False)
    Ledger.open(empty).close()
    assert empty.stat().st_size > 0


def test_an_sqlite_file_of_something_else_is_left_alone(tmp_path):
    other = tmp_path / "songs.db"
    with closing(sqlite3.connect(other)) as songs:
        songs.execute("CREATE TABLE songs (title TEXT)")
    before = other.read_bytes()
    assert "something else lives there, with tables songs" in refusal(other)
    assert other.read_bytes() == before


def test_an_sqlite_file_without_tables_is_no_ledger_to_read(tmp_path):
    with closing(sqlite3.connect(tmp_path / "bare.db")) as bare:
        bare.execute("PRAGMA user_version = 1")
    assert "holds no table" in refusal(tmp_path / "bare.db", create=False)


def test_a_damaged_ledger_is_called_damaged(path):
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 4000)
    assert "is damaged" in refusal(path)


def test_a_ledger_of_a_newer_ayar_asks_for_an_update(path):
    with closing(sqlite3.connect(path)) as ledger:
        ledger.execute("INSERT INTO ayar_migrations VALUES (99, 'of_tomorrow', '2099-01-01')")
        ledger.commit()
    assert f"has schema version 99, this Ayar knows {len(MIGRATIONS)}. Update Ayar." in refusal(path)


@pytest.mark.parametrize(
    ("url", "said"),
    [("mysql://ann:secret@host/ayar", "mysql:// is not supported"), ("://ann:secret@host", "URL cannot be read")],
)
def test_a_url_of_anything_else_is_refused_and_its_password_not_repeated(url, said):
    message = refusal(url)
    assert said in message
    assert "secret" not in message


@pytest.mark.parametrize("where", [None, "sqlite://", "sqlite:///:memory:"])
def test_a_ledger_in_memory_leaves_no_file(where, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Ledger.open(where) as ledger:
        ledger.create_study("digits", {})
        assert len(ledger.studies()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_that_stays_locked_says_so_and_works_again_afterwards(path):
    with Ledger.open(path, patience_s=0.01) as ledger, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="another process has held it locked for too long"):
            ledger.add_trial(1, {}, 0)
        assert len(ledger.trials(1)) == 1
        other.rollback()
        assert ledger.add_trial(1, {}, 0) == 1


def test_opening_waits_for_a_process_that_is_still_making_the_ledger(path):
    """Before a ledger is in WAL mode SQLite itself would give up at once."""
    with closing(sqlite3.connect(path)) as other, ThreadPoolExecutor(1) as threads:
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN IMMEDIATE")
        opening = threads.submit(Ledger.open, path)
        with pytest.raises(TimeoutError):
            opening.result(timeout=0.3)
        assert "locked for too long" in refusal(path, patience_s=0.01)
        other.rollback()
        with opening.result() as ledger:
            assert len(ledger.studies()) == 1


def test_a_ledger_at_its_size_limit_keeps_what_it_has(path):
    with Ledger.open(path) as ledger:
        with ledger.reading() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 1")
        with pytest.raises(LedgerError, match=r"the disk is full\. What was written before is safe"):
            ledger.add_note(1, "long", "x" * 100_000)
        assert ledger.notes(1) == []
        assert len(ledger.trials(1)[0].curve) == 1


def test_a_full_disk_loses_nothing_and_goes_on_once_there_is_room(tmp_path):
    with mounted(tmp_path / "small", "size=256k") as folder, Ledger.open(folder / "study.db") as ledger:
        study = ledger.create_study("digits", {})
        ballast = folder / "ballast"
        ballast.write_bytes(b"x" * 50_000)
        with pytest.raises(LedgerError, match=r"the disk is full|may be full"):
            fill(ledger, study)
        written = len(ledger.notes(study))
        assert written > 0
        ballast.unlink()
        ledger.add_note(study, "fill", "after")
        with Ledger.open(folder / "study.db") as again:
            assert len(again.notes(study)) == written + 1


def test_a_disk_without_room_refuses_a_new_ledger(tmp_path):
    with mounted(tmp_path / "small", "size=16k") as folder:
        assert "full" in refusal(folder / "study.db")


def test_a_ledger_in_a_read_only_folder_can_be_read_but_not_written(tmp_path, path):
    with protectable(tmp_path / "medium") as (folder, protect):
        shutil.copy(path, folder / "study.db")
        protect()
        with Ledger.open(folder / "study.db") as ledger:
            assert ledger.read_only
            assert [m.loss for m in ledger.trials(1)[0].curve] == [0.5]
            with pytest.raises(LedgerError, match="open for reading only"):
                ledger.add_note(1, "winner", {})


def test_a_ledger_cannot_be_made_in_a_read_only_folder(tmp_path):
    with protectable(tmp_path / "medium") as (folder, protect):
        protect()
        assert "its folder is read-only" in refusal(folder / "study.db")


def test_an_unfinished_ledger_on_a_read_only_medium_is_not_read_without_its_latest_rows(tmp_path, path):
    """Its log cannot be taken in there; what is in the file alone would be a wrong answer."""
    with protectable(tmp_path / "medium") as (folder, protect):
        with Ledger.open(path) as ledger:
            ledger.add_note(1, "winner", {})
            for name in ("study.db", "study.db-wal"):
                shutil.copy(path.with_name(name), folder / name)
        protect()
        assert "Check that the file and its folder may be read and written" in refusal(folder / "study.db")


def test_a_ledger_copied_while_in_use_opens_with_all_that_was_acknowledged(tmp_path, path):
    copy = tmp_path / "copy.db"
    with Ledger.open(path) as ledger:
        for step in range(2, 50):
            ledger.add_measurements(1, 0, [Measurement(step, 1 / step)])
        shutil.copy(path, copy)
        shutil.copy(f"{path}-wal", f"{copy}-wal")
        expected = ledger.trials(1)
    with Ledger.open(copy) as ledger:
        assert ledger.trials(1) == expected


def test_the_bare_file_copied_while_in_use_is_a_ledger(tmp_path):
    """Also from the first moment on: the tables are in the file itself."""
    with Ledger.open(tmp_path / "study.db") as ledger:
        ledger.create_study("digits", {})
        shutil.copy(tmp_path / "study.db", tmp_path / "copy.db")
    with Ledger.open(tmp_path / "copy.db", create=False) as copy:
        assert copy.studies() == []


def test_whoever_had_its_turn_is_as_patient_as_before(path):
    """To take the lock, it looks more often than SQLite would; all else waits as it was told to."""
    with Ledger.open(path, patience_s=7) as ledger:
        study = ledger.create_study("patient", {})
        trial = ledger.add_trial(study, {}, 0)
        ledger.add_measurements(study, trial, [Measurement(1, 0.5)])
        with ledger.reading() as connection:
            assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 7000
