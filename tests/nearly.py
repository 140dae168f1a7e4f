"""Are two completions the same, but for rounding? What shares a batch with an item moves its scores by about 1e-7."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

DIGITS = 0.011
"""Evidence gives shares of levels with two digits: the last one may turn."""


def nearly(one: Any, other: Any, within: float = 1e-6) -> bool:
    """Numbers within a tolerance, evidence (a JSON object in a string) within its digits, all else equal."""
    if isinstance(one, float) and isinstance(other, float):
        return (math.isnan(one) and math.isnan(other)) or math.isclose(one, other, rel_tol=1e-5, abs_tol=within)
    if isinstance(one, str) and isinstance(other, str) and one[:1] == other[:1] == "{":
        return nearly(json.loads(one), json.loads(other), DIGITS)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(nearly(one[key], other[key], within) for key in one)
    if isinstance(one, Sequence) and isinstance(other, Sequence) and not isinstance(one, str):
        return len(one) == len(other) and all(nearly(a, b, within) for a, b in zip(one, other, strict=True))
    return bool(one == other)
