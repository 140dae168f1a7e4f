"""Drift: what has changed since training is seen, what has not is left alone, and what has drifted is not filled."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_catalog import SCHEMA, brand_names, catalog, with_gaps

from attrgan import api
from attrgan.config import Drift
from attrgan.errors import InputError
from attrgan.lake.cells import to_frame, typed
from attrgan.lake.rows import TableRows
from attrgan.quality import drift
from attrgan.quality.difference import compare
from attrgan.quality.drift import Check, distribution_checks, flag, judge, read_suspended, rows_to_judge
from attrgan.quality.reference import COMMON, FILE, Reference, sampled

BRANDS = brand_names(60, np.random.default_rng(0))
EVERY = list(SCHEMA.attributes)


def new_items(rows: int, share: float = 0.05) -> pa.Table:
    """Items that the small model has not seen, made as those it learned."""
    return with_gaps(catalog(rows, seed=5, brands=BRANDS, prefix="Q"), share)


@pytest.fixture(scope="module")
def night() -> pd.DataFrame:
    return to_frame(new_items(400), SCHEMA)


@pytest.fixture(scope="module")
def reference(small_folder) -> Reference:
    found = Reference.read(small_folder)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def checked(reference):
    """The checks of attributes, category and text of some rows, by name."""

    def check(frame: pd.DataFrame, limits: Drift | None = None) -> dict[str, Check]:
        limits, frame = limits or Drift(), frame.reset_index(drop=True)
        sample = sampled(len(frame), limits.sample_rows, 0)
        checks = distribution_checks(reference, frame, SCHEMA, sample, {}, limits)
        flag(checks, limits)
        return {c.name: c for c in checks}

    return check


def flagged(checks: dict[str, Check]) -> set[str]:
    return {name for name, check in checks.items() if check.flagged}


# --- the test ------------------------------------------------------------------------------------------------------


def test_the_same_shares_are_no_difference_and_no_value_in_common_is_the_largest():
    same = compare(np.array([[500, 300, 200]]), np.array([[50, 30, 20]]), 2)
    assert (same.distance, same.p_value) == (0, pytest.approx(1))
    other = compare(np.array([[500, 500, 0]]), np.array([[0, 0, 100]]), 2)
    assert other.distance == pytest.approx(1)
    assert other.p_value < 1e-12


def test_another_mix_of_categories_alone_is_no_difference():
    training = np.array([[900, 100], [100, 900]])
    one_category_only = compare(training, np.array([[0, 0], [20, 180]]), 1)
    assert one_category_only.distance < 0.01
    assert one_category_only.p_value > 0.9
    assert one_category_only.expected == pytest.approx([0.1, 0.9])


def test_a_change_within_the_categories_is_seen_though_the_totals_are_the_same():
    changed = compare(np.array([[900, 100], [100, 900]]), np.array([[150, 50], [0, 0]]), 1)
    assert changed.p_value < 1e-6
    assert changed.found == pytest.approx([0.75, 0.25])


def test_a_few_items_of_a_value_that_training_never_saw_are_not_lost_among_the_others():
    assert compare(np.array([[2000, 0]]), np.array([[36, 4]]), 1).p_value < 1e-4


@pytest.mark.parametrize("rare", [None, 7])
def test_p_values_of_rows_like_those_of_training_are_no_smaller_than_chance_allows(rare):
    rng = np.random.default_rng(1)
    shares, mix = rng.dirichlet(np.r_[np.full(7, 0.5), 0.02], size=5), rng.dirichlet(np.ones(5))

    def drawn(n: int) -> np.ndarray:
        return np.stack([rng.multinomial(k, s) for k, s in zip(rng.multinomial(n, mix), shares, strict=True)])

    p_values = np.array([compare(drawn(800), drawn(80), rare).p_value for _ in range(1000)])
    assert (p_values <= 0.05).mean() < 0.07
    assert (p_values <= 0.01).mean() < 0.02


def test_only_what_is_significant_among_all_checks_and_large_is_flagged():
    def check(name: str, p_value: float, value: float) -> Check:
        return Check("attribute", name, "values", [name], 0.2, n=90, value=value, p_value=p_value, judged=True)

    checks = [check("both", 1e-6, 0.3), check("small", 1e-9, 0.1), check("chance", 0.003, 0.4)]
    checks += [check(f"other {i}", 0.6, 0.05) for i in range(5)]
    flag(checks, Drift())
    assert [c.column for c in checks if c.flagged] == ["both"]
    assert checks[2].adjusted == pytest.approx(6 * 0.003), "Holm: two of eight were more significant"


# --- rows ----------------------------------------------------------------------------------------------------------


def test_new_rows_like_those_of_training_are_not_flagged(checked, night):
    checks = checked(night)
    assert flagged(checks) == set()
    assert sum(c.judged for c in checks.values()) > 20


def test_a_night_of_one_category_is_no_drift_of_its_attributes(checked, night):
    checks = checked(night[night["department"] == "Clothes"])
    assert flagged(checks) == {"department: mix"}
    assert checks["department: mix"].suspends == []


@pytest.mark.parametrize(
    ("shift", "seen", "suspended"),
    [
        (lambda f: f.assign(price=f["price"] * 100), "price: values", ["price"]),
        (lambda f: f.assign(colour=f["colour"].replace("red", "RED / ROUGE")), "colour: values", ["colour"]),
        (lambda f: f.assign(colour=f["unit"], unit=f["colour"]), "colour: values", ["colour"]),
        (lambda f: f.assign(tags='["other"]'), "tags: values", ["tags"]),
        (lambda f: f.assign(title="红色 连衣裙 棉"), "title: script", EVERY),
        (lambda f: f.assign(title="una camisa de algodón muy bonita"), "title: unknown words", EVERY),
        (lambda f: f.assign(title=f["title"] + " and so on" * 9), "title: length", EVERY),
        (lambda f: f.assign(description=None), "description: missing", EVERY),
        (lambda f: f.assign(department="Garden"), "department: unknown", EVERY),
    ],
    ids=["cents", "renamed", "swapped", "other set", "other script", "other language", "longer", "emptied", "category"],
)
def test_a_shift_made_on_purpose_is_seen_and_suspends_what_it_concerns(checked, night, shift, seen, suspended):
    check = checked(shift(night))[seen]
    assert check.flagged
    assert check.suspends == suspended
    assert check.reason.startswith(f"{seen} differ from training by ")


def test_fewer_missing_cells_are_no_drift_and_more_of_them_suspend_nothing(checked, night):
    half = night.assign(colour=night["colour"].where(np.arange(len(night)) % 2 == 0))
    more = checked(half)["colour: missing"]
    assert more.flagged
    assert more.suspends == []
    whole = night.assign(description="A red shirt, made to last")
    assert not checked(whole)["description: missing"].flagged


def test_a_handful_of_rows_is_too_few_to_judge_whatever_it_holds(checked, night):
    checks = checked(night.head(5).assign(price=1e6, title="x"))
    assert not any(c.judged or c.flagged for c in checks.values())
    assert checks["price: values"].reason == "too few to judge: 5 items, 30 needed"
    assert not any(c.judged for c in checked(night.head(0)).values())


def test_removed_items_are_not_judged():
    items = new_items(10)
    removed = items.append_column("_deleted", pa.array([i < 4 for i in range(10)]))
    assert rows_to_judge(TableRows(typed(removed, SCHEMA)), SCHEMA)["sku"].tolist() == items["sku"].to_pylist()[4:]


def test_the_rows_to_judge_are_read_chunk_by_chunk_and_are_the_same_whatever_the_chunks(monkeypatch):
    class Chunked(TableRows):
        def chunks(self, first=0, last=None, size=7):
            return super().chunks(first, last, size)

    items = new_items(100)
    rows = typed(items.append_column("_deleted", pa.array([i % 10 == 0 for i in range(100)])), SCHEMA)
    monkeypatch.setattr(drift, "MOST_ROWS", 40)
    whole = rows_to_judge(TableRows(rows), SCHEMA, 3)
    pd.testing.assert_frame_equal(whole, rows_to_judge(Chunked(rows), SCHEMA, 3))
    assert 30 < len(whole) <= 40
    assert not set(whole["sku"]) & set(items["sku"].to_pylist()[::10])
    assert list(whole["sku"]) != list(rows_to_judge(TableRows(rows), SCHEMA, 4)["sku"])


def test_attributes_of_one_promise_hold_it_together(monkeypatch):
    def cells(n, right):
        return pd.DataFrame({"confidence": 0.9, "right": [True] * right + [False] * (n - right)})

    promise = {"threshold": 0.8, "promised_precision": 0.95, "accepted": 500, "pool": ["brand", "colour"]}
    model = SimpleNamespace(schema=SCHEMA, calibration={"brand": promise, "colour": promise})
    monkeypatch.setattr(
        "attrgan.evaluation.metrics.answer_hidden", lambda *_: {"brand": cells(900, 880), "colour": cells(100, 80)}
    )
    (check,) = drift._precisions(model, to_frame(new_items(5), SCHEMA), None, Drift())
    assert (check.column, check.suspends, check.n, check.value) == ("brand, colour", ["brand", "colour"], 1000, 0.96)
    assert check.p_value > 0.5


# --- the reference -------------------------------------------------------------------------------------------------


def test_the_reference_names_no_rare_value_and_no_word(small_folder):
    text = (small_folder / FILE).read_text(encoding="utf-8")
    frame = to_frame(with_gaps(catalog(600), share=0.05), SCHEMA)
    brands = frame["brand"].value_counts()
    assert not any(f'"{brand}"' in text for brand in brands.index[brands < COMMON])
    assert "shirt red" not in text
    assert len(text) < 1_000_000


def test_the_reference_is_the_same_after_it_was_written_and_read(reference, tmp_path):
    reference.write(tmp_path)
    again = Reference.read(tmp_path)
    again.write(tmp_path)
    assert (again.categories, again.words) == (reference.categories, reference.words)
    assert all((again.measures[n].counts == m.counts).all() for n, m in reference.measures.items())


# --- the verbs -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cents(small_folder, tmp_path_factory):
    """A night of prices in cents, judged, and completed with and without what was judged."""
    folder = tmp_path_factory.mktemp("cents")
    items = new_items(500, share=0.2)
    at = items.column_names.index("price")
    items = items.set_column(at, items.schema.field(at), pa.compute.multiply(items["price"], 100.0))
    pq.write_table(items, folder / "night.parquet")
    place, model = str(folder / "night.parquet"), str(small_folder)
    api.drift(place, model, str(folder / "drift"), run_id="n1")
    api.complete(place, model, str(folder / "with"), drift=str(folder / "drift"), run_id="n1")
    api.complete(place, model, str(folder / "without"), run_id="n1")
    return folder


def test_the_verb_says_per_check_and_attribute_what_was_found(cents):
    found = json.loads((cents / "drift" / "drift.json").read_text())
    assert [n for n, a in found["attributes"].items() if a["suspended"]] == ["price"]
    assert "price: values differ from training by" in found["attributes"]["price"]["reason"]
    checks = {f"{c['column']}: {c['of']}": c for c in found["checks"]}
    assert {"score", "attribute", "text", "category"} == {c["level"] for c in found["checks"]}
    assert checks["price: values"]["adjusted"] < found["limits"]["false_alarm_rate"]
    assert checks["colour: precision"]["judged"]
    assert not checks["colour: precision"]["flagged"]
    assert "price: values, distance from training" in (cents / "drift" / "data_docs" / "index.html").read_text()


def test_known_cells_that_would_be_filled_wrongly_tonight_are_seen(cents):
    found = json.loads((cents / "drift" / "drift.json").read_text())
    check = next(c for c in found["checks"] if c["column"] == "price" and c["of"] == "precision")
    assert check["flagged"]
    assert check["value"] < 0.1
    assert "that would be filled 0.0 % are right, 95.0 % is promised" in check["reason"]


def test_what_is_suspended_is_reviewed_and_all_else_is_as_without(cents):
    suspended = pq.read_table(cents / "with" / "completions.parquet").to_pandas()
    plain = pq.read_table(cents / "without" / "completions.parquet").to_pandas()
    price = suspended["attribute"] == "price"
    accepted = plain["status"].isin(["filled", "not_applicable"])
    assert (plain["status"][price] == "filled").any()
    assert set(suspended["status"][price & accepted]) == {"review"}
    assert suspended["status"][~(price & accepted)].equals(plain["status"][~(price & accepted)])
    assert suspended[["value", "confidence"]].equals(plain[["value", "confidence"]])
    assert json.loads(suspended["evidence"][price & accepted].iloc[0])["suspended"] == "drift"
    completed = pq.read_table(cents / "with" / "completed.parquet")
    assert completed["price"].equals(pq.read_table(cents / "night.parquet")["price"])


def test_the_manifest_counts_and_explains_what_was_held_back(cents):
    done = json.loads((cents / "with" / "manifest.json").read_text())
    plain = json.loads((cents / "without" / "manifest.json").read_text())
    held = done["counts"]["attributes"]["price"]["suspended"]
    assert held == plain["counts"]["attributes"]["price"]["filled"] == done["counts"]["suspended"] > 0
    assert "price: values differ" in done["suspended"]["price"]
    assert plain["counts"]["suspended"] == 0


def test_an_answer_that_it_does_not_apply_is_reviewed_as_such():
    from attrgan.completion.complete import suspend

    cells = {"sku": ["a", "b"], "attribute": ["neckline", "tags"], "value": [None, None]}
    decided = pd.DataFrame(cells | {"status": "not_applicable", "evidence": "{}"})
    after, held = suspend(decided, {"neckline": "why", "tags": "why"}, SCHEMA)
    assert after["value"].tolist() == ["n/a", '["n/a"]']
    assert held == {"neckline": 1, "tags": 1}
    assert decided["status"].tolist() == ["not_applicable"] * 2


def test_the_same_run_judges_once(cents, small_folder):
    again = api.drift(str(cents / "night.parquet"), str(small_folder), str(cents / "drift"), run_id="n1")
    assert again["skipped"]


@pytest.mark.parametrize("limits", [Drift(suspend=False), Drift(ignore=["price: values", "price: precision"])])
def test_the_settings_lift_a_suspension_but_not_the_flag(limits, cents, small_model, small_folder, tmp_path):
    frame = to_frame(pq.read_table(cents / "night.parquet"), SCHEMA)
    result = judge(small_model, small_folder, frame, tmp_path, limits)
    assert result.details["suspended"] == {}
    assert result.counts["flagged"] >= 2


def test_a_model_without_a_reference_judges_nothing_and_says_so(cents, small_folder, tmp_path):
    shutil.copytree(small_folder, tmp_path / "model")
    (tmp_path / "model" / FILE).unlink()
    done = api.drift(str(cents / "night.parquet"), str(tmp_path / "model"), str(tmp_path / "drift"))
    assert (done["counts"]["judged"], done["suspended"]) == (0, {})
    assert "the model has no reference.json" in done["not_judged"]


def test_drift_of_another_model_and_a_folder_without_it_are_bad_input(cents, small_model, tmp_path):
    assert set(read_suspended(str(cents / "drift"), small_model.version)) == {"price"}
    with pytest.raises(InputError, match="run `attrgan drift` with the same --model"):
        read_suspended(str(cents / "drift"), "another")
    with pytest.raises(InputError, match=r"holds no drift\.json: expected the output folder of `attrgan drift`"):
        read_suspended(str(tmp_path), small_model.version)
    (tmp_path / "drift.json").write_text('{"model_version": 1')
    with pytest.raises(InputError, match="is damaged"):
        read_suspended(str(tmp_path), small_model.version)


def test_the_audit_refuses_a_cell_that_was_filled_though_suspended(tmp_path):
    import completed_catalog as made

    from attrgan.completion.audit import audit

    valid = made.catalog()
    validated = made.validated(tmp_path / "validate", valid)
    shard = made.completed(tmp_path / "complete", valid, suspended={"brand": "brand: values differ"})
    (tmp_path / "audit").mkdir()
    result = audit([shard], validated, tmp_path / "audit")
    assert "a cell was filled of an attribute that is suspended (2)" in result.refused
    assert result.details["suspended"] == {"brand": "brand: values differ"}


def test_the_page_of_the_night_says_what_was_not_filled_and_why(cents, tmp_path):
    api.report([str(cents / "drift"), str(cents / "with")], str(tmp_path / "report.html"))
    page = " ".join((tmp_path / "report.html").read_text().split())
    assert "Not filled tonight: price." in page
    assert "cells go to review instead (price: values differ from training" in page
    api.report([str(cents / "without")], str(tmp_path / "without.html"))
    assert "Drift since training" not in (tmp_path / "without.html").read_text()
