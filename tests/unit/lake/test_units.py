"""Units as catalogs write them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attrgan.lake import units


@pytest.mark.parametrize(
    ("text", "target", "size"),
    [
        ("Inches", "cm", 2.54), ('"', "mm", 25.4), ("ft", "in", 12), ("CM", "mm", 10), ("ML", "l", 0.001),
        ("MB", "GB", 0.001),
        ("KiB", "byte", 1024), ("Gb", "GB", 1), ("mW", "W", 0.001), ("MW", "W", 1e6),
        ("mAh", "Ah", 0.001), ("gr", "g", 1),
        ("sq ft", "m2", 0.09290304), ("mm²", "cm2", 0.01), ("公斤", "g", 1000),
        ("дюйма", "cm", 2.54), ("インチ", "cm", 2.54),
        ("بوصة", "cm", 2.54), ("Go", "MB", 1000), ("Packs", "pack", 1), ("元", "CNY", 1), ("$", "AUD", 1),
    ],
)  # fmt: skip
def test_a_unit_in_another(text, target, size):
    assert units.factor(text, target) == pytest.approx(size, rel=1e-9)


@pytest.mark.parametrize(
    ("text", "target"),
    [("cm", "kg"), ("€", "USD"), ("%", "GB"), ("ct", "g"), ("K", "W"), ("loads", "g"), ("m**9999", "m"), ("cm", "")],
)
def test_what_cannot_be_the_other_is_not_converted(text, target):
    assert units.factor(text, target) is None


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30), st.sampled_from(["cm", "GB", "USD", "pack"]))
def test_any_text_may_be_asked_about(text, target):
    found = units.factor(text, target)
    assert found is None or found > 0
