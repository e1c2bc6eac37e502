"""What other tools recorded becomes a study of Ayar, on which everything else works."""

import json
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayar.cli.main import main
from ayar.errors import LedgerError, NotInLedger
from ayar.integrations import mlflow, optuna, ray_tune, wandb, wandb_offline
from ayar.integrations.history import History, Past, counted_from_one, guessed
from ayar.integrations.readers import kind_of
from ayar.records import State
from ayar.space import Choice, Float, Int
from ayar.study import Study

DATA = Path(__file__).parent / "data"


def imported(*arguments) -> int:
    return main(["import", *map(str, arguments)])


# Ranges from values


@pytest.mark.parametrize(
    ("values", "axis"),
    [
        ([0.1, 0.001], Float(0.001, 0.1, log=True)),
        ([0.5, 0.9], Float(0.5, 0.9)),
        ([-1.0, 2], Float(-1.0, 2.0)),
        ([8, 4], Int(4, 8)),
        ([1, 1024], Int(1, 1024, log=True)),
        (["adam", "sgd", "adam"], Choice("adam", "sgd")),
        ([True, False], Choice(True, False)),
        ([32, 32], 32),
    ],
)
def test_a_range_is_guessed_from_the_values_that_were_used(values, axis):
    assert guessed(values) == axis


def test_a_hyperparameter_that_some_trials_lack_gets_its_condition_or_is_left_out():
    configs = [
        {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "note": 1},
        {"optimizer": "adam", "lr": 0.01},
        {"optimizer": "sgd", "lr": 0.2, "momentum": 0.5},
    ]
    space = History("past", [Past(config, []) for config in configs]).space()
    assert set(space.names) == {"optimizer", "lr", "momentum"}
    assert space["momentum"] == Float(0.5, 0.9, when={"optimizer": "sgd"})


def test_steps_from_zero_are_counted_from_one():
    """In Ayar step 0 is the untrained net."""
    (past,) = counted_from_one([Past({}, [{"step": 0, "loss": 2.0}, {"step": 1, "loss": 1.0}], "why", False, 3)])
    assert past == Past({}, [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}], "why", False, 3)


# Optuna, the real one

OPTUNA = """
    import sys, optuna
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kind, path = sys.argv[1:]
    storage = RDBStorage(f"sqlite:///{path}") if kind == "sqlite" else JournalStorage(JournalFileBackend(path))

    def objective(trial):
        rate = trial.suggest_float("rate", 1e-4, 1.0, log=True)
        units = trial.suggest_int("units", 4, 64, step=4)
        if trial.suggest_categorical("optimizer", ["sgd", "adam"]) == "sgd":
            trial.suggest_float("momentum", 0.0, 0.9)
        if trial.number == 3:
            raise RuntimeError("out of data")
        for epoch in range(6):
            error = rate + units / 640 + 1 / (1 + epoch)
            trial.report(error, epoch)
            if trial.number in (5, 6) and epoch == 2:
                raise optuna.TrialPruned
        return error

    for name in ("first", "second"):
        study = optuna.create_study(study_name=name, storage=storage, sampler=optuna.samplers.RandomSampler(seed=0))
        study.optimize(objective, n_trials=12 if name == "first" else 1, catch=RuntimeError)
"""


@pytest.fixture(scope="module", params=["sqlite", "journal"])
def of_optuna(request, tmp_path_factory):
    """A file with two studies that Optuna wrote, in a process of its own."""
    pytest.importorskip("optuna")
    path = tmp_path_factory.mktemp("optuna") / f"study.{request.param}"
    subprocess.run([sys.executable, "-c", textwrap.dedent(OPTUNA), request.param, str(path)], check=True)
    return path


def test_a_study_of_optuna_is_read_with_its_distributions(of_optuna):
    assert kind_of(of_optuna) == "optuna"
    history = optuna.read(of_optuna, "first")
    space = history.space()
    assert space["rate"] == Float(1e-4, 1.0, log=True)
    assert space["units"] == Int(4, 64, step=4)
    assert space["optimizer"] == Choice("sgd", "adam")
    assert space["momentum"] == Float(0.0, 0.9, when={"optimizer": "sgd"})
    assert (history.metric, history.maximize, len(history.trials)) == ("value", False, 12)
    assert [row["step"] for row in history.trials[0].measurements] == [1, 2, 3, 4, 5, 6]


def test_the_rest_of_ayar_works_on_a_study_of_optuna(of_optuna, tmp_path, capsys):
    store = tmp_path / "study.db"
    assert imported(of_optuna, store, "--study", "first") == 0
    assert capsys.readouterr().out == f"study 'first' with 12 trials is in {store}\n"
    with Study(store) as study:
        trials = study.trials()
        assert [t.state for t in trials[:7]] == [
            *(State.COMPLETED, State.COMPLETED, State.COMPLETED, State.FAILED),
            *(State.COMPLETED, State.PAUSED, State.PAUSED),
        ]
        assert trials[3].error == "failed in Optuna"
        assert set(study.diagnose()) == {t.id for t in trials} - {3}
        assert study.winner().config == study.recommend().config

        def train(config, seed):
            for epoch in range(6):
                yield {"value": config["rate"] + config["units"] / 640 + 1 / (1 + epoch)}

        study.tune(train, trials=14, workers=0, progress=False)
        assert len(study.trials()) > 12
        assert study.recheck(train, trainings=20, workers=0, progress=False).verdict
    assert imported(of_optuna, store, "--study", "first") == 1
    assert "holds a study 'first' already" in capsys.readouterr().err


def test_a_study_of_optuna_goes_on_in_the_users_own_training_under_the_name_its_metric_has_there(
    of_optuna, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(
        "def train(config, seed):\n"
        "    for epoch in range(6):\n"
        "        yield {'loss': config['rate'] + config['units'] / 640 + 1 / (1 + epoch)}\n"
    )
    assert imported(of_optuna, "study.db", "--study", "first", "--maximize", "loss") == 1
    assert imported(of_optuna, "study.db", "--study", "first", "--minimize", "loss") == 0
    arguments = [
        "tune",
        "train.py:train",
        "--minimize",
        "loss",
        "--store",
        "study.db",
        "--trials",
        "13",
        "--workers",
        "1",
    ]
    assert main(arguments) == 0
    with Study("study.db") as study:
        assert study.metric == "loss"
        assert len(study.trials()) > 12


def test_several_studies_want_a_name_and_a_broken_file_is_named(of_optuna, tmp_path):
    with pytest.raises(NotInLedger, match="holds the studies 'first', 'second'"):
        optuna.read(of_optuna)
    broken = tmp_path / "broken.log"
    broken.write_text('{"op_code": "')
    with pytest.raises(LedgerError, match=r"can't be read as a study of Optuna|holds the studies none"):
        optuna.read(broken)


# Ray Tune


@pytest.fixture
def of_ray(tmp_path):
    """A result folder as Ray Tune writes it."""
    for number, rate in enumerate([0.1, 0.001, 0.01]):
        folder = tmp_path / "train_2026" / f"train_{number}"
        folder.mkdir(parents=True)
        (folder / "params.json").write_text(json.dumps({"lr": rate, "net": {"units": 8 * (number + 1)}, "seed": None}))
        rows = [
            {
                "valid_error": rate + 1 / step,
                "training_iteration": step,
                "time_this_iter_s": 0.5,
                "done": step == 3 and number < 2,
                "config": {"lr": rate},
                "pid": 7,
                "hostname": "n1",
            }
            for step in range(1, 4 if number < 2 else 2)
        ]
        (folder / "result.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "error.txt").write_text("ValueError: no")
    return tmp_path / "train_2026"


def test_a_result_folder_of_ray_tune_is_read(of_ray, tmp_path, capsys):
    assert kind_of(of_ray) == "ray"
    history = ray_tune.read(of_ray)
    assert history.metrics == ["valid_error"]
    assert imported(of_ray, tmp_path / "ray.db", "--minimize", "valid_error") == 0
    with Study(tmp_path / "ray.db") as study:
        assert study.space["lr"] == Float(0.001, 0.1, log=True)
        assert study.space["net_units"] == Int(8, 24)
        assert [t.state for t in study.trials()] == [State.COMPLETED, State.COMPLETED, State.FAILED]
        assert study.trials()[0].curve.cost_s == 1.5
        assert study.trials()[2].error == "ValueError: no"
        assert study.recommend().config == {"lr": 0.001, "net_units": 16}


def test_a_result_folder_that_ray_tune_wrote_is_read(tmp_path, capsys):
    """``data/ray_tune/make.py`` had Ray 2.60 write it."""
    assert imported(DATA / "ray_tune" / "digits", tmp_path / "ray.db", "--minimize", "valid_error") == 0
    with Study(tmp_path / "ray.db") as study:
        assert study.space["optimizer_lr"] == Float(0.001, 0.9, log=True)
        assert [t.state for t in study.trials()] == [State.COMPLETED, State.COMPLETED, State.FAILED]
        best = study.recommend()
        assert best.config == {"optimizer_lr": 0.01, "units": 8, "activation": "relu"}
        assert [m.metrics for m in best.curve] == [
            {"valid_error": 1 / step / 8, "train/loss": 2 / step / 8} for step in (1, 2, 3)
        ]
        assert study.trials()[2].error.startswith("RuntimeError: out of patience\nFailure # 1")


def test_the_metric_must_be_named_and_measured(of_ray, tmp_path, capsys):
    assert imported(of_ray, tmp_path / "ray.db") == 1
    assert "measures valid_error. Say which metric counts" in capsys.readouterr().err
    assert imported(of_ray, tmp_path / "ray.db", "--minimize", "loss") == 1
    assert "measures valid_error" in capsys.readouterr().err
    assert not (tmp_path / "ray.db").exists()


def test_a_broken_result_is_named(of_ray):
    (of_ray / "train_1" / "result.json").write_text('{"valid_error": 1}\n')
    with pytest.raises(LedgerError, match=r"train_1/result\.json can't be read as a result of Ray Tune"):
        ray_tune.read(of_ray)


# MLflow


@pytest.fixture
def of_mlflow(tmp_path):
    """A file store as MLflow writes it, with a deleted run and an empty default experiment."""
    store = tmp_path / "mlruns"
    for experiment, name in (("0", "Default"), ("1", "digits")):
        (store / experiment).mkdir(parents=True)
        (store / experiment / "meta.yaml").write_text(f"experiment_id: '{experiment}'\nname: {name}\n")
    for number, (rate, stage) in enumerate([("0.1", "active"), ("1e-3", "active"), ("9", "deleted")]):
        run = store / "1" / f"run{number}"
        (run / "params").mkdir(parents=True)
        (run / "metrics" / "valid").mkdir(parents=True)
        start = 1_000_000 + number
        (run / "meta.yaml").write_text(
            f"lifecycle_stage: {stage}\nrun_id: run{number}\nstart_time: {start}\nstatus: {3 + number}\n"
        )
        (run / "params" / "lr").write_text(rate)
        (run / "params" / "optimizer").write_text("adam")
        (run / "params" / "nesterov").write_text("True" if number else "False")
        lines = [f"{start + 500 * (step + 1)} {float(rate) + 1 / (1 + step)} {step}" for step in range(3)]
        (run / "metrics" / "valid" / "error").write_text("\n".join(lines) + "\n")
    return store


def test_a_file_store_of_mlflow_is_read(of_mlflow, tmp_path, capsys):
    assert kind_of(of_mlflow) == kind_of(of_mlflow / "1") == "mlflow"
    assert imported(of_mlflow, tmp_path / "ml.db", "--minimize", "valid/error") == 0
    with Study(tmp_path / "ml.db") as study:
        assert (study.name, study.horizon) == ("digits", 3)
        first, second = study.trials()
        assert first.config == {"lr": 0.1, "optimizer": "adam", "nesterov": False}
        assert [(m.step, m.loss, m.cost_s) for m in first.curve] == [
            (1, 1.1, 0.5),
            (2, 0.6, 0.5),
            (3, 0.1 + 1 / 3, 0.5),
        ]
        assert (first.state, second.state) == (State.COMPLETED, State.FAILED)


def test_an_experiment_that_is_not_there_is_told_what_is(of_mlflow):
    with pytest.raises(NotInLedger, match="these experiments with runs: 'digits'"):
        mlflow.read(of_mlflow, "mnist")


# Weights & Biases


def test_runs_of_wandb_with_their_history_are_read(tmp_path, capsys):
    runs = [
        {
            "name": f"run-{number}",
            "state": "finished" if number else "crashed",
            "config": {"lr": {"desc": None, "value": 0.1 * (number + 1)}, "_wandb": {"value": {}}},
            "summary": {"loss": 1.0},
            "history": [
                {"_step": step, "_runtime": 1.0, "loss": "NaN" if number == 1 else 1 / (1 + step)} for step in (0, 1)
            ],
        }
        for number in range(3)
    ]
    path = tmp_path / "runs.json"
    path.write_text(json.dumps(runs))
    assert kind_of(path) == "wandb"
    assert imported(path, tmp_path / "wb.db", "--minimize", "loss") == 0
    with Study(tmp_path / "wb.db") as study:
        assert [t.state for t in study.trials()] == [State.FAILED, State.DIVERGED, State.COMPLETED]
        assert study.space.names == ("lr",) or list(study.space.names) == ["lr"]
        assert [m.loss for m in study.trials()[2].curve] == [1.0, 0.5]


def test_the_csv_of_wandbs_own_export_example_is_read(tmp_path):
    path = tmp_path / "project.csv"
    path.write_text(
        ",summary,config,name\n"
        "0,\"{'loss': 0.5, '_runtime': 3}\",\"{'lr': 0.1, 'net': 'small'}\",brave-1\n"
        "1,\"{'loss': 0.25}\",\"{'lr': 0.2, 'net': 'large'}\",calm-2\n"
    )
    history = wandb.read(path)
    assert [(past.config, list(past.measurements)) for past in history.trials] == [
        ({"lr": 0.1, "net": "small"}, [{"loss": 0.5, "step": 1}]),
        ({"lr": 0.2, "net": "large"}, [{"loss": 0.25, "step": 1}]),
    ]


def test_a_plain_table_of_wandb_wants_the_space(tmp_path, capsys):
    path = tmp_path / "table.csv"
    path.write_text(
        '"Name","State","lr","optimizer","loss"\n"a","finished","0.1","adam","0.5"\n"b","failed","0.2","sgd",""\n'
    )
    (tmp_path / "space.toml").write_text('lr = { float = [0.01, 1.0] }\noptimizer = { choice = ["adam", "sgd"] }\n')
    assert imported(path, tmp_path / "t.db", "--maximize", "loss") == 1
    assert "which of its columns are hyperparameters: Name, State, lr, optimizer, loss" in capsys.readouterr().err
    assert imported(path, tmp_path / "t.db", "--maximize", "loss", "--space", tmp_path / "space.toml") == 0
    with Study(tmp_path / "t.db") as study:
        assert study.maximize
        assert study.trials()[0].config == {"lr": 0.1, "optimizer": "adam"}
        assert [t.state for t in study.trials()] == [State.COMPLETED, State.FAILED]


# What is none of these


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nothing", None, "There is no file or folder"),
        ("notes.txt", b"hello", "shows no tool that wrote it"),
        ("old.db", b"SQLite format 3\0 and no more", "begins like an SQLite file, but can't be read"),
        ("runs.json", b"[1, 2]", "can't be read as an export of W&B"),
        ("runs.csv", b"config,summary\n__import__('os'),{}\n", "can't be read as an export of W&B"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(tmp_path, capsys, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert imported(tmp_path / name, tmp_path / "s.db", "--minimize", "loss") == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_ledger_is_not_imported_into_another(tmp_path, capsys):
    with Study(tmp_path / "a.db", space=guessed_space(), minimize="loss"):
        pass
    assert imported(tmp_path / "a.db", tmp_path / "b.db") == 1
    assert "is a ledger already" in capsys.readouterr().err


def guessed_space():
    return History("x", [Past({"lr": 0.1}, []), Past({"lr": 0.2}, [])]).space()


MLFLOW_SQL = """
    CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY, name TEXT, lifecycle_stage TEXT);
    CREATE TABLE runs (run_uuid TEXT PRIMARY KEY, status TEXT, start_time BIGINT, lifecycle_stage TEXT,
                       experiment_id INTEGER);
    CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT);
    CREATE TABLE metrics (key TEXT, value FLOAT, timestamp BIGINT, run_uuid TEXT, step BIGINT, is_nan BOOLEAN);
    INSERT INTO experiments VALUES (0, 'Default', 'active'), (1, 'digits', 'active');
    INSERT INTO runs VALUES ('a', 'FINISHED', 1000, 'active', 1), ('b', 'FAILED', 3000, 'active', 1),
                            ('c', 'FINISHED', 5000, 'deleted', 1);
    INSERT INTO params VALUES ('lr', '0.1', 'a'), ('net/units', '16', 'a'), ('lr', '1e-3', 'b'),
                              ('net/units', '8', 'b');
    INSERT INTO metrics VALUES ('error', 0.5, 1500, 'a', 1, 0), ('error', 0.25, 2000, 'a', 2, 0),
                               ('error', 0, 3500, 'b', 1, 1);
"""


def test_the_sqlite_file_of_mlflow_is_read(tmp_path, capsys):
    """The columns that are read, as MLflow 3.13 writes them."""
    path, store = tmp_path / "mlflow.db", tmp_path / "study.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(MLFLOW_SQL)
    assert kind_of(path) == "mlflow"
    assert imported(path, store, "--minimize", "error") == 0
    assert "study 'digits' with 2 trials" in capsys.readouterr().out
    with Study(store) as study:
        first, second = study.trials()
        assert first.config == {"lr": 0.1, "net_units": 16}
        assert [(m.step, m.loss, m.cost_s) for m in first.curve] == [(1, 0.5, 0.5), (2, 0.25, 0.5)]
        assert (second.state, second.error) == (State.FAILED, "failed in MLflow")
    with pytest.raises(NotInLedger, match="holds these experiments with runs: 'digits'"):
        mlflow.read(path, "cats")


RUNS = DATA / "wandb_offline" / "runs"


def test_offline_runs_that_wandb_wrote_are_read(tmp_path, capsys):
    """``data/wandb_offline/make.py`` had W&B 0.31 write them; the first is longer than a block of its file."""
    assert kind_of(RUNS) == kind_of(next(RUNS.glob("*/*.wandb"))) == "wandb"
    assert imported(RUNS, tmp_path / "wandb.db", "--minimize", "valid_error") == 0
    with Study(tmp_path / "wandb.db") as study:
        assert [t.config for t in study.trials()] == [
            {"lr": rate, "net_units": units} for rate, units in ((0.1, 8), (0.01, 16), (1.0, 24))
        ]
        assert [m.loss for m in study.trials()[0].curve] == [0.5 / step + 0.1 for step in range(1, 91)]
        assert study.trials()[1].curve.measurements[2].metrics == {"valid_error": 0.5 / 3 + 0.01, "train.loss": 1 / 3}
        assert [t.state for t in study.trials()] == [State.COMPLETED, State.COMPLETED, State.FAILED]
        assert study.trials()[2].error == "exit status 1 in W&B"


@given(st.integers(7, 37560))
def test_an_offline_run_that_was_cut_off_is_read_as_far_as_it_goes(kept):
    whole = (RUNS / "offline-run-digits0" / "run-digits0.wandb").read_bytes()
    with TemporaryDirectory() as folder:
        (Path(folder) / "run-cut.wandb").write_bytes(whole[:kept])
        (cut,) = wandb_offline.read(Path(folder)).trials
    (full,) = wandb_offline.read(RUNS / "offline-run-digits0").trials
    assert cut.measurements == full.measurements[: len(cut.measurements)]
    assert not cut.ended


def test_a_damaged_offline_run_is_named(tmp_path):
    damaged = bytearray((RUNS / "offline-run-digits1" / "run-digits1.wandb").read_bytes())
    damaged[500] ^= 255
    (tmp_path / "run-x.wandb").write_bytes(damaged)
    with pytest.raises(LedgerError, match=r"run-x\.wandb can't be read as an offline run of W&B: .*checksum"):
        wandb_offline.read(tmp_path)
