"""Sequences: the last steps, and figures of the whole."""

import datetime

import numpy as np
import pandas as pd
import pytest

from attrgan.features.sequence import MAX_STEPS, STATISTICS, encode
from attrgan.schema import Schema

SCHEMA = Schema.parse({
    "id": "i",
    "sequences": {"s": {"columns": {"t": "time", "n": "numeric", "c": "categorical"}}},
    "attributes": {"a": {"kind": "open"}},
})  # fmt: skip


def item(**columns: object) -> dict[str, np.ndarray]:
    """The encoding of one item."""
    frame = pd.DataFrame({"t": [None], "n": [None], "c": [None]}, dtype=object)
    for name, value in columns.items():
        frame[name] = pd.Series([value], dtype=object)
    encoded = {k.rsplit(".", 1)[1]: np.array(v[0].as_py()) for k, v in encode(frame, SCHEMA).items()}
    encoded["number"] = encoded["number"].reshape(-1, 2)
    return encoded


def test_times_are_distances_to_the_last_step_and_say_nothing_else():
    found = item(t=[3, 5, 10], n=[1.0, 2.0, 4.0])
    np.testing.assert_allclose(found["number"], [[-7, 1], [-5, 2], [0, 4]])
    time, numeric = found["statistic"].reshape(2, -1)
    assert np.isnan(time[:-1]).all()
    assert time[-1] == 3
    assert dict(zip(STATISTICS, numeric, strict=True)) == pytest.approx(
        {"last": 4, "median": 2, "min": 1, "max": 4, "mean": 7 / 3, "count": 3}
    )


def test_dates_in_any_form_are_days():
    days = [[-31.0], [0.0]]
    for dates in (
        ["2024-01-01", "2024-02-01"],
        [datetime.date(2024, 1, 1), datetime.date(2024, 2, 1)],
        [datetime.datetime(2024, 1, 1), datetime.datetime(2024, 2, 1)],
        ["2024-01-01T00:00:00+00:00", "2024-02-01T00:00:00Z"],
    ):
        np.testing.assert_allclose(item(t=dates)["number"][:, :1], days)


def test_a_date_far_off_is_a_number_of_days_as_any_other():
    now, never = datetime.date(2024, 1, 1), datetime.date(9999, 12, 31)
    for dates in ([now, never], [str(now), str(never)]):
        np.testing.assert_allclose(item(t=dates)["number"][:, 0], [(now - never).days, 0])


def test_only_the_last_steps_are_kept_but_the_figures_are_of_all():
    found = item(n=list(range(100)))
    assert len(found["number"]) == MAX_STEPS
    assert found["number"][-1, 1] == 99
    assert found["statistic"].reshape(2, -1)[1, STATISTICS.index("min")] == 0


def test_columns_of_different_lengths_and_unknown_steps_are_unknown_not_wrong():
    found = item(n=[1.0, None, 3.0], c=["x", None], t=None)
    np.testing.assert_array_equal(found["number"][:, 1], [1, np.nan, 3])
    assert np.isnan(found["number"][:, 0]).all()
    assert found["hash"][0] > 0
    assert found["hash"][1] == found["hash"][2] == 0


def test_no_sequence_is_empty():
    for found in (item(), item(n=[], c=[])):
        assert found["number"].size == found["hash"].size == found["statistic"].size == 0


def test_steps_are_told_apart_whatever_their_case():
    found = item(c=["Sale", "sale", "other"])["hash"]
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("step", [float("inf"), -float("inf"), 1e300, 10**400], ids=["inf", "-inf", "1e300", "10**400"])
def test_a_step_that_float32_cannot_hold_is_unknown(step):
    found = item(n=[1.0, step, 4.0])
    np.testing.assert_array_equal(found["number"][:, 1], [1, np.nan, 4])
    assert dict(zip(STATISTICS, found["statistic"].reshape(2, -1)[1], strict=True))["max"] == 4
