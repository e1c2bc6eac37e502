"""Workers on a real Ray cluster: several nodes on this machine, one of which is killed."""

import os
import threading
import time
from pathlib import Path

import pytest
from tests.waiting import until

from ayar.errors import ObjectiveError
from ayar.records import State
from ayar.run.events import Failed, Finished, Measured
from ayar.run.local import open_pool
from ayar.run.workers import Workers
from ayar.space import Float, Space
from ayar.study import Study

ray = pytest.importorskip("ray")

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


@pytest.fixture(scope="module")
def doomed():
    """A cluster of two nodes with one processor each; gives the second one's id, and a function that kills it."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    node = cluster.add_node(num_cpus=1, resources={"fast_disk": 1})
    ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
    cluster.wait_for_nodes()
    yield node.node_id, lambda: cluster.remove_node(node, allow_graceful=False)
    ray.shutdown()
    cluster.shutdown()


def pool_of(objective, count=1, **given):
    return open_pool(objective, metric="loss", horizon=6, workers=Workers(count, on="ray"), **given)


def falling(config, seed):
    for step in range(1, 7):
        time.sleep(config.get("s", 0))
        while step > 2 and "gate" in config and not Path(config["gate"]).exists():
            time.sleep(0.01)
        if step == config.get("exit_at"):
            print("leaving")
            os._exit(3)
        if step == config.get("raise_at"):
            print("raising")
            raise RuntimeError("too bad")
        yield {"loss": 1 / step, "pid": os.getpid(), "threads": int(os.environ["OMP_NUM_THREADS"])}


def test_moves_are_trained_paused_and_continued_where_they_are_held(doomed, move, finish, curve, tmp_path):
    with pool_of(falling, 2) as pool:
        for trial in (0, 1):
            pool.submit(move(trial, 0, 3, s=0.05))
        events = finish(pool)
        assert pool.holds(0)
        pool.submit(move(0, 3, 6))
        events += finish(pool)
        pool.submit(move(2, 0, 6, s=0.1, gate=str(tmp_path / "gate")))
        while not any(isinstance(event, Measured) and event.trial == 2 for event in events):
            events += pool.wait(1)
        pool.pause()
        (tmp_path / "gate").touch()
        events += finish(pool)
    assert curve(events, 0) == [(step, 1 / step) for step in range(1, 7)]
    measured = [event for event in events if isinstance(event, Measured)]
    assert len({(event.trial, event.metrics["pid"]) for event in measured if event.trial < 2}) == 2
    assert {event.metrics["threads"] for event in measured} == {1}
    assert events[-1] == Finished(2, ended=False)
    assert curve(events, 2)[-1][0] < 6


def test_a_worker_takes_the_resources_that_it_asks_for(doomed, move):
    workers = Workers(1, on="ray", resources={"fast_disk": 0.75})
    with open_pool(falling, metric="loss", horizon=6, workers=workers) as pool:
        pool.submit(move(0, 0, 6, s=0.1))
        while not pool.wait(1):
            pass
        until(lambda: ray.available_resources().get("fast_disk", 1) < 1)  # nodes tell each other now and then
        assert ray.available_resources()["fast_disk"] == 0.25


def test_what_goes_wrong_is_told_with_the_last_output(doomed, move, finish):
    with pool_of(falling) as pool:
        pool.submit(move(0, 0, 6, raise_at=2))
        failed = finish(pool)[-1]
        assert failed.error.startswith("RuntimeError: too bad")
        assert "Its last output:\nraising" in failed.error
        pool.submit(move(1, 0, 6, exit_at=2, s=0.3))
        failed = finish(pool)[-1]
        assert isinstance(failed, Failed)
        assert failed.chances == 1
        assert failed.error.startswith("the worker on Ray is lost")
        pool.submit(move(2, 0, 6))
        assert finish(pool)[-1] == Finished(2, ended=False)


def test_an_objective_that_cannot_be_loaded_is_said_once(doomed, move):
    class Unloadable:
        def __reduce__(self):
            return (__import__, ("a_module_that_is_not_there",))

        def __call__(self, config, seed):
            yield 1.0

    with pool_of(Unloadable()) as pool:
        pool.submit(move(0, 0, 1))
        with pytest.raises(ObjectiveError, match=r"cannot load the objective: ModuleNotFoundError"):
            pool.wait()


def resumable(doomed_id, held):
    """A training that stays in its third step on the doomed node; then there is a file, for which others wait."""

    def train(config, seed, folder):
        saved = folder / "step"
        done = int(saved.read_text()) if saved.exists() else 0
        on_doomed = ray.get_runtime_context().get_node_id() == doomed_id
        for step in range(done + 1, 7):
            if on_doomed and step == 3:
                held.touch()
                time.sleep(600)
            time.sleep(0.1 if on_doomed else 0)  # longer than a turn: each of its steps is told by itself
            while not on_doomed and not held.exists():
                time.sleep(0.01)
            (folder / "new").write_text(str(step))
            (folder / "new").replace(saved)
            yield {"step": step, "loss": abs(config["x"] - 0.3) + 1 / step}

    return train


def test_a_study_survives_the_death_of_a_node(doomed, tmp_path):
    """What was acknowledged stays, no trial fails, and the rest is trained on the node that is left."""
    (doomed_id, kill), held, space = doomed, tmp_path / "held", Space(x=Float(0.0, 1.0))

    def kill_in_the_third_step():
        while not held.exists():
            time.sleep(0.05)
        kill()

    with Study(tmp_path / "study.db", space=space, minimize="loss", horizon=6, searcher="random") as study:
        killer = threading.Thread(target=kill_in_the_third_step, daemon=True)
        killer.start()
        study.tune(resumable(doomed_id, held), trials=16, workers=2, on="ray", confirm=0, progress=False)
        killer.join()
        trials = study.trials()
    assert len(trials) == 16
    assert {t.state for t in trials} == {State.COMPLETED}
    for trial in trials:
        assert [m.loss for m in trial.curve] == [abs(trial.config["x"] - 0.3) + 1 / m.step for m in trial.curve]
    assert sum(t.waste_s > 0 for t in trials) == 1
