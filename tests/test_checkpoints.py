"""A checkpoint is whole or not there, and the old ones make room."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from ayar import Float, Space, Study, checkpoint, latest_checkpoint
from ayar.checkpoints import replacing, that_fit


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_counts_and_older_ones_are_removed(tmp_path):
    assert latest_checkpoint(tmp_path) is None
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
