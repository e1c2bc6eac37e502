import functools
import hashlib
import importlib.util
import json
import platform
import shutil
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ayar.recheck.fingerprint import GROUPS, changes, fingerprint

OLD = {
    "hardware": {"cpu": "Old 1000", "cores": 4, "gpus": []},
    "software": {"python": "3.11.7", "torch": "2.4.0"},
    "code": {"source": "a" * 64, "dirty": False},
    "data": {"content": "b" * 64},
}


def test_it_has_a_hash_for_each_group():
    print_ = fingerprint()
    assert tuple(print_) == (*GROUPS, "sha256")
    assert tuple(print_["sha256"]) == GROUPS


def test_a_group_s_hash_is_that_of_its_canonical_json():
    """Checked with sha256sum: anyone can compute it again."""
    print_ = fingerprint(data="abc")
    assert print_["data"] == {"content": "abc"}
    assert print_["sha256"]["data"] == "a8808ad21442c984d42d7de5a0717ac6c20618b9923917b1da9b2ed106c56ce0"
    assert fingerprint()["sha256"]["data"] == hashlib.sha256(b"{}").hexdigest()


def test_it_is_json_and_the_same_a_moment_later():
    print_ = fingerprint(data="abc", code=fingerprint)
    assert json.loads(json.dumps(print_, allow_nan=False)) == print_
    assert fingerprint(data="abc", code=fingerprint) == print_


def test_versions_are_those_that_run():
    software = fingerprint()["software"]
    assert software["numpy"] == np.__version__
    assert software["python"] == platform.python_version()


def test_hardware_says_what_there_is():
    hardware = fingerprint()["hardware"]
    assert hardware["cores"] >= 1
    assert hardware["memory_gib"] > 0
    assert isinstance(hardware["gpus"], list)


def test_no_environment_variable_gets_in(monkeypatch):
    monkeypatch.setenv("AYAR_API_KEY", "swordfish")
    assert "swordfish" not in json.dumps(fingerprint(code=fingerprint))


def test_torch_is_not_imported_for_it():
    script = (
        "import sys; from ayar.recheck.fingerprint import fingerprint; fingerprint(); print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "False\n"


# Code


def load(path):
    """The function ``train`` of a file."""
    spec = importlib.util.spec_from_file_location("mine", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.train


def git(folder, *arguments):
    who = ("-c", "user.name=Ann", "-c", "user.email=ann@example.org")
    run = subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return run.stdout.strip()


@pytest.fixture
def mine(tmp_path):
    """A file with a training."""
    path = tmp_path / "mine.py"
    path.write_text("def train(config, seed):\n    yield {'valid_error': 0.5}\n")
    return path


def test_source_is_hashed_and_a_change_of_it_is_seen(mine):
    before = fingerprint(code=load(mine))
    assert before["code"]["name"] == "mine.train"
    assert before["code"]["source"] == hashlib.sha256(mine.read_bytes()).hexdigest()
    mine.write_text("def train(config, seed):\n    yield {'valid_error': 0.125}\n")
    after = fingerprint(code=load(mine))
    assert [line.split(" was ")[0] for line in changes(before, after)] == ["code: source"]


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_commit_is_that_of_the_code_and_unsaved_changes_are_told(mine):
    git(mine.parent, "init")
    git(mine.parent, "add", "mine.py")
    git(mine.parent, "commit", "-m", "Train")
    (mine.parent / "study.db").touch()
    clean = fingerprint(code=load(mine))["code"]
    assert (clean["commit"], clean["dirty"]) == (git(mine.parent, "rev-parse", "HEAD"), False)
    mine.write_text(mine.read_text() + "\n\nx = 1\n")
    assert fingerprint(code=load(mine))["code"] == clean | {"dirty": True}


def test_code_outside_a_repository_has_no_commit(mine):
    assert {"commit", "dirty"}.isdisjoint(fingerprint(code=load(mine))["code"])


def test_code_typed_at_a_prompt_has_a_name_only():
    space = {"__name__": "__main__"}
    exec(compile("def train(config, seed): ...", "<stdin>", "exec"), space)
    assert fingerprint(code=space["train"])["code"] == {"name": "__main__.train"}


def test_code_written_in_c_has_a_name_only():
    assert fingerprint(code=len)["code"] == {"name": "builtins.len"}


def test_of_a_command_the_files_that_it_names_are_hashed(mine):
    command = [sys.executable, str(mine), "--lr", "{lr}"]
    before = fingerprint(code=command)["code"]
    assert before["name"].endswith("mine.py --lr {lr}")
    mine.write_text("print('other')")
    assert fingerprint(code=command)["code"]["source"] != before["source"]
    assert fingerprint(code=[*command, "--wd", "0"])["code"]["name"] != before["name"]


class Scorer:
    def __call__(self, config, seed):
        return 0.5


def plain(config, seed, size=1):
    return 0.5


@functools.wraps(plain)
def wrapped(*arguments):
    return plain(*arguments)


@pytest.mark.parametrize(
    ("code", "name"),
    [(functools.partial(functools.partial(plain), size=2), "plain"), (wrapped, "plain"), (Scorer(), "Scorer")],
)
def test_code_is_what_was_written_down_not_its_wrapping(code, name):
    written = {"plain": plain, "Scorer": Scorer}[name]
    assert fingerprint(code=code)["code"] == fingerprint(code=written)["code"]


# Changes


def test_changes_are_told_group_by_group():
    new = {
        "hardware": {"cpu": "Old 1000", "cores": 8, "gpus": ["NVIDIA H200"]},
        "software": {"python": "3.11.7", "scipy": "1.17.0"},
        "code": {"source": "c" * 64, "dirty": True},
        "data": {"content": "b" * 64},
    }
    assert changes(OLD, new) == [
        "hardware: cores was 4, is 8",
        "hardware: gpus was none, is NVIDIA H200",
        "software: scipy was unknown, is 1.17.0",
        "software: torch was 2.4.0, is unknown",
        "code: dirty was no, is yes",
        "code: source was aaaaaaaa, is cccccccc",
    ]


def test_an_older_fingerprint_without_a_group_can_be_compared():
    assert changes({}, {"data": {"content": "v2"}}) == ["data: content was unknown, is v2"]


groups = st.dictionaries(st.text(), st.text() | st.booleans() | st.integers() | st.lists(st.text()))
prints = st.fixed_dictionaries(dict.fromkeys(GROUPS, groups))


@settings(deadline=None, max_examples=60)
@given(prints, prints)
def test_there_is_a_change_exactly_where_fingerprints_differ(old, new):
    assert changes(old, old) == []
    assert bool(changes(old, new)) == (old != new)
    assert len(changes(old, new)) == len(changes(new, old))
