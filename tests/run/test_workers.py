"""What each worker may use: its GPUs, its memory, its time."""

import os
import re
import signal
import time

import pytest

from ayar.errors import BudgetError, LedgerError
from ayar.records import State
from ayar.run.events import Failed, Finished, Measured
from ayar.run.local import open_pool
from ayar.run.workers import Workers, visible_gpus
from ayar.space import Choice, Space
from ayar.study import Study


def pool_of(objective, count=1, **limits):
    return open_pool(objective, metric="loss", horizon=9, workers=Workers(count, **limits))


@pytest.mark.parametrize(
    ("workers", "seen"),
    [
        (Workers(2), [None, None]),
        (Workers(2, gpus="3,5"), ["3", "5"]),
        (Workers(4, gpus=("0", "1")), ["0", "1", "0", "1"]),
        (Workers(4, gpus=("0", "1"), gpus_per_worker=0.5), ["0", "0", "1", "1"]),
        (Workers(2, gpus=("0", "1", "2", "3"), gpus_per_worker=2), ["0,1", "2,3"]),
    ],
)
def test_gpus_are_shared_out(workers, seen):
    assert [workers.gpus_of(number) for number in range(workers.count)] == seen


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"count": -1}, "workers=-1 can't train"),
        ({"on": "moon"}, "on='moon' is no place to train. Give 'local' or 'ray'"),
        ({"memory_gb": 0}, "memory_gb=0 lets nothing train"),
        ({"gpus": "0", "gpus_per_worker": 1.5}, "gpus_per_worker=1.5 is neither a whole number nor a part"),
        ({"count": 3, "gpus": "0", "gpus_per_worker": 0.5}, "3 workers with 0.5 GPUs each need more than the 1"),
    ],
)
def test_impossible_workers_are_refused(wrong, message):
    with pytest.raises(BudgetError, match=message):
        Workers(**wrong)


def test_all_gpus_are_those_that_this_process_sees(monkeypatch):
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "4,5"}) == ("4", "5")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    assert Workers(gpus="all").gpus == ("GPU-a", "GPU-b")
    with pytest.raises(BudgetError, match="sees no GPU"):
        visible_gpus({"CUDA_VISIBLE_DEVICES": ""})


def test_a_worker_sees_its_gpus_only_and_two_may_share_one(move, finish, tmp_path):
    def train(config, seed):
        (tmp_path / str(os.getpid())).touch()
        while len(list(tmp_path.iterdir())) < 4:  # so that each worker takes one
            time.sleep(0.01)
        yield {"loss": 0.0, "gpu": int(os.environ["CUDA_VISIBLE_DEVICES"])}

    with pool_of(train, 4, gpus=("6", "7")) as pool:
        for trial in range(4):
            pool.submit(move(trial, 0, 1))
        seen = [event.metrics["gpu"] for event in finish(pool) if isinstance(event, Measured)]
    assert sorted(seen) == [6, 6, 7, 7]


def holding(config, seed):
    held = []
    for step in range(1, 10):
        if step >= config.get("from", 99):
            print("holding", step)
            held.append(bytearray(400_000_000))
            time.sleep(60)
        yield {"loss": 1 / step, "pid": os.getpid()}


def test_a_training_that_holds_too_much_memory_fails_and_another_goes_on(move, finish):
    with pool_of(holding, memory_gb=0.4) as pool:
        pool.submit(move(0, 0, 3, **{"from": 2}))
        measured, failed = finish(pool)
        assert measured.step == 1
        assert isinstance(failed, Failed)
        assert failed.error.startswith("it held 0.")
        assert "more than memory_gb=0.4" in failed.error
        assert "holding 2" in failed.error
        assert failed.chances == 0
        assert failed.waste_s > 0
        pool.submit(move(1, 0, 3))
        assert finish(pool)[-1] == Finished(1, ended=False)


def test_what_paused_trials_hold_is_not_blamed_on_the_next_one(move, finish, curve, tmp_path):
    def train(config, seed):
        attempts = tmp_path / str(seed)
        attempts.mkdir(exist_ok=True)
        (attempts / str(os.getpid())).touch()
        held = bytearray(250_000_000)
        for step in range(1, 10):
            if config["waits"] and len(list(attempts.iterdir())) == 1:
                time.sleep(60)  # until the worker is ended for what it holds
            yield len(held) / step

    with pool_of(train, memory_gb=0.4) as pool:
        pool.submit(move(0, 0, 1, waits=False))
        finish(pool)
        assert pool.holds(0)
        pool.submit(move(1, 0, 3, waits=True))
        events = finish(pool)
        assert [step for step, _ in curve(events, 1)] == [1, 2, 3]
        assert not pool.holds(0)


def test_a_trial_that_trains_longer_than_it_may_is_ended_in_the_midst_of_a_step(move, finish):
    def train(config, seed):
        while True:
            time.sleep(config["s"])
            yield 1.0

    with pool_of(train, trial_timeout_s=60) as pool:
        pool.submit(move(0, 0, 3, s=600), spent_s=59.5)  # what it took before counts
        [failed] = finish(pool)
        assert re.match(r"it has trained for \d\d\.\d s, longer than trial_timeout_s=60, so", failed.error)
        pool.submit(move(1, 5, 6, s=0.01), spent_s=1.4)
        assert isinstance(finish(pool)[-1], Finished)
        pool.submit(move(2, 5, 9, s=0.2), spent_s=59.9)
        assert isinstance(finish(pool)[-1], Failed)


def test_limits_without_worker_processes_are_refused():
    with pytest.raises(BudgetError, match="with workers=0 there are none"):
        pool_of(holding, 0, memory_gb=1)


def test_no_worker_is_started_without_a_move(move, finish):
    with pool_of(holding, 3) as pool:
        assert (pool.free, pool._workers) == (3, [])
        pool.submit(move(0, 0, 1))
        finish(pool)
        assert len(pool._workers) == 1


class Fragile:
    """Dies by a signal while it is loaded, the first ``times``."""

    def __init__(self, path, times):
        self.path, self.times = path, times

    def __setstate__(self, state):
        self.__dict__ = state
        with self.path.open("a") as file:
            file.write("x")
        if self.path.stat().st_size <= self.times:
            os.kill(os.getpid(), signal.SIGKILL)

    def __call__(self, config, seed):
        return 1.0


def test_a_worker_that_is_killed_while_it_loads_is_replaced(move, finish, curve, tmp_path):
    with pool_of(Fragile(tmp_path / "loads", 2)) as pool:
        pool.submit(move(0, 0, 9))
        assert curve(finish(pool)) == [(9, 1.0)]


def deadly(folder, signal_, times):
    """A training of three steps; the first ``times`` that it comes to the second one with x = 1, a signal ends it."""

    def train(config, seed):
        for step in range(1, 4):
            marks = folder / f"{config['x']}"
            if step == 2 and config["x"] == 1 and (not marks.exists() or len(marks.read_text()) < times):
                with marks.open("a") as file:
                    file.write("x")
                os.kill(os.getpid(), signal_)
            yield 1 / (step + config["x"])

    return train


@pytest.mark.parametrize(
    ("signal_", "times", "state"),
    [
        (signal.SIGKILL, 1, State.COMPLETED),  # the machine's doing: once more
        (signal.SIGKILL, 9, State.FAILED),  # but not for ever
        (signal.SIGSEGV, 1, State.FAILED),  # the training's own doing
    ],
)
def test_a_training_that_its_machine_took_down_is_retried(tmp_path, signal_, times, state):
    (tmp_path / "marks").mkdir()
    with Study(tmp_path / "s.db", space=Space(x=Choice(0, 1, 2)), minimize="loss", horizon=3, searcher="grid") as study:
        study.tune(deadly(tmp_path / "marks", signal_, times), confirm=0, progress=False)
        by_x = {t.config["x"]: t for t in study.trials()}
        assert [by_x[x].state for x in (0, 2)] == [State.COMPLETED] * 2
        assert by_x[1].state is state
        assert by_x[1].waste_s > 0
        assert [m.step for m in by_x[1].curve] == ([1, 2, 3] if state is State.COMPLETED else [1])
        if state is State.FAILED:
            assert signal_.name in by_x[1].error
    attempts = (tmp_path / "marks" / "1").read_text()
    assert len(attempts) == min(times, 1 if signal_ is signal.SIGSEGV else 4)
    with Study(tmp_path / "s.db") as again:  # the record says the same
        assert [(t.config["x"], t.state, t.waste_s) for t in again.trials()] == [
            (t.config["x"], t.state, t.waste_s) for t in by_x.values()
        ]


def test_a_full_disk_is_no_trials_fault(tmp_path):
    """The tuning stops and says so; the trial goes on once there is room."""
    full = tmp_path / "full"
    full.touch()

    def train(config, seed, folder):
        for step in range(1, 4):
            if full.exists() and step == 2:
                raise OSError(28, "No space left on device", str(folder / "weights"))
            yield {"step": step, "loss": 1 / step}

    with Study(tmp_path / "s.db", space=Space(x=Choice(0, 1)), minimize="loss", horizon=3, searcher="grid") as study:
        with pytest.raises(LedgerError, match=r"No space left on device.*Make room under"):
            study.tune(train, confirm=0, progress=False)
        assert {t.state for t in study.trials()} <= {State.PAUSED, State.RUNNING}
        full.unlink()
        study.tune(train, confirm=0, progress=False)
        assert [t.curve.last_step for t in study.trials()] == [3, 3]


def test_resources_of_a_cluster_are_refused_where_there_is_none():
    with pytest.raises(BudgetError, match=r"resources=\{'fast_disk': 1\} are what nodes of a Ray cluster offer"):
        pool_of(lambda config, seed: 0.5, resources={"fast_disk": 1})
