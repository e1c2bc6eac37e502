"""What is exported is what is in the ledger, in each format."""

import json
import tomllib

import pytest

from ayar.cli.formats import FORMATS
from ayar.cli.main import main
from ayar.space import Choice, Float, Space
from ayar.study import Study


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A ledger with two trials."""
    monkeypatch.chdir(tmp_path)
    space = Space(lr=Float(0.0001, 1.0, log=True), net=Choice("small", 'a "big" one'), iterations=2)
    with Study("s.db", space=space, minimize="loss") as study:
        for lr, net in ((1e-4, "small"), (0.5, 'a "big" one')):
            study.add({"lr": lr, "net": net}, [{"step": step, "loss": lr / step} for step in (1, 2)])
    return tmp_path / "s.db"


def test_measurements_go_into_a_parquet_file(store):
    parquet = pytest.importorskip("pyarrow.parquet")
    assert main(["export", "s.db", "m.parquet", "--what", "measurements"]) == 0
    rows = parquet.read_table(store.with_name("m.parquet")).to_pylist()
    assert [(row["trial"], row["step"], row["loss"]) for row in rows] == [
        *((0, 1, 1e-4), (0, 2, 5e-5)),
        *((1, 1, 0.5), (1, 2, 0.25)),
    ]
    assert main(["export", "s.db", "t.parquet"]) == 0
    assert parquet.read_table(store.with_name("t.parquet")).num_rows == 2


def test_columns_of_several_types_become_one():
    parquet = pytest.importorskip("pyarrow.parquet")
    import io

    content = FORMATS[".parquet"]([{"a": 1, "b": [1], "c": "x"}, {"a": 0.5, "c": 2}])
    assert parquet.read_table(io.BytesIO(content)).to_pylist() == [
        {"a": 1.0, "b": "[1]", "c": '"x"'},
        {"a": 0.5, "b": None, "c": "2"},
    ]


@pytest.mark.parametrize(("name", "load"), [("best.toml", tomllib.loads), ("best.json", json.loads)])
def test_the_best_configuration_is_read_back_from_toml_and_json(store, name, load):
    assert main(["export", "s.db", name, "--what", "best"]) == 0
    assert load(store.with_name(name).read_text()) == {"lr": 1e-4, "net": "small", "iterations": 2}


def test_toml_keeps_every_kind_of_value():
    config = {"lr": 1e-05, "units": [8, 4], "a.b": 'q"\\\n', "on": True, "n": 3}
    assert tomllib.loads(FORMATS[".toml"](config).decode()) == config


def test_a_table_has_no_toml(store, capsys):
    assert main(["export", "s.db", "trials.toml"]) == 1
    assert "no format ends with '.toml'. Use one of: .csv, .json, .jsonl, .parquet" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_one_line(store, capsys):
    assert main(["export", "s.db", "nowhere/s.csv"]) == 1
    assert capsys.readouterr().err == (
        "error: The export can't be written to nowhere/s.csv: No such file or directory. Name another place.\n"
    )


def test_a_study_of_several_objectives_comes_back_with_all_of_them_and_its_limits(store):
    space, goals = Space(x=Float(0.0, 1.0)), {"minimize": ["error"], "maximize": ["speed"]}
    with Study("two.db", space=space, **goals, constraints=["ms <= 5"]) as study:
        study.add({"x": 0.5}, [{"step": 1, "error": 0.1, "speed": 2.0, "ms": 3.0}])
    assert main(["export", "two.db", "two.jsonl", "--what", "study"]) == 0
    assert main(["import", "two.jsonl", "copy.db"]) == 0
    with Study("two.db") as study, Study("copy.db") as copy:
        assert (copy.objectives, copy.constraints) == (study.objectives, study.constraints)
        assert [trial.id for trial in copy.front()] == [0]
