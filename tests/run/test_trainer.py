"""The trainer: slices of a training, one move at a time."""

import itertools
import math
import shutil
from dataclasses import replace

import pytest

from ayar.run.events import Failed, Finished, Measured
from ayar.run.folders import folders, latest_folder
from ayar.run.objective import as_training
from ayar.run.trainer import AloneTrainer, describe


class Log:
    """A training that writes down when it starts and closes."""

    def __init__(self, fails_to_close=False):
        self.lines = []
        self.fails_to_close = fails_to_close

    def __call__(self, config, seed):
        self.lines.append(f"start {seed}")
        try:
            for epoch in itertools.count(1):
                yield 1 / epoch
        finally:
            self.lines.append(f"close {seed}")
            if self.fails_to_close:
                raise OSError("disk full")


class Recipe:
    """Keeps its step in its folder, as a checkpoint would."""

    def train(self, config, seed, folder, start_step):
        saved = folder / "step"
        step = start_step
        if start_step > 0:
            assert int(saved.read_text()) == start_step
        try:
            while True:
                step += 1
                yield {"step": step, "loss": 1 / step}
        finally:
            saved.write_text(str(step))


@pytest.fixture
def trainer(tmp_path):
    def make(objective, *, horizon=100, **kwargs):
        training = as_training(objective, metric="loss")
        return AloneTrainer(training, horizon=horizon, folder=tmp_path, **kwargs)

    return make


def test_a_paused_generator_goes_on_without_a_restart(trainer, move, curve):
    log = Log()
    trainer = trainer(log)
    events = [*trainer.run(move(0, 0, 2)), *trainer.run(move(0, 2, 4))]
    assert curve(events) == [(1, 1.0), (2, 1 / 2), (3, 1 / 3), (4, 1 / 4)]
    assert log.lines == ["start 100"]


def test_a_paused_generator_that_stands_elsewhere_starts_again(trainer, move, curve):
    """What was measured counts, not what a worker happens to hold."""
    log = Log()
    trainer = trainer(log)
    list(trainer.run(move(0, 0, 3)))
    assert curve(trainer.run(move(0, 2, 4))) == [(3, 1 / 3), (4, 1 / 4)]
    assert log.lines == ["start 100", "close 100", "start 100"]


def test_the_longest_paused_make_room(trainer, move):
    log = Log()
    trainer = trainer(log, keep=2)
    for trial, start in [(0, 0), (1, 0), (0, 1), (2, 0)]:
        list(trainer.run(move(trial, start, start + 1)))
    assert trainer.held == {0, 2}
    assert log.lines == ["start 100", "start 101", "start 102", "close 101"]


def test_what_fails_to_close_while_it_makes_room_fails_nobody_else(trainer, move, capfd):
    """The trial whose checkpoint is lost will train those steps again; the one in training is not to blame."""
    trainer = trainer(Log(fails_to_close=True), keep=1)
    list(trainer.run(move(0, 0, 1)))
    assert list(trainer.run(move(1, 0, 1)))[-1] == Finished(1, ended=False)
    assert "OSError: disk full" in capfd.readouterr().err
    trainer.close()


def test_a_generator_is_closed_at_the_horizon(trainer, move):
    log = Log()
    trainer = trainer(log, horizon=2)
    assert list(trainer.run(move(0, 0, 2)))[-1] == Finished(0, ended=False)
    assert trainer.held == frozenset()
    assert log.lines == ["start 100", "close 100"]


def test_a_recipe_is_closed_with_each_slice(trainer, move, curve):
    """So its checkpoint is on disk whenever it is paused, and any worker can go on."""
    trainer = trainer(Recipe())
    first = list(trainer.run(move(0, 0, 2)))
    assert trainer.held == frozenset()
    assert curve([*first, *trainer.run(move(0, 2, 3))]) == [(1, 1.0), (2, 1 / 2), (3, 1 / 3)]


def test_a_checkpoint_that_cannot_be_written_fails_the_trial(trainer, move):
    class FullDisk(Recipe):
        def train(self, config, seed, folder, start_step):
            try:
                yield {"step": 1, "loss": 1.0}
            finally:
                raise OSError("disk full")

    *_, last = trainer(FullDisk()).run(move(0, 0, 1))
    assert isinstance(last, Failed)
    assert last.error.startswith("OSError: disk full\n")


def test_a_fresh_start_finds_an_empty_folder(trainer, move, tmp_path):
    """Files of an attempt that was never recorded would put the curve out of step."""
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "step").write_text("7")

    def train(config, seed, folder):
        yield len(list(folder.iterdir()))

    [measured, _] = trainer(train).run(move(0, 0, 1))
    assert measured.metrics == {"loss": 0.0}


def test_a_training_that_ends_early_says_so(trainer, move):
    events = list(trainer(lambda config, seed: iter([0.5])).run(move(0, 0, 3)))
    assert events == [Measured(0, 1, events[0].cost_s, {"loss": 0.5}), Finished(0, ended=True)]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e200])
def test_a_diverged_training_is_stopped_at_once(trainer, move, bad):
    def train(config, seed):
        yield 0.5
        yield bad
        raise AssertionError("trained on after it diverged")

    trainer = trainer(train)
    events = list(trainer.run(move(0, 0, 9)))
    assert [type(event) for event in events] == [Measured, Measured, Finished]
    assert events[-1] == Finished(0, ended=True)
    assert trainer.held == frozenset()


def test_another_metric_may_be_nan(trainer, move):
    """A precision without any positive is undefined; that is no divergence."""

    def train(config, seed):
        for _ in range(2):
            yield {"loss": 0.5, "precision": math.nan}

    assert list(trainer(train).run(move(0, 0, 2)))[-1] == Finished(0, ended=False)


def test_pausing_ends_the_move_with_the_step_it_is_in(trainer, move, curve):
    trainer = trainer(Log())
    pausing = iter([False, False, True])
    first = list(trainer.run(move(0, 0, 50), pausing=lambda: next(pausing)))
    assert first[-1] == Finished(0, ended=False)
    assert curve([*first, *trainer.run(move(0, 2, 3))]) == [(1, 1.0), (2, 1 / 2), (3, 1 / 3)]


def test_a_failure_tells_what_and_where_in_the_users_words(trainer, move):
    def helper():
        raise ValueError("rows: 3") from KeyError("rows")

    def train(config, seed):
        yield 0.5
        helper()

    *_, last = trainer(train).run(move(3, 0, 2))
    assert isinstance(last, Failed)
    assert (last.trial, last.chances, last.contract) == (3, 0, False)
    first, where, *more = last.error.splitlines()
    assert first == "ValueError: rows: 3"
    assert where.startswith(f'  File "{__file__}", line ')
    assert where.endswith("in train")
    assert more[-1] == "caused by KeyError: 'rows'"


def test_a_broken_contract_is_marked(trainer, move):
    """Other configurations will fail alike, and the study can say so at once."""
    [failed] = trainer(lambda config, seed: iter([{"acc": 1.0}])).run(move(0, 0, 2))
    assert failed.contract
    assert failed.error == "The training gave 'acc' but not 'loss': measure it too."


def test_sys_exit_is_a_failure_like_any_other(trainer, move):
    def train(config, seed):
        raise SystemExit(2)
        yield

    [failed] = trainer(train).run(move(0, 0, 2))
    assert failed.error.startswith("SystemExit: 2\n")


def test_an_error_without_a_message_is_its_name():
    assert describe(MemoryError()) == "MemoryError"


class Saves:
    """A generator with a folder: says after which step each training began, and where it is."""

    def __init__(self):
        self.begun = []

    def __call__(self, config, seed, folder):
        saved = folder / "step"
        step = int(saved.read_text()) if saved.exists() else 0
        self.begun.append((folder.name, step))
        while True:
            step += 1
            saved.write_text(str(step))
            yield {"step": step, "loss": 1 / step}


def test_a_paused_training_whose_folder_was_cleared_away_starts_again(trainer, move, curve, tmp_path):
    """Held in memory, it would write its checkpoints into a folder that is not there."""
    saves = Saves()
    trainer = trainer(saves)
    list(trainer.run(move(0, 0, 2)))
    shutil.rmtree(tmp_path / "0")
    assert curve(trainer.run(move(0, 2, 3))) == [(3, 1 / 3)]
    assert saves.begun == [("0", 0), ("0", 0)]


def test_a_trial_that_passed_to_another_process_goes_on_in_a_folder_of_its_own(trainer, move, curve, tmp_path):
    """The former owner's path leads nowhere then; and should it begin anew there, nobody is disturbed."""
    saves = Saves()
    former, present = trainer(saves), trainer(saves)
    list(former.run(move(0, 0, 2)))
    assert curve(present.run(replace(move(0, 2, 3), fence=1))) == [(3, 1 / 3)]
    *_, late = former.run(move(0, 2, 3))
    assert isinstance(late, Finished)
    assert saves.begun == [("0", 0), ("0.1", 2), ("0", 0)]
    assert curve(present.run(replace(move(0, 3, 4), fence=1))) == [(4, 1 / 4)]
    assert (tmp_path / "0.1" / "step").read_text() == "4"
    assert latest_folder(0, tmp_path) == tmp_path / "0.1"
    assert folders(tmp_path) == {0: [tmp_path / "0", tmp_path / "0.1"]}
