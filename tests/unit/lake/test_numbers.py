"""Numbers as catalogs write them: read by the form of their column, written back in it."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from attrgan.lake.numbers import form_of, learn, numbers_of, parse, read_numbers, with_form
from attrgan.schema import Attribute


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1,299.00", 1299), ("1.299,00", 1299), ("1 299,00 €", 1299), ("1\u202f299,50\u00a0€", 1299.5),
        ("$19.99", 19.99),
        ("15.6 in", 15.6), ('15.6"', 15.6), ("15.6''", 15.6), ("15.6″", 15.6), ("39,6 cm", 39.6), ("512MB", 512),
        ("1/2", 0.5), ("3-1/4 in", 3.25), ("10 3/4 OZ", 10.75), ("½", 0.5), ("1½ in", 1.5), ("１２", 12), ("٣", 3),
        ("١٬٢٩٩٫٥٠", 1299.5), ("≈ 20", 20), ("ca. 20", 20), ("约20", 20), ("-5", -5), ("−5", -5), ("-$5", -5),
        ("$-5", -5),
        ("€ 5,-", 5), ("US$ 5", 5), ("R$ 5,50", 5.5), ("5 kr.", 5), ("USD 12", 12), ("1’299.50", 1299.5),
        ("1.299.000", 1299000), ("12,34,567.00", 1234567), ("1e3", 1000), (" 7 ", 7), (".5", 0.5), ("0,750", 0.75),
        ("\u200e5\u00a0€", 5), ("3千克", 3), ("￥1299", 1299), ("25 m²", 25),
    ],
)  # fmt: skip
def test_one_number_in_any_usual_form(text, number):
    cell = parse(text)
    assert cell is not None
    assert cell.value == number
    assert cell.other is None


@pytest.mark.parametrize(
    "text",
    [
        "10–12", "10-12", "10 x 20 x 5 cm", "9 X 14 IN", "5+", "8 CT/3.5 CM", "6/12 OZ", "35-44", "10:30",
        "2024-01-01",
        "+49 30 1234567", "48-22-8432", "i7", "p12", "ABC 12", "12 34", "1.29.9", "1,2,3", "0x10", "1_000", "--1",
        "five",
        "nan", "inf", "True", "", " ", "$", "10²", "1e999", "9" * 65, "1 " * 32, "$5 USD", "٣٣٣٣x٣",
    ],
)  # fmt: skip
def test_ranges_dimensions_codes_and_words_are_not_one_number(text):
    assert parse(text) is None


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["1.299", "19,90"], [1299, 19.9]),
        (["1.299", "19.90"], [1.299, 19.9]),
        (["1,299", "19.90"], [1299, 19.9]),
        (["1,299", "1.250,5"], [1.299, 1250.5]),
        (["1.299", "1.299.000"], [1299, 1299000]),
        (["1,299", "2,499"], [1299, 2499]),
        (["1.299 €", "2.499 €"], [1299, 2499]),
        (["1.299", "2.499"], [1.299, 2.499]),
        (["1.299 kg", "2.499 kg"], [1.299, 2.499]),
        (["1.299", "1,5", "2,5", "3.5"], [1299, 1.5, 2.5, 3.5]),
    ],
)
def test_the_column_decides_what_a_cell_leaves_in_doubt(cells, numbers):
    form = learn(cells)
    assert [form.read(c) for c in cells] == numbers


@pytest.mark.parametrize(
    ("unit", "cells", "numbers"),
    [
        ("GB", ["512MB", "1 TB", "8 gb", "16"], [0.512, 1000, 8, 0.016]),
        ("GB", ["1 GiB"], [1.073741824]),
        ("cm", ["15.6 in", '14"', "39,6 cm", "1 Zoll", "1英寸"], [39.624, 35.56, 39.6, 2.54, 2.54]),
        ("in", ["15.6", "14", "39.624 cm"], [15.6, 14, 15.6]),
        ("ml", ["16 FL OZ", "16 OZ", "1 l"], [473.176473, 473.176473, 1000]),
        ("g", ["1 kg", "1 LB", "500克", "2 oz"], [1000, 453.59237, 500, 56.69904625]),
        ("h", ["90 min", "2 hours"], [1.5, 2]),
        ("kW", ["1500 W", "2 KW"], [1.5, 2]),
        ("GHz", ["3200 MHZ", "3.2 GHz"], [3.2, 3.2]),
        ("USD", ["$5", "5 USD", "USD 6"], [5, 5, 6]),
        ("CNY", ["1299元", "¥5"], [1299, 5]),
        ("piece", ["3 pcs", "4 pcs"], [3, 4]),
    ],
)
def test_cells_are_converted_to_the_unit_of_the_schema(unit, cells, numbers):
    form = learn(cells, unit)
    np.testing.assert_allclose([form.read(c) for c in cells], numbers, rtol=1e-9)


def test_without_a_unit_in_the_schema_the_most_frequent_one_counts():
    form = learn(["10 cm", "20 cm", "1 m", "1 kg", "30"])
    np.testing.assert_equal([form.read(c) for c in ["10 cm", "1 m", "1 kg", "30"]], [10, 100, np.nan, 30])


@pytest.mark.parametrize(
    ("unit", "cell", "others"), [("USD", "5 €", ["$5"] * 3), ("GB", "5 cm", ["5 GB"]), (None, "5 so", ["5"] * 30)]
)
def test_what_is_in_no_unit_of_the_attribute_is_no_number_of_it(unit, cell, others):
    assert math.isnan(learn([cell, *others], unit).read(cell))


def test_an_example_in_the_schema_decides_where_the_cells_do_not():
    form = learn(["1.299", "20"], "EUR", "1.299,00 €")
    assert form.read("1.299") == 1299
    assert form.write(1299.5) == "1.299,50 €"
    assert learn(["1.299"], None, "1299.00").read("1.299") == 1.299
    assert learn([], "cm", "15.6 in").read("10") == 25.4


@pytest.mark.parametrize(
    ("cells", "unit", "number", "written"),
    [
        (["1.299,00 €", "19,90 €"], None, 2500.5, "2.500,50 €"),
        (["$1,299", "$20", "$3.50"], "USD", 5.5, "$5.50"),
        (["$1,299", "$20", "$3.50"], "USD", 5, "$5"),
        (["19.90", "5.00"], None, 1299, "1299.00"),
        (["15.6 in", "14 in"], "cm", 33.782, "13.3 in"),
        (["512MB", "256MB", "1 TB", "2 TB"], "GB", 1000, "1 TB"),
        (["512MB", "256MB", "1 TB", "2 TB"], "GB", 0.3, "300MB"),
        (["2019", "1998"], None, 2024, "2024"),
        (["1,200 W", "800 W"], "W", 1500, "1,500 W"),
        (["3-1/4 in", "1/2 in", "2 in"], "in", 2.75, "2-3/4 in"),
        (["3 1/4 in", "1 1/2 in", "2 in"], "in", 2.0, "2 in"),
        (["1.5k", "20k"], None, 2500, "2.5k"),
        (["１２", "３"], None, 45, "４５"),
        (["١٬٢٩٩٫٥٠", "٣٫٢٥"], None, 2500.5, "٢٬٥٠٠٫٥٠"),
        (["1\u202f299,50\u00a0€"], None, 2500.5, "2\u202f500,50\u00a0€"),
        (["1299元", "899元"], "CNY", 5, "5元"),
        (["-$5.00", "$7.00"], "USD", -6, "-$6.00"),
        (["≈ 20", "30", "40"], None, 20, "20"),
        ([None, None], None, 2.5, "2.5"),
    ],
)
def test_a_number_is_written_like_the_other_cells_of_its_column(cells, unit, number, written):
    assert learn(cells, unit).write(number) == written


FORMS = st.builds(
    lambda *parts: parts,
    st.sampled_from(".,"), st.sampled_from(["", ".", ",", " ", "'", "\u00a0", "\u202f"]), st.integers(0, 4),
    st.sampled_from([("", ""), ("$", ""), ("", " €"), ("", "\u00a0€"), ("", "GB"), ("", "元"), ("USD ", "")]),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(FORMS, st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=8), st.integers(-(10**9), 10**9))
@example((",", ".", 0, ("", " €")), [1234], 5678)
def test_what_is_written_is_read_back_within_the_decimals_of_the_column(style, whole, new):
    decimal, thousands, digits, (before, after) = style
    thousands = "" if thousands == decimal else thousands

    def spell(n: int) -> str:
        text = f"{abs(n) / 10**digits:,.{digits}f}".translate({ord(","): thousands, ord("."): decimal})
        return f"{'-' if n < 0 else ''}{before}{text}{after}"

    # a cell of each kind leaves no doubt; without any, no reader could know
    cells = [spell(n) for n in [*whole, 1234567 * 10**digits, 12 * 10**digits + 1]]
    if digits in (0, 3) and not thousands:
        cells.append(f"{before}0{decimal}5{after}")
    form = learn(cells)
    for number in [*(n / 10**digits for n in whole), new / 10**digits]:
        assert math.isclose(form.read(form.write(number)), number, rel_tol=1e-12, abs_tol=0.5 * 10.0**-digits)
    assert [form.read(c) for c in cells[: len(whole)]] == [n / 10**digits for n in whole]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.text(max_size=70), max_size=5), st.text(max_size=20), st.floats(allow_nan=False, allow_infinity=False)
)
@example(["1" * 64], "x", 1e300)
@example(["∞", "Ⅻ", "²", "㉈"], "½", 0.0)
def test_any_text_has_a_form_in_which_any_number_can_be_written(cells, unit, number):
    form = learn(cells, unit or None)
    assert all(isinstance(form.read(c), float) for c in cells)
    assert form.write(number)


def test_a_field_carries_its_form_so_that_slices_are_read_as_the_whole():
    column = pa.array(["1.299", None, "19,90"])
    attribute = Attribute(kind="numeric")
    field = pa.field("price", pa.string())
    field = with_form(field, form_of(field, column, attribute), attribute)
    assert numbers_of(field, column.slice(0, 1), attribute).tolist() == [1299]
    assert form_of(field, column.slice(0, 1), attribute) == learn(column.to_pylist())
    other = Attribute(kind="numeric", unit="cm")
    assert form_of(field, column.slice(0, 1), other) == learn(["1.299"], "cm"), "another schema asks anew"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.none(), st.sampled_from(["1,5", "$5", "7", "x", "1.299", "2 %", ""])), min_size=1))
def test_a_column_is_read_as_its_cells_are(cells):
    form = learn(cells)
    expected = [math.nan if c is None else form.read(c) for c in cells]
    np.testing.assert_equal(read_numbers(pa.array(cells, pa.string()), form), expected)
