"""Seeds of different purposes can't meet."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayar.seeds import Purpose, number_of, purpose_of, trial_seed

studies = st.integers(0, 2**63)
indices = st.integers(0, 2**40)


@given(studies, studies, indices, indices, st.permutations(list(Purpose)))
def test_two_purposes_never_share_a_seed_whatever_the_study_and_the_index(one, other, i, j, purposes):
    assert trial_seed(one, purposes[0], i) != trial_seed(other, purposes[1], j)


@given(studies, indices, st.sampled_from(Purpose))
def test_a_seed_tells_its_purpose_and_fits_every_library(study, index, purpose):
    seed = trial_seed(study, purpose, index)
    assert purpose_of(seed) is purpose
    assert 0 <= seed < 2**31


def test_the_first_seeds_of_a_stream_are_all_different():
    seeds = {trial_seed(7, Purpose.SEARCH, i) for i in range(2_000)}
    assert len(seeds) == 2_000


def test_studies_with_different_seeds_draw_different_streams():
    starts = [trial_seed(study, Purpose.SEARCH, 0) for study in range(100)]
    assert all(a != b for a, b in itertools.combinations(starts, 2))


def test_seeds_stay_as_they_were_in_released_ledgers():
    """A ledger's trials must be found again by later versions."""
    assert [trial_seed(0, purpose, 1) for purpose in (Purpose.SEARCH, Purpose.FINALISE)] == [165358508, 899105625]


def test_a_negative_index_is_refused():
    with pytest.raises(ValueError, match="counts from 0, got -1"):
        trial_seed(0, Purpose.SEARCH, -1)


@given(st.integers(0, 2**31), st.sampled_from(Purpose), st.integers(0, 2**28 - 1))
def test_a_seed_tells_its_number_in_its_stream(study_seed, purpose, index):
    assert number_of(study_seed, trial_seed(study_seed, purpose, index)) == index
