"""Trials that confirm a winner train on splits of their own, whose rows never meet the sealed test."""

import pickle

import numpy as np
import pytest

from ayar.nets.deep_net import deep_net
from ayar.nets.tasks import load_task
from ayar.records import ScoreKind
from ayar.seeds import Purpose, trial_seed
from ayar.space import Float, Space
from ayar.stats import fold_interval
from ayar.study import Study

CONFIG = {"learning_rate": 0.05, "hidden_layers": 1, "hidden_units": [4], "batch_size": 32, "iterations": 3}


def seed(purpose, number):
    return trial_seed(0, purpose, number)


@pytest.fixture(scope="module")
def iris():
    return load_task("iris", validate="kfold")


def test_few_rows_are_confirmed_by_k_fold_and_the_reason_is_told(iris):
    task = load_task("iris")
    assert task.splits.folds.method == "kfold"
    assert task.validation.startswith("120 rows are few: each of them validates once in 5 folds")
    assert load_task("iris", validate="holdout").splits is None


def test_the_search_shares_one_split_and_confirmation_goes_through_folds(iris):
    sizes = {p: [len(iris.splits(seed(p, n)).X_valid) for n in range(5)] for p in (Purpose.SEARCH, Purpose.RERANK)}
    assert sizes == {Purpose.SEARCH: [30] * 5, Purpose.RERANK: [24] * 5}
    assert iris.splits(seed(Purpose.SEARCH, 3)) is iris.data


def test_each_fold_is_scaled_by_its_own_training_rows(iris):
    data = iris.splits(seed(Purpose.RERANK, 1))
    assert np.allclose(data.X_train.mean(axis=0), 0, atol=1e-5)
    assert not np.allclose(data.X_valid.mean(axis=0), 0, atol=1e-3)


def test_no_fold_holds_a_test_row():
    """Every row has a number of its own, so that it can be followed."""
    for number in range(5):
        task = load_task("diabetes", validate="kfold")
        data = task.splits(seed(Purpose.RERANK, number))
        scaling = data.scaling
        rows = np.concatenate([data.X_train, data.X_valid]) * scaling.x_sd + scaling.x_mean
        hidden = task.sealed._X
        assert len(rows) + len(hidden) == 442
        assert not set(map(tuple, np.round(rows, 4))) & set(map(tuple, np.round(hidden, 4)))


def test_what_a_training_is_given_does_not_hold_the_test_rows(iris):
    """Not anywhere: what goes to another process is all there is."""
    given = pickle.dumps(deep_net(iris.data, iris.splits))
    assert iris.splits.X[0].tobytes() in given
    test = iris.sealed._X
    assert not any(row.tobytes() in given for row in test if not (row == iris.splits.X).all(axis=1).any())


def test_a_recipe_trains_each_trial_on_its_split_alone_in_lanes_and_elsewhere(iris, tmp_path):
    recipe = deep_net(iris.data, iris.splits)
    elsewhere = pickle.loads(pickle.dumps(recipe))
    lanes = recipe.lanes(4)
    seeds = [seed(Purpose.SEARCH, 0), seed(Purpose.RERANK, 0), seed(Purpose.RERANK, 1), seed(Purpose.RERANK, 0)]
    for trial, number in enumerate(seeds):
        lanes.load(trial, CONFIG, number, tmp_path / str(trial), 0, 3)
    assert lanes.free == 0
    curves = {trial: [] for trial in range(4)}
    while any(len(curve) < 4 for curve in curves.values()):
        for trial, _, metrics in lanes.advance():
            curves[trial].append(metrics["valid_loss"])
    for trial, number in enumerate(seeds):
        lanes.unload(trial)
        alone = [m["valid_loss"] for m in elsewhere.train(CONFIG, number)]
        assert curves[trial] == pytest.approx(alone, abs=1e-6)
    assert len({curve[0] for curve in map(tuple, curves.values())}) == 3


def test_a_net_judges_rows_by_the_scaling_of_its_own_fold(iris, tmp_path):
    recipe = deep_net(iris.data, iris.splits)
    number = seed(Purpose.FINALISE, 2)
    steps = list(recipe.train(CONFIG, number, tmp_path))
    data = iris.splits(number)
    rows = data.X_valid * data.scaling.x_sd + data.scaling.x_mean
    wrong = recipe.predict(tmp_path, rows.astype(np.float32)).argmax(axis=1) != data.y_valid
    assert wrong.mean() == pytest.approx(steps[-1]["valid_error"])


def test_a_study_on_folds_is_confirmed_on_all_of_them_and_its_interval_minds_the_shared_rows(iris):
    space = Space(**{**CONFIG, "learning_rate": Float(0.01, 0.3, log=True)})
    with Study(None, space=space, minimize="valid_error") as study:
        winner = study.tune(deep_net(iris.data, iris.splits), trials=12, workers=0, confirm=0.6, progress=False)
        score = winner.scores[ScoreKind.FRESH_SEED]
        assert len(score.values) == 5
        assert (score.mean, score.low, score.high) == fold_interval(score.values, 0.2)
        assert study.notes("validation")[0].body["method"] == "kfold"
        assert "120 rows; as asked" in study.story().facts["validation"]


def test_rows_of_one_group_stay_together_and_time_runs_forward(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 4)), rng.integers(0, 2, 200)
    for name, values in (("group", np.arange(200) // 10), ("time", rng.permutation(200))):
        np.savez(tmp_path / f"{name}.npz", X=np.column_stack([X, values]), y=y, **{name: values})
        task = load_task(tmp_path / f"{name}.npz", validate="kfold")
        for data in (task.data, task.splits(seed(Purpose.RERANK, 3))):
            sides = [
                np.round(side[:, 4] * data.scaling.x_sd[4] + data.scaling.x_mean[4]).astype(int)
                for side in (data.X_train, data.X_valid)
            ]
            if name == "group":
                assert not set(sides[0]) & set(sides[1])
                assert not set(sides[0]) & set(task.sealed._X[:, 4].astype(int))
            else:
                assert sides[0].max() < sides[1].min()
                assert sides[1].max() < task.sealed._X[:, 4].min()


def test_by_time_and_group_no_group_is_in_two_parts_and_what_that_costs_is_said(tmp_path):
    rng = np.random.default_rng(0)
    time, group = rng.permutation(200), rng.integers(0, 20, 200)
    np.savez(tmp_path / "visits.npz", X=rng.normal(size=(200, 4)), y=rng.integers(0, 2, 200), time=time, group=group)
    task = load_task(tmp_path / "visits.npz", validate="kfold")
    sizes = [len(task.data.X_train), len(task.data.X_valid), len(task.sealed._X)]
    assert min(sizes) > 0
    assert any(f"{200 - sum(sizes)} of 200 rows are left out: their group" in w for w in task.warnings)
    assert not any("groups are in both" in w or "no earlier than" in w for w in task.warnings)


def test_a_table_names_its_group_and_time_columns(tmp_path):
    rng = np.random.default_rng(1)
    lines = ["day,patient,age,ill"]
    lines += [f"2024-0{1 + i // 60}-{1 + i % 28:02},p{i // 5},{rng.normal():.3f},{'ny'[i % 2]}" for i in range(240)]
    (tmp_path / "visits.csv").write_text("\n".join(lines))
    task = load_task(tmp_path / "visits.csv", target="ill", group="patient")
    assert task.data.feature_names[:1] == ("age",)
    assert task.splits.folds.groups is not None
    later = load_task(tmp_path / "visits.csv", target="ill", time="day")
    assert later.splits.folds.time is not None
    with pytest.raises(ValueError, match=r"no column 'patiant'.*Did you mean 'patient'"):
        load_task(tmp_path / "visits.csv", target="ill", group="patiant")


def test_a_column_that_gives_the_target_away_is_named(tmp_path):
    rng = np.random.default_rng(1)
    lines = ["age,verdict,ill"] + [f"{rng.normal():.3f},{'ab'[i % 2]},{'ny'[i % 2]}" for i in range(120)]
    (tmp_path / "visits.csv").write_text("\n".join(lines))
    warnings = load_task(tmp_path / "visits.csv", target="ill").warnings
    assert [w[:50] for w in warnings] == ["The column 'verdict' alone gives the target away ("]
