"""How a package size of the source is read: real strings, and laws that hold for any."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.complete_journey.package_size import ALIASES, parse


@pytest.mark.parametrize(
    ("text", "quantity", "unit"),
    [
        ("22 LB", 22, "LB"),
        (".29 OZ", 0.29, "OZ"),
        ("7. OZ", 7, "OZ"),
        ("148.5 SQ FT", 148.5, "SQ FT"),
        ("EX   16 OZ", 16, "OZ"),
        ("300 CT(1)", 300, "CT"),
        ("22 CT344218", 22, "CT"),
        ("750 ML.", 750, "ML"),
        ("3-LB BAG", 3, "LB"),
        ("(600) 4 LB", 4, "LB"),
        ("22515 32 OZ", 32, "OZ"),
    ],
)
def test_the_number_at_the_unit_is_the_quantity(text, quantity, unit):
    assert parse(text) == (quantity, unit)


@pytest.mark.parametrize(
    ("text", "quantity", "unit"),
    [
        ("8 CT/3.5 CM", 8, "CT"),
        ("6 PK/12 OZ", 6, "PK"),
        ("22 Z/8 CT", 22, "OZ"),
        ("6/12 OZ", 12, "OZ"),
        ("10/6.75 OZ", 6.75, "OZ"),
        ("4/16 OZ", 16, "OZ"),
        ("6-12 OZ", 12, "OZ"),
        ("14-18 CT", 18, "CT"),
        ("9 1/2 X 12 IN", 12, "IN"),
    ],
)
def test_of_multipacks_ranges_and_dimensions_the_first_number_at_a_unit_counts(text, quantity, unit):
    assert parse(text) == (quantity, unit)


@pytest.mark.parametrize(
    ("text", "quantity", "unit"),
    [
        ("1/2 GAL", 0.5, "GAL"),
        ("HALF GAL", 0.5, "GAL"),
        ("HLF GAL", 0.5, "GAL"),
        ("10 3/4 OZ", 10.75, "OZ"),
        ("7-3/4 OZ", 7.75, "OZ"),
        ("15 1/16 OZ", 15.0625, "OZ"),
    ],
)
def test_fractions_are_read_where_they_are_written(text, quantity, unit):
    assert parse(text) == (quantity, unit)


@pytest.mark.parametrize(
    ("text", "unit"),
    [("12 FL OZ", "OZ"), ("2 LTR", "L"), ("37 GM", "G"), ("1 DOZ", "DZ"), ("40 LDS", "LOAD"), ("10 STEMS", "STEM")],
)
def test_other_names_of_a_unit_become_one(text, unit):
    assert parse(text)[1] == unit


@pytest.mark.parametrize(
    "text", ["KIT/EACH", "LARGE", "PT", "CTN", "5 LARGE", "SIZE 4", "MENS 7-13", "2.50 DIOPT", "", None]
)
def test_a_size_without_a_number_at_a_unit_is_unknown(text):
    assert parse(text) == (None, None)


def test_nothing_is_judged_here_so_a_stock_number_arrives_as_it_is():
    assert parse("972430  PK") == (972430, "PK")


@given(st.text(max_size=30))
def test_any_text_gives_both_or_neither(text):
    quantity, unit = parse(text)
    assert (quantity is None) == (unit is None)
    assert unit is None or unit in ALIASES
    assert quantity is None or quantity >= 0


@given(st.decimals(0, 99_999, places=2), st.sampled_from([(a, unit) for unit, names in ALIASES.items() for a in names]))
def test_a_plain_quantity_and_unit_come_back(quantity, named):
    alias, unit = named
    assert parse(f"{quantity} {alias.lower()}") == (float(quantity), unit)
