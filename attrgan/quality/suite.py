"""The Great Expectations suites that a schema implies, and the reason each of them gives a row.

Four frames are judged, each by its own suite (`attrgan.quality.frames` builds the first three):

- `ids`, the id column of the whole catalog at once: the column exists, no id is null, no id comes twice;
- `rows`, the other rules of a row, in batches: types, ranges, allowed values, aligned lists;
- `figures`, one row of figures about the whole: rows left, share quarantined, null rates. This is the quality gate;
- `drift`, one row of figures about what has changed since training (`attrgan.quality.drift`).

Choices: an expectation about rows carries the quarantine reason in its `meta`, so that suite and quarantine cannot
drift apart. What has no expectation of its own in Great Expectations becomes a column that must be empty (cells of a
wrong type, forbidden members of a list) or a pair of columns that must be equal (numbers of steps), which shows the
offending cells in the Data Docs.
"""

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from attrgan.config import Quality
from attrgan.schema import NOT_APPLICABLE, Schema

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuite

DUPLICATE_ID = "duplicate_id"
NULL_ID = "null_id"
UNREADABLE = "unreadable"
VALID_ROWS = "valid rows"
QUARANTINED = "share of rows quarantined"


def misfits(column: str) -> str:
    """Column of the `rows` frame with the cells of a wrong type, as received."""
    return f"{column}: of a wrong type"


def forbidden(column: str) -> str:
    """Column of the `rows` frame with the members of a list that are not allowed."""
    return f"{column}: not allowed"


def steps(name: str) -> str:
    """Column of the `rows` frame with the number of steps of a sequence column."""
    return f"{name}: steps"


def most_steps(group: str) -> str:
    """Column of the `rows` frame with the most steps of any column of a sequence group."""
    return f"{group}: most steps of the group"


def null_rate(column: str) -> str:
    """Column of the `figures` frame."""
    return f"{column}: null rate"


def id_suite(schema: Schema) -> "ExpectationSuite":
    """The id: there, known, unique over the whole catalog."""
    import great_expectations.expectations as gxe

    return _suite(
        "ids",
        [
            gxe.ExpectColumnToExist(column=schema.id),
            gxe.ExpectColumnValuesToNotBeNull(column=schema.id, meta={"reason": NULL_ID}),
            gxe.ExpectColumnValuesToBeUnique(column=schema.id, meta={"reason": DUPLICATE_ID}),
        ],
    )


def row_suite(schema: Schema) -> "ExpectationSuite":
    """The rules that a row can break by itself."""
    import great_expectations.expectations as gxe

    expectations: list[Any] = [
        gxe.ExpectColumnValuesToBeNull(column=misfits(column), meta={"reason": f"wrong_type:{column}"})
        for column in schema.columns
    ]
    for name, attribute in schema.attributes.items():
        if attribute.min is not None:
            reason = {"reason": f"below_min:{name}"}
            expectations.append(gxe.ExpectColumnValuesToBeBetween(column=name, min_value=attribute.min, meta=reason))
        if attribute.max is not None:
            reason = {"reason": f"above_max:{name}"}
            expectations.append(gxe.ExpectColumnValuesToBeBetween(column=name, max_value=attribute.max, meta=reason))
        reason = {"reason": f"not_allowed:{name}"}
        if attribute.values and attribute.multi:
            expectations.append(gxe.ExpectColumnValuesToBeNull(column=forbidden(name), meta=reason))
        elif attribute.values:
            allowed = [*attribute.values, NOT_APPLICABLE, *attribute.sentinels]
            expectations.append(gxe.ExpectColumnValuesToBeInSet(column=name, value_set=allowed, meta=reason))
    expectations += [
        gxe.ExpectColumnPairValuesToBeEqual(
            column_A=steps(column),
            column_B=most_steps(group),
            ignore_row_if="either_value_is_missing",
            meta={"reason": f"unaligned:{group}"},
        )
        for group, sequence in schema.sequences.items()
        if len(sequence.columns) > 1
        for column in sequence.columns
    ]
    return _suite("rows", expectations)


def gate_suite(quality: Quality, columns: Iterable[str], past: dict[str, float]) -> "ExpectationSuite":
    """The quality gate: what must hold of the catalog as a whole.

    Args:
        quality: the limits.
        columns: the columns whose null rate is known now.
        past: column → null rate so far; columns without one are not judged.
    """
    import great_expectations.expectations as gxe

    expectations: list[Any] = [
        gxe.ExpectColumnValuesToBeBetween(column=VALID_ROWS, min_value=quality.min_valid_rows),
        gxe.ExpectColumnValuesToBeBetween(column=QUARANTINED, max_value=quality.max_quarantine_rate),
    ]
    for column in columns:
        if column in past:
            limit = past[column] + quality.null_rate_tolerance
            if not math.isfinite(limit) or limit >= 1:
                continue
            expectations.append(
                gxe.ExpectColumnValuesToBeBetween(
                    column=null_rate(column), max_value=limit, meta={"column": column, "past": past[column]}
                )
            )
    return _suite("figures", expectations)


def drift_suite(bounds: Mapping[str, tuple[float | None, float | None]]) -> "ExpectationSuite":
    """What must hold of new rows against those of training: figure → the least and the most it may be."""
    import great_expectations.expectations as gxe

    expectations = [
        gxe.ExpectColumnValuesToBeBetween(column=figure, min_value=least, max_value=most)
        for figure, (least, most) in bounds.items()
    ]
    return _suite("drift", expectations)


def _suite(name: str, expectations: list[Any]) -> "ExpectationSuite":
    from great_expectations.core import ExpectationSuite

    return ExpectationSuite(name=name, expectations=expectations)
