"""The example scripts run as they stand, each in a fresh interpreter, on a small budget."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(script: str, budget: int, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, EXAMPLES / script, str(budget)],
        cwd=folder,
        env={**os.environ, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_own_training_finds_a_winner_and_a_second_run_only_reads(tmp_path):
    first = run("own_training.py", 6, tmp_path)

    assert "winner: {'learning_rate'" in first
    assert "fresh-seed" in first
    assert run("own_training.py", 6, tmp_path) == first


def test_ask_tell_gets_close_to_the_bottom_of_the_bowl(tmp_path):
    """From a cost of 13 at the start; random values mostly stay far above 0.01."""
    last = run("ask_tell.py", 20, tmp_path).splitlines()[-1]

    assert float(last.split()[1]) < 0.01


def test_deep_net_writes_a_report(tmp_path):
    output = run("deep_net.py", 2, tmp_path)

    assert "winner: {" in output
    assert "<svg" in (tmp_path / "net.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("script", sorted(p.name for p in EXAMPLES.glob("*.py")))
def test_each_example_has_a_test_here(script):
    assert f'run("{script}"' in Path(__file__).read_text(encoding="utf-8")
