"""How copied values are written: with the marks that the column counts as theirs, and no others."""

import pandas as pd
import pytest

from attrgan.model import spelling
from attrgan.model.spelling import Spelling, learn
from attrgan.schema import Schema

SCHEMA = Schema.parse(
    {"id": "i", "text": ["t"], "attributes": {n: {"kind": "open"} for n in ("filter", "size", "name")}}
)


def rows(**columns: list[str | None]) -> pd.DataFrame:
    n = len(columns["t"])
    return pd.DataFrame(
        {"i": [str(i) for i in range(n)], "filter": None, "size": None, "name": None} | columns, dtype=object
    )


@pytest.mark.parametrize(
    ("cell", "words", "written"),
    [
        ("Cream SPF 50+, 3 oz", "SPF 50", "SPF 50+"),
        ("Cream SPF 50+++ PA", "SPF 50", "SPF 50+++"),
        ("48 Ounce (3 x 16oz) pack", "48 Ounce (3 x 16oz", "48 Ounce (3 x 16oz)"),
        ("pack (3 x 16oz) new", "3 x 16oz", "3 x 16oz"),
        ("茶（绿）罐", "茶（绿", "茶（绿）"),
        ("No #7 here", "7", "#7"),
        ("x (#7) y", "7", "#7"),
        ("ends with 50", "50", "50"),
        ("the +Queen+ bed", "Queen", "Queen"),
        ("the #Queen+ bed", "Queen", "#Queen+"),
    ],
)
def test_a_value_is_extended_by_its_marks_and_by_the_bracket_it_opened(cell, words, written):
    start = cell.index(words)
    start, end = Spelling(before="#", after="+").extend(cell, start, start + len(words))
    assert cell[start:end] == written


def test_marks_belong_to_values_where_more_values_have_them_than_not():
    titles = ["SPF 50+ A.", "SPF 30+ B.", "SPF 15 C.", "SPF 20+ D."]
    found = learn(rows(t=titles, filter=["SPF 50+", "SPF 30+", "SPF 15", "SPF 20"], name=[*"ABCD"]), SCHEMA)
    assert found["filter"].after == "+"
    assert "." not in found["name"].after


def test_a_mark_on_both_sides_is_a_quotation_and_counts_neither_for_nor_against():
    titles = ['boot 17" high', 'a "plain" boot', 'a "plain" shoe']
    found = learn(rows(t=titles, size=['17"', None, None], name=[None, "plain", "plain"]), SCHEMA)
    assert found["name"].after == '"'
    assert found["name"].extend(titles[1], 3, 8) == (3, 8)


def test_of_a_long_catalog_cells_spread_over_all_of_it_are_looked_at(monkeypatch):
    monkeypatch.setattr(spelling, "CELLS", 3)
    sizes = ["17", *['17"'] * 8, "17"]
    found = learn(rows(t=['boot 17" high'] * 10, size=sizes), SCHEMA)
    assert found["size"].after == ""  # of the first, a middle and the last cell two are without the mark


def test_an_attribute_that_shows_nothing_follows_the_others():
    found = learn(rows(t=['boot 17" high', 'boot 12" high'], size=['17"', '12"']), SCHEMA)
    assert found["filter"].after == '"'


def test_columns_without_texts_or_values_are_written_in_their_own_form():
    schema = Schema.parse({"id": "i", "attributes": {"size": {"kind": "open"}, "colour": {"kind": "categorical"}}})
    found = learn(pd.DataFrame({"i": ["1"], "size": ["L"], "colour": ["red"]}, dtype=object), schema)
    assert found == {"size": Spelling()}
