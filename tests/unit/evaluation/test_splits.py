"""Which row serves what: by its id alone, and never for two things."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attrgan.errors import InputError
from attrgan.evaluation.splits import as_holdout, id_hashes, split

PARTS = ("train", "validation", "calibration", "holdout")


def ids(n: int, start: int = 0) -> pd.Series:
    return pd.Series([f"item-{i}" for i in range(start, start + n)], dtype=object)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=6), unique=True, min_size=1, max_size=120))
def test_parts_are_disjoint_and_complete_for_any_ids(names):
    parts = split(pd.Series(names, dtype=object))
    everything = np.concatenate([getattr(parts, name) for name in PARTS])
    assert sorted(everything.tolist()) == list(range(len(names)))


def test_new_rows_never_move_a_row_in_or_out_of_holdout():
    few, many = ids(500), pd.concat([ids(700, start=5000), ids(500)], ignore_index=True)
    before = set(few[split(few).holdout])
    after = set(many[split(many).holdout])
    assert before
    assert before == after & set(few)


def test_a_smaller_holdout_is_part_of_a_larger_one_and_gives_its_rows_to_training_alone():
    small, usual, large = (split(ids(2000), share) for share in (0.03, 0.1, 0.3))
    assert set(small.holdout) < set(usual.holdout) < set(large.holdout)
    assert 40 < len(small.holdout) < 80
    assert set(small.train) - set(usual.train) == set(usual.holdout) - set(small.holdout)
    for name in ("validation", "calibration"):
        assert set(getattr(small, name)) == set(getattr(usual, name)) == set(getattr(large, name))


@pytest.mark.parametrize("share", [0.0, -0.1, 0.009, 0.51, 10, float("nan")])
def test_what_is_no_share_to_hold_out_is_one_sentence(share):
    assert as_holdout(0.5) == 0.5
    with pytest.raises(InputError, match=f"--holdout {share} is no share to hold out: expected from 0.01 to 0.5"):
        as_holdout(share)


def test_the_order_of_rows_does_not_matter():
    rows = ids(400)
    shuffled = rows.sample(frac=1, random_state=0).reset_index(drop=True)
    for name in PARTS:
        assert set(rows[getattr(split(rows), name)]) == set(shuffled[getattr(split(shuffled), name)])


def test_shares_are_those_that_the_promise_was_sized_for():
    parts = split(ids(10_000))
    assert len(parts.calibration) == 1500
    assert len(parts.validation) == 500
    assert 850 < len(parts.holdout) < 1150


def test_a_large_catalog_spends_no_more_rows_than_sharpen_a_promise():
    parts = split(ids(40_000))
    assert (len(parts.calibration), len(parts.validation)) == (1500, 500)


def test_no_part_shrinks_where_the_catalog_grows():
    sizes = [(len(split(ids(n)).calibration), len(split(ids(n)).validation)) for n in range(50, 3000, 173)]
    assert sizes == sorted(sizes) == sorted(sizes, key=lambda s: s[1])


def test_a_hundred_rows_leave_twenty_to_calibrate_on():
    assert len(split(ids(100)).calibration) == 20


def test_hashes_are_the_same_in_every_process_and_version():
    assert id_hashes(pd.Series(["P001", "ключ"])).tolist() == [2725536419909445026, 99027884978862018]
