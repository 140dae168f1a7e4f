"""What was decided is kept and found again, and gives what deciding anew gives."""

import dataclasses
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nearly import nearly
from small_catalog import SCHEMA, catalog, with_gaps

from attrgan import api
from attrgan.completion.complete import completions
from attrgan.completion.decisions import Decider
from attrgan.errors import InputError
from attrgan.features import cache
from attrgan.lake.cells import to_frame
from attrgan.model import CompletionModel

"""How far a confidence depends on the items that are decided, and encoded, with its own."""


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return with_gaps(catalog(60, seed=78, prefix="D"), 0.3)


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "cache")


def leave(rows: int) -> np.ndarray:
    return np.zeros((rows, len(SCHEMA.attributes)), bool)


def decide(decider: Decider, frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    return decider.decide(frame, leave(len(frame)))


def without_cache(decider: Decider, frame: pd.DataFrame) -> pd.DataFrame:
    return decide(dataclasses.replace(decider, cache_place=None), frame)[0]


def same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """The same rows, up to rounding."""
    left, right = (t.astype(object).where(t.notna(), None).to_dict("list") for t in (one, other))
    return nearly(left, right)


def test_what_was_decided_is_not_decided_again(small_model, table, place):
    decider, frame = Decider(small_model, cache_place=place), to_frame(table, SCHEMA)
    first, anew = decide(decider, frame)
    asked = first["sku"].nunique()
    assert anew == {"decided": asked, "decisions_reused": 0, "decided_cells": len(first), "decisions_reused_cells": 0}
    again, kept = decide(decider, frame)
    assert kept == {"decided": 0, "decisions_reused": asked, "decided_cells": 0, "decisions_reused_cells": len(first)}
    assert same(first, again)
    assert (first["confidence"] == again["confidence"]).all(), "to the last digit"
    assert (first["evidence"] == again["evidence"]).all()
    assert same(first, without_cache(decider, frame))


@pytest.mark.parametrize("change", [{"title": "Kalomi dress red 100 g"}, {"brand": "Zozo"}, {"price": 7.0},
                                    {"paid": [1.0]}, {"colour": None}])  # fmt: skip
def test_an_item_is_decided_anew_when_anything_that_the_model_sees_of_it_changes(small_model, place, change):
    frame = to_frame(with_gaps(catalog(12, seed=5), 0.1).set_column(
        0, "sku", pa.array([f"s{i}" for i in range(12)])), SCHEMA)  # fmt: skip
    frame["unit"] = None
    decider = Decider(small_model, cache_place=place)
    decide(decider, frame)
    ((name, value),) = change.items()
    row = int((frame[name].notna()).to_numpy().argmax())
    frame.at[row, name] = np.nan if value is None else value
    found, counts = decide(decider, frame)
    assert counts["decided"] == 1
    assert same(found, without_cache(decider, frame))
    frame.at[row, "sku"] = "another id"
    assert decide(decider, frame)[1]["decided"] == 0, "the model does not see the id"


def test_a_cell_that_is_left_alone_is_another_question(small_model, table, place):
    frame, decider = to_frame(table, SCHEMA), Decider(small_model, cache_place=place)
    found, _ = decide(decider, frame)
    blank = leave(60)
    row, name = found.iloc[0][["sku", "attribute"]]
    blank[frame.index[frame["sku"] == row], list(SCHEMA.attributes).index(name)] = True
    others, counts = decider.decide(frame, blank)
    assert len(others) == len(found) - 1
    assert counts["decided"] <= 1


def test_other_thresholds_temperatures_review_or_encoders_decide_anew(small_folder, place):
    deciders = [Decider(CompletionModel.load(small_folder), cache_place=place) for _ in range(4)]
    deciders[1].model.calibration["brand"]["threshold"] = 0.5
    deciders[2].model.temperature["brand"] = 9.0
    deciders[3] = dataclasses.replace(deciders[3], review_confidence=0.4)
    assert len({decider.place for decider in deciders}) == 4
    again = Decider(CompletionModel.load(small_folder), cache_place=place, whole_numbers={"price"})
    assert again.place == deciders[0].place, "how numbers are written decides nothing"


def test_numbers_are_written_as_tonights_column_has_them(small_model, table, place):
    frame = to_frame(table, SCHEMA)
    decide(Decider(small_model, cache_place=place), frame)
    whole = Decider(small_model, whole_numbers={"price"}, cache_place=place)
    found, counts = decide(whole, frame)
    assert counts["decided"] == 0
    assert found.loc[found["attribute"] == "price", "value"].str.isdigit().all()
    assert same(found, without_cache(whole, frame))


def test_a_number_that_does_not_apply_is_kept_as_that(small_model, table, place, monkeypatch):
    def does_not_apply(model, part, features, **options):
        found = completions(model, part, features, **options)
        numbers = found["attribute"] == "price"
        return found.assign(
            value=found["value"].mask(numbers, "n/a"), number=found["number"].mask(numbers),
            status=found["status"].mask(numbers, "review"),
        )  # fmt: skip

    monkeypatch.setattr("attrgan.completion.complete.completions", does_not_apply)
    decider, frame = Decider(small_model, cache_place=place), to_frame(table, SCHEMA)
    found = decide(decider, frame)[0]
    assert set(found.loc[found["attribute"] == "price", "value"]) == {"n/a"}
    assert same(found, without_cache(decider, frame))


def test_items_of_one_content_are_decided_once(small_model, place):
    frame = to_frame(with_gaps(catalog(9, seed=6), 0.4), SCHEMA)
    twice = pd.concat([frame, frame.assign(sku=frame["sku"] + "-2")], ignore_index=True)
    decider = Decider(small_model, cache_place=place)
    found, counts = decide(decider, twice)
    assert counts["decided"] == counts["decisions_reused"] > 0
    assert same(found, without_cache(decider, twice))


def test_what_could_not_be_read_is_decided_again_when_it_can(small_model, table, place, monkeypatch):
    frame, decider = to_frame(table, SCHEMA), Decider(small_model, cache_place=place)
    monkeypatch.setattr(cache, "readable", lambda features: np.arange(features.num_rows) > 0)
    asked = decide(decider, frame)[1]["decided"]
    monkeypatch.undo()
    counts = decide(decider, frame)[1]
    assert (counts["decided"], counts["decisions_reused"]) == (1, asked - 1)


def test_a_part_that_is_none_or_answers_another_question_counts_as_not_there(small_model, table, place):
    frame, decider = to_frame(table, SCHEMA), Decider(small_model, cache_place=place)
    found, first = decide(decider, frame)
    part = next(Path(decider.place).glob("part-*"))
    kept = pq.read_table(part)
    short = pa.array([cells[:-1] for cells in kept["cells"].to_pylist()], kept.schema.field("cells").type)
    pq.write_table(kept.set_column(1, kept.schema.field("cells"), short), part)
    (Path(decider.place) / "part-0.parquet").write_bytes(b"no Parquet")
    again, counts = decide(decider, frame)
    assert counts == first
    assert same(found, again)


def test_decisions_of_models_that_nobody_uses_any_more_are_removed(small_folder, table, place):
    frame, folders = to_frame(table, SCHEMA), []
    for confidence in (0.1, 0.2, 0.3, 0.4):
        decider = Decider(CompletionModel.load(small_folder), confidence, cache_place=place, keep=2)
        decide(decider, frame)
        folders.append(Path(decider.place).name)
    there = {folder.name for folder in Path(place).iterdir() if folder.name.startswith("decisions-")}
    assert there == set(folders[2:])


def test_a_run_finds_what_others_decided_and_not_what_it_decided_itself(small_model, table, place):
    """So its shards decide alike whichever is first, and a killed one that starts again does too."""
    frame = to_frame(table, SCHEMA)
    tonight = Decider(small_model, cache_place=place, run_id="scheduled__2026-01-02")
    decided = decide(tonight, frame)[1]["decided"]
    assert decide(tonight, frame)[1]["decided"] == decided > 0
    assert decide(dataclasses.replace(tonight, run_id="scheduled__2026-01-03"), frame)[1]["decided"] == 0


# --- the law -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encoded(table, tmp_path_factory) -> str:
    """A cache with the features of the table."""
    place = str(tmp_path_factory.mktemp("encoded"))
    cache.update(to_frame(table, SCHEMA), SCHEMA, place)
    return place


some_rows = st.lists(st.integers(0, 59), min_size=1, max_size=60, unique=True)


@settings(max_examples=5, deadline=None)
@given(st.lists(some_rows, min_size=1, max_size=4))
def test_whatever_was_decided_before_a_night_is_that_of_deciding_everything_anew(small_model, table, encoded, nights):
    frame = to_frame(table, SCHEMA)
    anew = small_model.complete(frame, cache.lookup(frame, SCHEMA, encoded))
    with tempfile.TemporaryDirectory() as place:
        shutil.copytree(encoded, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("decisions-*"))
        decider, asked = Decider(small_model, cache_place=place), frame["sku"].isin(anew["sku"])
        for rows in nights:
            decide(decider, frame.iloc[rows].reset_index(drop=True))
        found, counts = decide(decider, frame)
    assert same(found, anew)
    seen = {row for rows in nights for row in rows}
    assert counts["decided"] == sum(asked[row] for row in range(60) if row not in seen)
    assert counts["decided"] + counts["decisions_reused"] == asked.sum()


# --- the verb ------------------------------------------------------------------------------------------------------


def run(place: Path, model: Path, out: Path, features: str | None, **arguments: Any) -> tuple[dict, list[pa.Table]]:
    manifest = api.complete(str(place), str(model), str(out), features=features, **arguments)
    tables = [pq.read_table(out / f"{name}.parquet") for name in ("completed", "completions")]
    return manifest["counts"], [tables[0], tables[1].drop_columns(["run_id", "completed_at"])]


def other_model(folder: Path, to: Path) -> Path:
    """The same weights with a promise that is kept from another confidence on."""
    shutil.copytree(folder, to)
    promises = json.loads((to / "calibration.json").read_text())
    promises["brand"]["threshold"] = 0.999
    (to / "calibration.json").write_text(json.dumps(promises))
    return to


@pytest.fixture
def items(table, tmp_path) -> Path:
    pq.write_table(table, tmp_path / "items.parquet")
    return tmp_path / "items.parquet"


def test_the_manifest_says_how_many_items_and_cells_were_decided_and_how_many_taken_over(items, small_folder, tmp_path):
    first, tables = run(items, small_folder, tmp_path / "1", str(tmp_path / "cache"), run_id="1")
    names = ("decided", "decided_cells", "decisions_reused", "decisions_reused_cells")
    assert [first[name] for name in names] == [first["decided"], first["cells"], 0, 0]
    assert first["decided"] > 0
    again, same_tables = run(items, small_folder, tmp_path / "2", str(tmp_path / "cache"), run_id="2", shard="0/1")
    assert [again[name] for name in names] == [0, 0, first["decided"], first["cells"]]
    assert all(a.equals(b) for a, b in zip(tables, same_tables, strict=True))
    halves = [run(items, small_folder, tmp_path / str(i), str(tmp_path / "cache"), shard=f"{i}/2")[0] for i in (0, 1)]
    assert sum(half["decisions_reused_cells"] for half in halves) == first["cells"], "any shard finds them"


def test_without_a_feature_cache_everything_is_decided(items, small_folder, tmp_path):
    for i in range(2):
        counts, _ = run(items, small_folder, tmp_path / str(i), None)
        assert (counts["decided_cells"], counts["decisions_reused"]) == (counts["cells"], 0)


def test_a_feature_cache_that_is_a_file_is_bad_input(items, small_folder, tmp_path):
    with pytest.raises(InputError, match="is a file: expected the folder"):
        run(items, small_folder, tmp_path / "out", str(items))


def test_samples_are_drawn_anew_beside_decisions_that_are_taken_over(items, small_folder, tmp_path):
    place = str(tmp_path / "cache")
    run(items, small_folder, tmp_path / "1", place)
    counts, _ = run(items, small_folder, tmp_path / "2", place, samples=2)
    assert counts["decided"] == 0
    assert pq.read_table(tmp_path / "2" / "samples.parquet").num_rows == 2 * counts["cells"]


def test_a_backfill_decides_what_another_model_decided_and_takes_over_what_the_same_one_did(
    items, small_folder, tmp_path
):
    place, newer = str(tmp_path / "cache"), other_model(small_folder, tmp_path / "newer")
    old, _ = run(items, small_folder, tmp_path / "1", place)
    half, _ = run(items, newer, tmp_path / "2", place, shard="0/2")
    backfill, (completed, completions) = run(items, newer, tmp_path / "3", place)
    assert half["decisions_reused"] == 0, "the older model's are not taken"
    assert backfill["decisions_reused_cells"] == half["cells"]
    assert backfill["decided_cells"] == old["cells"] - half["cells"]
    anew = run(items, newer, tmp_path / "4", None)[1]
    assert completed.equals(anew[0])
    assert same(completions.to_pandas(), anew[1].to_pandas())
    back, _ = run(items, small_folder, tmp_path / "5", place)
    assert back["decided"] == 0, "and a roll-back finds what the older one decided"


def test_what_a_model_filled_is_no_value_of_the_seller_in_a_backfill(items, table, small_folder, tmp_path):
    place = str(tmp_path / "cache")
    old, (completed, _) = run(items, small_folder, tmp_path / "1", place)
    assert sum(completed[name].null_count for name in SCHEMA.attributes) == old["cells"] - old["filled"]
    new, (_, completions) = run(items, other_model(small_folder, tmp_path / "newer"), tmp_path / "2", place)
    nulls = sum(table[name].null_count for name in SCHEMA.attributes)
    assert new["cells"] == completions.num_rows == nulls, "every cell that the seller left open is asked about again"
    assert new["decided_cells"] == nulls
