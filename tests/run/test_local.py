"""What a pool promises, with and without worker processes."""

import functools
import math
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from ayar.errors import BudgetError, MoveError, ObjectiveError
from ayar.run.events import Failed, Finished, Measured
from ayar.run.local import InProcessPool, open_pool
from ayar.run.workers import Workers


def noisy(config, seed):
    """A curve that shows any disorder in the random numbers."""
    rng = np.random.default_rng(seed)
    loss = 1.0
    for _ in range(config.get("iterations", 8)):
        loss *= rng.uniform(0.5, 1.0)
        yield {"loss": loss}


def noisy_in_folder(config, seed, folder):
    """The same, with its state on disk after every step."""
    saved = folder / "losses.npy"
    losses = np.load(saved).tolist() if saved.exists() else []
    rng = np.random.default_rng(seed)
    for _ in losses:
        rng.uniform(0.5, 1.0)
    loss = losses[-1] if losses else 1.0
    while len(losses) < 8:
        loss *= rng.uniform(0.5, 1.0)
        losses.append(loss)
        np.save(saved, losses)
        yield {"loss": loss}


class Recipe:
    def train(self, config, seed, folder, start_step):
        for step, measured in enumerate(noisy(config, seed), start=1):
            if step > start_step:
                yield {"step": step, **measured}


def process_ids(config, seed):
    while True:
        yield os.getpid()


def waiting_for_file(config, seed):
    """Its first step lasts until the file is there."""
    while not Path(config["file"]).exists():
        time.sleep(0.005)
    while True:
        yield os.getpid()


def expected(seed, steps):
    return list(enumerate([m["loss"] for m in noisy({}, seed)][:steps], start=1))


def pool_of(objective, workers=1, horizon=8, **kwargs):
    return open_pool(objective, metric="loss", horizon=horizon, workers=workers, **kwargs)


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("objective", [noisy, noisy_in_folder, Recipe()], ids=["generator", "folder", "recipe"])
def test_pausing_and_continuing_gives_the_uninterrupted_curve(objective, workers, move, finish, curve):
    with pool_of(objective, workers) as pool:
        events = []
        for start, stop in [(0, 1), (1, 4), (4, 8)]:
            for trial in (0, 1, 2):
                while not pool.free:
                    events += pool.wait(1)
                pool.submit(move(trial, start, stop))
            events += finish(pool)
    for trial in (0, 1, 2):
        assert curve(events, trial) == expected(100 + trial, 8)


def test_no_worker_tells_the_same_events_as_one(move, finish):
    """Debugging with workers=0 shows what the processes would do."""

    def events(workers):
        seen = []
        with pool_of(noisy, workers) as pool:
            for job in [move(0, 0, 3), move(1, 0, 9, iterations=2), move(0, 3, 8)]:
                pool.submit(job)
                seen += finish(pool)
        return [(e.trial, e.step, e.metrics) if isinstance(e, Measured) else e for e in seen]

    assert events(0) == events(1)


def test_free_counts_idle_workers(move, finish):
    with pool_of(noisy, workers=2) as pool:
        assert (pool.free, pool.busy) == (2, False)
        pool.submit(move(0, 0, 2))
        assert (pool.free, pool.busy) == (1, True)
        finish(pool)
        assert (pool.free, pool.busy) == (2, False)


def test_nothing_outstanding_is_nothing_to_wait_for():
    for workers in (0, 1):
        with pool_of(noisy, workers) as pool:
            assert pool.wait() == []


def test_waiting_ends_with_its_time(move, tmp_path):
    with pool_of(waiting_for_file) as pool:
        pool.submit(move(0, 0, 1, file=str(tmp_path / "go")))
        assert pool.wait(0) == []
        assert pool.wait(0.05) == []
        assert pool.busy
        (tmp_path / "go").touch()
        assert pool.wait() != []


def test_a_continuing_move_goes_to_the_worker_that_holds_its_trial(move, finish, curve):
    with pool_of(process_ids, workers=2) as pool:
        pool.submit(move(0, 0, 1))
        pool.submit(move(1, 0, 1))
        events = finish(pool)
        assert pool.holds(0)
        assert pool.holds(1)
        pool.submit(move(1, 1, 2))  # first in line this time
        pool.submit(move(0, 1, 2))
        events += finish(pool)
    for trial in (0, 1):
        [(_, first), (_, second)] = curve(events, trial)
        assert first == second


def test_a_move_waits_for_the_busy_holder_while_others_overtake_it(move, finish, curve, tmp_path):
    """A second copy elsewhere would train its steps again, or write into the same folder."""
    there, later = str(tmp_path / "there"), str(tmp_path / "later")
    with pool_of(waiting_for_file, workers=2) as pool:
        for trial in (0, 1):
            pool.submit(move(trial, 0, 1, file=there))
        while not all(worker.moves for worker in pool._workers):
            pool.wait(0.1)
        (tmp_path / "there").touch()
        events = finish(pool)
        # Trial 2 goes to the first idle worker, and keeps it busy.
        pool.submit(move(2, 0, 1, file=later))
        busy = next(worker for worker in pool._workers if worker.moves)
        held = next(trial for trial in (0, 1) if trial in busy.standing.held)
        pool.submit(move(held, 1, 2, file=there))
        assert pool.free == 1
        pool.submit(move(3, 0, 1, file=there))
        while not any(isinstance(event, Finished) and event.trial == 3 for event in events):
            events += pool.wait(1)
        assert [step for step, _ in curve(events, held)] == [1]
        (tmp_path / "later").touch()
        events += finish(pool)
        [(_, before), (_, after)] = curve(events, held)
        assert before == after == busy.link.pid


def test_no_more_moves_wait_for_holders_than_there_are_workers(move, finish, tmp_path):
    (tmp_path / "there").touch()
    there, later = str(tmp_path / "there"), str(tmp_path / "later")
    with pool_of(waiting_for_file, workers=2) as pool:
        for trial in range(4):  # one worker is kept busy, so the other holds these
            if trial == 0:
                pool.submit(move(9, 0, 1, file=later))
            pool.submit(move(trial, 0, 1, file=there))
            while pool.free == 0:
                pool.wait(1)
        holder = next(worker for worker in pool._workers if not worker.moves)
        assert holder.standing.held == {0, 1, 2, 3}
        pool.submit(move(0, 1, 2, file=there))
        pool.submit(move(1, 1, 2, file=there))
        pool.submit(move(2, 1, 2, file=there))
        assert pool.free == 0
        (tmp_path / "later").touch()
        finish(pool)
        assert pool.free == 2


def test_a_trial_has_one_move_at_a_time(move):
    for workers in (0, 1):
        with pool_of(noisy, workers) as pool:
            pool.submit(move(0, 0, 2))
            with pytest.raises(MoveError, match="outstanding; wait for its end"):
                pool.submit(move(0, 2, 3))


def test_pause_ends_every_move_with_the_step_it_is_in(move, finish, curve, tmp_path):
    (tmp_path / "there").touch()
    for workers in (0, 2):
        with pool_of(waiting_for_file, workers, horizon=10**9) as pool:
            pool.submit(move(0, 0, 10**9, file=str(tmp_path / "there")))
            events = []
            while not events:
                events += pool.wait(1)
            pool.pause()
            events += finish(pool)
            assert events[-1] == Finished(0, ended=False)
            assert pool.holds(0)
            last = events[-2].step
            pool.submit(move(0, last, last + 2, file=str(tmp_path / "there")))
            assert [step for step, _ in curve(finish(pool))] == [last + 1, last + 2]


def test_pause_ends_a_waiting_move_where_it_is(move, finish, tmp_path):
    (tmp_path / "there").touch()
    there, later = str(tmp_path / "there"), str(tmp_path / "later")
    with pool_of(waiting_for_file) as pool:
        pool.submit(move(0, 0, 1, file=there))
        finish(pool)
        pool.submit(move(1, 0, 2, file=later))
        pool.submit(move(0, 1, 2, file=there))
        pool.pause()
        assert pool.wait(0) == [Finished(0, ended=False)]
        (tmp_path / "later").touch()
        assert finish(pool)[-1] == Finished(1, ended=False)


def test_closing_lets_a_training_end_its_step_and_save(move, tmp_path):
    """Ctrl-C must not cost the steps since the last checkpoint, nor tear a measurement from it."""

    def train(config, seed, folder):
        try:
            step = 0
            while True:
                step += 1
                yield {"step": step, "loss": 1.0}
        finally:
            (folder / "saved").write_text(str(step))

    pool = pool_of(train, horizon=10**9, folder=tmp_path)
    pool.submit(move(0, 0, 10**9))
    events = []
    while not events:
        events += pool.wait(1)
    events += pool.close()
    last = [event.step for event in events if isinstance(event, Measured)][-1]
    assert (tmp_path / "0" / "saved").read_text() == str(last)
    assert pool.close() == []
    with pytest.raises(MoveError, match="The pool is closed"):
        pool.submit(move(1, 0, 1))


def test_closing_saves_what_was_paused(move, finish, tmp_path):
    def train(config, seed, folder):
        try:
            while True:
                yield 1.0
        finally:
            (folder / "saved").touch()

    for workers in (0, 1):
        with pool_of(train, workers, folder=tmp_path / str(workers)) as pool:
            pool.submit(move(0, 0, 2))
            finish(pool)
            assert not (tmp_path / str(workers) / "0" / "saved").exists()
        assert (tmp_path / str(workers) / "0" / "saved").exists()


def test_a_plain_function_is_one_measurement(move, finish, curve):
    with pool_of(lambda config, seed: config["learning_rate"], horizon=20) as pool:
        pool.submit(move(0, 0, 20, learning_rate=0.5))
        events = finish(pool)
    assert curve(events) == [(20, 0.5)]
    assert events[-1] == Finished(0, ended=False)


def test_cost_is_the_wall_time_of_the_step(move, finish):
    def train(config, seed):
        while True:
            begun = time.perf_counter()
            time.sleep(0.01)
            yield time.perf_counter() - begun

    with pool_of(train) as pool:
        begun = time.perf_counter()
        pool.submit(move(0, 0, 3))
        *measured, _ = finish(pool)
        elapsed_s = time.perf_counter() - begun
    assert all(event.cost_s >= event.metrics["loss"] >= 0.01 for event in measured)
    assert sum(event.cost_s for event in measured) <= elapsed_s


def test_each_worker_is_told_its_threads(move, finish):
    def threads(config, seed):
        return {"loss": 0, **{name: int(os.environ[f"{name}_NUM_THREADS"]) for name in ("OMP", "MKL", "OPENBLAS")}}

    with pool_of(threads, Workers(threads=3)) as pool:
        pool.submit(move(0, 0, 8))
        [measured, _] = finish(pool)
    assert measured.metrics == {"loss": 0, "OMP": 3, "MKL": 3, "OPENBLAS": 3}


def test_workers_hash_alike(move, finish, curve):
    """The order of a set of strings must not depend on the worker that replays a training."""

    def train(config, seed):
        return hash("learning_rate") % 1000

    curves = set()
    for _ in range(3):
        with pool_of(train) as pool:
            pool.submit(move(0, 0, 8))
            curves.add(tuple(curve(finish(pool))))
    assert len(curves) == 1


def test_an_objective_that_cannot_travel_names_the_culprit():
    lock = threading.Lock()

    def train(config, seed):
        with lock:
            yield 1.0

    class Holder:
        def __init__(self):
            self.log = lock

        def train(self, config, seed):
            yield 1.0

        __call__ = train

    cases = {
        train: r"because of lock \(a lock\)",
        Holder(): r"because of log \(a lock\)",
        Holder().train: r"because of log \(a lock\)",
        functools.partial(lambda extra, config, seed: extra, lock): r"because of its argument <unlocked",
    }
    for objective, message in cases.items():
        with pytest.raises(ObjectiveError, match=f"cannot be sent to a worker process {message}.*workers=0"):
            open_pool(objective, metric="loss", horizon=8)
        with InProcessPool(objective, metric="loss", horizon=8) as pool:
            assert pool.free == 1


def test_an_objective_that_cannot_be_loaded_is_said_once(move):
    class Unloadable:
        def __reduce__(self):
            return (__import__, ("a_module_that_is_not_there",))

        def __call__(self, config, seed):
            yield 1.0

    with pool_of(Unloadable()) as pool:
        pool.submit(move(0, 0, 1))
        with pytest.raises(ObjectiveError, match=r"(?s)cannot load the objective: ModuleNotFoundError.*workers=0"):
            pool.wait()


def test_a_pool_without_workers_is_refused():
    with pytest.raises(BudgetError, match="workers=-1 can't train"):
        pool_of(noisy, workers=-1)


def test_divergence_reaches_the_pool_as_it_was_measured(move, finish):
    with pool_of(lambda config, seed: iter([1.0, math.inf, 1.0])) as pool:
        pool.submit(move(0, 0, 3))
        _, measured, finished = finish(pool)
        assert measured.metrics == {"loss": math.inf}
        assert finished == Finished(0, ended=True)
        assert not pool.holds(0)


def test_a_failure_shows_what_the_training_printed_and_the_worker_goes_on(move, finish, capfd):
    def train(config, seed):
        for line in range(config["lines"]):
            print("line", line)
        if config["lines"] > 1:
            raise RuntimeError("too many lines")
        yield os.getpid()

    with pool_of(train) as pool:
        pool.submit(move(0, 0, 1, lines=1))
        [before, _] = finish(pool)
        pool.submit(move(1, 0, 1, lines=30))
        [failed] = finish(pool)
        pool.submit(move(2, 0, 1, lines=0))
        [after, _] = finish(pool)
    assert isinstance(failed, Failed)
    assert failed.error.startswith("RuntimeError: too many lines\n")
    assert failed.error.splitlines()[-21:] == ["Its last output:", *(f"line {n}" for n in range(10, 30))]
    assert before.metrics == after.metrics
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("workers", [0, 2])
def test_pausing_one_trial_ends_its_move_alone(workers, move, finish, tmp_path):
    (tmp_path / "there").touch()
    there = str(tmp_path / "there")
    with pool_of(waiting_for_file, workers, horizon=10**9) as pool:
        pool.submit(move(0, 0, 10**9, file=there))
        if workers == 2:
            pool.submit(move(1, 0, 10**9, file=there))
        events = []
        while not events:
            events += pool.wait(1)
        pool.pause(7)  # of a stranger: nothing happens
        pool.pause(0)
        while Finished(0, ended=False) not in events:
            events += pool.wait(1)
        assert pool.busy is (workers == 2)
        pool.pause()
        assert all(isinstance(event, Measured) or event == Finished(1, ended=False) for event in finish(pool))
