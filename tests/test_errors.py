"""The tree of errors, and what is said where an optional package is missing."""

import builtins
import re

import pytest

import ayar
from ayar.cli.main import main
from ayar.errors import AyarError, MissingExtra, NotInLedger


@pytest.fixture
def without_torch(monkeypatch):
    """A machine on which neither torch nor scikit-learn is installed."""
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name.partition(".")[0] in ("torch", "sklearn", "safetensors"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)


def test_a_task_without_scikit_learn_says_what_to_install(without_torch):
    with pytest.raises(MissingExtra, match=r"sklearn is not installed\. Install it with: pip install 'ayar\[torch\]'"):
        ayar.load_task("digits")


def test_the_command_line_says_it_in_one_line(without_torch, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["tune", "digits", "--minutes", "1"]) == 1
    told = capsys.readouterr().err
    assert re.fullmatch(
        r"error: (torch|sklearn) is not installed\. Install it with: pip install 'ayar\[torch\]'\n", told
    )


def test_every_error_can_be_caught_as_one_and_as_what_python_calls_it():
    with pytest.raises(KeyError) as caught:
        raise NotInLedger("no trial 7")
    assert isinstance(caught.value, AyarError)
    assert str(caught.value) == "no trial 7"
