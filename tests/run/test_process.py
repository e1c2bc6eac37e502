"""Worker processes die, hang and are orphaned; nothing of it reaches the study but an event."""

import gc
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time

import psutil
import pytest
from tests.run.conftest import gone
from tests.waiting import until

from ayar.errors import ObjectiveError
from ayar.records import Move
from ayar.run.events import Failed, Finished, Measured
from ayar.run.local import open_pool, started_ahead
from ayar.run.workers import Workers

DEADLINE_S = 60


def training(config, seed):
    """Three good steps, unless the configuration says what else is to happen at one of them."""
    for step in range(1, 4):
        match config.get("act") if step == config.get("at", 2) else None:
            case "exit":
                print("leaving now")
                os._exit(3)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "crash":
                os.abort()
            case "hang":
                print("about to hang")
                hang()
            case "memory":
                raise MemoryError
            case "import":
                config["module"].not_there  # noqa: B018
        yield {"loss": 1 / step, "pid": os.getpid()}


def hang():
    while True:
        pass


def pool_of(objective=training, count=1, **limits):
    return open_pool(objective, metric="loss", horizon=3, workers=Workers(count, **limits))


def failure(pool, finish, job):
    pool.submit(job)
    *measured, failed = finish(pool)
    assert [event.step for event in measured] == [1]
    assert isinstance(failed, Failed)
    return failed


@pytest.mark.parametrize(
    ("act", "error", "chances"),
    [
        ("exit", r"the worker process exited with status 3", 0),
        ("kill", r"killed by signal 9 (SIGKILL)", 3),
        ("crash", r"killed by signal 6 (SIGABRT)", 0),
        ("memory", r"MemoryError", 0),
        ("import", r"KeyError: 'module'", 0),
    ],
)
def test_whatever_kills_a_training_is_one_failed_event(act, error, chances, move, finish, curve, monkeypatch):
    monkeypatch.setattr("ayar.run.process._ended_for_memory", lambda: 0)  # of all processes of the machine
    with pool_of() as pool:
        failed = failure(pool, finish, move(0, 0, 3, act=act))
        assert error in failed.error.splitlines()[0]
        assert (failed.trial, failed.chances) == (0, chances)
        assert failed.waste_s >= 0
        pool.submit(move(1, 0, 3))
        events = finish(pool)
    assert [step for step, _ in curve(events, 1)] == [1, 2, 3]
    assert events[-1] == Finished(1, ended=False)


def test_a_dead_process_leaves_its_last_words(move, finish):
    with pool_of() as pool:
        assert "Its last output:\nleaving now" in failure(pool, finish, move(0, 0, 3, act="exit")).error
        # Python says where it was when C code aborts.
        assert "in training" in failure(pool, finish, move(1, 0, 3, act="crash")).error


def test_a_hanging_step_is_killed_and_shows_where_it_hung(move, finish, curve):
    with pool_of(step_timeout_s=1) as pool:
        failed = failure(pool, finish, move(0, 0, 3, act="hang"))
        first, *rest = failed.error.splitlines()
        assert first == "no step within 1 s (step_timeout_s=1), so the training was killed"
        assert "about to hang" in rest
        assert any(line.endswith("in hang") for line in rest)
        assert failed.chances == 0
        assert failed.waste_s > 1
        pool.submit(move(1, 0, 3))
        assert [step for step, _ in curve(finish(pool), 1)] == [1, 2, 3]


def test_a_process_that_hangs_beyond_signals_is_killed_too(move, finish):
    def train(config, seed):
        yield {"loss": 1.0}
        os.kill(os.getpid(), signal.SIGSTOP)
        yield {"loss": 1.0}

    with pool_of(train, step_timeout_s=1) as pool:
        assert failure(pool, finish, move(0, 0, 3)).error.startswith("no step within 1 s")


def test_steps_that_a_restart_trains_again_are_no_hang(move, finish, curve):
    """The first measurement comes after a whole replay; each of its steps has its own time."""

    def train(config, seed):
        while True:
            time.sleep(0.02)
            yield 1.0

    with open_pool(train, metric="loss", horizon=99, workers=Workers(step_timeout_s=1.5)) as pool:
        pool.submit(move(0, 90, 92))  # more than 1.8 s for the 91 steps together, and for each of them 1.5 s
        assert [step for step, _ in curve(finish(pool))] == [91, 92]


def test_a_trial_whose_holder_died_goes_on_elsewhere(move, finish, curve):
    with pool_of() as pool:
        pool.submit(move(0, 0, 2, at=9))
        events = finish(pool)
        assert pool.holds(0)
        failure(pool, finish, move(1, 0, 3, act="kill"))
        assert not pool.holds(0)
        pool.submit(move(0, 2, 3, at=9))
        events += finish(pool)
    assert curve(events) == [(1, 1.0), (2, 1 / 2), (3, 1 / 3)]


def test_an_idle_worker_that_dies_is_replaced(move, finish, curve):
    with pool_of() as pool:
        pool.submit(move(0, 0, 1))
        [measured, _] = finish(pool)
        os.kill(int(measured.metrics["pid"]), signal.SIGKILL)
        until(lambda: not pool._workers[0].link.alive)
        pool.submit(move(1, 0, 3))
        assert [step for step, _ in curve(finish(pool), 1)] == [1, 2, 3]


def test_a_worker_that_dies_while_loading_is_said_once(move):
    """Replacing it again and again would be an endless loop."""

    class Deadly:
        def __reduce__(self):
            return (os._exit, (5,))

        def __call__(self, config, seed):
            yield 1.0

    with pool_of(Deadly()) as pool:
        pool.submit(move(0, 0, 1))
        with pytest.raises(ObjectiveError, match=r"died while it was loading the objective.*status 5"):
            pool.wait()


def test_ctrl_c_is_not_for_the_workers(move, finish, curve):
    with pool_of() as pool:
        pool.submit(move(0, 0, 1))
        [measured, _] = finish(pool)
        pid = int(measured.metrics["pid"])
        os.kill(pid, signal.SIGINT)
        assert os.getpgid(pid) != os.getpgid(0)  # the terminal sends it to its foreground group
        pool.submit(move(0, 1, 3))
        assert [step for step, _ in curve(finish(pool))] == [2, 3]


def test_nothing_is_left_behind(move, finish, tmp_path, monkeypatch):
    """No process, zombie, file descriptor or temporary folder, after deaths and hangs too."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    me = psutil.Process()
    with pool_of() as pool:  # whatever Python opens once
        pool.submit(move(0, 0, 1))
        finish(pool)
    gc.collect()  # what earlier tests left to be collected at any time
    files, children = me.num_fds(), {*me.children(recursive=True)}
    with pool_of(count=2, step_timeout_s=0.3) as pool:
        for trial, act in enumerate(["kill", "hang", "exit", None]):
            pool.submit(move(trial, 0, 2, act=act))
            finish(pool)
        assert len(list(tmp_path.iterdir())) == 1
    assert me.num_fds() == files
    assert {*me.children(recursive=True)} <= children
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_training_started_is_killed_with_it(move, finish):
    def train(config, seed):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
        yield {"loss": 1.0, "pid": child.pid}
        hang()

    with pool_of(train, step_timeout_s=1) as pool:
        pool.submit(move(0, 0, 3))
        measured, failed = finish(pool)
        assert isinstance(failed, Failed)
        until(lambda: gone(int(measured.metrics["pid"])))


def test_closing_does_not_wait_for_a_hanging_step(move):
    pool = pool_of()
    pool.submit(move(0, 0, 3, act="hang"))
    [measured] = pool.wait()
    assert isinstance(measured, Measured)
    pool.close(deadline_s=0.1)
    until(lambda: gone(int(measured.metrics["pid"])))


def run_script(folder, body, **kwargs):
    script = folder / "script.py"
    script.write_text(textwrap.dedent(body))
    return subprocess.Popen(
        [sys.executable, str(script)],
        cwd=folder,
        env=os.environ | {"TMPDIR": str(folder)},  # a killed process cannot tidy up
        text=True,
        stdout=subprocess.PIPE,
        **kwargs,
    )


@pytest.mark.parametrize("step", ["time.sleep(1000)", "sum(iter(int, 1))"], ids=["asleep", "computing in C"])
def test_workers_die_with_a_killed_parent_in_the_middle_of_a_step(step, tmp_path):
    process = run_script(
        tmp_path,
        f"""
        import os, time
        from ayar.records import Move
        from ayar.run import open_pool

        def train(config, seed):
            yield {{"loss": 1.0, "pid": os.getpid()}}
            {step}
            yield 1.0

        pool = open_pool(train, metric="loss", horizon=3, workers=2)
        for trial in range(2):
            pool.submit(Move(trial, {{}}, 0, 0, 3))
        for _ in range(2):
            for event in pool.wait():
                print(int(event.metrics["pid"]), flush=True)
        pool.wait()
        """,
    )
    with process:
        pids = [int(process.stdout.readline()) for _ in range(2)]
        assert not any(gone(pid) for pid in pids)
        process.kill()
    until(lambda: all(gone(pid) for pid in pids))


def test_a_worker_that_was_started_ahead_is_the_one_that_trains():
    with started_ahead(Workers(2), ["no_such_module", "wave"], in_lanes=False) as workers:
        ahead = {process.pid for process in workers.ahead}
        with open_pool(training, metric="loss", horizon=3, workers=workers) as pool:
            pool.submit(Move(0, {}, 0, 0, 3))
            seen = {int(e.metrics["pid"]) for _ in range(3) for e in pool.wait() if isinstance(e, Measured)}
    assert seen <= ahead
    assert seen


def test_a_worker_looks_for_garbage_again_once_it_trains():
    """While it imports it doesn't, and what it has imported is never looked at again."""

    def watched(config, seed):
        yield {"loss": 0.0, "enabled": gc.isenabled(), "frozen": gc.get_freeze_count()}

    with pool_of(watched) as pool:
        pool.submit(Move(0, {}, 0, 0, 3))
        measured = next(e for _ in range(2) for e in pool.wait() if isinstance(e, Measured))
    assert measured.metrics["enabled"] == 1
    assert measured.metrics["frozen"] > 10_000


@pytest.mark.parametrize("given", [Workers(0), Workers(1, on="ray")])
def test_nothing_is_started_ahead_where_no_process_of_this_machine_will_train(given):
    with started_ahead(given, ["wave"], in_lanes=False) as workers:
        assert not workers.ahead


def test_a_worker_that_was_started_ahead_in_vain_is_ended():
    with started_ahead(Workers(1), ["wave"], in_lanes=True) as workers:
        (idle,) = workers.ahead
        assert idle.alive
    assert gone(idle.pid)


def test_a_script_needs_no_main_guard(tmp_path):
    """Its functions, imports and globals reach the workers, and its top level runs once."""
    (tmp_path / "helper.py").write_text("LOSS = 0.25\n")
    process = run_script(
        tmp_path,
        """
        import helper
        from ayar.records import Move
        from ayar.run import Measured, open_pool

        print("top level")
        OFFSET = 1

        def train(config, seed):
            yield helper.LOSS + OFFSET + config["trial"]

        with open_pool(train, metric="loss", horizon=1, workers=2) as pool:
            events = []
            for trial in range(2):
                pool.submit(Move(trial, {"trial": trial}, 0, 0, 1))
            while pool.busy:
                events += pool.wait()
        print(sorted(e.metrics["loss"] for e in events if isinstance(e, Measured)))
        """,
        stderr=subprocess.PIPE,
    )
    out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out, err) == (0, "top level\n[1.25, 2.25]\n", "")


def test_ctrl_c_ends_a_pool_without_a_traceback_from_a_worker(tmp_path):
    process = run_script(
        tmp_path,
        """
        from ayar.records import Move
        from ayar.run import open_pool

        def train(config, seed, folder):
            try:
                while True:
                    yield 1.0
            finally:
                (folder / "saved").touch()

        from pathlib import Path
        try:
            with open_pool(train, metric="loss", horizon=10**9, folder=Path("trials")) as pool:
                pool.submit(Move(0, {}, 0, 0, 10**9))
                pool.wait()
                print("ready", flush=True)
                while True:
                    pool.wait()
        except KeyboardInterrupt:
            print("interrupted")
        """,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out, err) == (0, "interrupted\n", "")
    assert (tmp_path / "trials" / "0" / "saved").exists()


def test_a_worker_that_talks_faster_than_it_is_heard_keeps_nobody_waiting_for_ever(move, finish):
    class Endless:
        def poll(self):
            return True

        def recv(self):
            return (Measured(0, 1, 0.0, {"loss": 1.0}),)

    with pool_of() as pool:
        pool.submit(move(0, 0, 3))
        finish(pool)
        link = pool._workers[0].link
        connection, link.connection = link.connection, Endless()
        heard = list(link.messages())
        link.connection = connection
    assert heard[0] == heard[-1] == Measured(0, 1, 0.0, {"loss": 1.0})


def test_a_worker_that_the_kernel_ended_for_lack_of_memory_is_told_so(move, finish, monkeypatch):
    """The count of such ends stands in /proc/vmstat; nothing less than a real lack of memory changes it."""
    counts = iter([4, 4, 4, 5, 5])  # a worker starts, ends; another starts, ends; the last starts
    monkeypatch.setattr("ayar.run.process._ended_for_memory", lambda: next(counts))
    with pool_of() as pool:
        failed = failure(pool, finish, move(0, 0, 3, act="kill"))
        assert failed.chances == 3  # somebody's kill -9
        failed = failure(pool, finish, move(1, 0, 3, act="kill"))
    assert "perhaps the machine ran out of memory" in failed.error
    assert failed.chances == 1
