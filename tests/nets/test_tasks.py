import csv
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ayar.errors import DataError
from ayar.nets.tasks import Data, load_task


@pytest.fixture
def npz(tmp_path):
    """Writes arrays to a file and gives its path."""

    def write(**arrays):
        path = tmp_path / "table.npz"
        np.savez(path, **arrays)
        return path

    return write


@pytest.fixture
def csv_file(tmp_path):
    """Writes lines to a file and gives its path."""

    def write(*lines, encoding="utf-8"):
        path = tmp_path / "table.csv"
        path.write_bytes("\n".join(lines).encode(encoding))
        return path

    return write


def table(n=60, p=3, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    return {"X": rng.normal(size=(n, p)), "y": np.arange(n) % classes}


# --- built-in tasks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "rows", "columns", "classes"),
    [("digits", 1797, 64, 10), ("iris", 150, 4, 3), ("wine", 178, 13, 3), ("breast_cancer", 569, 30, 2)],
)
def test_built_in_classification_tasks_have_their_known_shape(name, rows, columns, classes):
    task = load_task(name)
    data = task.data
    assert (data.kind, data.n_classes, len(data.class_names)) == ("classification", classes, classes)
    assert len(data.X_train) + len(data.X_valid) + task.sealed.n == rows
    assert data.X_train.shape[1] == len(data.feature_names) == columns
    assert (data.X_train.dtype, data.y_train.dtype) == (np.float32, np.int64)


def test_diabetes_is_a_regression_although_its_scores_are_whole_numbers():
    data = load_task("diabetes").data
    assert (data.kind, data.n_classes, data.class_names) == ("regression", 0, ())
    assert data.y_train.dtype == np.float32


def test_class_names_are_those_of_the_source():
    assert load_task("iris").data.class_names == ("setosa", "versicolor", "virginica")


# --- the split -------------------------------------------------------------------------------------------------


def test_the_split_has_the_documented_shares_in_every_class(npz):
    task = load_task(npz(X=np.arange(1000.0)[:, None], y=np.repeat(["rare", "often"], [100, 900])))
    assert (len(task.data.X_train), len(task.data.X_valid), task.sealed.n) == (600, 200, 200)
    assert task.data.class_names == ("often", "rare")
    assert np.sum(task.data.y_train == 1) == 60
    assert np.sum(task.data.y_valid == 1) == 20


def test_the_same_seed_gives_the_same_split_and_another_seed_another(npz):
    path = npz(**table())
    task, again, other = load_task(path), load_task(path), load_task(path, seed=1)
    assert again.split_hash == task.split_hash
    assert np.array_equal(again.data.X_valid, task.data.X_valid)
    assert other.split_hash != task.split_hash


def test_the_hash_follows_the_content(npz):
    arrays = table()
    before = load_task(npz(**arrays)).split_hash
    arrays["X"][7, 1] += 1e-9
    assert load_task(npz(**arrays)).split_hash != before


def test_given_parts_are_kept_to_the_row(npz):
    arrays = table(n=30)
    arrays["X"][:, 0] = np.arange(30)
    parts = {"train_idx": np.arange(20), "valid_idx": np.arange(20, 25), "test_idx": np.arange(25, 30)}
    task = load_task(npz(**arrays, **parts))
    unscaled = task.data.X_valid[:, 0] * task.data.scaling.x_sd[0] + task.data.scaling.x_mean[0]
    np.testing.assert_allclose(unscaled, np.arange(20, 25), rtol=1e-5)
    assert (len(task.data.X_train), task.sealed.n, task.warnings) == (20, 5, ())


@pytest.mark.parametrize(
    ("parts", "sizes"),
    [
        ({"train_idx": 60}, (60, 20, 20)),  # the other 40 rows are shared out in halves
        ({"train_idx": 60, "valid_idx": 20}, (60, 20, 20)),
        ({"train_idx": 80, "valid_idx": 20}, (60, 20, 20)),  # nothing is left: the test part comes out of train
        ({"train_idx": 100}, (60, 20, 20)),
    ],
)
def test_only_missing_parts_are_drawn(npz, parts, sizes):
    arrays, begin, given = table(n=100, classes=2), 0, {}
    for name, count in parts.items():
        given[name] = np.arange(begin, begin + count)
        begin += count
    task = load_task(npz(**arrays, **given))
    assert (len(task.data.X_train), len(task.data.X_valid), task.sealed.n) == sizes


def test_rows_of_no_part_are_reported(npz):
    parts = {"train_idx": np.arange(30), "valid_idx": np.arange(30, 40), "test_idx": np.arange(40, 50)}
    assert load_task(npz(**table(), **parts)).warnings == ("10 of 60 rows belong to no part and are not used.",)


def test_repeats_across_parts_are_reported(npz):
    X = np.arange(30.0)[:, None]
    X[20], X[25], X[26] = X[3], X[20], X[4]
    parts = {"train_idx": np.arange(20), "valid_idx": np.arange(20, 25), "test_idx": np.arange(25, 30)}
    warnings = load_task(npz(X=X, y=np.arange(30) % 2, **parts)).warnings
    assert [w.split(" rows repeat")[0] for w in warnings] == ["1 of 5 valid", "2 of 5 test"]


def test_a_class_that_train_rows_never_show_is_reported(npz):
    y = np.array([0, 1] * 12 + [2] * 6)
    parts = {"train_idx": np.arange(20), "valid_idx": np.arange(20, 25), "test_idx": np.arange(25, 30)}
    task = load_task(npz(X=np.arange(30.0)[:, None], y=y, **parts))
    assert task.warnings == ("No train row shows the class 2: no net can learn it.",)
    assert task.data.n_classes == 3


# --- inputs ----------------------------------------------------------------------------------------------------


def test_inputs_are_standardised_and_a_constant_column_becomes_zero(npz):
    arrays = table(n=500)
    arrays["X"] = np.column_stack([arrays["X"] * [1e-3, 1, 1e6] + [5, 0, 1e9], np.full(500, 0.1)])
    X = load_task(npz(**arrays)).data.X_train
    np.testing.assert_allclose(X.mean(axis=0), 0, atol=1e-2)  # the few values cut at 5 sd shift it a little
    np.testing.assert_allclose(X[:, :3].std(axis=0), 1, atol=1e-2)
    np.testing.assert_allclose(X[:, 3], 0, atol=1e-12)


def test_statistics_come_from_train_rows_only(npz):
    arrays, parts = table(), {"train_idx": np.arange(40), "valid_idx": np.arange(40, 50), "test_idx": np.arange(50, 60)}
    before = load_task(npz(**arrays, **parts)).data
    arrays["X"][40:] += 1000
    after = load_task(npz(**arrays, **parts)).data
    np.testing.assert_array_equal(after.scaling.x_mean, before.scaling.x_mean)
    np.testing.assert_array_equal(after.X_train, before.X_train)
    assert after.X_valid.max() == 5.0  # far outside what train rows show: cut at five standard deviations


def test_regression_targets_are_standardised_by_train_rows_and_come_back(npz):
    y = np.random.default_rng(0).normal(300.0, 20.0, size=60)
    parts = {"train_idx": np.arange(40), "valid_idx": np.arange(40, 50)}
    data = load_task(npz(X=table()["X"], y=y, **parts)).data
    assert data.y_train.mean() == pytest.approx(0, abs=1e-6)
    assert data.y_train.std() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(data.scaling.outputs(data.y_valid), y[40:50], rtol=1e-5)


def test_pictures_are_flattened_and_bytes_scaled(npz):
    X = np.random.default_rng(0).integers(0, 256, size=(60, 4, 5, 3), dtype=np.uint8)
    data = load_task(npz(X=X, y=np.arange(60) % 2)).data
    assert data.X_train.shape[1] == 60
    assert 0 < data.scaling.x_mean.min() < data.scaling.x_mean.max() < 1


def test_missing_inputs_take_the_train_mean_and_are_reported(npz):
    arrays = table()
    arrays["X"][[1, 2, 3], [0, 1, 1]] = np.nan
    arrays["X"] = np.column_stack([arrays["X"], np.full(60, np.nan)])
    parts = {"train_idx": np.arange(40), "valid_idx": np.arange(40, 50), "test_idx": np.arange(50, 60)}
    task = load_task(npz(**arrays, **parts))
    assert task.data.X_train[1, 0] == 0
    assert not task.data.X_train[:, 3].any()
    assert task.warnings == ("63 missing inputs in 3 columns of table take the column's train mean.",)


@pytest.mark.parametrize(
    ("y", "kind", "names"),
    [
        (np.tile(["cat", "ant"], 30), "classification", ("ant", "cat")),
        (np.tile([True, False], 30), "classification", ("False", "True")),
        (np.tile([7, -1, 3], 20), "classification", ("-1", "3", "7")),
        (np.tile([1.0, 2.0], 30), "classification", ("1", "2")),
        (np.tile([b"a", b"b"], 30), "classification", ("a", "b")),
        (np.arange(60)[:, None] % 2, "classification", ("0", "1")),
        (np.arange(60) / 7, "regression", ()),
        (np.arange(60), "regression", ()),
        (np.tile([1.5, 2.5], 30), "regression", ()),
    ],
)
def test_the_target_decides_the_kind_of_task(npz, y, kind, names):
    data = load_task(npz(X=table()["X"], y=y)).data
    assert (data.kind, data.class_names) == (kind, names)


def test_many_numbered_classes_are_classes_and_many_other_whole_numbers_are_not(npz):
    X, y = np.arange(500.0)[:, None], np.arange(500) % 50
    assert load_task(npz(X=X, y=y)).data.n_classes == 50
    assert load_task(npz(X=X, y=y * 3)).data.kind == "regression"
    assert load_task(npz(X=X, y=y * 3), kind="classification").data.n_classes == 50


# --- the sealed test part --------------------------------------------------------------------------------------


def test_the_sealed_test_is_scored_without_being_shown(npz):
    """Three of the ten test rows are of class 1; whoever always says class 0 is wrong on them."""
    y = np.array([0, 1] * 10 + [0, 1] * 5 + [0] * 7 + [1] * 3)
    parts = {"train_idx": np.arange(20), "valid_idx": np.arange(20, 30), "test_idx": np.arange(30, 40)}
    task = load_task(npz(X=table(n=40)["X"], y=y, **parts))
    scores = task.sealed.score(lambda X: np.tile(np.log([0.9, 0.1]), (len(X), 1)))
    assert scores == {
        "test_error": pytest.approx(0.3),
        "test_loss": pytest.approx(-(7 * np.log(0.9) + 3 * np.log(0.1)) / 10),
    }
    assert [name for name in dir(task.sealed) if not name.startswith("_")] == ["n", "score"]


def test_logits_and_log_probabilities_score_alike(npz):
    sealed = load_task(npz(**table())).sealed
    logits = np.random.default_rng(0).normal(size=(sealed.n, 3)) * 300
    shifted = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    assert sealed.score(lambda X: logits) == pytest.approx(sealed.score(lambda X: shifted))


@pytest.mark.parametrize("unit", [1e200, 1e-200])
def test_a_target_whose_errors_have_no_squares_is_refused(npz, unit):
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="Give it another unit, or its logarithm"):
        load_task(npz(X=rng.normal(size=(60, 3)), y=unit * rng.normal(size=60)))


def test_regression_is_scored_in_the_targets_units(npz):
    task = load_task(npz(X=table()["X"], y=np.linspace(0, 300.5, 60)))
    scores = task.sealed.score(lambda X: np.full(len(X), 1000.0))
    assert 700 < scores["test_error"] < 1000
    assert scores["test_loss"] == pytest.approx((scores["test_error"] / task.data.scaling.y_sd) ** 2)


@pytest.mark.parametrize("outputs", [np.zeros(3), np.zeros((12, 1)), np.zeros((3, 12))])
def test_outputs_of_another_shape_are_refused(npz, outputs):
    task = load_task(npz(X=table()["X"], y=np.linspace(0, 1, 60)))
    with pytest.raises(DataError, match=r"predict must return an array of shape \(12,\)"):
        task.sealed.score(lambda X: outputs)


def test_a_scorer_that_scribbles_leaves_the_sealed_rows_as_they_are(npz):
    sealed = load_task(npz(**table())).sealed
    seen = []

    def scribble(X):
        seen.append(X.copy())
        X[:] = 0
        return np.zeros((len(X), 3))

    sealed.score(scribble)
    sealed.score(scribble)
    np.testing.assert_array_equal(*seen)


# --- .csv files ------------------------------------------------------------------------------------------------


def test_a_csv_table_with_words_numbers_and_gaps_is_read(csv_file):
    lines = ["size,colour,label"]
    for i in range(20):
        lines += [f"{i},red,yes", f"{i}.5,blue,no", f",,{'yes' if i % 2 else 'no'}"]
    task = load_task(csv_file(*lines), target="label")
    assert task.data.feature_names == ("size", "colour=(missing)", "colour=blue", "colour=red")
    assert (task.data.target_name, task.data.class_names) == ("label", ("no", "yes"))
    assert "20 missing inputs in 1 columns of table take the column's train mean." in task.warnings
    assert np.isfinite(task.data.X_train).all()


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_usual_delimiters_and_byte_order_marks_are_understood(csv_file, delimiter, encoding):
    lines = [delimiter.join(cells) for cells in [("ölçü", "y"), *((str(i), str(i * 0.5)) for i in range(10))]]
    data = load_task(csv_file(*lines, encoding=encoding), target="y").data
    assert (data.feature_names, data.kind) == (("ölçü",), "regression")


def test_categories_that_train_rows_do_not_show_become_zeros(tmp_path):
    """Only the train rows say which categories there are."""
    path = tmp_path / "t.csv"
    rows = [(f"only{i}", i % 2) for i in range(40)]
    path.write_text("word,y\n" + "\n".join(f"{word},{y}" for word, y in rows))
    data = load_task(path, target="y").data
    assert len(data.feature_names) == len(data.X_train)
    unseen = data.scaling.inputs(np.zeros((1, len(data.feature_names))))
    np.testing.assert_allclose(data.X_valid, np.repeat(unseen, len(data.X_valid), axis=0))


def test_rare_categories_beyond_fifty_get_no_column(tmp_path):
    path = tmp_path / "t.csv"
    words = ["often"] * 60 + [f"rare{i}" for i in range(140)]
    path.write_text("word,y\n" + "\n".join(f"{word},{i % 2}" for i, word in enumerate(words)))
    names = load_task(path, target="y").data.feature_names
    assert len(names) == 50
    assert "word=often" in names


cells = st.one_of(
    st.floats(-1e6, 1e6).map(repr),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
    st.sampled_from(["", "NA", "?", "nan", 'say "hi"', "a,b", "two\nlines", " padded ", "1_000", "-0", "1e400"]),
)


@settings(deadline=None, max_examples=60)
@given(rows=st.lists(st.tuples(cells, cells, st.sampled_from("ab")), min_size=1, max_size=30), seed=st.integers(0, 9))
def test_any_csv_table_is_read_into_finite_inputs_or_refused_in_a_sentence(rows, seed, tmp_path_factory):
    path = tmp_path_factory.mktemp("csv") / "any.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("u", "v", "y"), *rows])
    try:
        task, refusal = load_task(path, target="y", seed=seed), ""
    except DataError as error:
        task, refusal = None, str(error)
    if task is None:
        assert refusal.endswith(".")
        return
    data = task.data
    assert len(data.X_train) + len(data.X_valid) + task.sealed.n == len(rows)
    assert np.isfinite(data.X_train).all()
    assert np.isfinite(data.X_valid).all()


# --- data that cannot be used ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.zeros((0, 3)), "y": np.zeros(0)}, "table has no rows"),
        ({"X": np.zeros((60, 0))}, "table has no input column"),
        ({"X": np.zeros((59, 3))}, "X and y in table.npz differ in length: 59 and 60 rows"),
        ({"X": np.full((60, 2), "a")}, "X in table.npz must hold rows of numbers, got <U1"),
        ({"X": np.zeros((60, 2), dtype=complex)}, "must hold rows of numbers, got complex128"),
        ({"X": np.array(1.0)}, r"must hold rows of numbers, got float64 of shape \(\)"),
        ({"X": np.full((60, 1), np.inf)}, "60 inputs of table are infinite .* the first in row 0, column 0"),
        ({"X": np.full((60, 1), -1e200)}, "infinite or beyond 1e.30"),
        ({"y": np.zeros((60, 3))}, r"y in table.npz must hold one number or text per row, .* got float64 of shape"),
        ({"y": np.ones(60, dtype=int)}, "one class only, 1: nothing to learn"),
        ({"y": np.full(60, 0.5)}, "same value in every row"),
        ({"y": np.where(np.arange(60) == 9, np.nan, 1.5)}, r"NaN or infinite in 1 rows, first in row 9 \(from 0\)"),
        ({"y": np.where(np.arange(60) == 9, np.inf, 1.5)}, "NaN or infinite in 1 rows"),
        ({"y": np.array(["rare"] * 2 + ["often"] * 58)}, "Class rare of table has 2 rows to be shared among train"),
        ({"train_idx": np.array([0, 60])}, "train_idx of table holds row 60, but rows are numbered 0 to 59"),
        ({"train_idx": np.array([-1, 3])}, "train_idx of table holds row -1"),
        ({"train_idx": np.array([3, 3])}, "train_idx of table holds a row more than once"),
        ({"train_idx": np.array([0.0, 1.0])}, "train_idx of table must hold row numbers"),
        ({"valid_idx": np.array([], dtype=int)}, "valid_idx of table is empty"),
        ({"train_idx": np.arange(9), "test_idx": np.arange(8, 20)}, "Row 8 of table is in more than one part"),
        ({"valid_idx": np.arange(30), "test_idx": np.arange(30, 60)}, "take all 60 rows: none is left to train on"),
        ({"train_idx": np.array([0, 3, 6])}, "train part has one class only, 0: check train_idx"),
    ],
)
def test_arrays_that_cannot_be_used_say_why(npz, change, message):
    with pytest.raises(DataError, match=message):
        load_task(npz(**{**table(), **change}))


def test_too_few_rows_for_three_parts_say_so(npz):
    with pytest.raises(DataError, match=r"table has 2 rows to be shared among train, valid, test"):
        load_task(npz(X=np.zeros((2, 1)), y=np.array([0.5, 1.5])))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.zeros(3), "labels": np.zeros(3)}, "has no array y. It holds: X, labels"),
        ({"x": np.zeros(3), "y": np.zeros(3)}, r"has no array X. It holds: x, y\."),
        ({}, "has no array X. It holds: nothing"),
    ],
)
def test_a_missing_array_is_named_beside_those_there_are(npz, arrays, message):
    with pytest.raises(DataError, match=message):
        load_task(npz(**arrays))


def test_an_object_array_is_refused_and_never_unpickled(npz):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("the object array was unpickled",))

    for trapped in ("X", "y"):
        arrays = {**table(), trapped: np.array([Trap()] * 60, dtype=object)}
        with pytest.raises(DataError, match=r"holds an object array, which could run code"):
            load_task(npz(**arrays))


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    path = tmp_path / "data.npz"
    for content in (b"", b"plain text", pickle.dumps([1, 2])):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"data.npz"):
            load_task(path)
    np.save(tmp_path / "single.npy", np.zeros(3))
    (tmp_path / "single.npy").rename(path)
    with pytest.raises(DataError, match=r"data.npz"):
        load_task(path)


def test_a_truncated_archive_is_refused(npz):
    path = npz(**table())
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(DataError, match=r"is no readable .npz file"):
        load_task(path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a,y"], "has no rows below its header"),
        ([""], "is empty. It needs a header"),
        (["a,label", "1,2"], "has no column 'y'. Columns: a, label"),
        (["a,Y", "1,2"], "has no column 'y'"),
        (["a,a,y", "1,1,2"], "has the column 'a' more than once"),
        (["a,y", "1,2", "1,2,3"], "Row 2 of table.csv has 3 cells, but the header has 2"),
        (["a,y", '"1,2'], "cannot be read as a table"),
        (["a,y", "1,2", "1,", "1,NA"], "target 'y' of table.csv is missing in 2 rows, first in row 2"),
        (["y", "1", "2"], "has no input column beside the target 'y'"),
        (["a,y", *["1,-nan"] * 9], "NaN or infinite in 9 rows"),
        (["a,y", *["inf,1", "2,0"] * 9], "9 inputs of table are infinite"),
    ],
)
def test_tables_that_cannot_be_used_say_why(csv_file, lines, message):
    with pytest.raises(DataError, match=message):
        load_task(csv_file(*lines), target="y")


def test_a_mistyped_column_gets_the_closest_name(csv_file):
    with pytest.raises(DataError, match=r"Did you mean 'species'"):
        load_task(csv_file("size,species", "1,a"), target="specie")


def test_a_table_that_is_no_utf8_is_refused(csv_file):
    with pytest.raises(DataError, match=r"is not UTF-8 text"):
        load_task(csv_file("ölçü,y", "1,2", encoding="latin-1"), target="y")


def test_a_source_that_does_not_exist_is_named(tmp_path, csv_file):
    with pytest.raises(DataError, match=r"There is no file .*no.npz"):
        load_task(tmp_path / "no.npz")
    with pytest.raises(DataError, match=r"Built-in tasks: digits, .*Did you mean 'digits'"):
        load_task("digit")
    with pytest.raises(DataError, match=r"needs the name of the column to predict"):
        load_task(csv_file("a,y", "1,2"))


def test_text_cannot_be_regressed_on(npz):
    with pytest.raises(DataError, match=r"target of table is text .*regression needs numbers"):
        load_task(npz(X=table()["X"], y=np.tile(["a", "b"], 30)), kind="regression")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "ranking"}, "kind must be 'classification' or 'regression', got 'ranking'"),
        ({"n_classes": 1}, "n_classes of at least 2, got 1"),
        ({"y_valid": np.zeros(2, dtype=int)}, "X_valid and y_valid need the same number of rows"),
        ({"X_train": np.zeros((0, 1)), "y_train": np.zeros(0)}, "at least 1: 0, 0"),
    ],
)
def test_data_made_by_hand_checks_itself(change, message):
    X, y = np.zeros((4, 1), dtype=np.float32), np.array([0, 1, 0, 1])
    with pytest.raises(DataError, match=message):
        Data(**{"X_train": X, "y_train": y, "X_valid": X, "y_valid": y, "n_classes": 2, **change})
