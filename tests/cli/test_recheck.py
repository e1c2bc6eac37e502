"""``ayar recheck``: words for people, JSON for programs, an exit status for cron."""

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from tests.reports.chromium import chromium, watched_page

import ayar
from ayar.cli import main
from ayar.cli.recheck import EXIT
from ayar.recheck.confirm import Decision
from ayar.study import Study

TRAIN = textwrap.dedent(
    """
    import math, zlib
    import numpy as np
    import ayar

    space = ayar.Space(x=ayar.Float(0.0, 1.0), learning_rate=ayar.Float(1e-4, 1.0, log=True), iterations=4)

    def train(config, seed):
        luck = 0.02 * np.random.default_rng([seed, zlib.crc32(repr(sorted(config.items())).encode())]).standard_normal()
        distance = abs(config["x"] - 0.3) + (math.log10(config["learning_rate"]) - BEST) ** 2
        for step in range(1, 5):
            yield {"error": distance + 1 / step + luck}
    """
)


@pytest.fixture
def store(tmp_path, monkeypatch, capsys):
    """A study of a function file, tuned in the world whose best learning rate is 0.01; the same one each time."""
    monkeypatch.chdir(tmp_path)
    become(-2)
    tune = ["tune", "train.py:train", "--minimize", "error", "--trials", "30", "--workers", "0", "--store", "a.db"]
    assert main([*tune, "--searcher", "bayesian", "--json"]) == 0  # its moves don't depend on what steps take
    capsys.readouterr()
    return "a.db"


def become(best):
    """Let the world's best learning rate be ``10 ** best``."""
    with open("train.py", "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(f"BEST = {best}\n{TRAIN}")


def test_a_world_as_it_was_exits_with_0_in_at_most_80_columns(store, capsys):
    assert main(["recheck", store, "--workers", "1"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("KEEP, ")
    assert "winner      x " in out
    assert max(map(len, (out + err).splitlines())) < 80


def test_a_world_that_moved_exits_with_10_or_11_and_says_so_in_json(store, capsys):
    become(-1)
    status = main(["recheck", store, "--workers", "1", "--trainings", "30", "--json"])
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (found["verdict"], status) in {("replace", 10), ("retune", 11)}
    assert found["challenger"]["learning_rate"] > found["incumbent"]["learning_rate"]
    assert 0 < found["gain"]["low"] < found["gain"]["mean"] < found["gain"]["high"]
    assert found["trainings"] <= 30
    assert err == ""


def test_too_small_a_budget_is_one_line_and_exit_status_1(store, capsys):
    assert main(["recheck", store, "--trainings", "5"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: trainings=5 can't settle anything")
    assert err.count(os.linesep) == 1


def test_every_conclusion_has_its_exit_status():
    assert {decision: EXIT[decision] for decision in Decision} == {
        "keep, confirmed": 0,
        "keep, not beaten": 0,
        "better, not worth it": 0,
        "replace": 10,
        "retune": 11,
        "inconclusive": 12,
        "regressed": 20,
    }


# -- due


def due(store, capsys, *more):
    capsys.readouterr()
    assert main(["due", store, "--json", *more]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    return row["action"], [reason["trigger"] for reason in row["reasons"]]


def test_what_is_as_it_was_is_not_due_and_costs_no_training(store, capsys):
    assert due(store, capsys) == ("not due", [])
    count = len(Study(store).trials())
    assert main(["recheck", store, "--if-due"]) == 0
    assert capsys.readouterr().out == "a.db: not due, nothing was trained.\n"
    assert len(Study(store).trials()) == count


def test_a_changed_training_is_due_until_it_was_checked(store, capsys):
    become(-1)
    assert due(store, capsys)[0] == "not due"  # the function's own source is as it was; BEST lies outside of it
    Path("train.py").write_text(Path("train.py").read_text().replace("1 / step", "2 / step"))
    assert due(store, capsys) == ("recheck", ["code"])
    status = main(["recheck", store, "--if-due", "--workers", "0", "--trainings", "25"])
    assert status in (10, 11)
    assert "code: source was" in " ".join(capsys.readouterr().out.split())
    assert due(store, capsys) == ("not due", [])


def test_an_alarm_and_age_are_reasons(store, capsys):
    assert due(store, capsys, "--alarm", "clicks fell") == ("recheck", ["alarm"])
    assert due(store, capsys, "--every", "0")[1] == ["age", "alarm"]
    assert main(["due", store, store]) == 0
    out = capsys.readouterr().out
    assert "alarm      clicks fell" in out
    assert out.endswith("2 of 2 winners due: ayar recheck STORE --if-due\n")
    assert max(map(len, out.splitlines())) < 80


def test_a_small_change_is_answered_by_a_replay(store, capsys, monkeypatch):
    from ayar.recheck import fingerprint

    monkeypatch.setattr(fingerprint.platform, "python_version", lambda: "3.99.0")
    assert due(store, capsys) == ("replay", ["software"])
    assert main(["recheck", store, "--if-due", "--workers", "0", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["trainings"], found["verdict"], found["screened"]) == (3, "keep, not beaten", [])


# -- history, adoption, winners from elsewhere


def test_an_adopted_challenger_is_the_winner_of_the_next_recheck(store, capsys):
    become(-1)
    assert main(["recheck", store, "--workers", "0", "--trainings", "25", "--adopt"]) in (10, 11)
    out = capsys.readouterr().out
    assert "adopted     the challenger is the winner from now on" in out
    winner = Study(store).winner().config
    assert winner["learning_rate"] > 0.02
    assert main(["recheck", store, "--workers", "0", "--trainings", "16", "--json"]) in EXIT.values()
    assert json.loads(capsys.readouterr().out)["incumbent"] == winner
    assert [event.what for event in Study(store).story().history][:1] == ["winner confirmed"]
    assert "winner replaced" in [event.what for event in Study(store).story().history]


def test_a_winner_from_elsewhere_needs_no_study(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    become(-2)
    Path("best.json").write_text('{"config": {"x": 0.9, "learning_rate": 0.3}}')
    args = ["recheck", "new.db", "--task", "train.py:train", "--minimize", "error", "--config", "best.json"]
    assert main([*args, "--workers", "0", "--json"]) in (10, 11)
    found = json.loads(capsys.readouterr().out)
    assert found["incumbent"] == {"x": 0.9, "learning_rate": 0.3, "iterations": 4}
    assert found["level_shift"] is None
    assert main([*args, "--if-due"]) == 0
    assert "not due" in capsys.readouterr().out


def test_a_file_that_is_no_configuration_is_named(store, tmp_path, capsys):
    (tmp_path / "bad.json").write_text("[1, 2")
    assert main(["recheck", store, "--config", "bad.json"]) == 1
    assert capsys.readouterr().err.startswith("error: bad.json can't be read as a configuration")


def test_a_report_that_can_t_be_written_is_refused_before_anything_is_trained(store, capsys):
    count = len(Study(store).trials())
    assert main(["recheck", store, "--report", "nowhere/recheck.html"]) == 1
    assert "there is no such folder" in capsys.readouterr().err
    assert len(Study(store).trials()) == count


def test_a_changed_size_brings_a_rule(store, capsys):
    status = main(["recheck", store, "--workers", "0", "--changed", "batch_size=32:128", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert status == found["exit"]
    assert {"rule: batch size x 4, root", "rule: batch size x 4, linear"} <= {a["origin"] for a in found["screened"]}
    assert main(["recheck", store, "--changed", "rows"]) == 1
    assert "is no NAME=[OLD:]NEW" in capsys.readouterr().err


def test_a_year_of_false_alarms_can_be_capped(store, capsys):
    assert main(["recheck", store, "--workers", "0", "--yearly-alarms", "0.02", "--every", "365.25", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["error"] == 0.02
    assert main(["recheck", store, "--workers", "1", "--yearly-alarms", "0.02"]) == 1
    assert "is used up: 1 recheck since" in capsys.readouterr().err


@pytest.mark.browser
def test_the_report_is_one_page_without_faults(store, tmp_path, capsys):
    become(-1)
    assert main(["recheck", store, "--workers", "0", "--trainings", "25", "--report", "recheck.html"]) in (10, 11)
    assert "report      recheck.html" in capsys.readouterr().out
    with chromium() as browser, watched_page(browser, viewport={"width": 900, "height": 900}) as (page, faults, _):
        page.goto((tmp_path / "recheck.html").as_uri())
        assert page.locator("h1").inner_text().lower() in ("replace", "retune")
        assert page.locator("#history").count() == page.locator("svg.plot").count() == 1
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert faults == []


# -- the jobs in the documentation


GUIDE = (Path(__file__).parents[2] / "docs/guides/recheck.md").read_text(encoding="utf-8")


@pytest.fixture
def shop(store, tmp_path, monkeypatch):
    """A machine with a study, ``ayar`` and ``mail`` on its path."""
    Path("shop.db").write_bytes(Path(store).read_bytes())
    Path("bin").mkdir()
    for name, line in (("ayar", f'exec {sys.executable} -m ayar "$@"'), ("mail", "cat > mailed.txt")):
        Path("bin", name).write_text(f"#!/bin/sh\n{line}\n")
        Path("bin", name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(Path(ayar.__file__).parents[1]))
    return tmp_path


def shell(line):
    return subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, timeout=120)


def test_the_crontab_of_the_guide_mails_only_where_the_winner_should_go(shop):
    (line,) = re.findall(r"^17 4 \* \* 1 (cd /srv/shop .*)$", GUIDE, re.MULTILINE)
    job = line.replace("/srv/shop", str(shop))
    assert shell(job).returncode == 0
    assert Path("recheck.log").read_text() == "shop.db: not due, nothing was trained.\n"
    assert not Path("mailed.txt").exists()
    become(-1)
    Study("shop.db").note("alarm", {"text": "clicks fell"})
    shell(job)
    assert "clicks fell" in Path("mailed.txt").read_text()
    assert Path("recheck.html").exists()


def test_the_github_action_of_the_guide_is_valid_and_passes_while_nothing_is_due(shop):
    yaml = pytest.importorskip("yaml")
    (block,) = re.findall(r"^```yaml[^\n]*\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    job = yaml.safe_load(block)["jobs"]["recheck"]
    assert [set(step) & {"uses", "run"} != set() for step in job["steps"]] == [True] * len(job["steps"])
    (command,) = [step["run"] for step in job["steps"] if step.get("run", "").startswith("ayar")]
    assert shell(command).returncode == 0
