"""The command line, as a person and as a program use it."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import ayar
from ayar.cli.main import main, parser
from ayar.cli.sources import reopen

OWN = textwrap.dedent("""
    import ayar
    space = ayar.Space(x=ayar.Float(0.0, 1.0), iterations=9)
    def train(config, seed):
        for step in range(1, config["iterations"] + 1):
            yield {"error": abs(config["x"] - 0.3) + 1 / step}
""")


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A folder with a tuned study of the built-in net on iris."""
    folder = tmp_path_factory.mktemp("tuned")
    before = Path.cwd()
    os.chdir(folder)
    try:
        arguments = ["tune", "iris", "--trials", "12", "--store", "iris.db", "--report", "iris.html", "--workers", "2"]
        assert main(arguments) == 0
        yield folder
    finally:
        os.chdir(before)


def run(capsys, *arguments):
    """Run a command that succeeds; gives what it printed."""
    status = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    return out


def refused(capsys, *arguments):
    """Run a command that fails; gives its one line on standard error."""
    status = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    assert (status, out) == (1, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


COMMANDS = sorted(parser()._subparsers._group_actions[0].choices)


def test_the_commands_of_the_contract_exist():
    assert [
        *("best", "curves", "diagnose", "due", "explain", "export", "import", "ledger", "params"),
        *("recheck", "report", "serve", "test", "try", "tune"),
    ] == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_that_fits_80_columns(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as exit_:
        main([command, "--help"])
    out = capsys.readouterr().out
    assert exit_.value.code == 0
    assert f"Example: ayar {command} " in out
    assert max(map(len, out.splitlines())) <= 80


def test_wrong_usage_is_exit_status_2(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["bset", "digits.db"])
    assert exit_.value.code == 2
    assert "bset" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "meant"), [(["bset", "digits.db"], "'best'"), (["tune", "digits", "--trails", "3"], "'--trials'")]
)
def test_a_mistyped_command_or_option_is_told_what_may_be_meant(capsys, words, meant):
    with pytest.raises(SystemExit) as exit_:
        main(words)
    assert exit_.value.code == 2
    assert f"Did you mean {meant}?" in capsys.readouterr().err


def test_without_a_command_all_of_them_are_listed(capsys):
    with pytest.raises(SystemExit) as exit_:
        main([])
    assert exit_.value.code == 2
    assert "Tune a net on data" in capsys.readouterr().err


def test_a_terminal_that_knows_no_dots_shows_the_words(tuned, capfd):
    command = [sys.executable, "-m", "ayar", "best", "iris.db"]
    env = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    said = subprocess.run(command, capture_output=True, env=env, check=True).stdout
    assert b"Winner: trial" in said


def test_a_port_that_is_taken_is_named_before_anything_is_served(tuned, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"Port {port} can't be used" in refused(capsys, "serve", "iris.db", "--port", str(port))


def test_a_configuration_is_not_written_into_a_table(tuned, capsys):
    assert ".json or .toml" in refused(capsys, "export", "iris.db", "b.csv", "--what", "best")
    assert "--what best" in refused(capsys, "export", "iris.db", "b.toml")


def test_the_end_of_a_tuning_says_where_every_score_comes_from(tuned, capsys):
    out = run(capsys, "best", "iris.db")
    assert "fresh-seed" in out
    assert "optimistic" in out
    assert re.search(r"test set.*\(test, mean of \d seeds", out, re.DOTALL)
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b" not in out
    assert (tuned / "iris.html").stat().st_size > 10_000


def test_the_same_tuning_again_ends_at_once_and_opens_the_test_set_no_second_time(tuned, capsys):
    before = run(capsys, "export", "iris.db")
    run(capsys, "tune", "iris", "--trials", "12", "--store", "iris.db", "--workers", "2")
    assert run(capsys, "export", "iris.db") == before


def test_the_test_set_is_opened_again_only_with_a_reason_which_every_report_shows(tuned, tmp_path, capsys, monkeypatch):
    shutil.copy(tuned / "iris.db", tmp_path)
    shutil.copytree(tuned / "iris.db.trials", tmp_path / "iris.db.trials")
    monkeypatch.chdir(tmp_path)
    first = run(capsys, "test", "iris.db")
    assert "The test set was opened on 20" in first
    assert "the score of the tuned winner" in first
    again = run(capsys, "test", "iris.db", "--reason", "a reviewer asked")
    assert "opened again (time 2)" in " ".join(again.split())
    assert max(map(len, again.splitlines())) <= 80
    for shown in (run(capsys, "best", "iris.db"), run(capsys, "best", "iris.db", "--json")):
        assert "a reviewer asked" in " ".join(shown.split())
    run(capsys, "report", "iris.db", "again.html")
    assert "a reviewer asked" in (tmp_path / "again.html").read_text()
    openings = json.loads(run(capsys, "test", "iris.db", "--json"))["test_openings"]
    assert [each["count"] for each in openings] == [1, 2]


def test_best_as_json_holds_configuration_scores_and_their_kinds(tuned, capsys):
    best = json.loads(run(capsys, "best", "iris.db", "--json"))
    assert set(best["scores"]) == {"search-best (optimistic)", "re-ranked", "fresh-seed", "test"}
    assert best["config"]["iterations"] == 200
    fresh = best["scores"]["fresh-seed"]
    assert fresh["low"] <= fresh["mean"] <= fresh["high"]


def test_what_only_shows_a_study_answers_without_torch(tuned):
    """PyTorch takes longer to import than everything else that these commands do."""
    calls = "main(['best', 'iris.db']); main(['curves', 'iris.db']); main(['params', 'iris.db'])"
    script = f"import sys; from ayar.cli.main import main; {calls}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tuned)
    assert "W[1]" in done.stdout
    assert done.stdout.endswith("False\n")


def test_params_lists_every_weight_and_bias_with_its_shape(tuned, capsys):
    told = json.loads(run(capsys, "params", "iris.db", "0", "--json"))
    layers = told["config"]["hidden_layers"]
    assert [row["name"] for row in told["parameters"]] == [f"{p}[{i}]" for i in range(1, layers + 2) for p in "Wb"]
    assert told["parameters"][0]["shape"] == [told["config"]["hidden_units"][0], 4]
    assert "He normal" in run(capsys, "params", "iris.db", "0")


def test_curves_and_diagnose_speak_of_the_trial_that_is_named(tuned, capsys):
    assert "trial 0" in run(capsys, "curves", "iris.db", "0")
    assert run(capsys, "diagnose", "iris.db", "0").startswith("Trial 0:")
    told = json.loads(run(capsys, "diagnose", "iris.db", "0", "--json"))
    assert (list(told["trials"]), told["findings"]) == (["0"], [])
    assert "has no trial 999" in refused(capsys, "diagnose", "iris.db", "999")


def test_diagnose_without_a_trial_says_what_all_show_together(tmp_path, capsys):
    """Larger values are better up to the end of their range."""
    store = str(tmp_path / "edge.db")
    with ayar.Study(store, space=ayar.Space(alpha=ayar.Float(1e-3, 1.0, log=True)), minimize="error") as study:
        for k in range(40):
            study.add({"alpha": 10 ** (-3 * k / 40)}, [{"error": 1.0 + k}])
    out = run(capsys, "diagnose", store)
    assert "All trials together" in out
    assert "widen its range to 10" in " ".join(out.split())
    (finding,) = json.loads(run(capsys, "diagnose", store, "--json"))["findings"]
    assert (finding["name"], finding["widen"]) == ("best values at the edge", {"alpha": 10.0})


def test_diagnose_tries_its_own_advice_and_counts_whether_it_helped(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slow.py").write_text(SLOW)
    run(capsys, "tune", "slow.py:train", "--minimize", "error", "--trials", "1", "--workers", "1", "--confirm", "0")
    assert "Say whose advice" in refused(capsys, "diagnose", "slow.db", "--try")
    assert "(Not tried yet.)" in " ".join(run(capsys, "diagnose", "slow.db", "0").split())
    out = " ".join(run(capsys, "diagnose", "slow.db", "0", "--try").split())
    assert "as trial 1, with the seed of trial 0" in out
    assert "It helped." in out
    assert "(Helped in 1 of 1.)" in out
    (outcome,) = json.loads(run(capsys, "diagnose", "slow.db", "0", "--try", "--json"))["tried"]
    assert (outcome["attempt"], outcome["helped"]) == (1, True)


SLOW = """
import ayar

space = ayar.Space(learning_rate=ayar.Float(1e-3, 1.0, log=True, default=0.005), iterations=40)


def train(config, seed):
    w = 1.0
    for _ in range(41):
        yield {"train_probe": w * w, "error": w * w}
        w -= config["learning_rate"] * w
"""


def test_the_lectures_loop_by_hand_compares_attempts_and_says_what_to_try_next(tuned, capsys):
    run(capsys, "try", "hand.db", "--task", "iris", "learning_rate=0.0001")
    out = run(capsys, "try", "hand.db", "learning_rate=10")
    assert "Your attempts so far at learning_rate" in out
    lines = [line for line in out.splitlines() if re.match(r"[> ] +(0\.0001|10) ", line)]
    assert len(lines) == 2
    assert lines[1].startswith(">")
    next_value = float(re.search(r"Next: Try learning_rate = ([\d.e-]+)", out)[1])
    assert 0.0001 < next_value < 10


def test_a_function_of_your_own_is_tuned_with_the_space_beside_it(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(OWN)
    assert "--minimize METRIC" in refused(capsys, "tune", "mine.py:train", "--trials", "5")
    out = run(capsys, "tune", "mine.py:train", "--minimize", "error", "--trials", "10", "--workers", "1")
    assert "Winner" in out
    assert "goes on" not in out
    # The ledger alone is enough to go on.
    run(capsys, "tune", "mine.db", "--trials", "12")
    assert len(json.loads(run(capsys, "export", "mine.db", "--json"))) > 12


def test_a_function_is_trained_as_it_stands_even_if_it_was_changed_within_a_second(tmp_path, capsys, monkeypatch):
    """Python tells texts apart by their length and the second of their last change, and would run the first again."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.chdir(tmp_path)
    for level in (1, 2):
        (tmp_path / "mine.py").write_text(OWN.replace("1 / step", f"{level} / step").replace("error", "loss"))
        os.utime("mine.py", (10**9, 10**9))
        store = f"{level}.db"
        run(capsys, "tune", "mine.py:train", "--minimize", "loss", "--trials", "1", "--workers", "1", "--store", store)
        (trial, *_) = json.loads(run(capsys, "export", store, "--json"))
        assert trial["loss"] == pytest.approx(trial["config.x"] - 0.3 + level / trial["steps"])
        assert json.loads(run(capsys, "try", store, "x=0.3", "--json"))["loss"] == pytest.approx(level / 9)


def test_a_space_file_replaces_the_tasks_own_space(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.toml").write_text(
        "learning_rate = { float = [1e-3, 1e-1], log = true }\n"
        'hidden_layers = 1\nhidden_units = { int = [4, 8], per_layer = "hidden_layers" }\n'
        'activation = "relu"\noptimizer = "adam"\nbatch_size = 32\niterations = 3\n'
    )
    run(capsys, "tune", "iris", "--space", "space.toml", "--trials", "4", "--workers", "1")
    config = json.loads(run(capsys, "best", "iris.db", "--json"))["config"]
    assert config["iterations"] == 3
    assert 4 <= config["hidden_units"][0] <= 8


def test_other_data_is_not_mixed_into_a_study(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = ["a,b,label", *(f"{i % 7},{i % 3},{'xy'[i % 2]}" for i in range(60))]
    (tmp_path / "table.csv").write_text("\n".join(rows))
    run(capsys, "tune", "table.csv", "--target", "label", "--trials", "2", "--workers", "1", "--confirm", "0")
    (tmp_path / "table.csv").write_text("\n".join([*rows, "3,1,x"]))
    message = refused(capsys, "tune", "table.csv", "--target", "label", "--trials", "4", "--workers", "1")
    assert "holds other data now" in message


def test_precision_is_on_record_and_not_mixed_within_a_study(tmp_path, capsys, monkeypatch):
    """Also where the study goes on by its ledger alone; and a training of one's own sets it itself."""
    monkeypatch.chdir(tmp_path)
    tune = ("tune", "iris", "--steps", "1", "--confirm", "0", "--workers", "1", "--json")
    run(capsys, *tune, "--precision", "medium")
    assert "multiplied in medium precision, not in highest" in refused(capsys, *tune)
    run(capsys, "tune", "iris.db", "--steps", "2", "--confirm", "0", "--workers", "1", "--json")
    assert reopen("iris.db").source.objective.precision == "medium"
    (tmp_path / "own.py").write_text(OWN)
    own = refused(capsys, "tune", "own.py:train", "--minimize", "error", "--precision", "high")
    assert "own.py:train trains by itself" in own


def test_what_a_ledger_by_itself_does_not_heed_is_said(tuned, capsys):
    """The tuning is over, so the command goes on with nothing; but nobody is to think that the searcher changed."""
    again = ["tune", "iris.db", "--trials", "12", "--json"]
    assert main([*again, "--searcher", "tpe", "--learn-from", "other.db"]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "iris.db by itself goes on with its study as it is, without --searcher and --learn-from. To have" in told


def test_a_study_exported_and_imported_is_the_same_study(tuned, tmp_path, capsys):
    run(capsys, "export", "iris.db", tmp_path / "iris.jsonl", "--what", "study")
    run(capsys, "import", tmp_path / "iris.jsonl", tmp_path / "copy.db")
    assert run(capsys, "export", tmp_path / "copy.db") == run(capsys, "export", "iris.db")
    assert "holds a study 'main' already" in refused(capsys, "import", tmp_path / "iris.jsonl", tmp_path / "copy.db")


def test_explain_says_so_when_the_trials_say_nothing(tuned, capsys):
    run(capsys, "try", "once.db", "--task", "iris", "learning_rate=0.1")
    assert re.search("10 at least|say", refused(capsys, "explain", "once.db"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["best", "nowhere.db"], "nowhere.db"),
        (["tune"], "Say what to tune"),
        (["tune", "nothing.csv", "--target", "y"], "nothing.csv"),
        (["tune", "nothing.py:train", "--minimize", "error"], "There is no file nothing.py"),
        (["try", "iris.db", "learning_rate"], "'learning_rate' is no NAME=VALUE"),
        (["try", "iris.db", "lerning_rate=1"], "learning_rate"),
        (["export", "iris.db", "trials.xlsx"], "no format ends with '.xlsx'"),
        (["report", "iris.db", "no/such/folder/r.html"], "can't be written to no/such/folder/r.html"),
        (["tune", "train.py", "--minimize", "error"], "Name the function in it that trains, say train.py:train"),
        (["tune", "iris.db", "--minutes", "0"], "minutes=0.0 leaves no time to tune"),
        (["tune", "iris.db", "--minutes", "inf"], "minutes=inf is no limit. Give a number, or leave it out"),
        (["tune", "iris", "--seed", "-1"], "seed=-1 can't begin random numbers. Give a whole number, 0 or more"),
        (["tune", "iris", "--store", "iris.db", "--searcher", "racr"], "no searcher 'racr'. Choose one of: auto,"),
        (["tune", "iris", "--space", "wrong.toml"], "wrong.toml: rate: It needs exactly one of the words float"),
        (["tune", "own.py:trian", "--minimize", "error"], "no function 'trian'. Did you mean 'train'?"),
    ],
)
def test_a_mistake_ends_in_one_line_that_names_it(tuned, capsys, arguments, message):
    (tuned / "wrong.toml").write_text("rate = { flaot = [0.1, 1.0] }")
    (tuned / "own.py").write_text("import ayar\nspace = ayar.Space(x=ayar.Float(0, 1))\ndef train(config): return 0\n")
    assert message in refused(capsys, *arguments)


def test_options_may_stand_before_between_and_behind_the_other_words(tuned, capsys):
    for words in (["iris.db", "b.toml", "--what", "best"], ["iris.db", "--what", "best", "b.toml"]):
        (tuned / "b.toml").unlink(missing_ok=True)
        run(capsys, "export", *words)
        assert "learning_rate = " in (tuned / "b.toml").read_text()
    run(capsys, "try", "mixed.db", "hidden_layers=1", "--task", "iris", "learning_rate=0.1", "--json", "dropout=0.1")


def test_the_best_trials_are_listed_on_request(tuned, capsys):
    out = run(capsys, "best", "iris.db", "--trials", "2")
    assert re.search(r"trial +state +validation error +steps +cost +verdict", out)
    assert re.search(r"\d+ more trials are not shown", out)
    assert max(map(len, out.splitlines())) <= 80
    listed = json.loads(run(capsys, "best", "iris.db", "--trials", "2", "--json"))
    assert (len(listed["trials"]), listed["trial"]) == (
        2,
        json.loads(run(capsys, "best", "iris.db", "--json"))["trial"],
    )


def test_the_installed_command_runs_and_a_closed_pipe_is_no_error(tuned):
    command = f"{sys.executable} -m ayar export iris.db --what measurements | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, cwd=tuned)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("trial,seed,purpose,step")
