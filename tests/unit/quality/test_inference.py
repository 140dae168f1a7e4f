"""The first schema: which role each column is given, and why."""

import json

import numpy as np
import pyarrow as pa
import pytest
import yaml
from quality_catalogs import LENIENT, catalog_of

from attrgan.errors import CatalogError
from attrgan.lake.catalog import Catalog
from attrgan.lake.cells import UNTYPED, coerce
from attrgan.quality.inference import infer_schema, to_yaml
from attrgan.quality.validation import validate
from attrgan.schema import Schema

ROWS = 200
COLOURS = ["red", "blue", "green", None]
NOUNS = ["shirt", "coat", "hat", "scarf", "glove"]


def base(**more):
    """An id, a title and a colour for 200 products, and more columns."""
    rng = np.random.default_rng(0)
    colours = [COLOURS[i] for i in rng.integers(0, 4, ROWS)]
    titles = [f"{c or 'plain'} {NOUNS[i % 5]} of wool, number {i}" for i, c in enumerate(colours)]
    return {"product_id": [f"p{i}" for i in range(ROWS)], "title": titles, "colour": colours} | more


def guess(columns):
    return infer_schema(catalog_of(columns))[0]


def untyped(columns):
    """The columns as a CSV file brings them."""
    table = pa.table({n: pa.array([None if v is None else str(v) for v in c], pa.string()) for n, c in columns.items()})
    catalog = catalog_of({n: table[n] for n in table.column_names})
    return Catalog(table.replace_schema_metadata(UNTYPED), catalog.source_file, catalog.source_row)


def test_id_text_and_closed_vocabulary():
    schema = guess(base())
    assert (schema.entity, schema.id, schema.text) == ("product", "product_id", ["title"])
    assert schema.attributes["colour"].kind == "categorical"


def test_numbers_that_are_never_negative_have_a_minimum_and_others_have_none():
    schema = guess(base(price_usd=np.linspace(1, 99, ROWS), delta=np.linspace(-5, 5, ROWS)))
    assert (schema.attributes["price_usd"].min, schema.attributes["price_usd"].unit) == (0, "USD")
    assert schema.attributes["delta"].min is None


def test_many_short_strings_are_an_open_vocabulary():
    brands = [f"brand{i % 90}" for i in range(ROWS)]
    columns = base(brand=brands)
    columns["title"] = [f"{t} by {b}" for t, b in zip(columns["title"], brands, strict=True)]
    schema, comments = infer_schema(catalog_of(columns))
    assert schema.attributes["brand"].kind == "open"
    assert "100% of them stand in the text" in comments["brand"]


def test_codes_that_no_text_has_cannot_be_completed():
    schema, comments = infer_schema(catalog_of(base(serial=[f"X{i * 7919}" for i in range(ROWS)])))
    assert "serial" not in schema.attributes
    assert comments["serial"].startswith("left out: a different value")


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        ([None] * ROWS, "no value in any row"),
        (["same"] * ROWS, "the same value"),
        ([f"2026-01-{1 + i % 28:02d}" for i in range(ROWS)], "date"),
        ([json.dumps({"a": i}) for i in range(ROWS)], "structured"),
        ([{"a": i} for i in range(ROWS)], "structured"),
        ([f"https://shop.example/p/{i}" for i in range(ROWS)], "addresses"),
        ([b"\x00\x01binary"] * ROWS, "neither pictures nor sound"),
    ],
)
def test_what_cannot_be_completed_is_left_out_and_said_so(cells, why):
    schema, comments = infer_schema(catalog_of(base(odd=cells)))
    assert "odd" not in schema.columns
    assert comments["odd"].startswith("left out")
    assert why in comments["odd"]


@pytest.mark.parametrize(
    ("name", "cells", "role"),
    [
        ("photo", [b"\xff\xd8\xff\xe0" + bytes(20)] * ROWS, "image"),
        ("front", [f"img/{i}.jpg" for i in range(ROWS)], "image"),
        ("image_link", [f"https://cdn.example/{i}" for i in range(ROWS)], "image"),
        ("clip", [b"RIFF\x24\x00\x00\x00WAVEfmt "] * ROWS, "audio"),
        ("sound", [f"s3://b/{i}.wav" for i in range(ROWS)], "audio"),
    ],
)
def test_pictures_and_recordings(name, cells, role):
    assert guess(base(**{name: cells})).columns[name] == role


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("contact", [f"person{i}@example.org" for i in range(ROWS)]),
        ("reach", [f"+49 30 1234{i:04d}" for i in range(ROWS)]),
        ("last_name", [f"Name{i}" for i in range(ROWS)]),
        ("手机", [str(13800000000 + i) for i in range(ROWS)]),
    ],
)
def test_personal_data_is_found_by_name_or_by_its_looks(name, cells):
    schema = guess(base(**{name: cells}))
    assert schema.personal == [name]
    assert name not in schema.columns


def test_a_yes_or_no_about_a_telephone_is_not_personal():
    assert guess(base(telephone=["yes", "no"] * (ROWS // 2))).personal == []


def test_lists_that_are_equally_long_in_every_row_are_one_sequence():
    lengths = [i % 4 for i in range(ROWS)]
    schema = guess(
        base(
            seq_week=[None if n == 3 else list(range(n)) for n in lengths],
            seq_price=[None if n == 3 else [1.5] * n for n in lengths],
            seq_kind=[None if n == 3 else ["sale"] * n for n in lengths],
            other=[[1.0] * (i % 7) for i in range(ROWS)],
        )
    )
    kinds = {"seq_week": "time", "seq_price": "numeric", "seq_kind": "categorical"}
    assert schema.sequences["seq"].columns == kinds
    assert schema.sequences["other"].columns == {"other": "numeric"}


def test_lists_of_strings_without_repetition_are_multi():
    schema = guess(base(tags=[["new"], ["new", "sale"], [], None] * (ROWS // 4)))
    assert schema.attributes["tags"].multi


def test_a_category_is_chosen_by_its_name():
    category = [NOUNS[i % 5] for i in range(ROWS)]
    schema, comments = infer_schema(catalog_of(base(type=category, category=category)))
    assert schema.category == "category"
    assert "category: category  # its name says so" in to_yaml(schema, comments)


def quantities():
    """Sizes as text, and parsed from it a quantity and a unit; a third of all three is missing."""
    sizes = [None if i % 3 == 0 else f"{10 * (1 + i % 8)} {['OZ', 'LB'][i % 2]}" for i in range(ROWS)]
    return {
        "size": sizes,
        "size_qty": [None if s is None else float(s.split()[0]) for s in sizes],
        "size_unit": [None if s is None else s.split()[1] for s in sizes],
    }


def test_columns_parsed_from_one_source_are_derived_with_each_other():
    together = guess(base(**quantities())).hidden_together
    assert set(together["size_qty"]) == {"size", "size_qty", "size_unit"}
    assert together["colour"] == ("colour",)


def test_a_quantity_belongs_to_its_unit():
    columns = quantities()
    del columns["size"]
    columns["size_qty"] = [None if q is None else q + i for i, q in enumerate(columns["size_qty"])]
    assert guess(base(**columns)).attributes["size_qty"].derived_with == ["size_unit"]


def test_a_column_that_is_known_where_the_other_is_missing_is_a_clue_and_not_derived():
    code = [i % 5 for i in range(ROWS)]
    columns = {"make": [NOUNS[c] for c in code], "maker_code": [None if i % 2 else f"m{c}" for i, c in enumerate(code)]}
    schema = guess(base(**columns))
    assert schema.attributes["make"].derived_with == schema.attributes["maker_code"].derived_with == []


def test_columns_that_are_always_there_but_say_little_of_each_other_are_not_derived():
    columns = {
        "make": [NOUNS[i % 5] for i in range(ROWS)],
        "season": [["summer", "winter"][i % 2] for i in range(ROWS)],
    }
    schema = guess(base(**columns))
    assert schema.attributes["make"].derived_with == schema.attributes["season"].derived_with == []


def test_the_same_amount_in_two_currencies_is_derived():
    usd = [None if i % 4 == 0 else 5.0 + i for i in range(ROWS)]
    eur = [None if u is None else round(0.9 * u, 2) for u in usd]
    assert guess(base(price_usd=usd, price_eur=eur)).attributes["price_eur"].derived_with == ["price_usd"]


def test_chinese():
    brands = ["戴尔", "惠普", "联想", "华硕"]
    schema = guess(
        {
            "编号": list(range(ROWS)),
            "标题": [f"{brands[i % 4]}轻薄笔记本电脑第{i}款商务办公学生便携手提十五英寸" for i in range(ROWS)],
            "品牌": [brands[i % 4] for i in range(ROWS)],
            "类别": [["商务本", "轻薄本"][i // 3 % 2] for i in range(ROWS)],
        }
    )
    assert (schema.id, schema.text, schema.category, schema.entity) == ("编号", ["标题"], "类别", "product")
    assert schema.attributes["品牌"].kind == "categorical"


def test_csv_is_typed_by_its_values():
    schema, _ = infer_schema(untyped(base(price=np.arange(ROWS) + 0.5, zip=[f"0{i % 9}123" for i in range(ROWS)])))
    assert schema.attributes["price"].kind == "numeric"
    assert schema.attributes["zip"].kind == "categorical"


@pytest.mark.parametrize(
    ("cells", "unit", "example"),
    [
        ([f"${i * 37 % 2000 + 0.5:,.2f}" for i in range(ROWS)], "$", "$1,036.50"),
        ([f"1.{i + 100},{i % 10}0 €" if i % 3 else f"{i},50 €" for i in range(ROWS)], "EUR", "1.101,10 €"),
        ([f"{[128, 256, 512][i % 3]}GB" if i % 4 else "1 TB" for i in range(ROWS)], "GB", "256GB"),
        ([f"{10 + i % 7}.{i % 3} in" for i in range(ROWS)], "in", "10.0 in"),
        ([f"{1 + i % 5} Stück" for i in range(ROWS)], "Stück", "1 Stück"),
    ],
)  # fmt: skip
def test_numbers_that_people_wrote_are_numeric_with_their_unit_and_an_example(cells, unit, example):
    schema, comments = infer_schema(untyped(base(size=cells)))
    attribute = schema.attributes["size"]
    assert (attribute.kind, attribute.unit, attribute.format) == ("numeric", unit, example)
    assert coerce(untyped(base(size=cells)).table, schema)[1] == {}
    assert "quarantined" not in comments["size"]


def test_a_few_cells_that_are_no_numbers_are_counted_in_the_comment():
    cells = ["10–12 cm" if i == 7 else f"{i} cm" for i in range(ROWS)]
    schema, comments = infer_schema(catalog_of(base(size=cells)))
    assert schema.attributes["size"].unit == "cm"
    assert "1 of 200 cells are no such numbers: their rows will be quarantined" in comments["size"]


@pytest.mark.parametrize(
    "cells",
    [
        [f"i{i % 4 * 2 + 3}" for i in range(ROWS)],
        [f"0{i % 9}123 kg" for i in range(ROWS)],
        [f"{i % 9 * 10}-{i % 9 * 10 + 9}" for i in range(ROWS)],
        [f"{3 + i % 5}{'rd' if i % 5 == 0 else 'th'}" for i in range(ROWS)],
        [f"{32 + i % 4}{'ABCD'[i % 4]}" for i in range(ROWS)],
    ],
)
def test_codes_ranges_and_sizes_with_letters_are_no_numbers(cells):
    assert guess(base(size=cells)).attributes["size"].kind != "numeric"


@pytest.mark.parametrize("name", ["model_year", "seen"])
def test_years_are_right_only_when_exact(name):
    attribute = guess(base(**{name: [1998 + i % 27 for i in range(ROWS)]})).attributes[name]
    assert (attribute.tolerance, attribute.min, attribute.max) == (0, 1900, 2100)


def test_prices_of_about_two_thousand_are_no_years():
    assert guess(base(price=[1998.5 + i % 27 for i in range(ROWS)])).attributes["price"].tolerance == 0.05


def test_what_slipped_into_a_column_is_pointed_out():
    cells = [float(1 + i % 30) for i in range(2 * ROWS)]
    columns = {n: c + c for n, c in base().items()} | {
        "product_id": list(range(2 * ROWS)),
        "size": [*cells[:-1], 972430.0],
    }
    assert "99% are at most 30: a `max`" in infer_schema(catalog_of(columns))[1]["size"]


def test_dimensions_stay_text_and_the_comment_says_what_would_be_better():
    cells = [f"{10 + i % 5} x {20 + i % 4} x {i % 3 + 1} cm" for i in range(ROWS)]
    schema, comments = infer_schema(catalog_of(base(size=cells)))
    assert schema.attributes["size"].kind == "open"
    assert "a numeric column for each would be predicted better" in comments["size"]


def test_sizes_in_units_that_are_not_one_another_stay_text_and_the_comment_says_what_would_be_better():
    cells = [f"{1 + i % 40} {['OZ', 'CT', 'Oz.'][i % 3]}" for i in range(ROWS)]
    schema, comments = infer_schema(catalog_of(base(size=cells)))
    assert schema.attributes["size"].kind != "numeric"
    assert "units that are not one another (OZ, CT)" in comments["size"]


def test_a_unit_in_brackets_behind_the_name_is_the_unit():
    attributes = guess(
        base(**{"weight (kg)": np.linspace(0, 9, ROWS), "长度（厘米）": np.linspace(3, 9, ROWS)})
    ).attributes
    assert (attributes["weight (kg)"].unit, attributes["长度（厘米）"].unit) == ("kg", "厘米")


def test_five_rows_and_sixty_columns():
    columns = {"sku": [1, 2, 3, 4, 5], "a": [1.5, 2.0, None, 4.0, 5.5]} | {
        f"c{i}": ["x", "y", "x", None, "x"] for i in range(60)
    }
    schema = guess(columns)
    assert schema.id == "sku"
    assert len(schema.attributes) == 61


def test_numbers_ending_in_id_only_by_chance_are_not_ids():
    columns = {
        "paid": list(range(ROWS)),
        "item_id": [f"i{i % 199}" for i in range(ROWS)],
        "colour": ["a", "b"] * (ROWS // 2),
    }
    assert guess(columns).id == "item_id"


def test_an_id_may_have_defects_if_its_name_says_that_it_is_one():
    schema, comments = infer_schema(catalog_of({"sku": [1, 2, 2, None, 5, 6], "colour": list("aabbaa")}))
    assert schema.id == "sku"
    assert comments["sku"] == "id: 4 different values in 6 rows; `attrgan validate` sets the other rows aside"


def test_a_catalog_without_an_id_is_bad_input():
    with pytest.raises(CatalogError, match="can be the id: expected one with a different value in every row"):
        guess({"radius": [1.5, 2.5, 1.5], "colour": ["a", "b", "a"]})


def test_a_catalog_with_nothing_to_complete_is_bad_input():
    with pytest.raises(CatalogError, match="no column to complete"):
        guess({"id": [1, 2, 3], "empty": [None] * 3})


def everything():
    return base(
        **quantities(),
        tags=[["new"], ["new", "sale"], [], None] * (ROWS // 4),
        steps=[[1.0] * (i % 3) for i in range(ROWS)],
        email=[f"p{i}@example.org" for i in range(ROWS)],
        empty=[None] * ROWS,
        **{"a: b # c\n{d}": ["on", "off"] * (ROWS // 2), "yes": ["on", "no"] * (ROWS // 2)},
    )


def test_the_yaml_reads_back_as_the_schema_and_says_why():
    schema, comments = infer_schema(catalog_of(everything()))
    text = to_yaml(schema, comments)
    assert Schema.parse(yaml.safe_load(text)) == schema
    for name in everything():
        assert " ".join(comments[name].split()) in text
    assert "# empty: left out: no value in any row" in text


@pytest.mark.parametrize("received", [catalog_of, untyped])
def test_a_catalog_is_valid_by_its_own_guessed_schema(received, tmp_path):
    columns = base(price=np.arange(ROWS) + 0.5, **quantities())
    catalog = received(columns)
    schema, _ = infer_schema(catalog)
    assert coerce(catalog.table, schema)[1] == {}
    assert validate(catalog, schema, tmp_path, LENIENT).counts["quarantined"] == 0
