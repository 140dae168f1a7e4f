"""The model as MLflow serves it ("models from code"): the script that MLflow copies beside a registered model and runs.

Choices: a row needs only its id, absent columns are unknown cells; types are judged by attrgan's own reading of a
catalog and not by MLflow's signature, which refuses integers where floats stand and columns that are all null.
"""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from mlflow.models import set_model  # noqa: TID253  (only MLflow imports this module)
from mlflow.pyfunc.model import PythonModel, PythonModelContext  # noqa: TID253

from attrgan.completion.complete import to_table
from attrgan.lake.cells import to_frame
from attrgan.model import CompletionModel


class CompletionPyfunc(PythonModel):
    """Completes rows: a frame of items in, the frame of completions out."""

    def load_context(self, context: PythonModelContext) -> None:
        """Loads the model folder that was registered."""
        self.model = CompletionModel.load(Path(context.artifacts["model"]))

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002  (the form MLflow expects)
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> pd.DataFrame:
        """Completes the rows of `model_input`, one per item.

        Returns:
            One row per cell that was unknown: the columns of `completions.parquet` up to `model_version`.

        Raises:
            CatalogError: ids are missing or not unique, or cells have a wrong type.
        """
        schema = self.model.schema
        columns = {name: _array(model_input[name]) for name in schema.columns if name in model_input}
        absent = {name: pa.nulls(len(model_input)) for name in schema.columns if name not in model_input}
        table = pa.table(columns | absent)
        decided = self.model.complete(to_frame(table, schema))
        completions = to_table(decided, schema, table[schema.id], {"model_version": self.model.version})
        return pd.DataFrame(completions.to_pandas())


def _array(column: pd.Series) -> pa.Array:
    """A column of any dtype as Arrow; one of mixed types as strings."""
    values = [None if pd.api.types.is_scalar(v) and pd.isna(v) else v for v in column.tolist()]
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if v is None else str(v) for v in values])


set_model(CompletionPyfunc())
