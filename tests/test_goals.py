"""A study of several objectives, with limits, in a space that changes."""

import json

import pytest

from ayar.cli.main import main
from ayar.errors import NotInLedger, ObjectiveError, SpaceError
from ayar.reports.terminal import winner_summary
from ayar.seeds import Purpose
from ayar.space import Choice, Float, Space
from ayar.study import Study

SPACE = Space(x=Float(0, 1), y=Float(0, 1))


def measured(config, seed):
    return {"error": (config["x"] - 1) ** 2 + config["y"], "size": 10 * config["x"]}


def asked_and_told(study, n, train=measured):
    for _ in range(n):
        (move,) = study.ask()
        study.tell(move, train(move.config, move.seed))


def test_an_objective_or_a_limit_that_no_training_measures_is_refused_and_may_be_corrected(tmp_path):
    """A mistyped limit must not be kept by silence."""

    def score(config, seed):
        return {"loss": config["x"], "size": 1 - config["x"]}

    space = Space(x=Float(0.0, 1.0))
    mistyped = Study(tmp_path / "a.db", space=space, minimize="loss", constraints={"siz": "<= 0.5"})
    with mistyped, pytest.raises(ObjectiveError, match=r"but not 'siz'\. Did you mean 'size'\?"):
        mistyped.tune(score, trials=6, workers=0, progress=False)
    with Study(tmp_path / "a.db", space=space, minimize="loss", constraints={"size": "<= 0.5"}) as study:
        study.tune(score, trials=6, workers=0, confirm=0, progress=False)
        assert study.recommend().config["x"] >= 0.5
    with pytest.raises(SpaceError, match="was made with constraints"):
        Study(tmp_path / "a.db", space=space, minimize="loss", constraints={"size": "<= 0.4"})
    with pytest.raises(ObjectiveError, match="but not 'siz'"):
        Study(space=space, minimize=["loss", "siz"]).tune(score, trials=6, workers=0, progress=False)


def test_of_two_objectives_the_front_is_what_nobody_beats(tmp_path):
    with Study(tmp_path / "s.db", space=SPACE, minimize=["error", "size"], seed=1) as study:
        asked_and_told(study, 20)
        found = [(t.loss, t.curve.measurements[-1].metrics["size"]) for t in study.front()]

    assert len(found) >= 3
    assert found == sorted(found)
    sizes = [size for _, size in found]
    assert sizes == sorted(sizes, reverse=True)
    with Study(tmp_path / "s.db") as again:
        assert [metric.name for metric in again.objectives] == ["error", "size"]
        assert "Front:" in winner_summary(again.story())


def test_one_metric_may_be_minimised_and_another_maximised():
    study = Study(space=SPACE, minimize=["error"], maximize=["speed"])
    asked_and_told(study, 3, lambda config, _: {"error": config["x"], "speed": config["x"]})

    assert len(study.front()) == 3
    with pytest.raises(SpaceError, match=r"for both at once write minimize=\['error'\], maximize=\['speed'\]"):
        Study(space=SPACE, minimize="error", maximize="speed")


def test_what_breaks_a_limit_is_neither_recommended_nor_the_winner(tmp_path):
    with Study(tmp_path / "s.db", space=SPACE, minimize="error", constraints={"size": "<= 4"}) as study:
        winner = study.tune(measured, trials=25, workers=0, progress=False)
        assert study.recommend().config["x"] <= 0.4
        assert winner.config["x"] <= 0.4
    with Study(tmp_path / "s.db") as again:
        assert [str(limit) for limit in again.constraints] == ["size <= 4"]


def test_where_nothing_keeps_the_limits_that_is_said():
    study = Study(space=SPACE, minimize="error", constraints=["size <= -1"])
    asked_and_told(study, 2)

    with pytest.raises(NotInLedger, match="that keeps size <= -1 yet"):
        study.recommend()


WIDER = Space(x=Float(0, 2), y=Float(0, 1), kind=Choice("a", "b", "c"))


def test_a_space_can_be_widened_and_get_a_hyperparameter_and_its_history_is_used(tmp_path):
    path = tmp_path / "s.db"
    with Study(path, space=SPACE, minimize="error", seed=2) as study:
        asked_and_told(study, 12)
        before = [t.config for t in study.trials()]
        study.change_space(WIDER, {"kind": "b"})
        assert [t.config for t in study.trials()] == [{**config, "kind": "b"} for config in before]
        asked_and_told(study, 12)
        moved = [t.config for t in study.trials()][12:]

    assert {"x", "y", "kind"} == set(moved[0])
    assert max(config["x"] for config in moved) > 1
    with Study(path) as again:  # the change is on record
        assert again.space == WIDER
        assert [t.config for t in again.trials()] == [*({**c, "kind": "b"} for c in before), *moved]
        assert again.ask()[0].config["kind"] in "abc"
    with pytest.raises(SpaceError, match=r"To go on, take the new space with study.change_space"):
        Study(path, space=SPACE)


def test_a_narrowed_space_keeps_older_trials_as_evidence_but_recommends_none_of_them():
    study = Study(space=SPACE, minimize="error", seed=3)
    asked_and_told(study, 10)
    study.change_space(Space(x=Float(0, 0.5), y=Float(0, 1)))
    asked_and_told(study, 10)

    assert len(study.trials()) == 20
    assert all(t.config["x"] <= 0.5 for t in study.trials()[10:])
    assert study.recommend().config["x"] <= 0.5


def test_a_choice_can_be_added_and_outstanding_moves_are_still_answered():
    study = Study(space=Space(kind=Choice("a", "b"), x=Float(0, 1)), minimize="loss")
    (move,) = study.ask()
    study.change_space(Space(kind=Choice("a", "b", "c"), x=Float(0, 1), rate=Float(0, 1)), {"rate": 0.5})
    study.tell(move, 0.3)

    assert study.trials()[0].config == {**move.config, "rate": 0.5}
    kinds = set()
    for _ in range(12):
        (move,) = study.ask()
        kinds.add(move.config["kind"])
        study.tell(move, 1.0)
    assert "c" in kinds


def test_an_earlier_study_is_learned_from_once_and_for_all(tmp_path):
    with Study(tmp_path / "old.db", space=SPACE, minimize="error", seed=4) as old:
        asked_and_told(old, 15)
        best = old.recommend().config
    with Study(tmp_path / "new.db", space=SPACE, minimize="error", searcher="bayesian") as study:
        study.learn_from(tmp_path / "old.db")
        first = [move.config for move in study.ask(2)]
    (tmp_path / "old.db").unlink()

    assert first[0] == SPACE.default()
    assert abs(first[1]["x"] - best["x"]) < 0.25
    with Study(tmp_path / "new.db") as again:
        assert again.ask(1)


@pytest.mark.parametrize(
    ("was", "words"),
    [
        (None, r"trained without kind. Say which value they had.*was=\{\"kind\": ...\}"),
        ({"kind": "a", "x": 0.1}, "have a value for it already"),
        ({"kind": "a", "knd": 1}, "which the new space lacks"),
    ],
)
def test_a_change_that_leaves_older_trials_unknown_is_refused(was, words):
    study = Study(space=SPACE, minimize="error")

    with pytest.raises(SpaceError, match=words):
        study.change_space(WIDER, was)
    assert study.space == SPACE


def test_the_command_line_takes_limits_objectives_and_a_changed_space(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(
        "def train(config):\n    return {'error': config['x'] + config.get('z', 0), 'size': -config['x']}\n"
    )
    (tmp_path / "first.toml").write_text("x = { float = [0.0, 1.0] }\n")
    (tmp_path / "wider.toml").write_text("x = { float = [0.0, 2.0] }\nz = { float = [0.0, 1.0] }\n")
    base = ["tune", "train.py:train", "--store", "s.db", "--workers", "0", "--minimize", "error", "--minimize", "size"]
    base += ["--constraint", "size >= -0.9"]
    assert main([*base, "--space", "first.toml", "--trials", "6"]) == 0
    assert "Front:" in capsys.readouterr().out
    assert main([*base, "--space", "wider.toml", "--trials", "9"]) == 1
    assert "change_space" in capsys.readouterr().err
    assert main([*base, "--space", "wider.toml", "--trials", "9", "--change-space", "--was", "z=0.0"]) == 0
    capsys.readouterr()

    with Study("s.db") as study:
        searched = [t for t in study.trials() if t.purpose is Purpose.SEARCH]
        assert len(searched) == 9
        assert [t.config["z"] for t in searched[:6]] == [0.0] * 6
        assert all(t.config["x"] <= 0.9 for t in study.front())
    assert main(["best", "s.db", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
