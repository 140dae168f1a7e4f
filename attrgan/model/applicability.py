"""Applicability learned from blanks: where a category never has an attribute that other categories are full of.

A blank says that nobody knows, not that there is nothing to know. A neckline that is known for 90 % of the dresses and
for none of 412 handbags says more: either necklines do not apply to handbags, or nobody ever fills them in there. In
both cases a model that learned necklines from dresses has nothing to say of a handbag's, and no known cell that could
show it wrong. Such cells are answered with `not_applicable`; nothing is written into them.

The rule, per value c of the schema's category and attribute a, on training rows:

    x ≤ U(k, n) / s,   confidence = 1 − U(k, n) / s

k of the n rows of c know a, U is the one-sided Clopper–Pearson upper bound of that share at `confidence_level`, and s
the share of rows that know a in the categories that use it, where at least half of the rows do. If a applied to a share
x of c's items, and were filled in there as it is elsewhere, s · x of them would know it: so x is bounded, and the
confidence is a lower bound of the share of c's items that a does not apply to. a is taken not to apply to c where the
confidence reaches the attribute's `target_precision`: 0 of 66 where the others know it in 90 %, 2 of 138.

The assumption (*filled in there as elsewhere*) cannot be tested from blanks alone, so the rule stays silent where
- the category's own rows are bare: fewer than two other attributes known in half of them (a catalog with one label per
  row, a feed that fills in nothing), not counting what every row of the catalog comes with;
- the texts of the category name values of the attribute at least half as often as those of the others do: then it is
  only not filled in;
- cells are known to be `n/a`, or `applies_to` says something: then the seller knows, and the model learns it;
- the schema says `applicability: declared`, for all attributes or for one.
Of one item, an answer that stands in its own text prevails over the rule.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.stats import beta

from attrgan.schema import Attribute, Schema

if TYPE_CHECKING:
    from attrgan.model.inputs import Inputs

USED = 0.5
"""Share of its rows from which on a category uses an attribute."""
FILLED_IN = 2
"""Other attributes that the category itself must use."""
EVERYWHERE = 0.95
"""Known in so many rows of the catalog, an attribute comes with the row: that it is there shows no care."""


@dataclass(frozen=True)
class Evidence:
    """Why an attribute is taken not to apply to a category.

    Attributes:
        category: the value of the schema's category.
        known, of: rows of the category that know it, and its rows.
        elsewhere: share of rows that know it in the categories that use it.
        confidence: lower bound of the share of the category's items to which it does not apply.
    """

    category: str
    known: int
    of: int
    elsewhere: float
    confidence: float


Rules = dict[str, dict[str, Evidence]]
"""Attribute → category → why the one is taken not to apply to the other."""


def learn(frame: pd.DataFrame, schema: Schema, named: Mapping[str, np.ndarray] | None = None) -> Rules:
    """The rules that a catalog's rows support.

    Args:
        frame: training rows, from `to_frame`.
        named: attribute → bool (rows,), whether the row's own text names one of its values.
    """
    asked = [name for name, a in schema.attributes.items() if _may_be_learned(name, a, frame, schema)]
    if not asked or schema.category is None:
        return {}
    categories = frame[schema.category]
    known = frame[list(schema.attributes)].notna()
    counts, sizes = known.groupby(categories).sum(), categories.value_counts()
    sizes = sizes.reindex(counts.index)
    used = counts.ge(USED * sizes, axis=0)
    chosen = used.loc[:, known.mean() < EVERYWHERE].drop(columns=schema.category, errors="ignore")
    rules: Rules = {}
    for name in asked:
        if not used[name].any():
            continue
        others = chosen.drop(columns=list(schema.hidden_together[name]), errors="ignore").sum(axis=1) >= FILLED_IN
        spoken = _spoken_of(categories, used[name], (named or {}).get(name))
        found = _found(counts[name], sizes, used[name], schema.target(name), schema.confidence_level)
        found = {category: why for category, why in found.items() if others[category] and not spoken[category]}
        if found:
            rules[name] = found
    return rules


def named_in_text(inputs: "Inputs", rows: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
    """Attribute → bool (rows,): the row's text names one of its values.

    Args:
        inputs: all rows; rows: int64, those looked at; names: the attributes with a vocabulary, in its order.
    """
    found = np.zeros((len(inputs), len(names)), dtype=bool)
    spelled = inputs.matches.loose == 0
    found[inputs.matches.row[spelled], inputs.matches.attribute[spelled]] = True
    return dict(zip(names, found[rows].T, strict=True))


def _may_be_learned(name: str, attribute: Attribute, frame: pd.DataFrame, schema: Schema) -> bool:
    """Whether blanks of this attribute are looked at: not where the seller says, or has said, what applies."""
    category = schema.category
    if category is None or category in schema.hidden_together[name] or attribute.applies_to:
        return False
    if category in schema.attributes and schema.attributes[category].multi:
        return False
    said = (frame[name] == attribute.not_applicable).any()
    return schema.applicability_of(name) == "learned" and attribute.mode != "off" and not said


def _found(
    counts: "pd.Series[int]", sizes: "pd.Series[int]", used: "pd.Series[bool]", target: float, level: float
) -> dict[str, Evidence]:
    elsewhere = float(counts[used].sum() / sizes[used].sum())
    at_most = beta.ppf(level, counts + 1, (sizes - counts).clip(lower=1e-9))
    confidence = 1 - np.where(counts < sizes, at_most, 1.0) / elsewhere
    return {
        str(category): Evidence(str(category), int(k), int(n), round(elsewhere, 4), round(float(c), 4))
        for category, k, n, c in zip(counts.index, counts, sizes, confidence, strict=True)
        if c >= target
    }


def _spoken_of(categories: pd.Series, used: "pd.Series[bool]", named: np.ndarray | None) -> "pd.Series[bool]":
    """Category → whether its texts name values of the attribute half as often as those where it is used, or more."""
    if named is None:
        return pd.Series(False, index=used.index)
    share = pd.Series(named).groupby(categories).mean().reindex(used.index)
    usual = float(named[categories.isin(used.index[used]).to_numpy()].mean())
    return (share >= usual / 2) & (share > 0)


def against(rules: Rules, name: str, frame: pd.DataFrame, schema: Schema, rows: np.ndarray) -> list[Evidence | None]:
    """What speaks against an attribute in some rows of a frame, int64 (n,); None where nothing does."""
    found = rules.get(name)
    if not found or schema.category is None or schema.category not in frame:
        return [None] * len(rows)
    return [found.get(c) if isinstance(c, str) else None for c in frame[schema.category].iloc[rows]]


def contradicted(rules: Rules, frame: pd.DataFrame, schema: Schema) -> dict[str, dict[str, int]]:
    """How often rows that taught no rule speak against them: attribute → `categories`, `of` their rows, `known`."""
    found = {}
    for name, categories in rules.items():
        concerned = frame[schema.category].isin(list(categories))
        known = int(frame.loc[concerned, name].notna().sum())
        found[name] = {"categories": len(categories), "of": int(concerned.sum()), "known": known}
    return found


def to_json(rules: Rules) -> dict[str, Any]:
    """The rules as plain data."""
    return {name: [asdict(why) for why in found.values()] for name, found in rules.items()}


def from_json(data: Mapping[str, Any]) -> Rules:
    """The inverse of `to_json`."""
    return {name: {why["category"]: Evidence(**why) for why in found} for name, found in data.items()}
