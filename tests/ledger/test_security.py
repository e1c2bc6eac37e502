"""What others may have written is read as data, never run; what is secret stays where it is."""

import os
import pickle
import sqlite3
import sys
from contextlib import closing

import pytest

import ayar
from ayar.errors import AyarError, DataError
from ayar.nets.alone import CHECKPOINT
from ayar.nets.deep_net import deep_net
from ayar.nets.parameters import load
from ayar.nets.tasks import load_task
from ayar.study import Study

SPACE = ayar.Space(x=ayar.Float(0.0, 1.0))


class Bomb:
    """A pickle that makes a file as soon as somebody loads it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.fixture
def bomb(tmp_path):
    """Bytes that must never be unpickled, and where one would see it."""
    mark = tmp_path / "exploded"
    primed = pickle.dumps(Bomb(mark))
    pickle.loads(primed).close()
    assert mark.exists()  # it works
    mark.unlink()
    yield primed
    assert not mark.exists()


def read_all(store):
    with Study(store) as study:
        return study.notes(), [list(trial.curve) for trial in study.trials()]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE studies SET spec = ?",
        "UPDATE trials SET config = ?",
        "UPDATE measurements SET metrics = ?",
        "UPDATE notes SET body = ?",
    ],
)
def test_a_pickle_in_a_ledger_is_never_read_as_one(statement, bomb, tmp_path):
    store = tmp_path / "study.db"
    with Study(store, space=SPACE, minimize="error") as study:
        study.tune(lambda config, seed: config["x"], trials=2, workers=0, progress=False)
    with closing(sqlite3.connect(store)) as file, file:
        file.execute(statement, (bomb,))
    with pytest.raises((AyarError, ValueError, TypeError)):
        read_all(store)


def test_a_pickle_in_place_of_a_checkpoint_is_never_read_as_one(bomb, tmp_path):
    recipe = deep_net(load_task("iris").data)
    config = {"learning_rate": 0.01, "hidden_layers": 1, "hidden_units": [4], "iterations": 4, "batch_size": 32}
    training = recipe.train(config, 0, tmp_path)
    for _ in range(3):
        next(training)
    training.close()
    (tmp_path / CHECKPOINT).write_bytes(bomb)
    steps = [measured["step"] for measured in recipe.train(config, 0, tmp_path, 2)]
    assert steps == [3, 4]  # it was trained again
    (tmp_path / CHECKPOINT).write_bytes(bomb)
    with pytest.raises(DataError, match="no safetensors file"):
        load(tmp_path / CHECKPOINT)


@pytest.mark.parametrize("objective", ["function", "command"])
def test_secrets_in_the_environment_are_not_recorded(objective, tmp_path, monkeypatch):
    secret = "hunter2-of-the-environment"
    monkeypatch.setenv("API_TOKEN", secret)

    def train(config, seed):
        assert os.environ["API_TOKEN"]  # the training has it
        if config["x"] > 0.5:
            raise RuntimeError("no")
        return config["x"]

    code = "import os, sys; assert os.environ['API_TOKEN']; print('{\"error\": ' + sys.argv[1] + '}')"
    command = [sys.executable, "-c", code, "{x}"]
    with Study(tmp_path / "study.db", space=SPACE, minimize="error") as study:
        study.tune(train if objective == "function" else command, trials=4, workers=1, progress=False)
        study.report(tmp_path / "report.html")
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or secret.encode() not in file.read_bytes()
