"""Which training items resemble an item, and what they may say."""

import json

import numpy as np
import pytest
from small_catalog import SCHEMA, frame

from attrgan.completion.complete import completions
from attrgan.features import cache
from attrgan.model.neighbours import NEIGHBOURS, SCALE, Index, values_of


@pytest.fixture(scope="module")
def items():
    return frame(40, seed=9)


def unit(rows: list[list[float]]) -> np.ndarray:
    vectors = np.array(rows, np.float32)
    return np.rint(vectors / np.linalg.norm(vectors, axis=1, keepdims=True) * SCALE)


def index(vectors: np.ndarray) -> Index:
    n = len(vectors)
    return Index(vectors.astype(np.int16), np.arange(n, dtype=np.int32)[:, None], [f"item {i}" for i in range(n)])


def test_the_nearest_comes_first_and_there_are_no_more_than_there_are():
    stored = index(unit([[1, 0, 0], [1, 1, 0], [0, 0, 1]]))
    positions, cosines, codes = stored.look_up(unit([[1, 0.1, 0]]))
    assert positions[0, :2].tolist() == [0, 1]
    assert (positions[0, 2:] == -1).all(), "an item at a right angle is no neighbour"
    assert positions.shape == (1, NEIGHBOURS)
    assert cosines[0, 0] > cosines[0, 1] > 0 == cosines[0, 2]
    assert values_of(positions, codes)[0, :3, 0].tolist() == [0, 1, -1]


def test_an_item_of_the_training_finds_neither_itself_nor_its_duplicate():
    stored = index(unit([[1, 0, 0], [1, 0.01, 0], [1, 1, 0]]))
    positions, _ = stored.find(unit([[1, 0, 0]]), np.array([True]))
    assert positions[0, 0] == 2
    assert positions[0, 1] == -1
    assert stored.find(unit([[1, 0, 0]]), np.array([False]))[0][0, 0] == 0


def test_an_item_without_text_has_no_neighbours(small_model, items):
    bare = items.assign(title=None, description=None)
    found = small_model.inputs(bare, cache.encode(bare, SCHEMA)).neighbours
    assert (found[0] == -1).all()
    assert (values_of(found[0], found[2]) == -1).all()


def test_an_empty_index_answers(small_model, items):
    inputs = small_model.inputs(items, cache.encode(items, SCHEMA))
    positions, cosines, codes = Index.empty(5).look_up(inputs.retrieval)
    assert (positions == -1).all()
    assert (cosines == 0).all()
    assert values_of(positions, codes).shape == (len(items), NEIGHBOURS, 5)


def test_what_is_looked_up_does_not_depend_on_the_other_items(small_model, items):
    whole = small_model.inputs(items, cache.encode(items, SCHEMA)).neighbours
    some = items.iloc[5:9].reset_index(drop=True)
    part = small_model.inputs(some, cache.encode(some, SCHEMA)).neighbours
    for alone, together in zip(part[:2], whole[:2], strict=True):
        np.testing.assert_array_equal(alone, together[5:9])


def test_the_index_holds_training_rows_only_and_their_values(small_model, small_folder):
    ids = set(json.loads((small_folder / "vocabulary.json").read_text())["index"])
    assert len(ids) == small_model.config["rows"]["train"]
    catalog = frame(600)
    values = small_model.vocabulary.values["colour"].values
    at = list(small_model.vocabulary.values).index("colour")
    known = dict(zip(catalog["sku"], catalog["colour"], strict=True))
    for item, code in zip(small_model.index.ids, small_model.index.codes[:, at], strict=True):
        assert code == -1 or values[code] == known[item]


def test_the_evidence_names_neighbours_that_have_the_value(small_model, items):
    holes = items.assign(colour=None)
    decided = completions(small_model, holes)
    named = [
        (row["value"], near)
        for _, row in decided[decided["attribute"] == "colour"].iterrows()
        for near in json.loads(row["evidence"]).get("neighbours", [])
    ]
    assert named
    catalog = frame(600).set_index("sku")["colour"]
    assert all(catalog[near["id"]] == value and 0 < near["cosine"] <= 1.001 for value, near in named)


def test_neighbours_that_all_agree_can_decide_a_cell_and_are_then_its_source(small_model, items):
    weight = small_model.generator.wide.vote
    before = weight.data.clone()
    try:
        weight.data[:] = 1e3
        silent = items["title"].str.split().str[:2].str.join(" ")  # brand and thing: no colour stands in the text
        decided = completions(small_model, items.assign(colour=None, title=silent, description=None))
    finally:
        weight.data.copy_(before)
    colours = decided[decided["attribute"] == "colour"]
    assert "neighbour" in set(colours["source"])
