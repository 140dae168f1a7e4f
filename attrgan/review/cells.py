"""The cells that a warehouse asks people about: what the newest completions say of items as they are now.

Choices:
- An item counts as it stands in its newest partition of `products`; completions of older partitions are history, and
  so are those of items that have been removed.
- What a person is shown of an item comes from `products`: text and the seller's own values. Filled values would be the
  model's opinion of itself, and no other column is read, `personal` ones least of all.
- Ids are compared in the type that `products` has for them: tables whose first rows came later may have another.
- The schema is the one that the newest publish carries in its commit, so that a warehouse explains itself.
"""

import json
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import DeltaTable

from attrgan.config import settings
from attrgan.errors import InputError
from attrgan.lake import tables
from attrgan.lake.catalog import deleted
from attrgan.lake.cells import canonical, canonical_list, members_of
from attrgan.lake.column_types import cast
from attrgan.lake.rows import keys_of
from attrgan.schema import Attribute, Schema


@dataclass(frozen=True)
class Warehouse:
    """The tables under a URL, with the schema of what is in them."""

    url: str
    schema: Schema

    @classmethod
    def open(cls, url: str, schema: str | None = None) -> "Warehouse":
        """Opens a warehouse; `schema` is a file, None: the schema of the newest publish, else of the settings."""
        return cls(url, Schema.load(schema) if schema else _published_schema(url))

    def attributes(self, chosen: str | None) -> list[str]:
        """The chosen attribute, or all of them; raises InputError where there is no such attribute."""
        names = list(self.schema.attributes)
        if chosen is not None and chosen not in names:
            raise InputError(f"--attribute {chosen} is not in the schema: expected one of {', '.join(names)}")
        return names if chosen is None else [chosen]

    @cached_property
    def newest(self) -> pd.DataFrame:
        """The items that there are: key (the id as text) → received id, dt of the newest version."""
        table = self._existing("products").to_pyarrow_dataset()
        marks = [name for name in ("_deleted",) if name in table.schema.names]
        rows = table.to_table(columns=[self.schema.id, tables.DT, *marks])
        found = pd.DataFrame({"id": rows[self.schema.id].to_pylist(), "dt": rows[tables.DT].to_pylist()}, dtype=object)
        found["key"], found["gone"] = [str(i).strip() for i in found["id"]], deleted(rows)[0]
        found = found.sort_values("dt", kind="stable").drop_duplicates("key", keep="last")
        return found[~found["gone"]].set_index("key")[["id", "dt"]]

    @cached_property
    def _id_type(self) -> pa.DataType:
        return tables.type_of(self._existing("products"), self.schema.id)

    def items(self, keys: "list[str] | pd.Series[str]") -> pd.DataFrame:
        """Text and the seller's own attributes of these items, index key; unknown cells are None."""
        columns = [c for c, role in self.schema.columns.items() if role in ("category", "text", "attribute")]
        found, keys_found = self._rows("products", list(dict.fromkeys(columns)), keys)
        return found.set_axis(pd.Index(keys_found, name="key"))

    def completions(
        self, columns: list[str], keys: "list[str] | pd.Series[str] | None" = None, status: str | None = None
    ) -> pd.DataFrame:
        """The completions of items as they are now: key, attribute, dt and these columns; of `keys` or of all."""
        if tables.open_table(self.url, "completions") is None:  # no cell was empty on any date
            self._existing("products")  # where nothing was published at all, this says so
            return pd.DataFrame(columns=[tables.DT, "attribute", *columns, "key"], dtype=object)
        found, keys_found = self._rows("completions", ["attribute", *columns], keys, status)
        return found.assign(key=keys_found)

    def values(self, attribute: str) -> set[str]:
        """The values of an attribute, single members of sets, that sellers or the model know."""
        dataset = self._existing("products").to_pyarrow_dataset()
        cells = dataset.to_table(columns=[attribute])[attribute].to_pylist()
        said = self.completions(["value"])
        texts = [own_value(cell, self.schema.attributes[attribute]) for cell in cells]
        texts += said.loc[said["attribute"] == attribute, "value"].tolist()
        known = {text for text in texts if text is not None}
        return {m for text in known for m in members_of(text)} if self.schema.attributes[attribute].multi else known

    def _rows(
        self, name: str, columns: list[str], keys: "list[str] | pd.Series[str] | None", status: str | None = None
    ) -> tuple[pd.DataFrame, np.ndarray]:
        """Rows of a table that belong to the newest version of their item, as Python values, and the items' keys."""
        dataset = self._existing(name).to_pyarrow_dataset()
        present = [c for c in columns if c in dataset.schema.names]
        wanted = ds.field("status") == status if status else None
        if keys is not None:
            ids = self.newest["id"].reindex(pd.unique(pd.Series(keys, dtype=object))).dropna().tolist()
            among = ds.field(self.schema.id).cast(self._id_type).isin(pa.array(ids, self._id_type))
            wanted = among if wanted is None else wanted & among
        read = dataset.to_table(columns=[self.schema.id, tables.DT, *present], filter=wanted)
        found = pd.DataFrame({c: pd.Series(read[c].to_pylist(), dtype=object) for c in (tables.DT, *present)})
        items = np.array(keys_of(cast(read[self.schema.id], self._id_type)), dtype=object)
        for column in set(columns) - set(present):
            found[column] = None
        current = self.newest["dt"].reindex(items).to_numpy() == found[tables.DT].to_numpy()
        return found[current].reset_index(drop=True), items[current]

    def _existing(self, name: str) -> DeltaTable:
        table = tables.open_table(self.url, name)
        if table is None:
            raise InputError(f"no table {name} in {self.url}: `attrgan publish … --warehouse {self.url}` makes it")
        if self.schema.id not in (names := [f.name for f in table.schema().fields]):
            raise InputError(
                f"table {name} in {self.url} has no column {self.schema.id!r}, which the schema names as id, only "
                f"{', '.join(names[:20])}: name the schema it was published with (--schema)"
            )
        return table


def _published_schema(url: str) -> Schema:
    table = tables.open_table(url, "completed")
    if table is None:
        raise InputError(f"no table completed in {url}: `attrgan publish … --warehouse {url}` makes it")
    carried = next((commit["schema"] for commit in table.history(100) if commit.get("schema")), None)
    return (
        Schema.parse(json.loads(carried), f"the newest publish in {url}")
        if carried
        else Schema.load(settings().catalog_schema)
    )


def own_value(cell: Any, attribute: Attribute) -> Any:
    """A seller's cell as `to_frame` has it: a number, or text (`multi`: a sorted JSON list); None: unknown.

    In a column of text, where the attribute was of another kind before, a numeric cell may be none: it is text then.
    """
    if cell is None or cell != cell:  # not-a-number is the only value that is not itself
        return None
    if attribute.kind == "numeric":
        with suppress(TypeError, ValueError):
            return float(cell)
    if attribute.multi:
        return canonical_list(cell) if isinstance(cell, list) else None
    return canonical(cell) or None
