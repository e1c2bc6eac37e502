"""A look at a large study reads few of its trials, and says what a look at all of them says."""

import random

import pytest

from ayar.errors import LedgerError
from ayar.reports.terminal import winner_summary
from ayar.seeds import Purpose
from ayar.space import Float, Int, Space
from ayar.study import Study

SPACE = Space(x=Float(0.0, 1.0), units=Int(1, 9))


def filled(store, seed, *, confirmed):
    """A study of trials in every state; where it is confirmed, of some on fresh seeds, too."""
    rng = random.Random(seed)
    study = Study(store, space=SPACE, minimize="valid_error", horizon=4, searcher="random", name=f"study {seed}")

    def rows(level):
        return [{"step": step, "valid_error": level + 0.1 / step + rng.uniform(0, 0.02)} for step in range(1, 5)]

    for _ in range(40):
        config = {"x": rng.random(), "units": rng.randint(1, 9)}
        kind, level = rng.choice(["whole"] * 4 + ["diverged", "failed", "untrained"]), rng.uniform(0.1, 0.8)
        last = {"diverged": [{"step": 4, "valid_error": float("nan")}], "untrained": []}
        kept = [] if kind == "untrained" else rows(level)[:3]
        study.add(config, kept + last.get(kind, [rows(level)[3]]), error="broken" if kind == "failed" else None)
    for n in range(6):  # paused, continued and stopped in the midst of it, and in training
        (move,) = study.ask(doctor="off")
        study.tell(move, rows(0.05)[: move.stop_step - n % 2])
    if confirmed:
        leaders = sorted((t for t in study.trials() if t.loss < 1), key=lambda t: t.loss)[3:6]
        for config in [t.config for t in leaders] + [SPACE.default()]:
            level = rng.uniform(0.1, 0.3)
            for purpose in [Purpose.RERANK] * 3 + [Purpose.FINALISE] * 2:
                study.add(config, rows(level), purpose=purpose)
    study.close()
    return study.name


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("confirmed", [False, True])
def test_few_trials_of_a_large_study_say_who_wins_as_all_do(store, seed, confirmed, monkeypatch):
    name = filled(store, seed, confirmed=confirmed)
    monkeypatch.setattr("ayar.logbook.WORTH_SKIMMING", 10)
    with Study(store, name=name) as whole, Study(store, name=name, skim=3) as skimmed:
        assert len(skimmed.trials()) < len(whole.trials())
        assert skimmed.winner() == whole.winner()
        stories = [study.story(most=100, environment={}) for study in (whole, skimmed)]
        assert stories[0].scored == stories[1].scored
        assert stories[0].in_percent is stories[1].in_percent is True
        said = [winner_summary(story).split("Trial ")[0] for story in stories]
        assert said[0] == said[1]


def test_a_study_that_was_only_looked_at_is_not_tuned(store, monkeypatch):
    name = filled(store, 0, confirmed=False)
    monkeypatch.setattr("ayar.logbook.WORTH_SKIMMING", 10)
    with Study(store, name=name, skim=3) as study, pytest.raises(LedgerError, match="Open it without skim="):
        study.ask()


def test_a_small_study_is_read_as_a_whole(store):
    name = filled(store, 0, confirmed=False)
    with Study(store, name=name, skim=3) as study, Study(store, name=name) as whole:
        assert study.trials() == whole.trials()


def test_all_is_read_where_the_least_loss_alone_does_not_say_who_wins(tmp_path, monkeypatch):
    """Of trials that break a limit, only their measurements tell."""
    monkeypatch.setattr("ayar.logbook.WORTH_SKIMMING", 2)
    limits = {"latency": "<= 5"}
    with Study(tmp_path / "s.db", space=SPACE, minimize="valid_error", constraints=limits, horizon=1) as study:
        for n in range(8):
            study.add({"x": n / 8}, [{"valid_error": n / 8, "latency": 9 - n}])
    with Study(tmp_path / "s.db", skim=1) as study:
        assert study.winner().trial == 4
