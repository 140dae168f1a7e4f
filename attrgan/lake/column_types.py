"""The types in which Delta keeps columns: without loss, and fixed by the first commit of a column.

Delta would cast silently and lose what does not fit; here a cast that loses anything is refused.
"""

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
    types = pa.types
    if types.is_null(kind) or types.is_large_string(kind) or types.is_string_view(kind) or types.is_time(kind):
        return pa.string()
    if types.is_dictionary(kind):
        return _storable(kind.value_type)
    if types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return pa.binary()
    if types.is_unsigned_integer(kind):
        return pa.int64()
    if types.is_float16(kind):
        return pa.float32()
    if types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    if types.is_date(kind):
        return pa.date32()
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return pa.list_(_storable(kind.value_type))
    if types.is_struct(kind):
        return pa.struct([pa.field(f.name, _storable(f.type)) for f in kind])
    return kind


def cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """The column in the type of its table; raises pa.ArrowException where a cell does not fit."""
    if column.type == kind:
        return column
    if pa.types.is_string(column.type) and not pa.types.is_string(kind):
        raise pa.ArrowInvalid("text is not turned into another type")
    return pc.cast(column, kind, safe=not pa.types.is_timestamp(kind))
