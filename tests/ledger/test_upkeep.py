"""A ledger can be checked and compacted; a copy made while it is in use opens elsewhere."""

import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import psutil
import pytest

from ayar.cli import main
from ayar.ledger import Ledger
from ayar.ledger.pages import Seen
from ayar.ledger.reading import news
from ayar.ledger.upkeep import check, compact
from ayar.records import Measurement, Move


@pytest.fixture
def path(store):
    """A ledger with a finished trial, a running one, and a note."""
    with Ledger.open(store) as ledger:
        study = ledger.create_study("digits", {})
        for number in range(2):
            ledger.add_move(study, Move(ledger.add_trial(study, {"x": number}, number), {}, 0, 0, 2))
            ledger.add_measurements(study, number, [Measurement(1, 0.5), Measurement(2, 0.4)])
        ledger.end_move(study, 0, ended=True)
        ledger.add_note(study, "winner", {"trial": 0})
    return store


def broken(path, *statements):
    """The ledger, with rows changed behind its back."""
    with closing(sqlite3.connect(path)) as file, file:
        for statement in statements:
            file.execute(statement)
    with Ledger.open(path) as ledger:
        return check(ledger)


def test_a_ledger_as_ayar_wrote_it_is_whole(path):
    with Ledger.open(path) as ledger:
        assert check(ledger) == []


def test_what_was_changed_behind_its_back_is_found(path):
    if "://" in str(path):
        pytest.skip("the rows are changed through sqlite3")
    assert broken(path, "DELETE FROM measurements WHERE trial = 0 AND step = 1") == [
        "Trial 0 of study 1 holds 1 measurements up to the end of a move that counted 2."
    ]
    (fault,) = broken(path, "INSERT INTO measurements VALUES (1, 0, 1, 0.5, 0.0, '{')")
    assert fault.startswith("The metrics of measurement 1, 0 is no JSON: ")
    assert broken(path, "DELETE FROM measurements WHERE trial = 1", "DELETE FROM trials WHERE trial = 1") == [
        "The database says: a row of moves refers to one of trials that is not there."
    ]


def test_a_damaged_page_is_found_and_the_command_exits_with_1(path, capsys):
    if "://" in str(path):
        pytest.skip("the pages are a server's")
    assert main(["ledger", "check", str(path)]) == 0
    assert capsys.readouterr().out.endswith("study.db is whole: 1 study.\n")
    with closing(sqlite3.connect(path)) as file:
        (page,) = file.execute("SELECT rootpage FROM sqlite_master WHERE name = 'notes'").fetchone()
        (size,) = file.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * 100)
    assert main(["ledger", "check", str(path)]) == 1
    assert "is damaged" in capsys.readouterr().err


def test_compacting_removes_nothing_that_a_study_knows(path, capsys):
    with Ledger.open(path) as ledger:
        study = ledger.find_study().id
        before = (ledger.trials(study), ledger.notes(study))
        size = compact(ledger)
        # A server keeps maps of free room, and gives none back to the disk.
        assert 0 < size.after <= size.before or "://" in str(path)
        assert (ledger.trials(study), ledger.notes(study)) == before
        assert check(ledger) == []
    assert main(["ledger", "compact", str(path)]) == 0
    assert " before, " in capsys.readouterr().out


def test_sessions_that_hold_nothing_are_forgotten(path):
    with Ledger.open(path) as ledger:
        with ledger.reading() as connection:
            held = {row.session for row in news(connection, ledger.find_study().id, Seen()).moves}
        with Ledger.open(path) as other:
            other.hold(None)
        compact(ledger)
        assert {row.id for row in ledger.sessions([*held, other.session])} == held


def test_a_copy_in_a_new_file_says_what_the_ledger_says(path, tmp_path, capsys):
    copied = tmp_path / "copy.db"
    assert main(["ledger", "copy", str(path), str(copied)]) == 0
    with Ledger.open(path) as ledger, Ledger.open(copied) as other:
        assert other.studies() == ledger.studies()
        study = ledger.find_study().id
        assert (other.trials(study), other.notes(study)) == (ledger.trials(study), ledger.notes(study))
        assert check(other) == []
    assert main(["ledger", "copy", str(path), str(copied)]) == 1
    assert "There is something at" in capsys.readouterr().err
    assert main(["ledger", "copy", str(path)]) == 1


WRITES = """
import sys
from ayar.ledger import Ledger
from ayar.records import Measurement, Move

with Ledger.open(sys.argv[1]) as ledger:
    study = ledger.create_study("busy", {})
    ledger.add_move(study, Move(ledger.add_trial(study, {}, 0), {}, 0, 0, 10**6))
    for step in range(1, 10**6):
        ledger.add_measurements(study, 0, [Measurement(step, 1 / step)])
        print(step, flush=True)
        if step == 500:
            sys.stdin.readline()
"""


def test_a_ledger_copied_while_it_is_in_use_opens_on_another_machine(tmp_path):
    """The file with its write-ahead log holds all that was acknowledged, wherever the writer stands still meanwhile.

    Between two appends the file alone is a ledger, too.
    """
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    words, pipes = (
        [sys.executable, "-c", WRITES, here / "study.db"],
        {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE},
    )
    writer = subprocess.Popen(words, **pipes, text=True)
    assert [int(writer.stdout.readline()) for _ in range(500)][-1] == 500
    shutil.copy(here / "study.db", tmp_path / "alone.db")
    writer.stdin.write("go on\n")
    writer.stdin.flush()
    acknowledged = [int(writer.stdout.readline()) for _ in range(100)][-1]
    writer.send_signal(signal.SIGSTOP)
    while psutil.Process(writer.pid).status() != psutil.STATUS_STOPPED:
        pass
    shutil.copytree(here, there)
    writer.kill()
    writer.communicate()
    (there / "study.db-shm").unlink(missing_ok=True)  # memory of the other machine's processes
    with Ledger.open(there / "study.db", create=False) as ledger:
        curve = ledger.trials(ledger.find_study("busy").id)[0].curve
        assert [m.step for m in curve][:acknowledged] == [*range(1, acknowledged + 1)]
        assert check(ledger) == []
    with Ledger.open(tmp_path / "alone.db") as ledger:
        assert ledger.studies() == [] or check(ledger) == []
