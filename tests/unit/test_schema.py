"""What a catalog is: the roles of its columns, and defects that are named."""

import pytest
import yaml

from attrgan.errors import SchemaError
from attrgan.schema import RESERVED, Schema

WHOLE = """
entity: product
id: product_id
category: category
text: [title, description]
images: [image]
audio: [clip]
sequences:
  price_history: {columns: {seq_week: time, seq_price: numeric}}
  reviews: {columns: {review_text: text}}
attributes:
  brand:    {kind: open}
  tags:     {kind: categorical, multi: true}
  price:    {kind: numeric, unit: USD, min: 0, tolerance: 0.1, derived_with: [seq_price]}
  neckline: {kind: categorical, applies_to: {category: [Tops, Dresses]}, target_precision: 0.97}
  size_qty: {kind: numeric, derived_with: [size_unit]}
  size_unit: {kind: categorical, mode: suggest}
  size_text: {kind: open, derived_with: [size_unit]}
personal: [user_name]
confidence_level: 0.9
"""


@pytest.fixture
def schema() -> Schema:
    return Schema.parse(yaml.safe_load(WHOLE))


def test_the_schema_of_the_contract_says_the_role_of_every_column(schema):
    assert schema.columns == {
        "product_id": "id", "category": "category", "title": "text", "description": "text", "image": "image",
        "clip": "audio", "seq_week": "sequence", "seq_price": "sequence", "review_text": "sequence",
        "brand": "attribute", "tags": "attribute", "price": "attribute", "neckline": "attribute",
        "size_qty": "attribute", "size_unit": "attribute", "size_text": "attribute",
    }  # fmt: skip
    assert "user_name" not in schema.columns
    assert schema.target("neckline") == 0.97
    assert schema.target("brand") == 0.95


def test_a_saved_schema_is_the_same_schema(schema, tmp_path):
    schema.save(tmp_path / "s.yaml")
    again = Schema.load(tmp_path / "s.yaml")
    assert again == schema
    assert again.hash == schema.hash
    assert list(again.attributes) == list(schema.attributes)


def test_another_promise_is_another_schema(schema):
    other = Schema.parse(yaml.safe_load(WHOLE) | {"target_precision": 0.9})
    assert other.hash != schema.hash
    assert len(schema.hash) == 12


def test_what_gives_one_another_away_is_tied_both_ways_and_through_others(schema):
    together = schema.hidden_together
    assert together["size_qty"] == ("size_qty", "size_unit", "size_text")
    assert together["size_unit"] == ("size_unit", "size_qty", "size_text")
    assert together["price"] == ("price", "seq_price")
    assert together["brand"] == ("brand",)


def test_a_shared_sequence_does_not_tie_two_attributes_together():
    schema = Schema.parse({
        "id": "i",
        "sequences": {"s": {"columns": {"x": "numeric"}}},
        "attributes": {n: {"kind": "numeric", "derived_with": ["x"]} for n in ("a", "b")},
    })  # fmt: skip
    assert schema.hidden_together == {"a": ("a", "x"), "b": ("b", "x")}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"id": None}, "id: "),
        ({"attributes": {}}, "attributes: "),
        ({"colour": 1}, "colour: Extra inputs are not permitted"),
        ({"target_precision": 1}, "target_precision: "),
        (
            {"attributes": {"a": {"kind": "numeric", "values": ["1"]}}},
            "a numeric attribute has neither `multi` nor `values`",
        ),
        ({"attributes": {"a": {"kind": "open", "min": 1}}}, "`min` and `max` belong to numeric attributes"),
        ({"attributes": {"a": {"kind": "open", "mode": "maybe"}}}, "attributes.a.mode"),
        ({"attributes": {"a": {"kind": "numeric", "tolerance": 1}}}, "attributes.a.tolerance"),
        ({"attributes": {"a": {"kind": "open", "derived_with": ["b"]}}}, "'a' is derived_with 'b'"),
        ({"attributes": {"a": {"kind": "open", "applies_to": {"b": ["c"]}}}}, "'a' has applies_to 'b'"),
        ({"attributes": {"product_id": {"kind": "open"}}}, "cannot be an attribute"),
        ({"text": ["title", "a"], "attributes": {"a": {"kind": "open"}}}, "'a' is both text and an attribute"),
        ({"attributes": {"seq_week": {"kind": "numeric"}}}, "'seq_week' is both a sequence and an attribute"),
        ({"personal": ["description"]}, "'description' is personal, and yet text"),
    ],
)
def test_a_defect_is_named_with_its_place(change, says):
    data = yaml.safe_load(WHOLE) | change
    with pytest.raises(SchemaError) as told:
        Schema.parse(data, "my.yaml")
    assert str(told.value).startswith("my.yaml is not a valid schema: ")
    assert says in str(told.value)
    assert "\n" not in str(told.value)


def test_a_category_may_be_an_attribute_too():
    schema = Schema.parse({"id": "i", "category": "c", "attributes": {"c": {"kind": "categorical"}}})
    assert schema.columns == {"i": "id", "c": "attribute"}


def test_the_id_has_a_name_that_no_other_column_of_completions_has():
    from attrgan.completion.complete import ANSWER

    assert {*ANSWER} < RESERVED
    for name in ("value", "number", "row", "run_id"):
        with pytest.raises(SchemaError, match=f"id column cannot be called '{name}'"):
            Schema.parse({"id": name, "attributes": {"a": {"kind": "open"}}})
