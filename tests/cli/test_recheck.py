"""``ayar recheck``: words for people, JSON for programs, an exit status for cron."""

import json
import os
import textwrap

import pytest

from ayar.cli import main
from ayar.cli.recheck import EXIT
from ayar.recheck.confirm import Decision

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
    """A study of a function file, tuned in the world whose best learning rate is 0.01."""
    monkeypatch.chdir(tmp_path)
    become(-2)
    tune = ["tune", "train.py:train", "--minimize", "error", "--trials", "30", "--workers", "1", "--store", "a.db"]
    assert main([*tune, "--json"]) == 0
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
