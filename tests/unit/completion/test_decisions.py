"""What was decided is kept and found again, and gives what deciding anew gives."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_catalog import SCHEMA, catalog, with_gaps

from attrgan.completion.decisions import Decider
from attrgan.features import cache
from attrgan.lake.catalog import to_frame
from attrgan.model import CompletionModel

ROUNDING = 1e-6
"""How far a confidence depends on the other items of a batch."""


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
    """The same rows; confidences, and what the evidence says of them, up to the rounding of a batch."""
    exact = [c for c in one if c not in ("confidence", "evidence")]
    left, right = (t[exact].astype(object).where(t[exact].notna(), None) for t in (one, other))
    close = np.allclose(one["confidence"].astype(float), other["confidence"].astype(float), rtol=0, atol=ROUNDING)
    return left.to_dict("list") == right.to_dict("list") and close


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
