"""What verbs read: catalogs as the model works on them, models, the rows a model never used, the cells to hide.

Heavy libraries are imported inside, as in `attrgan.api`, which is the only caller beside benchmarks.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrgan.errors import CatalogError, InputError, ModelError
from attrgan.schema import Schema

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from attrgan.lake.rows import Rows
    from attrgan.model import CompletionModel


def read_table(catalog: str, model: "CompletionModel | None" = None) -> "pa.Table":
    """The rows of a catalog; unreadable rows are bad input, and so is the lack of columns that the model needs."""
    from attrgan.lake.catalog import read_catalog

    found = read_catalog(catalog)
    if found.unreadable:
        first = found.unreadable[0]
        raise CatalogError(
            f"{len(found.unreadable)} rows of {catalog} cannot be read (the first: row {first.row} of {first.file}): "
            "run `attrgan validate` and use its valid.parquet"
        )
    missing = [c for c in model.schema.columns if c not in found.table.column_names] if model else []
    if model and missing:
        there = ", ".join(found.table.column_names[:20])
        raise ModelError(
            f"model {model.version} is of another schema: the schema names {', '.join(map(repr, missing))}, but "
            f"{catalog} has only the columns {there}; correct the catalog, or use a model trained for it"
        )
    return found.table


def open_rows(catalog: str, schema: Schema, model: "CompletionModel | None" = None) -> "Rows":
    """The rows of a catalog, typed, to be gone through chunk by chunk; what is wrong is said as in `read_table`."""
    from attrgan.lake import rows

    return rows.open_rows(catalog, schema, lambda: read_table(catalog, model))


def read_frame(
    catalog: str, schema: Schema, *, keep_deleted: bool = True, model: "CompletionModel | None" = None
) -> "tuple[pa.Table, pd.DataFrame]":
    """A catalog as received and as the model works on it."""
    import pyarrow as pa

    from attrgan.lake.cells import to_frame

    table = read_table(catalog, model)
    if not keep_deleted:
        table = table.filter(pa.array(~deleted_rows(table)))
    return table, to_frame(table, schema)


def deleted_rows(table: "pa.Table") -> Any:
    """bool (rows,): the items that an increment removes."""
    from attrgan.lake.catalog import deleted

    return deleted(table)[0]


def features_of(frame: "pd.DataFrame", schema: Schema, cache_place: str | None) -> "pa.Table":
    """The features of every row, from the cache where there is one."""
    from attrgan.features import cache

    return cache.lookup(frame, schema, cache_place)


def load_model(model: str) -> "tuple[Path, CompletionModel]":
    """A model from a folder or an MLflow URI, and the folder that it was read from."""
    from attrgan import registry

    folder = registry.resolve(model)
    from attrgan.model import CompletionModel

    return folder, CompletionModel.load(folder)


def unused_rows(catalog: str, model: "CompletionModel", folders: list[Path]) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """The rows that none of the models was trained or calibrated on, and those that are left out."""
    import numpy as np

    from attrgan.training.train import was_used

    _, frame = read_frame(catalog, model.schema, keep_deleted=False, model=model)
    used = np.any([was_used(folder, frame[model.schema.id]) for folder in folders], axis=0)
    if used.all():
        raise InputError(
            f"all {len(frame)} rows of {catalog} were used to train or calibrate the model: "
            "bring rows that it has not seen"
        )
    return frame[~used].reset_index(drop=True), frame[used].reset_index(drop=True)


def masks(frame: "pd.DataFrame", schema: Schema, missing: str, rate: float | None) -> list[Any]:
    """The cells to hide: the same for every model, since only frame and seed decide."""
    import numpy as np

    from attrgan.evaluation import hiding

    rng = np.random.default_rng(17)
    if missing not in ("mcar", "mar", "mnar"):
        raise InputError(f"--missing {missing} is not known: expected mcar, mar or mnar")
    if rate is not None and not 0 < rate <= 1:
        raise InputError(f"--rate {rate} is not a share: expected more than 0 and at most 1")
    if rate is None and missing == "mcar":
        return list(hiding.each_once(hiding.known_cells(frame, schema), schema, rng))
    return [hiding.at_rate(frame, schema, rng, rate or 0.3, missing)]  # type: ignore[arg-type]
