"""Moves trained as lanes, against a reference: lanes that train their trials in turn."""

import itertools
import math
import os
import signal
import time

import numpy as np
import pytest

from ayar.errors import MoveError, SpaceError
from ayar.run.events import Failed, Finished, Measured
from ayar.run.lane_trainer import LaneTrainer, open_trainer
from ayar.run.local import open_pool
from ayar.run.objective import as_training
from ayar.run.trainer import AloneTrainer
from ayar.run.workers import Workers

ENDLESS = 10**9


class SequentialLanes:
    """The reference: as many trainings as there are lanes, a step of each in turn."""

    def __init__(self, recipe, size):
        self.recipe = recipe
        self.size = size
        self.running = {}

    @property
    def reasons(self):
        return sorted({training[2] for training in self.running.values()} - {None})

    @property
    def held(self):
        return frozenset()

    def close(self):
        pass

    @property
    def free(self):
        return self.size - len(self.running)

    def load(self, trial, config, seed, folder, start_step, stop_step):
        if "unknown" in config:
            raise SpaceError("no such activation")
        self.running[trial] = (
            self.recipe.train(config, seed, folder, start_step),
            stop_step,
            config.get("reason"),
        )

    def advance(self):
        if len(self.running) > self.recipe.room:
            raise MemoryError
        steps = []
        for trial, (training, stop_step, _) in self.running.items():
            measured = next(training, None)
            if measured is not None:
                step = measured.pop("step")
                assert step <= stop_step
                steps.append((trial, step, measured))
        return steps

    def unload(self, trial):
        training, *_ = self.running.pop(trial)
        training.close()


class Recipe:
    """A curve that shows any disorder in the random numbers, with a checkpoint that resumes it.

    ``config`` may say what else is to happen at which step: ``{"at": 2, "act": "raise"}``.
    """

    def __init__(self, size=3, room=100, reason=None):
        self.size = size
        self.room = room
        self.reason = reason

    def lanes(self, at_most=None):
        return self.reason or SequentialLanes(self, min(at_most or self.size, self.size))

    def train(self, config, seed, folder, start_step):
        saved = folder / "step"
        done = int(saved.read_text()) if saved.exists() else 0
        (folder / "resumed").write_text(f"{done}")
        losses = curve_of(seed)
        try:
            for step in range(0 if start_step == 0 else start_step + 1, config.get("iterations", 50) + 1):
                if step == config.get("at"):
                    act(config["act"], folder)
                nan = config.get("nan_at") == step
                done = step
                yield {"step": step, "loss": math.nan if nan else losses[step % len(losses)]}
        finally:
            if config.get("disk") == "full":
                raise OSError("disk full")
            saved.write_text(str(done))


def act(what, folder):
    match what:
        case "raise":
            raise RuntimeError("shapes do not match")
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "kill once" if not (folder / "killed").exists():
            (folder / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            while True:
                pass


def curve_of(seed):
    rng = np.random.default_rng(seed)
    return np.cumprod(rng.uniform(0.5, 1.0, 51)).tolist()


def expected(trial, first, last):
    losses = curve_of(100 + trial)
    return [(step, losses[step % len(losses)]) for step in range(first, last + 1)]


@pytest.fixture
def opened(tmp_path):
    """Make a trainer of a recipe, with lanes unless told otherwise."""

    def make(recipe, lanes=None):
        return open_trainer(as_training(recipe, metric="loss"), horizon=50, folder=tmp_path, lanes=lanes)

    return make


def drain(trainer, *moves):
    for move in moves:
        trainer.begin(move)
    events = []
    while trainer.busy:
        events += trainer.advance()
    return events


def ends(events):
    return [event for event in events if not isinstance(event, Measured)]


def test_every_curve_is_that_of_the_trial_alone_however_lanes_are_shared(opened, move, curve):
    trainer = opened(Recipe(size=3))
    assert isinstance(trainer, LaneTrainer)
    events = drain(trainer, *(move(trial, 0, 1 + trial % 4) for trial in range(8)))
    events += drain(trainer, *(move(trial, 1 + trial % 4, 9) for trial in range(8)))
    for trial in range(8):
        assert curve(events, trial) == expected(trial, 0, 9)
    assert [(type(end), end.ended) for end in ends(events)] == [(Finished, False)] * 16


def test_a_free_lane_takes_the_next_move_at_once(opened, move):
    """Nobody waits for the longest."""
    trainer = opened(Recipe(size=2))
    events = drain(trainer, move(0, 0, 20), *(move(trial, 0, 3) for trial in range(1, 5)))
    assert [end.trial for end in ends(events)] == [1, 2, 3, 4, 0]


def test_a_paused_trial_goes_on_from_its_checkpoint(opened, move, tmp_path):
    trainer = opened(Recipe())
    drain(trainer, move(0, 0, 2), move(1, 0, 4))
    drain(trainer, move(0, 2, 3), move(1, 4, 5))
    assert [(tmp_path / trial / "resumed").read_text() for trial in "01"] == ["2", "4"]


def test_the_last_measurement_comes_with_the_end_of_its_move(opened, move):
    """Else the study would continue a trial whose move isn't over."""
    trainer = opened(Recipe(size=2))
    trainer.begin(move(0, 0, 1))
    trainer.begin(move(1, 0, 3))
    trainer.advance()
    first, second, end = trainer.advance()
    assert (first.step, second.step, end) == (1, 1, Finished(0, ended=False))


def test_slots_are_the_lanes(opened, move):
    trainer = opened(Recipe(size=3))
    assert trainer.slots == 3
    trainer.begin(move(0, 0, 3))
    trainer.advance()
    assert trainer.slots == 3
    assert opened(Recipe(size=3), lanes=2).slots == 2


def test_with_many_lanes_some_moves_wait_and_take_a_free_lane_without_a_word_from_the_pool(opened, move):
    trainer = opened(Recipe(size=8, room=8))
    assert (trainer.lanes, trainer.slots) == (8, 10)
    for trial in range(10):
        trainer.begin(move(trial, 0, 1 if trial < 2 else 3))
    for _ in range(2):  # steps 0 and 1
        trainer.advance()
    begun = {event.trial for event in trainer.advance() if isinstance(event, Measured)}
    assert begun == set(range(2, 10))


def test_lanes_share_the_cost(opened, move):
    trainer = opened(Recipe(size=4))
    begun = time.perf_counter()
    events = drain(trainer, *(move(trial, 0, 5) for trial in range(6)))
    elapsed_s = time.perf_counter() - begun
    costs = [event.cost_s for event in events if isinstance(event, Measured)]
    assert all(cost > 0 for cost in costs)
    assert sum(costs) <= elapsed_s


def test_several_steps_of_one_quantum_share_its_cost(opened, move):
    class Quick(SequentialLanes):
        def advance(self):
            return [*super().advance(), *super().advance()]

    class QuickRecipe(Recipe):
        def lanes(self, at_most=None):
            return Quick(self, 2)

    trainer = opened(QuickRecipe())
    trainer.begin(move(0, 0, 50))
    first, second = trainer.advance()
    assert (first.step, second.step) == (0, 1)
    assert first.cost_s == second.cost_s > 0


def test_pausing_ends_each_move_with_the_step_it_is_in(opened, move, curve):
    trainer = opened(Recipe(size=2))
    for trial in range(3):
        trainer.begin(move(trial, 0, 40))
    events = [*trainer.advance(), *trainer.advance()]
    trainer.pause()
    trainer.begin(move(7, 0, 2))
    events += drain(trainer)
    assert [(end.trial, end.ended) for end in ends(events)] == [(2, False), (0, False), (1, False), (7, False)]
    assert curve(events, 2) == []
    last = curve(events, 0)[-1][0]
    events += drain(trainer, move(0, last, 9))
    assert curve(events, 0) == expected(0, 0, 9)


def test_pausing_one_trial_ends_its_lane_alone(opened, move, curve):
    trainer = opened(Recipe(size=2))
    for trial in range(4):
        trainer.begin(move(trial, 0, 6))
    events = trainer.advance()
    trainer.pause(1)
    trainer.pause(3)
    events += drain(trainer)
    assert sorted((end.trial, end.ended) for end in ends(events)) == [(0, False), (1, False), (2, False), (3, False)]
    assert [curve(events, trial)[-1][0] for trial in (0, 2)] == [6, 6]
    assert curve(events, 1)[-1][0] < 6
    assert curve(events, 3) == []


def test_a_diverged_lane_ends_and_touches_no_other(opened, move, curve):
    trainer = opened(Recipe(size=2))
    events = drain(trainer, move(0, 0, 9, nan_at=3), move(1, 0, 9), move(2, 0, 9))
    assert ends(events)[0] == Finished(0, ended=True)
    assert curve(events, 0)[:3] == expected(0, 0, 2)
    assert [step for step, _ in curve(events, 0)] == [0, 1, 2, 3]
    assert math.isnan(curve(events, 0)[-1][1])
    for trial in (1, 2):
        assert curve(events, trial) == expected(trial, 0, 9)


def test_a_training_shorter_than_its_move_has_ended(opened, move, curve):
    trainer = opened(Recipe())
    events = drain(trainer, move(0, 0, 9, iterations=4))
    assert events[-1] == Finished(0, ended=True)
    assert curve(events) == expected(0, 0, 4)
    assert drain(trainer, move(1, 0, 4, iterations=4))[-1] == Finished(1, ended=False)
    assert drain(trainer, move(1, 4, 9, iterations=4)) == [Finished(1, ended=True)]


def test_a_fresh_start_finds_an_empty_folder(opened, move, tmp_path):
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "step").write_text("7")
    drain(opened(Recipe()), move(0, 0, 1))
    assert (tmp_path / "0" / "resumed").read_text() == "0"


def test_a_configuration_that_cannot_be_loaded_fails_by_itself(opened, move, curve):
    trainer = opened(Recipe())
    events = drain(trainer, move(0, 0, 3), move(1, 0, 3, unknown=True), move(2, 0, 3))
    [failed] = [event for event in events if isinstance(event, Failed)]
    assert (failed.trial, failed.error.splitlines()[0]) == (1, "SpaceError: no such activation")
    for trial in (0, 2):
        assert curve(events, trial) == expected(trial, 0, 3)


def test_after_an_error_in_the_common_computation_only_the_culprit_fails(opened, move, curve):
    trainer = opened(Recipe(size=4))
    jobs = [move(trial, 0, 9, **({"at": 3, "act": "raise"} if trial == 1 else {})) for trial in range(6)]
    events = drain(trainer, *jobs)
    [failed] = [event for event in events if isinstance(event, Failed)]
    assert (failed.trial, failed.error.splitlines()[0]) == (1, "RuntimeError: shapes do not match")
    assert "in act" in failed.error
    for trial in (0, 2, 3, 4, 5):
        known = dict(curve(events, trial))  # the untrained net may be measured twice
        assert list(known.items()) == expected(trial, 0, 9)
    assert trainer.lanes == 4


def test_out_of_memory_halves_the_lanes_and_goes_on(opened, move, curve):
    trainer = opened(Recipe(size=8, room=3))
    events = drain(trainer, *(move(trial, 0, 5) for trial in range(8)))
    assert trainer.slots == 2
    for trial in range(8):
        assert curve(events, trial) == expected(trial, 0, 5)


def test_out_of_memory_with_a_single_lane_is_the_trials_failure(opened, move):
    class Huge(Recipe):
        def train(self, config, seed, folder, start_step):
            raise MemoryError
            yield

    [failed] = drain(opened(Huge(room=0)), move(0, 0, 5))
    assert isinstance(failed, Failed)
    assert failed.error.startswith("MemoryError")


def test_a_missing_metric_is_a_broken_contract(opened, move, tmp_path):
    training = as_training(Recipe(), metric="accuracy")
    trainer = open_trainer(training, horizon=50, folder=tmp_path, lanes=None)
    events = drain(trainer, move(0, 0, 3), move(1, 0, 3))
    assert [(event.trial, event.contract) for event in events] == [(0, True), (1, True)]
    assert "gave 'loss' but not 'accuracy'" in events[0].error


def test_a_checkpoint_that_cannot_be_written_fails_its_trial_alone(opened, move, curve):
    events = drain(opened(Recipe()), move(0, 0, 2, disk="full"), move(1, 0, 4))
    [failed, finished] = ends(events)
    assert failed.error.splitlines()[0] == "OSError: disk full"
    assert finished == Finished(1, ended=False)
    assert curve(events, 1) == expected(1, 0, 4)


def test_closing_saves_what_is_loaded(opened, move, tmp_path):
    trainer = opened(Recipe())
    trainer.begin(move(0, 0, 40))
    [measured] = trainer.advance()
    trainer.close()
    assert (tmp_path / "0" / "step").read_text() == str(measured.step)


def test_a_lane_that_cannot_be_saved_at_the_end_keeps_no_other_from_it(opened, move, tmp_path):
    trainer = opened(Recipe())
    for trial in range(3):
        trainer.begin(move(trial, 0, 9, **({"disk": "full"} if trial == 1 else {})))
    for _ in range(3):  # steps 0, 1 and 2
        trainer.advance()
    trainer.close()
    assert [(tmp_path / str(trial) / "step").exists() for trial in range(3)] == [True, False, True]


def test_a_folder_that_cannot_be_made_fails_its_trial_alone(opened, move, curve, tmp_path):
    """A full disk must not end the worker: who knows how to go on is told that the disk is to blame."""
    (tmp_path / "1").write_text("a file in the place of the folder")
    events = drain(opened(Recipe()), move(0, 0, 3), move(1, 1, 3), move(2, 0, 3))
    [failed] = [event for event in events if isinstance(event, Failed)]
    assert (failed.trial, failed.error.splitlines()[0].partition(":")[0]) == (1, "FileExistsError")
    for trial in (0, 2):
        assert curve(events, trial) == expected(trial, 0, 3)


def test_why_there_are_no_lanes_is_said(opened):
    class Broken(Recipe):
        def lanes(self, at_most=None):
            raise OSError("no calibration")

    def generator(config, seed):
        yield 1.0

    cases = [
        (Recipe(reason="Batch norm keeps statistics."), None, ["Batch norm keeps statistics."]),
        (Broken(), None, ["OSError: no calibration"]),
        (Recipe(), 0, []),
        (generator, None, []),
    ]
    for recipe, lanes, reasons in cases:
        trainer = opened(recipe, lanes)
        assert isinstance(trainer, AloneTrainer)
        assert [reason.splitlines()[0] for reason in trainer.reasons] == reasons


def pool_of(recipe, workers, lanes=None, **kwargs):
    return open_pool(recipe, metric="loss", horizon=50, workers=workers, lanes=lanes, **kwargs)


def filled(pool, jobs):
    """All events of the jobs, submitted as fast as the pool takes them."""
    events, waiting = [], list(jobs)
    while waiting or pool.busy:
        while waiting and pool.free:
            pool.submit(waiting.pop(0))
        events += pool.wait(1)
    return events


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_pool_of_lanes_gives_the_curves_of_trials_alone(workers, move, curve):
    with pool_of(Recipe(), workers) as pool:
        events = filled(pool, (move(trial, 0, 1 + trial % 3) for trial in range(12)))
        more = itertools.count(100)
        while pool.lanes != 3 * max(workers, 1):  # the second worker may need longer to start than the first to train
            filled(pool, [move(next(more), 0, 1)])
        assert pool.free == pool.lanes
        events += filled(pool, (move(trial, 1 + trial % 3, 8) for trial in range(12)))
    for trial in range(12):
        assert curve(events, trial) == expected(trial, 0, 8)
    assert pool.reasons == []


@pytest.mark.parametrize("workers", [0, 1])
def test_the_number_of_lanes_can_be_limited(workers, move):
    with pool_of(Recipe(size=8), workers, lanes=2) as pool:
        filled(pool, [move(0, 0, 1)])
        assert pool.free == pool.lanes == 2


@pytest.mark.parametrize("workers", [0, 1])
def test_the_pool_passes_on_why_trials_train_alone(workers, move, curve):
    with pool_of(Recipe(reason="Lanes are slower here."), workers) as pool:
        assert curve(filled(pool, [move(0, 0, 3)])) == expected(0, 0, 3)
        assert (pool.free, pool.lanes, pool.reasons) == (1, None, ["Lanes are slower here."])


@pytest.mark.parametrize("workers", [0, 1])
def test_the_pool_passes_on_why_some_trials_train_alone_inside_lanes(workers, move):
    with pool_of(Recipe(), workers) as pool:
        pool.submit(move(0, 0, ENDLESS, iterations=ENDLESS, reason="Its net has batch norm."))
        while not pool.reasons:
            pool.wait(1)
        assert (pool.reasons, pool.lanes) == (["Its net has batch norm."], 3)


def test_a_trial_has_one_move_at_a_time_in_lanes_too(move):
    for workers in (0, 1):
        with pool_of(Recipe(), workers) as pool:
            pool.submit(move(0, 0, 2))
            with pytest.raises(MoveError, match="outstanding; wait for its end"):
                pool.submit(move(0, 2, 3))


def test_pausing_a_pool_of_lanes_ends_every_move(move, finish, curve):
    for workers in (0, 1):
        with pool_of(Recipe(), workers) as pool:
            filled(pool, [move(9, 0, 1)])
            for trial in range(3):
                pool.submit(move(trial, 0, ENDLESS, iterations=ENDLESS))
            events = []
            while len({event.trial for event in events}) < 3:
                events += pool.wait(1)
            pool.pause()
            events += finish(pool)
            for trial in range(3):
                last = curve(events, trial)[-1][0]
                assert last < ENDLESS
                events += filled(pool, [move(trial, last, last + 2, iterations=ENDLESS)])
                assert curve(events, trial) == expected(trial, 0, last + 2)


def test_closing_saves_the_lanes(move, tmp_path, curve):
    pool = pool_of(Recipe(), 1, folder=tmp_path)
    for trial in range(3):
        pool.submit(move(trial, 0, ENDLESS, iterations=ENDLESS))
    events = []
    while len({event.trial for event in events}) < 3:
        events += pool.wait(1)
    events += pool.close()
    for trial in range(3):
        assert (tmp_path / str(trial) / "step").read_text() == str(curve(events, trial)[-1][0])


def survivors(events, curve, trials, last):
    """Assert that these trials have their whole curve; what is measured again must be the same."""
    for trial in trials:
        measured = curve(events, trial)
        known = dict(measured)
        assert all(known[step] == loss for step, loss in measured)
        assert sorted(known.items()) == expected(trial, 0, last)


def test_trials_go_on_after_the_death_of_the_process_they_shared(move, curve):
    """The machine was to blame, not one of them."""
    with pool_of(Recipe(size=4), 1) as pool:
        filled(pool, [move(9, 0, 1)])
        jobs = [move(trial, 0, 9, **({"at": 4, "act": "kill once"} if trial == 2 else {})) for trial in range(4)]
        events = filled(pool, jobs)
    assert [type(end) for end in ends(events)] == [Finished] * 4
    survivors(events, curve, range(4), 9)


@pytest.mark.parametrize(
    ("what", "error", "lanes"), [("kill", "killed by signal 9", 4), ("hang", "no step within 1 s", 2)]
)
def test_a_trial_that_keeps_killing_its_process_is_found_and_fails_alone(what, error, lanes, move, curve):
    with pool_of(Recipe(size=lanes), Workers(step_timeout_s=1)) as pool:
        filled(pool, [move(9, 0, 1)])
        jobs = [move(trial, 0, 6, **({"at": 2, "act": what} if trial == 1 else {})) for trial in range(4)]
        events = filled(pool, jobs)
        [failed] = [event for event in events if isinstance(event, Failed)]
        assert failed.trial == 1
        assert error in failed.error
        assert (failed.chances > 0) == (what == "kill")
        survivors(events, curve, (0, 2, 3), 6)
        filled(pool, [move(8, 0, 1)])
        assert pool.lanes == lanes


def test_the_reference_lanes_report_every_step_once(tmp_path):
    """The reference itself: what the promises above are held against."""
    lanes = SequentialLanes(Recipe(), 2)
    for trial in (0, 1):
        (tmp_path / str(trial)).mkdir()
        lanes.load(trial, {}, 100 + trial, tmp_path / str(trial), 0, 3)
    assert lanes.free == 0
    steps = list(itertools.chain.from_iterable(lanes.advance() for _ in range(4)))
    assert [(trial, step) for trial, step, _ in steps] == [(t, s) for s in range(4) for t in (0, 1)]
