"""The public names: written down once, and cheap to import."""

import json
import subprocess
import sys

import numpy as np
import pytest

import ayar

HEAVY = (
    "torch",
    "sklearn",
    "pandas",
    "scipy.stats",
    "scipy.optimize",
    "matplotlib",
    "starlette",
    "sqlalchemy",
)


def modules_after(statements: str) -> list[str]:
    """What ``sys.modules`` holds in a fresh interpreter after these statements."""
    script = f"import json, sys\n{statements}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_the_list_of_names_is_sorted_and_has_no_doubles():
    assert sorted(set(ayar.__all__)) == list(ayar.__all__)


@pytest.mark.parametrize("name", ayar.__all__)
def test_each_public_name_exists_and_is_listed_by_dir(name):
    assert getattr(ayar, name) is not None
    assert name in dir(ayar)


@pytest.mark.parametrize("name", ayar.__all__)
def test_each_public_name_says_what_it_is(name):
    """A docstring of its own: one inherited from a base or made by ``dataclass`` says nothing."""
    thing = getattr(ayar, name)
    doc = thing.__doc__ or ""

    assert doc.strip(), f"ayar.{name} has no docstring"
    assert not doc.startswith(f"{name}("), f"ayar.{name} has only the signature that dataclass writes"
    assert doc not in [base.__doc__ for base in getattr(thing, "__mro__", ())[1:]]


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        ayar.nonsense  # noqa: B018


def test_importing_ayar_loads_nothing_heavy():
    """``import ayar`` stays quick; the floors load what they need when they are used."""
    loaded = set(modules_after("import ayar"))

    assert "ayar" in loaded
    assert sorted(loaded & set(HEAVY)) == []


def test_the_command_line_shows_its_help_without_torch():
    """Each command's help must come at once."""
    loaded = set(modules_after("import ayar.cli"))

    assert sorted(loaded & {"torch", "sklearn", "pandas"}) == []


def test_a_tuning_is_ready_to_train_before_anything_heavy_is_loaded(tmp_path):
    """The data, their leaks, the space, what goes to the workers and the first move: what a first result waits for."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "own.npz", X=rng.normal(size=(90, 5)), y=rng.integers(0, 2, 90))
    loaded = set(
        modules_after(
            "import ayar, cloudpickle; from ayar.cli.sources import Source;"
            f"source = Source({str(tmp_path / 'own.npz')!r});"
            "study = ayar.Study(space=source.space(None), minimize='valid_error'); cloudpickle.dumps(source.objective);"
            "assert study.ask()[0].config == study.space.default()"
        )
    )

    assert sorted(loaded & {"torch", "sklearn", "scipy.stats", "scipy.optimize"}) == []


def test_a_name_that_needs_torch_loads_it_when_it_is_asked_for():
    """The check above would notice: the lazy names do arrive, and with torch."""
    assert "torch" in modules_after("import ayar; ayar.Recipe")
