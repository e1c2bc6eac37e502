"""Who lives and who has stopped is found out without comparing any two clocks."""

import os
import subprocess
import sys
from dataclasses import dataclass, replace

import pytest

from ayar.ledger import Ledger
from ayar.ledger.sessions import Heartbeat, Watch, has_ended, this_machine, this_process


@dataclass(frozen=True)
class Row:
    id: str = "a"
    machine: str = "elsewhere"
    process: str = "1 1"
    lease_s: float | None = 10.0
    beat: int = 0
    closed: bool = False


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def watch(clock):
    return Watch(clock)


def gone(watch, row):
    return watch.gone([row.id], [row]) == {row.id}


def test_a_session_whose_beat_stands_still_for_its_lease_has_stopped(watch, clock):
    answers = []
    for clock.now in (0.0, 9.0, 10.5):
        answers.append(gone(watch, Row()))
    assert answers == [False, False, True]


def test_a_session_that_beats_lives_whatever_time_passes(watch, clock):
    for beat in range(5):
        clock.now += 9.0
        assert not gone(watch, Row(beat=beat))


def test_a_watch_begins_when_it_first_looks(watch, clock):
    """How long a session was silent before nobody can know, so it has its whole lease again."""
    clock.now = 1000.0
    assert not gone(watch, Row())


def test_a_session_that_promised_no_heartbeat_keeps_its_trials(watch, clock):
    for clock.now in (0.0, 1e9):
        assert not gone(watch, Row(lease_s=None))


def test_a_closed_session_and_one_that_nobody_knows_have_stopped(watch):
    assert gone(watch, Row(closed=True))
    assert watch.gone(["of version 1"], []) == {"of version 1"}


def test_a_process_of_this_machine_that_has_ended_is_known_at_once(watch):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    row = replace(Row(), machine=this_machine(), process=this_process().replace(str(os.getpid()), str(child.pid), 1))
    assert gone(watch, row)  # the number is used again: another process started then
    assert not gone(watch, replace(row, process=this_process()))
    child.kill()
    assert child.wait() < 0
    assert has_ended(f"{child.pid} ")


def test_a_heartbeat_beats_as_long_as_it_lasts(tmp_path):
    with Ledger.open(tmp_path / "study.db") as ledger, Ledger.open(tmp_path / "study.db") as other:

        def row():
            (found,) = other.sessions([ledger.session])
            return found

        with Heartbeat(ledger, lease_s=0.05):
            assert row().lease_s == 0.05
            while row().beat < 3:
                pass
        assert row().lease_s is None
        ledger.close()
        assert row().closed
