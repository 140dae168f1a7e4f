"""The types in which Delta keeps columns: without loss, and fixed by the first commit of a column.

Delta would cast silently and lose what does not fit; here a cast that loses anything is refused.
"""

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc


def stored(schema: pa.Schema, table: pa.Schema | None) -> list[pa.Field]:
    """The fields as they are stored: in the table's type where it has the column, else in a type that Delta knows."""
    known = table.names if table is not None else []
    return [
        pa.field(f.name, table.field(f.name).type if table is not None and f.name in known else _storable(f.type))
        for f in schema
    ]


def _storable(kind: pa.DataType) -> pa.DataType:
    """The type in which Delta keeps a type without loss."""
    return next((kept(kind) for known, kept in _KEPT if any(is_one(kind) for is_one in known)), kind)


def _as(kind: pa.DataType) -> Callable[[pa.DataType], pa.DataType]:
    return lambda _: kind


_types = pa.types
_KEPT: tuple[tuple[tuple[Callable[[pa.DataType], bool], ...], Callable[[pa.DataType], pa.DataType]], ...] = (
    ((_types.is_null, _types.is_large_string, _types.is_string_view, _types.is_time), _as(pa.string())),
    ((_types.is_dictionary,), lambda kind: _storable(kind.value_type)),
    ((_types.is_large_binary, _types.is_fixed_size_binary), _as(pa.binary())),
    ((_types.is_unsigned_integer, _types.is_duration), _as(pa.int64())),
    ((_types.is_float16,), _as(pa.float32())),
    ((_types.is_timestamp,), lambda kind: pa.timestamp("us", kind.tz and "UTC")),  # the instant: Delta knows no zones
    ((_types.is_decimal256,), lambda kind: pa.decimal128(38, min(kind.scale, 38))),
    ((_types.is_date,), _as(pa.date32())),
    (
        (_types.is_list, _types.is_large_list, _types.is_fixed_size_list),
        lambda kind: pa.list_(_storable(kind.value_type)),
    ),
    ((_types.is_struct,), lambda kind: pa.struct([pa.field(f.name, _storable(f.type)) for f in kind])),
)
"""Which types are kept in another one, and in which."""


def cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """The column in the type of its table; raises pa.ArrowException where a cell does not fit."""
    if column.type == kind:
        return column
    if pa.types.is_string(column.type) and not pa.types.is_string(kind):
        raise pa.ArrowInvalid("text is not turned into another type")
    cells = pc.cast(column, kind, safe=not pa.types.is_timestamp(kind))
    numbers = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    if numbers and pa.types.is_boolean(kind) and not cells.cast(column.type).equals(column):
        raise pa.ArrowInvalid("a number other than 0 and 1 is not turned into true or false")
    return cells
