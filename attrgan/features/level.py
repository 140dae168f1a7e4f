"""What a level is: one way of looking at an item (its words, its sentence, its picture, its sequences).

Every level is a module of its own with these three functions, listed in `cache.LEVELS`. A level knows no vocabulary and
no other item, so that what it returns is kept by the hash of the cells that it read.
"""

from typing import Protocol

import pandas as pd
import pyarrow as pa

from attrgan.schema import Schema


class Level(Protocol):
    """The interface of a level; the modules satisfy it."""

    def columns(self, schema: Schema) -> list[str]:
        """The columns of the catalog that it reads; none: the level is absent from this catalog."""
        ...

    def version(self, schema: Schema) -> str:
        """What the features depend on besides the cells: the encoder, its options, the order of the columns."""
        ...

    def encode(self, frame: pd.DataFrame, schema: Schema) -> dict[str, pa.Array]:
        """Encodes every row.

        Returns:
            Feature column → large_list array (rows,). An empty list: the item lacks this level. Null: the item could
            not be read this time (a server that does not answer); to be asked again, so the cache does not keep it.
            A level that is absent from the catalog gives empty lists, without loading anything.
        """
        ...
