"""When a catalog as a whole may not go on."""

import re

import pytest
from quality_catalogs import catalog_of, sound

from attrgan.config import Quality
from attrgan.lake.catalog import Unreadable


def one_bad_row():
    return sound() | {"id": ["a", None, "c", "d"]}


def test_the_share_of_quarantined_rows_is_limited(run):
    refused = run(one_bad_row(), Quality(max_quarantine_rate=0.2)).result.refused
    assert "1 of 4 rows (25.0%) are quarantined, mostly null_id, at most 20.0% may be" in refused


def test_a_share_at_the_limit_passes(run):
    assert run(one_bad_row(), Quality(max_quarantine_rate=0.25)).result.refused is None


def test_unreadable_rows_count_as_quarantined(run):
    catalog = catalog_of(sound(), [Unreadable("x", 1, "?")])
    assert "1 of 5 rows (20.0%)" in run(catalog, Quality(max_quarantine_rate=0.1)).result.refused


def test_a_least_number_of_valid_rows_is_asked_for(run):
    quality = Quality(max_quarantine_rate=1, min_valid_rows=4)
    assert "3 valid rows, at least 4 expected" in run(one_bad_row(), quality).result.refused
    assert run(sound(), quality).result.refused is None


@pytest.mark.parametrize(("past", "refuses"), [(0.0, True), (0.04, True), (0.06, False), (0.9, False)])
def test_a_null_rate_may_rise_by_the_tolerance_and_no_more(run, past, refuses):
    outcome = run(sound(), Quality(null_rate_tolerance=0.2), {"price": past})
    assert outcome.result.details["null_rates"]["price"] == 0.25
    if refuses:
        assert f"25.0% of 'price' is null, {past:.1%} was so far" in outcome.result.refused
    else:
        assert outcome.result.refused is None


def test_null_rates_are_not_judged_without_a_past(run):
    assert run(sound() | {"price": [None, None, None, 2.0]}).result.refused is None


def test_null_rates_leave_out_rows_that_are_quarantined_or_remove_an_item(run):
    columns = sound() | {
        "price": [None, 2.0, 2.0, None],
        "id": [None, "b", "c", "d"],
        "_deleted": [False, False, False, True],
    }
    assert run(columns).result.details["null_rates"]["price"] == 0.0


def test_a_column_that_the_past_did_not_have_or_that_is_gone_is_not_judged(run):
    assert run(sound(), past={"gone": 0.0}).result.refused is None


def test_all_that_is_wrong_is_said_in_one_sentence(run):
    quality = Quality(max_quarantine_rate=0.1, min_valid_rows=4, null_rate_tolerance=0)
    refused = run(one_bad_row(), quality, {"title": 0.0}).result.refused
    assert refused.startswith("the quality gate says no: ")
    assert len(refused.split("; ")) == 4
    assert "\n" not in refused


def test_outputs_are_written_although_the_gate_says_no(run):
    outcome = run(one_bad_row(), Quality(max_quarantine_rate=0))
    assert len(outcome.valid) == 3
    assert len(outcome.quarantine) == 1
    assert outcome.report["gate"]["passed"] is False
    assert outcome.report["gate"]["refused"] == outcome.result.refused
    assert "the quality gate says no" in outcome.data_docs


def test_the_report_lists_every_expectation_with_its_result(run):
    report = run(one_bad_row(), past={"price": 0.0}).report
    by_reason = {e["reason"]: e for e in report["expectations"]}
    assert by_reason["null_id"]["success"] is False
    assert by_reason["null_id"]["unexpected"] == 1
    assert by_reason["below_min:price"]["success"] is True
    assert {e["on"] for e in report["expectations"]} == {"ids", "rows", "figures"}
    assert report["rows"] == {"rows_in": 4, "valid": 3, "quarantined": 1, "superseded": 0, "deleted": 0}
    assert report["reasons"] == {"null_id": 1}
    assert report["past_null_rates"] == {"price": 0.0}


def test_data_docs_escape_what_the_catalog_says_and_load_nothing(run):
    hostile = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    columns = sound() | {"colour": [hostile, "red", None, None], "id": [hostile, hostile, "c", "d"]}
    page = run(columns).data_docs
    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in page
    assert "<img" not in page
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    assert "not_allowed:colour" in page
