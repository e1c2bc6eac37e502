"""Several processes tune one study, without a server."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from tests.waiting import until

from ayar.errors import ClaimLost
from ayar.records import State
from ayar.run.folders import latest_folder
from ayar.seeds import Purpose
from ayar.space import Float, Space
from ayar.study import Study

SPACE = Space(x=Float(0.0, 1.0))

TUNES = """
import json, os, sys, time
import ayar
from ayar.ledger import sessions

sessions.LEASE_S = float(os.environ.get("LEASE_S", sessions.LEASE_S))
store, trials, resumes = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "True"

def pass_gate(step):
    while step == 2 and "GATE" in os.environ and not os.path.exists(os.environ["GATE"]):
        time.sleep(0.02)

def train_in(config, seed, folder):
    done = folder / "done"
    first = int(done.read_text()) if done.exists() else 0
    for step in range(first + 1, 5):
        pass_gate(step)
        with open(store + ".log", "a") as log:
            log.write(json.dumps([os.getppid(), config["x"], step]) + "\\n")
        done.write_text(str(step))
        (folder / f"{os.getppid()} {step}").touch()
        yield {"step": step, "error": (config["x"] - 0.3) ** 2 + 1 / step}

def train(config, seed):
    for step in range(1, 5):
        pass_gate(step)
        yield (config["x"] - 0.3) ** 2 + 1 / step

space = ayar.Space(x=ayar.Float(0.0, 1.0))
study = ayar.Study(store, space=space, minimize="error", horizon=4, searcher="random")
winner = study.tune(train_in if resumes else train, trials=trials, workers=1, progress=False)
print(json.dumps([winner.trial, len(study.trials())]))
"""


def tuner(store, trials, *, resumes=True, **environment):
    """A process that tunes. At each second step its trainings wait at ``GATE``, a file, until that is there."""
    words = [sys.executable, "-c", TUNES, str(store), str(trials), str(resumes)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=os.environ | environment)


def answer(process):
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    return json.loads(output)


def log(store):
    lines = Path(f"{store}.log")
    return [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []


def read(store):
    with Study(store, space=SPACE, minimize="error", horizon=4, searcher="random") as study:
        return study.trials()


def has_begun(store):
    """Whether a trial is half trained."""
    return store.exists() and any(t.state is State.RUNNING and len(t.curve) for t in read(store))


def suspend(process, store):
    """Stop a process, but not while it holds the ledger locked: then nobody could go on."""
    while True:
        os.kill(process.pid, signal.SIGSTOP)
        until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
        try:
            with closing(sqlite3.connect(store, timeout=0)) as file:
                file.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError:
            os.kill(process.pid, signal.SIGCONT)


def test_processes_that_tune_one_study_share_the_work_and_agree_on_the_winner(tmp_path):
    store, gate = tmp_path / "study.db", tmp_path / "gate"
    processes = [tuner(store, 8, GATE=str(gate)) for _ in range(3)]
    until(lambda: len({parent for parent, _, _ in log(store)}) > 1)  # else the first to start might do all of it
    gate.touch()
    answers = [answer(process) for process in processes]
    assert answers[0] == answers[1] == answers[2]
    trials = read(store)
    searched = [t for t in trials if t.purpose is Purpose.SEARCH]
    assert len(searched) == len({t.config["x"] for t in searched}) == len({t.seed for t in searched}) == 8
    assert all(t.state is State.COMPLETED for t in trials)
    assert len(log(store)) == sum(len(t.curve) for t in trials)  # nothing was trained twice


def test_a_killed_process_s_trial_goes_on_in_another_from_its_checkpoint(tmp_path):
    store = tmp_path / "study.db"
    first = tuner(store, 3, GATE=str(tmp_path / "gate"))
    until(lambda: has_begun(store))
    first.kill()
    first.communicate()
    answer(tuner(store, 3))
    trials = read(store)
    assert all(t.state is State.COMPLETED and [m.step for m in t.curve] == [1, 2, 3, 4] for t in trials)
    (held,) = {x for parent, x, _ in log(store) if parent == first.pid}
    assert held in {x for parent, x, _ in log(store) if parent != first.pid}
    assert len(log(store)) == len(trials) * 4


def test_a_suspended_process_loses_its_trial_after_its_lease_and_writes_no_more_into_it(tmp_path):
    store = tmp_path / "study.db"
    first = tuner(store, 2, resumes=False, LEASE_S="1", GATE=str(tmp_path / "gate"))
    until(lambda: has_begun(store))
    suspend(first, store)
    second = answer(tuner(store, 2, resumes=False))
    before = read(store)
    (tmp_path / "gate").touch()
    os.kill(first.pid, signal.SIGCONT)
    assert answer(first) == second
    assert read(store) == before
    assert all(t.state is State.COMPLETED and [m.step for m in t.curve] == [1, 2, 3, 4] for t in before)


def test_the_worker_of_a_suspended_process_writes_no_more_into_its_trial_s_folder(tmp_path):
    """It trains on, unaware, when its process has lost the trial to another one."""
    store = tmp_path / "study.db"
    first = tuner(store, 1, LEASE_S="1", GATE=str(tmp_path / "gate"))
    until(lambda: has_begun(store))
    suspend(first, store)
    second = tuner(store, 1)
    until(lambda: [second.pid, 4] in [[parent, step] for parent, _, step in log(store)])
    (tmp_path / "gate").touch()
    until(lambda: [first.pid, 2] in [[parent, step] for parent, _, step in log(store)])
    os.kill(first.pid, signal.SIGCONT)
    assert answer(first) == answer(second)
    files = latest_folder(0, Path(f"{store}.trials") / "main")
    steps = {pid: [step for step in range(5) if (files / f"{pid} {step}").exists()] for pid in (first.pid, second.pid)}
    assert steps == {first.pid: [1], second.pid: [2, 3, 4]}
    assert (files / "done").read_text() == "4"
    (trial,) = (t for t in read(store) if t.purpose is Purpose.SEARCH)
    assert [m.step for m in trial.curve] == [1, 2, 3, 4]


@pytest.fixture
def two(tmp_path):
    """Two openings of one study, as two processes have them."""
    with (
        Study(tmp_path / "study.db", space=SPACE, minimize="error", horizon=4) as one,
        Study(tmp_path / "study.db") as other,
    ):
        yield one, other


def test_what_one_asks_the_other_does_not_ask_again(two):
    moves = [study.ask()[0] for _ in range(5) for study in two]
    assert [move.trial for move in moves] == list(range(10))
    assert len({move.config["x"] for move in moves}) == len({move.seed for move in moves}) == 10


def test_each_sees_what_the_other_measured(two):
    one, other = two
    (move,) = one.ask()
    one.tell(move, [{"step": 0, "error": 0.5}])
    assert [m.loss for m in other.trials()[0].curve] == [0.5]
    one.tell(move, [{"step": n, "error": 0.4} for n in range(1, move.stop_step + 1)])
    assert other.trials() == one.trials()


def test_a_move_may_be_told_by_another_process_than_asked_it(two):
    one, other = two
    (move,) = one.ask()
    other.tell(move, [{"step": n, "error": 0.5} for n in range(1, move.stop_step + 1)])
    assert one.outstanding() == []
    assert one.trials()[0].curve.last_step == move.stop_step


def paused(study):
    """A trial that waits to be continued."""
    (move,) = study.ask()
    study.tell(move, [{"step": n, "error": 0.5} for n in range(1, move.stop_step + 1)])
    assert study.trials()[0].state is State.PAUSED
    return move


def test_a_trial_that_one_continues_is_not_continued_by_the_other(two):
    paused(two[0])
    got = []
    for study in two:
        with study._book.claiming():
            got += [study._book.go_on(0, 4)] if study._book.can_go_on(0, 4) else []
    assert len(got) == 1


def test_whose_trial_was_taken_over_is_told_so_and_writes_nothing(two):
    one, other = two
    paused(one)
    mine = one._book.go_on(0, 4)
    other.trials()
    theirs = other._book.go_on(0, 4)
    for _ in range(2):
        with pytest.raises(ClaimLost, match="Trial 0 was taken over by another process"):
            one.tell(mine, [{"step": 2, "error": 0.1}])
    other.tell(theirs, [{"step": n, "error": 0.3} for n in (2, 3, 4)])
    assert [m.loss for m in one.trials()[0].curve] == [0.5, 0.3, 0.3, 0.3]


def test_the_move_of_a_study_that_was_closed_is_free(two):
    one, other = two
    one.ask()
    other.trials()
    assert other._book.abandoned() == []
    one.close()
    assert [move.trial for move in other._book.abandoned()] == [0]
