"""``ayar tune ... -- COMMAND``: any program's training, from the command line."""

import json
import sys

import pytest

from ayar.cli.main import main

SCRIPT = """
import sys, ayar
for step in range(1, 6):
    ayar.report(step=step, valid_error=abs(float(sys.argv[1]) - 0.3) + 1 / step)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a script and a space."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "space.toml").write_text("x = { float = [0.0, 1.0] }\niterations = 5\n")
    return tmp_path


def tune(*words, before=("--space", "space.toml", "--minimize", "valid_error", "--trials", "4", "--workers", "1")):
    return main(["tune", *before, "--", *words])


def test_a_command_is_tuned_and_its_ledger_alone_is_enough_to_go_on(folder, capsys):
    assert tune(sys.executable, "train.py", "{x}") == 0
    assert "Winner" in capsys.readouterr().out
    assert main(["tune", "train.db", "--trials", "6", "--workers", "1"]) == 0
    capsys.readouterr()
    assert main(["export", "train.db", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) >= 6
    assert main(["try", "train.db", "x=0.3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["loss"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tune", "--minimize", "e", "--", sys.executable, "train.py"], "--space FILE"),
        (["tune", "--space", "space.toml", "--", sys.executable, "train.py"], "--minimize METRIC"),
        (["tune", "digits", "--minimize", "e", "--", sys.executable], "Give digits or the command after --, not both"),
        (["tune", "--space", "space.toml", "--minimize", "e", "--"], "no list of words"),
        (["tune", "--space", "space.toml", "--minimize", "e", "--", sys.executable, "{y}"], "{y}, which no hyper"),
    ],
)
def test_a_mistake_ends_in_one_line_that_names_it(folder, capsys, arguments, message):
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_ledger_takes_no_scores_of_another_training(folder, capsys):
    assert tune(sys.executable, "train.py", "{x}") == 0
    assert tune(sys.executable, "train.py", "{x}", "--deep") == 1
    assert "train.db was tuned with" in capsys.readouterr().err


def test_a_command_that_never_ran_may_be_mended(folder, capsys):
    assert tune(sys.executable, "-m", "nothing", "train.py", "{x}") == 1
    assert "No module named nothing" in capsys.readouterr().err
    assert tune(sys.executable, "train.py", "{x}") == 0


def test_a_command_of_several_steps_in_a_study_of_one_is_told_what_it_misses(folder, capsys):
    (folder / "space.toml").write_text("x = { float = [0.0, 1.0] }\n")
    assert tune(sys.executable, "train.py", "{x}") == 0
    said = capsys.readouterr().out
    assert said.startswith("note: The horizon is 1 step, so the last line of each training counted.")
    assert max(map(len, said.splitlines())) <= 80


def test_only_tune_takes_a_command(folder, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["best", "train.db", "--", "python"])
    assert exit_.value.code == 2
    assert "-- python" in capsys.readouterr().err


def test_what_each_worker_may_use_is_said_by_options(folder, capsys):
    (folder / "gpu.py").write_text(
        'import os, ayar\nayar.report(step=5, valid_error=float(os.environ["CUDA_VISIBLE_DEVICES"]))\n'
    )
    limits = ("--gpus", "7", "--gpus-per-worker", "0.5", "--memory-gb", "4", "--trial-timeout", "60", "--confirm", "0")
    space = ("--space", "space.toml", "--minimize", "valid_error", "--trials", "2")
    assert tune(sys.executable, "gpu.py", before=(*space, *limits)) == 0
    capsys.readouterr()
    assert main(["export", "gpu.db", "--json"]) == 0
    assert {row["valid_error"] for row in json.loads(capsys.readouterr().out)} == {7.0}
    assert tune(sys.executable, "gpu.py", before=(*space, "--memory-gb", "-1")) == 1
    assert "memory_gb=-1.0 lets nothing train" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("TPU=1,fast_disk=0.5", "resources={'TPU': 1.0, 'fast_disk': 0.5} are what nodes of a Ray cluster offer"),
        ("TPU", "--resources TPU: 'TPU' is no NAME=N"),
        ("TPU=two", "--resources TPU=two: 'TPU=two' is no NAME=N"),
        ("TPU=1,TPU=2", "TPU comes twice"),
        ("TPU=1.5", "resources={'TPU': 1.5} is no amount that Ray knows"),
        ("gpu=1", "resources={'gpu': 1}: Ray asks for it by gpus_per_worker= (--gpus-per-worker)"),
    ],
)
def test_resources_of_a_cluster_are_read_from_the_command_line_or_refused_with_a_reason(folder, capsys, given, said):
    space = ("--space", "space.toml", "--minimize", "valid_error", "--trials", "2")
    assert tune(sys.executable, "gpu.py", before=(*space, "--resources", given)) == 1
    assert said in capsys.readouterr().err
