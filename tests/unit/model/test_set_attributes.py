"""A `multi` attribute from the catalog to the completed one: `tags` that the title spells out, in sets new and old."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from small_catalog import OPTIONS, frame

from attrgan.completion import sample
from attrgan.completion.complete import fill
from attrgan.evaluation.hiding import mask_of
from attrgan.features import cache
from attrgan.lake.cells import canonical_list, members_of
from attrgan.model import CompletionModel
from attrgan.model.inputs import batch, build
from attrgan.schema import Schema
from attrgan.training.train import train

NAMES = ["department", "colour", "tags"]
TAGGED = Schema.parse({
    "id": "sku", "text": ["title"], "encoders": {"language": None, "image": None},
    "attributes": {
        "department": {"kind": "categorical"}, "colour": {"kind": "categorical"},
        "tags": {"kind": "categorical", "multi": True},
    },
})  # fmt: skip
UNSEEN = {"dress", "sale", "new"}


def tagged(rows: int, seed: int) -> pd.DataFrame:
    """Items with their thing as a tag, and `sale` and `new` where the title says so; pans have no tags to have."""
    items, rng = frame(rows, seed)[["sku", "department", "colour", "title"]], np.random.default_rng(seed)
    tags = []
    for i, title in enumerate(items["title"]):
        thing = next(t for t in ("shirt", "dress", "kettle", "pan") if t in title)
        extra = [word for word in ("sale", "new") if rng.random() < 0.5]
        items.loc[i, "title"] = " ".join([title, *extra])
        tags.append(["n/a"] if thing == "pan" else [thing, *extra])
    return items.assign(tags=[canonical_list(t) for t in tags])


def is_unseen(items: pd.DataFrame) -> np.ndarray:
    return np.array([set(members_of(tags)) == UNSEEN for tags in items["tags"]])


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> CompletionModel:
    items = tagged(700, seed=1)
    items = items[~is_unseen(items)].reset_index(drop=True)
    folder = tmp_path_factory.mktemp("tagged")
    options = dataclasses.replace(OPTIONS, epochs=30, batch_size=32)
    train(TAGGED, items, cache.encode(items, TAGGED), options, folder, say=lambda _: None)
    return CompletionModel.load(folder)


def answer(model: CompletionModel, items: pd.DataFrame):
    wanted = np.tile([name == "tags" for name in NAMES], (len(items), 1))
    inputs = model.inputs(items, cache.encode(items, TAGGED))
    return model.predict(items, inputs, wanted, mask_of(wanted, TAGGED))["tags"]


@pytest.fixture(scope="module")
def asked() -> pd.DataFrame:
    return tagged(400, seed=2)


@pytest.fixture(scope="module")
def answered(model, asked):
    return answer(model, asked)


def test_the_vocabulary_holds_members_the_most_frequent_first(model):
    values = model.vocabulary.values["tags"]
    assert {*values.values} == {"shirt", "dress", "kettle", "sale", "new", "n/a"}
    assert (np.diff(values.counts) <= 0).all()


def test_a_set_that_training_never_saw_is_put_together(asked, answered):
    unseen = is_unseen(asked)
    assert unseen.sum() >= 15
    found = [set(json.loads(value)) == UNSEEN for value in answered.value[unseen]]
    assert np.mean(found) >= 0.7


def test_a_value_is_a_list_without_duplicates_in_the_order_of_frequency(model, answered):
    order = model.vocabulary.values["tags"].values
    for value in answered.value:
        places = [order.index(member) for member in json.loads(value)]
        assert places == sorted({*places})
        assert places


def test_not_applicable_stands_alone_and_is_written_as_such(model, asked):
    pans = asked["title"].str.contains("pan").to_numpy()
    values = answer(model, asked).value
    assert (values[pans] == '["n/a"]').mean() > 0.9
    assert not any("n/a" in value for value in values[~pans])
    model.calibration["tags"] |= {"threshold": 0.0}
    done = model.complete(asked.assign(tags=None))
    assert (done["status"][pans] == "not_applicable").mean() > 0.9
    assert done.loc[done["status"] == "not_applicable", "value"].isna().all()


def test_confidence_is_the_share_of_sets_that_are_right_as_wholes(asked, answered):
    right = [set(json.loads(v)) == set(members_of(t)) for v, t in zip(answered.value, asked["tags"], strict=True)]
    assert ((answered.confidence > 0) & (answered.confidence <= 1)).all()
    assert answered.confidence.mean() == pytest.approx(np.mean(right), abs=0.08)


def test_members_that_stand_in_the_text_are_evidence_each_by_itself(model, asked):
    done = model.complete(asked.assign(tags=None))
    spelled = [json.loads(e).get("spans", []) for e in done["evidence"]]
    for value, spans, source in zip(done["value"], spelled, done["source"], strict=True):
        members = json.loads(value) if isinstance(value, str) else []
        assert {s["text"] for s in spans} <= {*members}
        assert (source == "text") == (bool(spans) and len(spans) == len(members))
    assert sum(len(spans) >= 2 for spans in spelled) > 50


def test_other_candidates_are_members_that_were_left_out(model, asked):
    answered = answer(model, asked.assign(title=None))
    largest = [len(json.loads(value)) == 3 for value in answered.value]  # of which no likely member is left out
    assert all(others or full for others, full in zip(answered.runners_up, largest, strict=True))
    assert not all(largest)
    for value, others in zip(answered.value, answered.runners_up, strict=True):
        assert not {name for name, _ in others} & set(json.loads(value))
        assert all(0 < share <= 1 for _, share in others)


@pytest.mark.parametrize("replacement", ['["kettle"]', '["nobody", "knows"]', "[]", None])
def test_a_hidden_set_leaves_no_trace(model, asked, answered, replacement):
    other = answer(model, asked.assign(tags=replacement))
    assert list(other.value) == list(answered.value)
    np.testing.assert_allclose(other.confidence, answered.confidence, atol=1e-6)


def test_a_known_set_is_read_member_by_member_in_whatever_order_strangers_by_their_spelling(model, asked):
    def departments(tags: str) -> np.ndarray:
        items = asked.head(40).assign(tags=tags, department=None, title=None)
        wanted = np.tile([name == "department" for name in NAMES], (40, 1))
        answer = model.predict(items, model.inputs(items, cache.encode(items, TAGGED)), wanted)["department"]
        return np.where(answer.value == "Clothes", answer.confidence, 1 - answer.confidence)

    np.testing.assert_allclose(departments('["new", "shirt"]'), departments('["shirt", "new"]'), atol=1e-6)
    assert not np.allclose(departments('["new", "shirt"]'), departments('["new", "kettle"]'), atol=1e-3)
    assert not np.allclose(departments('["stranger"]'), departments('["another one"]'), atol=1e-6)
    assert np.isfinite(departments("[]")).all()


def test_members_of_a_set_are_codes_and_those_nobody_knows_are_strangers(model):
    items = asked_for(['["new", "ultraviolet"]', None, "[]", '["n/a"]'])
    inputs = build(items, cache.encode(items, TAGGED), model.vocabulary)
    known = model.vocabulary.values["tags"].values
    tensors = batch(inputs, np.arange(4), model.vocabulary)
    assert tensors.sets["tags"].tolist() == [
        [known.index("new"), len(known)], [-1, -1], [-1, -1], [known.index("n/a"), -1],
    ]  # fmt: skip
    assert inputs.codes[:, NAMES.index("tags")].tolist() == [0, -1, 0, 0]
    assert inputs.strangers == ["ultraviolet"]


def test_sets_of_one_length_are_filled_as_lists(model):
    table = pa.table({"sku": ["1", "2", "3"], "tags": pa.array([None, ["kept"], None], pa.list_(pa.string()))})
    decided = pd.DataFrame({
        "sku": ["1", "3"], "attribute": "tags", "status": "filled", "value": ['["new", "shirt"]', '["sale", "dress"]'],
    })  # fmt: skip
    assert fill(table, decided, TAGGED)["tags"].to_pylist() == [["new", "shirt"], ["kept"], ["sale", "dress"]]


def test_samples_of_sets_are_sets_as_a_frame_has_them_and_repeat_with_their_seed(model, asked):
    items = asked.head(30).assign(tags=None, colour=None)
    inputs = model.inputs(items, cache.encode(items, TAGGED))
    wanted = items[NAMES].isna().to_numpy()
    drawn = sample.draw(model, items, inputs, wanted, samples=5, seed=3)
    tags = drawn.value[..., NAMES.index("tags")]
    assert all(value == canonical_list(json.loads(value)) for value in tags.ravel())
    assert (tags == asked["tags"].head(30).to_numpy()).mean() > 0.8
    again = sample.draw(model, items, inputs, wanted, samples=5, seed=3)
    assert (again.value == drawn.value).all()


def asked_for(tags: list[str | None]) -> pd.DataFrame:
    n = len(tags)
    return pd.DataFrame({
        "sku": [str(i) for i in range(n)], "department": [None] * n, "colour": [None] * n, "title": [None] * n,
        "tags": tags,
    }, dtype=object)  # fmt: skip
