"""When a blank says that an attribute does not apply, and when it says nothing."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from attrgan.model.applicability import against, from_json, learn, to_json
from attrgan.schema import Schema

ROLES: dict[str, Any] = {
    "id": "sku",
    "category": "kind",
    "text": ["title"],
    "attributes": {
        "kind": {"kind": "categorical"},
        "neckline": {"kind": "categorical"},
        "colour": {"kind": "categorical"},
        "material": {"kind": "categorical"},
        "price": {"kind": "numeric"},
    },
}
SCHEMA = Schema.parse(ROLES)


def described(**attributes: Any) -> Schema:
    """The schema with other descriptions of attributes."""
    changed = {name: ROLES["attributes"][name] | more for name, more in attributes.items()}
    return Schema.parse(ROLES | {"attributes": ROLES["attributes"] | changed})


def shop(bags: int = 200, with_neckline: int = 0, **filled: float) -> pd.DataFrame:
    """Dresses whose sheets are nearly full, and bags; `filled`: attribute → share of the bags that know it."""
    n = 300 + bags
    bag = np.arange(n) >= 300
    share = {"colour": 0.8, "material": 0.7} | filled
    nth = np.where(bag, np.arange(n) - 300, 0)

    def cells(name: str, value: str) -> pd.Series:
        there = np.where(bag, nth < share[name] * bags, np.arange(n) % 10 > 0)
        return pd.Series(np.where(there, value, None), dtype=object)

    neckline = pd.Series(np.where(np.arange(n) % 10 > 0, "V", None), dtype=object)
    neckline[bag & (nth >= with_neckline)] = None
    neckline[bag & (nth < with_neckline)] = "V"
    return pd.DataFrame({
        "sku": [str(i) for i in range(n)], "kind": np.where(bag, "Bag", "Dress"), "title": "thing",
        "neckline": neckline, "colour": cells("colour", "red"), "material": cells("material", "silk"),
        "price": np.where(np.arange(n) % 3 > 0, 9.5, np.nan),
    })  # fmt: skip


def test_what_a_category_never_has_and_the_others_are_full_of_does_not_apply_to_it():
    rules = learn(shop(), SCHEMA)
    assert {name: list(found) for name, found in rules.items()} == {"neckline": ["Bag"]}
    why = rules["neckline"]["Bag"]
    assert (why.known, why.of, why.elsewhere) == (0, 200, 0.9)
    at_most = 1 - 0.05 ** (1 / 200)
    assert why.confidence == pytest.approx(1 - at_most / 0.9, abs=1e-4)


@pytest.mark.parametrize(
    ("bags", "known", "ruled_out"), [(66, 0, True), (65, 0, False), (104, 1, True), (103, 1, False), (200, 20, False)]
)
def test_few_rows_or_a_few_known_cells_are_no_evidence(bags, known, ruled_out):
    assert bool(learn(shop(bags, known), SCHEMA)) == ruled_out


def test_more_is_asked_for_where_more_is_promised():
    assert learn(shop(100), SCHEMA)
    assert not learn(shop(100), described(neckline={"target_precision": 0.99}))


@pytest.mark.parametrize(
    "schema",
    [
        Schema.parse(ROLES | {"applicability": "declared"}),
        described(neckline={"applicability": "declared"}),
        described(neckline={"applies_to": {"kind": ["Dress", "Bag"]}}),
        described(neckline={"mode": "off"}),
        described(neckline={"derived_with": ["kind"]}),
        Schema.parse({name: role for name, role in ROLES.items() if name != "category"}),
    ],
    ids=["switched off", "for one", "applies_to", "mode off", "derived with the category", "no category"],
)
def test_blanks_say_nothing_where_the_schema_says_otherwise(schema):
    assert learn(shop(), schema) == {}


def test_one_attribute_may_be_switched_on_where_the_others_are_off():
    roles = ROLES | {"applicability": "declared"}
    roles["attributes"] = ROLES["attributes"] | {"neckline": {"kind": "categorical", "applicability": "learned"}}
    assert learn(shop(), Schema.parse(roles))


def test_blanks_say_nothing_where_the_seller_writes_what_does_not_apply():
    rows = shop()
    rows.loc[3, "neckline"] = "n/a"
    assert learn(rows, SCHEMA) == {}


def test_blanks_say_nothing_in_a_category_whose_sheets_are_bare():
    bare = shop(material=0.1).assign(price=np.nan)
    assert learn(bare, SCHEMA) == {}, "one other attribute"
    assert learn(bare.assign(price=9.5), SCHEMA) == {}, "what every row comes with shows no care"


def test_blanks_say_nothing_where_the_texts_name_values():
    rows = shop()
    bag = (rows["kind"] == "Bag").to_numpy()
    names = np.arange(len(rows)) % 2 == 0
    assert learn(rows, SCHEMA, {"neckline": names}) == {}, "as often as those of the dresses"
    assert learn(rows, SCHEMA, {"neckline": names & ~bag}), "the dresses' texts alone"


def test_an_attribute_that_no_category_uses_says_nothing():
    rows = shop()
    rows.loc[rows.index % 10 > 2, "neckline"] = None
    assert learn(rows, SCHEMA) == {}, "known for two dresses in ten: a bag would seldom know it either"


def test_a_number_may_not_apply_either():
    rows = shop().assign(price=lambda r: np.where(r["kind"] == "Bag", np.nan, 9.5))
    assert list(learn(rows, SCHEMA)) == ["neckline", "price"]


def test_the_evidence_is_found_by_the_items_category_and_nowhere_else():
    rules = learn(shop(), SCHEMA)
    items = pd.DataFrame({"kind": ["Bag", "Dress", None, "Bag"]})
    found = against(rules, "neckline", items, SCHEMA, np.array([0, 1, 2]))
    assert [bool(f) for f in found] == [True, False, False]
    assert against(rules, "colour", items, SCHEMA, np.array([0])) == [None]
    assert from_json(to_json(rules)) == rules
