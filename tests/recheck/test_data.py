"""Profiles of data, and drift between them."""

import json

import numpy as np
import pytest
from sklearn.datasets import load_digits

from ayar.errors import NotEnoughEvidence
from ayar.recheck.data import MOST_ROWS, Profile, profile, profile_of
from ayar.recheck.drift import drift, stability

X, Y = load_digits(return_X_y=True)
ORDER = np.random.default_rng(0).permutation(len(X))
A, B = ORDER[:900], ORDER[900:]


def stored(X, y):
    """As it comes back from a ledger."""
    return Profile.from_dict(json.loads(json.dumps(profile(X, y).to_dict())))


def test_a_profile_survives_its_way_through_json():
    whole = profile(X, Y, names=[f"pixel {i}" for i in range(64)])
    back = Profile.from_dict(json.loads(json.dumps(whole.to_dict())))
    assert back.fields == whole.fields
    assert back.statistics == whole.statistics
    np.testing.assert_array_equal(back.sample, whole.sample)
    assert back.sample.shape == (MOST_ROWS, 65)


def test_a_profile_says_what_a_column_is_like():
    seen = profile([[1.0, np.nan], [2.0, 4.0], [3.0, 8.0], [4.0, 6.0]], [0.5, 1.5, 2.5, 3.5], names=["a", "b"])
    assert seen.statistics["a"][:3] == [0.0, 2.5, pytest.approx(1.11803)]
    assert seen.statistics["b"][:2] == [0.25, 6.0]
    assert seen.labels == {}
    assert seen.fields | {"content": "", "schema": ""} == {"content": "", "rows": 4, "columns": 2, "schema": ""}


def test_content_changes_with_a_single_value_and_the_schema_does_not():
    other = X.copy()
    other[7, 7] += 1
    before, after = profile(X, Y).fields, profile(other, Y).fields
    assert before["content"] != after["content"]
    assert before["schema"] == after["schema"]
    assert profile(X, Y + 1).fields["content"] != before["content"]


def test_text_labels_have_shares():
    assert profile(np.zeros((4, 1)), ["yes", "no", "yes", "yes"]).labels == {"no": 0.25, "yes": 0.75}


class Objective:
    data_hash = "abc"

    def __init__(self, data):
        self.data = data


@pytest.mark.parametrize("data", [(X, Y), X, lambda: (X, Y)], ids=["pair", "inputs alone", "function"])
def test_an_objective_says_its_data_by_an_attribute(data):
    assert profile_of(Objective(data)).fields["rows"] == len(X)


def test_an_objective_without_data_has_no_profile():
    assert profile_of(Objective(None)) is profile_of(len) is None


def test_standardised_inputs_are_turned_back_so_that_a_shift_of_all_shows():
    from ayar.nets.tasks import Data, Scaling

    def task(X):
        scaling = Scaling.fitted(X, Y, "classification")
        inputs = scaling.inputs(X)
        return Objective(Data(inputs, Y, inputs, Y, n_classes=10, scaling=scaling))

    before, after = profile_of(task(X)), profile_of(task(X + 3))
    assert after.statistics["column 20"][1] - before.statistics["column 20"][1] == pytest.approx(3, abs=0.01)


# -- drift


def test_other_rows_of_the_same_data_do_not_drift():
    seen = drift(stored(X[A], Y[A]), stored(X[B], Y[B]))
    assert (seen.size, seen.low < 0.55) == ("none", True)
    assert seen.label_shift < 0.05


def test_noise_on_the_inputs_is_a_material_drift_and_the_column_is_named():
    shifted = X[B].copy()
    shifted[:, 20] += 3 * X[:, 20].std()
    seen = drift(stored(X[A], Y[A]), stored(shifted, Y[B]))
    assert seen.size == "material"
    assert seen.moved[0] == ("column 20", pytest.approx(3, abs=0.3))
    assert "column 20 moved by +" in seen.sentence


def test_lost_classes_are_a_material_drift():
    few = Y[B] < 7
    assert drift(stored(X[A], Y[A]), stored(X[B][few], Y[B][few])).label_shift > 0.2


def test_other_columns_are_told_apart_for_sure():
    assert drift(stored(X, Y), stored(X[:, :40], Y)).auc == 1.0


def test_a_handful_of_rows_tells_nothing_of_a_drift():
    with pytest.raises(NotEnoughEvidence, match="3 rows don't tell"):
        drift(profile(X[:3], Y[:3]), profile(X[3:9], Y[3:9]))


def test_the_stability_index_is_the_usual_sum():
    expected = (0.3 - 0.5) * np.log(0.3 / 0.5) + (0.7 - 0.5) * np.log(0.7 / 0.5)
    assert stability({"a": 0.5, "b": 0.5}, {"a": 0.3, "b": 0.7}) == pytest.approx(expected)
