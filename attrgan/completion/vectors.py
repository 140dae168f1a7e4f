"""One vector per item, for search, near-duplicates and whatever else wants an item as numbers.

The items are read chunk by chunk and written as they come, so memory does not grow with the catalog.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from attrgan.lake.cells import to_frame
from attrgan.lake.rows import Rows

if TYPE_CHECKING:
    from attrgan.model import CompletionModel

CHUNK_ROWS = 5000
"""Rows encoded at a time: their word vectors are what takes the memory."""


def write_vectors(
    model: "CompletionModel", rows: Rows, file: Path, *, id_column: str, cache_place: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> int:  # fmt: skip
    """Writes one row per item, in order: the id as received, `vector` fixed_size_list<float32>[D], `model_version`.

    Args:
        model: whose vectors they are: those of two models do not compare.
        rows: the items.
        file: the Parquet file to write.
        id_column: the column of the ids.
        cache_place: the feature cache; None encodes every item now.
        progress: gets (rows done, rows).

    Returns:
        D, the length of a vector.
    """
    from attrgan.features import cache

    writer, done = None, 0
    for chunk in rows.chunks(size=CHUNK_ROWS):
        frame = to_frame(chunk, model.schema)
        vectors = model.vectors(frame, cache.lookup(frame, model.schema, cache_place))
        part = to_table(vectors, chunk[id_column], id_column, model.version)
        writer = writer or pq.ParquetWriter(file, part.schema)
        writer.write_table(part)
        done += chunk.num_rows
        if progress:
            progress(done, rows.num_rows)
    if writer:
        writer.close()
    return vectors.shape[1]


def to_table(vectors: np.ndarray, ids: pa.ChunkedArray, id_column: str, model_version: str) -> pa.Table:
    """Vectors, float32 (N, D), beside the ids of their items."""
    flat = pa.array(np.ascontiguousarray(vectors).ravel(), pa.float32())
    column = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    version = pa.array([model_version] * len(vectors), pa.string())
    return pa.table({id_column: ids, "vector": column, "model_version": version})
