"""A command is a training like any other: it is measured, paused, resumed and ended, and it leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest
from tests.run.conftest import gone
from tests.waiting import until

from ayar.errors import ObjectiveError, TrainingFailed
from ayar.records import State
from ayar.run.command import Command
from ayar.run.events import Failed, Finished
from ayar.run.local import InProcessPool, open_pool
from ayar.run.objective import Kind, as_training
from ayar.run.workers import Workers
from ayar.space import Float, Space
from ayar.study import Study

FALLING = """
    import ayar, os, sys
    rate = float(sys.argv[1])
    print("starting")
    for step in range(1, 5):
        ayar.report(step=step, loss=rate / step)
"""
RESUMING = """
    import json, os, pathlib, sys, time
    saved = pathlib.Path(sys.argv[1]) / "epoch"
    done = int(saved.read_text()) if saved.exists() else 0
    (saved.parent / "pid").write_text(str(os.getpid()))
    with (saved.parent / "starts").open("a") as file:
        file.write(f"{done} ")
    for epoch in range(done + 1, 7):
        print(json.dumps({"step": epoch, "loss": 1 / epoch}), flush=True)
        saved.with_suffix(".new").write_text(str(epoch))
        os.replace(saved.with_suffix(".new"), saved)
        if done == 0 and sys.argv[2:] == [str(epoch)]:
            time.sleep(600)
    (saved.parent / "end").touch()
"""


@pytest.fixture
def script(tmp_path):
    """Write a Python script; gives the words that run it."""

    def write(text: str, *arguments: str) -> list[str]:
        path = tmp_path / "train.py"
        path.write_text(textwrap.dedent(text))
        return [sys.executable, str(path), *arguments]

    return write


@pytest.fixture
def train(tmp_path):
    """Train a command in a folder; gives what it measured."""

    def measured(words, *, config=None, seed=7, start_step=0, horizon=10):
        folder = tmp_path / "trial"
        folder.mkdir(exist_ok=True)
        training = as_training(words, metric="loss")
        return list(training.start(config or {}, seed, folder, start_step, horizon))

    return measured


def test_its_json_lines_are_its_measurements_and_the_rest_is_output(script, train, capfd):
    assert train(script(FALLING, "{learning_rate}"), config={"learning_rate": 0.5}) == [
        (1, {"loss": 0.5}),
        (2, {"loss": 0.25}),
        (3, {"loss": 0.5 / 3}),
        (4, {"loss": 0.125}),
    ]
    assert capfd.readouterr().err == "starting\n"


def test_values_come_as_arguments_as_environment_and_as_a_file(script, train, tmp_path):
    told = tmp_path / "told.json"
    words = script(
        """
        import json, os, sys
        given = {k: v for k, v in os.environ.items() if k.startswith("AYAR_")}
        file = json.load(open(sys.argv[4]))
        json.dump([sys.argv[1:], given, file], open(sys.argv[5], "w"))
        print('{"loss": 1}')
        """,
        *(
            "--lr={learning_rate}",
            "{units}",
            "{seed}",
            "{config}",
            str(told),
            "{{plain}}",
            "a b; echo $HOME",
            '{"a": 1}',
        ),
    )
    train(words, config={"learning_rate": 1e-5, "units": [8, 4], "kind": "a b"})
    arguments, environment, file = json.loads(told.read_text())
    folder = tmp_path / "trial"
    assert arguments[:4] == ["--lr=1e-05", "[8, 4]", "7", str(folder / "ayar_config.json")]
    assert arguments[5:] == ["{plain}", "a b; echo $HOME", '{"a": 1}']
    assert environment == {
        "AYAR_LEARNING_RATE": "1e-05",
        "AYAR_UNITS": "[8, 4]",
        "AYAR_KIND": "a b",
        "AYAR_SEED": "7",
        "AYAR_FOLDER": str(folder),
        "AYAR_CONFIG": str(folder / "ayar_config.json"),
    }
    assert file == {"learning_rate": 1e-5, "units": [8, 4], "kind": "a b", "seed": 7}


def test_an_inactive_hyperparameter_is_left_out_with_its_option():
    command = Command(("train", "--momentum", "{momentum}", "--beta={beta}", "{file}", "-x"))
    assert command.filled({"file": "a"}) == ["train", "a", "-x"]
    assert command.filled({"momentum": 0.9, "beta": 1, "file": "a"}) == [
        *("train", "--momentum", "0.9", "--beta=1", "a", "-x")
    ]


def test_lines_without_a_step_count_from_one(script, train):
    words = script("""for loss in (3, 2): print('{"loss": %s, "phase": "valid", "accuracy": 0.5}' % loss)""")
    assert train(words) == [(1, {"loss": 3.0, "accuracy": 0.5}), (2, {"loss": 2.0, "accuracy": 0.5})]


def test_the_last_line_is_the_score_where_the_horizon_is_one(script, train):
    assert train(script(FALLING, "1"), horizon=1) == [(1, {"loss": 0.25})]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("print('hello')", ObjectiveError, r"without a measurement of 'loss'\. Print one line of JSON"),
        ("", ObjectiveError, r"without a measurement"),
        ("""print('{"losses": 1}')""", ObjectiveError, r"it printed 'losses', did you mean that"),
        ("""print('{"step": 1, "lost": 1}')""", ObjectiveError, r"did you mean 'lost'"),
        ("""print('{"loss": null}')""", ObjectiveError, r"gave 'loss': None"),
        ("print('{broken')", ObjectiveError, r"without a measurement"),
        ("raise SystemExit(3)", TrainingFailed, r"ended with exit status 3 after 0 measurements: .*train\.py"),
        ("import os; os.kill(os.getpid(), 9)", TrainingFailed, r"killed by signal 9 \(SIGKILL\), perhaps because"),
    ],
)
def test_what_goes_wrong_is_named(script, train, text, error, message):
    with pytest.raises(error, match=message):
        train(script(text))


def test_a_failure_after_measurements_keeps_them(script, tmp_path):
    words = script("""import sys; print('{"loss": 1}', flush=True); sys.exit("no data left")""")
    steps = as_training(words, metric="loss").start({}, 7, tmp_path, 0, 10)
    assert next(steps) == (1, {"loss": 1.0})
    with pytest.raises(TrainingFailed, match="exit status 1 after 1 measurements"):
        next(steps)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "is no list of words"),
        ([], "is no list of words"),
        (["python3", 3], "is no list of words"),
        ("python3 'train.py", "No closing quotation"),
        ("no-such-program x", "There is no program 'no-such-program'"),
    ],
)
def test_what_is_no_command_is_refused_at_once(given, message):
    with pytest.raises(ObjectiveError, match=message):
        Command.of(given)


def test_an_unknown_placeholder_is_refused_before_anything_is_trained():
    with Study(space=Space(learning_rate=Float(0.1, 1.0)), minimize="loss", horizon=4) as study:
        with pytest.raises(ObjectiveError, match=r"has \{learning_rat\}.* did you mean \{learning_rate\}\?"):
            study.tune("python3 train.py {learning_rat}", trials=2)
        assert study.trials() == []
    with pytest.raises(ObjectiveError, match="a hyperparameter 'seed'"):
        Command.of("python3").check(["seed"])


def test_a_program_that_cannot_be_run_is_named(tmp_path, train):
    path = tmp_path / "broken"
    path.write_bytes(b"\x7fELF")
    path.chmod(0o755)
    with pytest.raises(TrainingFailed, match=r"cannot be run: .*broken"):
        train([str(path)])


def test_a_paused_command_stands_still_and_goes_on_without_a_restart(script, tmp_path, move, finish, curve):
    starts = tmp_path / "starts"
    words = script(
        f"""
        print("again", file=open({str(starts)!r}, "a"))
        for step in range(1, 5): print('{{"loss": %s}}' % step, flush=True)
        """
    )
    with open_pool(words, metric="loss", horizon=4, folder=tmp_path / "trials") as pool:
        pool.submit(move(0, 0, 2))
        first = finish(pool)
        assert pool.holds(0)
        pool.submit(move(1, 0, 4))  # another trial has the worker meanwhile
        finish(pool)
        pool.submit(move(0, 2, 4))
        events = first + finish(pool)
    assert curve(events) == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]
    assert starts.read_text() == "again\nagain\n"


def test_a_paused_command_uses_no_processor(script, tmp_path):
    words = script("""
        import os, time
        while True: print('{"loss": %s}' % os.getpid(), flush=True); time.sleep(0.01)
    """)
    steps = as_training(words, metric="loss").start({}, 7, tmp_path, 0, 10)
    _, metrics = next(steps)
    process = psutil.Process(int(metrics["loss"]))
    until(lambda: process.status() == psutil.STATUS_STOPPED)
    steps.close()
    assert not process.is_running()


def test_a_command_with_a_folder_ends_at_a_pause_and_goes_on_from_its_files(script, tmp_path, move, finish, curve):
    words = script(RESUMING, "{folder}", "2")  # it waits there until it is ended
    assert as_training(words, metric="loss").kind is Kind.FOLDER_COMMAND
    with open_pool(words, metric="loss", horizon=6, folder=tmp_path / "trials") as pool:
        pool.submit(move(0, 0, 2))
        first = finish(pool)
        assert not pool.holds(0)
        pool.submit(move(0, 2, 6))
        events = first + finish(pool)
    assert curve(events) == [(step, 1 / step) for step in range(1, 7)]
    assert (tmp_path / "trials" / "0" / "starts").read_text().split()[0] == "0"
    assert int((tmp_path / "trials" / "0" / "starts").read_text().split()[1]) >= 1


def test_what_a_command_said_before_it_was_asked_is_not_lost(script, tmp_path):
    """It has saved these steps, so it won't say them again."""
    words = script(RESUMING, "{folder}")
    training = as_training(words, metric="loss")
    steps = training.start({}, 7, tmp_path, 0, 10)
    assert next(steps) == (1, {"loss": 1.0})
    os.killpg(json.loads((tmp_path / "pid").read_text()), signal.SIGCONT)  # as if it had been quicker than the signal
    until((tmp_path / "end").exists)
    steps.close()
    assert (tmp_path / "epoch").read_text() == "6"
    again = training.start({}, 7, tmp_path, 1, 10)
    assert next(again) == (2, {"loss": 1 / 2})
    again.close()
    assert list(training.start({}, 7, tmp_path, 2, 10)) == [(step, {"loss": 1 / step}) for step in range(3, 7)]


def test_a_restarted_command_without_a_folder_replays_in_silence(script, train):
    assert train(script(FALLING, "1"), start_step=2) == [(3, {"loss": 1 / 3}), (4, {"loss": 0.25})]


def test_a_failing_command_is_a_failed_trial_with_its_last_output(script, tmp_path, move, finish):
    words = script("""import sys; print("reading"); sys.exit("no such data")""")
    with open_pool(words, metric="loss", horizon=4, folder=tmp_path / "trials") as pool:
        pool.submit(move(0, 0, 4))
        [failed] = finish(pool)
    assert isinstance(failed, Failed)
    assert not failed.contract
    assert failed.error.startswith("The command ended with exit status 1")
    assert all(text in failed.error for text in ("Its last output", "reading", "no such data"))


def test_a_hung_command_is_ended_and_shows_its_last_output(script, tmp_path, move, finish):
    words = script("""import time; print("stuck here"); time.sleep(600)""")
    with open_pool(
        words, metric="loss", horizon=4, folder=tmp_path / "trials", workers=Workers(step_timeout_s=2)
    ) as pool:
        pool.submit(move(0, 0, 4))
        [failed] = finish(pool)
    assert "no step within 2 s" in failed.error
    assert "stuck here" in failed.error


def test_one_bad_configuration_does_not_end_the_study(script, tmp_path):
    words = script(
        """
        import sys
        if float(sys.argv[1]) > 0.5: sys.exit("out of range")
        for step in range(1, 4): print('{"loss": %s}' % (1 / step), flush=True)
        """,
        "{x}",
    )
    with Study(tmp_path / "study.db", space=Space(x=Float(0.0, 1.0)), minimize="loss", horizon=3) as study:
        study.tune(words, trials=8, workers=2, confirm=0, progress=False)
        states = {t.state for t in study.trials()}
        assert State.FAILED in states
        assert states & {State.COMPLETED, State.PAUSED}


PARENT = """
    import subprocess, sys, time
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print('{"loss": %s}' % child.pid, flush=True)
    time.sleep(600)
"""


def test_closing_ends_the_command_and_its_children(script, tmp_path):
    steps = as_training(script(PARENT), metric="loss").start({}, 7, tmp_path, 0, 10)
    child = int(next(steps)[1]["loss"])
    steps.close()
    until(lambda: gone(child))


@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_outlives_a_killed_study(script, tmp_path, workers):
    """Neither the command nor its children, although nobody could end them in an orderly way."""
    words = script(PARENT)
    main = tmp_path / "main.py"
    main.write_text(
        textwrap.dedent(f"""
        from ayar.records import Move
        from ayar.run.local import open_pool
        pool = open_pool({words!r}, metric="loss", horizon=5, workers={workers})
        pool.submit(Move(0, {{}}, 1, 0, 5))
        while not (events := pool.wait(1)): pass
        print(int(events[0].metrics["loss"]), flush=True)
        while True: pool.wait(1)
    """)
    )
    process = subprocess.Popen([sys.executable, str(main)], stdout=subprocess.PIPE, text=True)
    child = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    until(lambda: gone(child))


def test_in_this_process_a_command_trains_too(script, tmp_path, move, finish, curve):
    pool = InProcessPool(script(FALLING, "1"), metric="loss", horizon=3, folder=tmp_path)
    pool.submit(move(0, 0, 3))
    events = finish(pool)
    pool.close()
    assert curve(events) == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert events[-1] == Finished(0, ended=False)


def test_secrets_of_the_environment_are_not_recorded(script, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", "s3cr3t-value")
    with Study(tmp_path / "study.db", space=Space(x=Float(0.0, 1.0)), minimize="loss", horizon=4) as study:
        study.tune(script(FALLING, "{x}"), trials=2, workers=1, progress=False)
    files = [path for path in Path(tmp_path).rglob("*") if path.is_file()]
    assert len(files) > 3
    assert all(b"s3cr3t-value" not in path.read_bytes() for path in files)
    assert os.environ["MY_TOKEN"]
