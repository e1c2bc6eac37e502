"""A checkpoint is whole or not there, and the old ones make room."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import cloudpickle
import numpy as np
import pytest

from ayar import Float, Space, Study, checkpoint, latest_checkpoint
from ayar.checkpoints import AHEAD_FILE, replacing, rewind, settle, that_fit


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def save(folder, step):
    with checkpoint(folder, step) as path:
        path.write_text(f"state of step {step}")


def test_the_newest_counts_and_older_ones_are_removed(tmp_path):
    assert latest_checkpoint(tmp_path) is latest_checkpoint(tmp_path / "not there yet") is None
    for step in (9, 10, 11):
        with checkpoint(tmp_path, step, suffix=".npz", keep=2) as path:
            np.savez(path, step=step)
    step, path = latest_checkpoint(tmp_path)
    assert (step, int(np.load(path)["step"])) == (11, 11)
    assert names(tmp_path) == ["checkpoint-00000010.npz", "checkpoint-00000011.npz"]


def test_a_checkpoint_may_be_a_folder(tmp_path):
    for text in ("one", "two"):
        with checkpoint(tmp_path, 3) as path:
            path.mkdir()
            (path / "weights").write_text(text)
    assert (latest_checkpoint(tmp_path)[1] / "weights").read_text() == "two"
    assert names(tmp_path) == ["checkpoint-00000003"]


def test_an_error_leaves_the_old_one(tmp_path):
    with checkpoint(tmp_path, 1) as path:
        path.write_text("whole")

    def fail():
        with checkpoint(tmp_path, 2) as path:
            path.write_text("half of")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert latest_checkpoint(tmp_path)[1].read_text() == "whole"
    assert names(tmp_path) == ["checkpoint-00000001"]


def test_a_process_that_is_killed_while_it_writes_leaves_the_old_one(tmp_path):
    with replacing(tmp_path / "state") as new:
        new.write_text("whole")
    script = """
        import os, signal, sys
        from pathlib import Path
        from ayar.checkpoints import replacing
        with replacing(Path(sys.argv[1])) as new:
            new.write_text("half of")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "state")], check=False)
    assert done.returncode == -9
    assert (tmp_path / "state").read_text() == "whole"


def test_folders_are_kept_as_long_as_they_fit(tmp_path):
    folders = [tmp_path / str(number) for number in range(3)]
    for folder in folders:
        (folder / "inner").mkdir(parents=True)
        (folder / "inner" / "weights").write_bytes(bytes(1000))
    assert that_fit(folders, 2500) == folders[:2]
    assert that_fit(folders, 3000) == folders


def test_a_study_keeps_no_more_bytes_of_checkpoints_than_it_may(tmp_path, monkeypatch):
    monkeypatch.setattr("ayar.tuning.KEPT_BYTES", 2500)

    def train(config, seed, folder):
        for step in range(1, 4):
            with checkpoint(folder, step) as path:
                path.write_bytes(bytes(1000))
            yield {"step": step, "loss": config["x"] + 1 / step}

    with Study(tmp_path / "s.db", space=Space(x=Float(0.0, 1.0)), minimize="loss", horizon=3) as study:
        study.tune(train, trials=8, workers=0, confirm=0, progress=False)
        kept = {int(folder.name) for folder in study.folder.iterdir()}
        order = sorted(study.trials(), key=lambda t: (-t.curve.last_step, t.loss))
        assert kept == {t.id for t in sorted(order, key=lambda t: t.loss)[:2]}


def test_the_checkpoint_before_the_newest_is_kept_until_the_report_has_come(tmp_path):
    (tmp_path / AHEAD_FILE).touch()
    save(tmp_path, 1)
    save(tmp_path, 2)
    assert names(tmp_path) == [".before-checkpoint-00000001", AHEAD_FILE, "checkpoint-00000002"]
    settle(tmp_path, 1)  # the report of step 2 may still be lost
    assert names(tmp_path) == [".before-checkpoint-00000001", AHEAD_FILE, "checkpoint-00000002"]
    settle(tmp_path, 2)
    assert names(tmp_path) == [AHEAD_FILE, "checkpoint-00000002"]


@pytest.mark.parametrize(
    ("saved", "reported", "left"),
    [
        ([4, 5, 6], 5, ["checkpoint-00000005"]),
        ([4, 5, 6, 7], 5, ["checkpoint-00000005"]),  # quicker than its reports were heard
        ([5, 10], 8, ["checkpoint-00000005"]),
        ([4, 5], 5, ["checkpoint-00000005"]),
        ([500, 1000, 1500], 2, ["checkpoint-00001000", "checkpoint-00001500"]),  # it counts batches
    ],
)
def test_a_restart_begins_with_what_the_record_has(tmp_path, saved, reported, left):
    (tmp_path / AHEAD_FILE).touch()
    for number in saved:
        save(tmp_path, number)
        if number <= reported or number == 1000:
            settle(tmp_path, min(number, reported))
    (tmp_path / ".new-checkpoint-00000099").mkdir()  # half written
    rewind(tmp_path, reported)
    assert [name for name in names(tmp_path) if name != AHEAD_FILE][-len(left) :] == left
    assert latest_checkpoint(tmp_path)[1].name == left[-1]
    assert not [name for name in names(tmp_path) if name.startswith(".")]


def until_killed(config, seed, folder):
    """Killed once, after the checkpoint of step 4 and before its report."""
    saved = latest_checkpoint(folder)
    done = saved[0] if saved else 0
    with Path(config["log"]).open("a") as log:
        log.write(f"{done} ")
    for step in range(done + 1, 7):
        with checkpoint(folder, step) as path:
            path.write_text("weights")
        if step == 4 and Path(config["log"]).read_text() == "0 ":
            os.kill(os.getpid(), signal.SIGKILL)
        yield {"loss": 1 / step} if config["unnamed"] else {"step": step, "loss": 1 / step}


@pytest.mark.parametrize("unnamed", [False, True], ids=["named steps", "counted steps"])
def test_no_step_is_left_out_by_a_kill_between_its_checkpoint_and_its_report(tmp_path, unnamed):
    """It goes on from the checkpoint before, of step 3, and not from its beginning."""
    space = Space(log=str(tmp_path / "log"), unnamed=unnamed, x=Float(0.0, 1.0))
    with Study(tmp_path / "s.db", space=space, minimize="loss", horizon=6, searcher="random") as study:
        cloudpickle.register_pickle_by_value(sys.modules[__name__])
        study.tune(until_killed, trials=1, confirm=0, progress=False)
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
        [trial] = study.trials()
        assert [(m.step, m.loss) for m in trial.curve] == [(step, 1 / step) for step in range(1, 7)]
    assert (tmp_path / "log").read_text() == "0 3 "


@pytest.mark.parametrize("before", ["the report", "the next step"])
def test_no_step_of_a_command_is_left_out_by_a_kill_after_its_checkpoint(tmp_path, before):
    script = tmp_path / "train.py"
    script.write_text(
        textwrap.dedent(f"""
        import os, pathlib, signal, sys, time, ayar
        folder, log = sys.argv[1:]
        said = pathlib.Path(folder, "{AHEAD_FILE}")
        def is_heard(step):
            kept = said.exists() and f'"step": {{step}},' in said.read_text()
            return kept and not [*pathlib.Path(folder).glob(".before-*")]
        saved = ayar.latest_checkpoint(folder)
        done = saved[0] if saved else 0
        with open(log, "a") as file:
            file.write(f"{{done}} ")
        first = pathlib.Path(log).read_text() == "0 "
        for step in range(done + 1, 7):
            while first and step > 1 and not is_heard(step - 1):
                time.sleep(0.001)
            with ayar.checkpoint(folder, step) as path:
                path.write_text("weights")
            if {before == "the report"} and first and step == 4:
                os.kill(os.getppid(), signal.SIGKILL)
            ayar.report(step=step, loss=1 / step)
            if first and step == 4:
                os.kill(os.getppid(), signal.SIGKILL)
        """)
    )
    words = [sys.executable, str(script), "{folder}", str(tmp_path / "log")]
    space = Space(x=Float(0.0, 1.0))
    with Study(tmp_path / "s.db", space=space, minimize="loss", horizon=6, searcher="random") as study:
        study.tune(words, trials=1, confirm=0, progress=False)
        [trial] = study.trials()
        assert [(m.step, m.loss) for m in trial.curve] == [(step, 1 / step) for step in range(1, 7)]
    assert (tmp_path / "log").read_text() in ("0 3 ", "0 4 ")
