"""The model behind MLflow's signature gives the answers that it gives by itself, whatever form the rows come in."""

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from attrgan.features import cache
from attrgan.lake.cells import to_frame
from attrgan.model import CompletionModel
from attrgan.schema import Schema
from attrgan.tracking_run import served
from attrgan.training.train import Options, train

SCHEMA = Schema.parse(
    {
        "entity": "product",
        "id": "product_id",
        "category": "department",
        "text": ["title"],
        "sequences": {"sales": {"columns": {"weeks": "time", "prices": "numeric"}}},
        "attributes": {
            "colour": {"kind": "categorical"},
            "labels": {"kind": "categorical", "multi": True},
            "price": {"kind": "numeric", "min": 0},
        },
        "personal": ["seller"],
    }
)


def catalog(rows: int) -> pd.DataFrame:
    colours = ["red", "blue", "green"]
    items = [
        {
            "product_id": 100 + i,
            "department": "cups" if i % 2 else "plates",
            "title": f"a {colours[i % 3]} thing",
            "weeks": [1, 2, 3][: i % 4],
            "prices": [2.5, 3.0, 3.5][: i % 4],
            "colour": colours[i % 3] if i % 5 else None,
            "labels": None if i % 4 == 0 else ["new", "sale"][: 1 + i % 2],
            "price": None if i % 3 == 0 else 1 + i % 7,
            "seller": "a person",
        }
        for i in range(rows)
    ]
    return pd.DataFrame(items, dtype=object)


def table_of(frame: pd.DataFrame) -> pa.Table:
    return pa.table({name: pa.array(frame[name].tolist(), from_pandas=True) for name in frame})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model trained for a moment on a catalog with every kind of column."""
    place = tmp_path_factory.mktemp("model")
    frame = to_frame(table_of(catalog(120)), SCHEMA)
    train(SCHEMA, frame, cache.encode(frame, SCHEMA), Options(epochs=1), place, say=lambda line: None)
    return place


@pytest.fixture(scope="module")
def pyfunc(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model as MLflow packs it."""
    place = tmp_path_factory.mktemp("mlflow") / "packed"
    mlflow.pyfunc.save_model(str(place), **served(folder, SCHEMA))
    return place


def answers(completions: pd.DataFrame) -> list[tuple[Any, ...]]:
    columns = ["product_id", "attribute", "value", "confidence", "status"]
    return list(completions[columns].astype({"product_id": str}).itertuples(index=False, name=None))


def test_it_answers_as_the_model_itself(folder: Path, pyfunc: Path) -> None:
    rows = catalog(20)
    model = CompletionModel.load(folder)
    expected = model.complete(to_frame(table_of(rows), SCHEMA))
    found = mlflow.pyfunc.load_model(str(pyfunc)).predict(rows)
    assert answers(found) == answers(expected)
    assert len(found) == int(rows[list(SCHEMA.attributes)].isna().sum().sum())
    assert list(found.columns) == [
        "product_id", "attribute", "value", "number", "lower", "upper", "expected",
        "confidence", "threshold", "status", "source", "evidence", "model_version",
    ]  # fmt: skip
    assert set(found["product_id"]) <= set(rows["product_id"])
    assert set(found["model_version"]) == {model.version}


@pytest.mark.parametrize(
    "form",
    [
        lambda f: f.convert_dtypes(),
        lambda f: f.assign(price=f["price"].astype("float64"), title=f["title"].astype("str")),
        lambda f: f.assign(labels=[v if v is None else np.array(v) for v in f["labels"]]),
        lambda f: f.assign(weeks=[np.array(v) for v in f["weeks"]], prices=[np.array(v) for v in f["prices"]]),
        lambda f: table_of(f).to_pandas(),
        lambda f: table_of(f).to_pandas(types_mapper=pd.ArrowDtype),
        lambda f: f.set_index(f.index + 7)[f.columns[::-1]],
        lambda f: f.assign(product_id=f["product_id"].astype(str)),
    ],
    ids=["nullable", "floats", "array labels", "array sequences", "arrow", "arrow types", "other order", "string ids"],
)
def test_the_form_of_the_frame_changes_nothing(form: Any, folder: Path, pyfunc: Path) -> None:
    rows = catalog(20)
    served_model = mlflow.pyfunc.load_model(str(pyfunc))
    assert answers(served_model.predict(form(rows))) == answers(served_model.predict(rows))


def test_a_column_that_is_all_null_or_absent_is_unknown(pyfunc: Path) -> None:
    served_model = mlflow.pyfunc.load_model(str(pyfunc))
    rows = catalog(6)
    null = served_model.predict(rows.assign(colour=np.nan, labels=None, price=pd.NA))
    absent = served_model.predict(rows.drop(columns=["colour", "labels", "price", "seller"]))
    assert len(null) == 18
    assert answers(null) == answers(absent)
    assert len(served_model.predict(pd.DataFrame({"product_id": [1]}))) == 3


def test_rows_without_an_id_are_refused(pyfunc: Path) -> None:
    with pytest.raises(mlflow.exceptions.MlflowException, match="missing inputs"):
        mlflow.pyfunc.load_model(str(pyfunc)).predict(catalog(2).drop(columns="product_id"))


def test_rows_sent_to_a_scoring_server_as_json_are_completed(pyfunc: Path) -> None:
    from mlflow.pyfunc.scoring_server import _parse_json_data

    served_model = mlflow.pyfunc.load_model(str(pyfunc))
    rows = catalog(8)
    sent = json.dumps({"dataframe_records": json.loads(rows.to_json(orient="records"))})
    parsed = _parse_json_data(sent, served_model.metadata, served_model.metadata.get_input_schema())
    assert answers(served_model.predict(parsed.data)) == answers(served_model.predict(rows))


def test_what_is_packed_names_its_requirements_and_holds_nothing_pickled(pyfunc: Path) -> None:
    requirements = (pyfunc / "requirements.txt").read_text().split()
    assert [r.partition("==")[0] for r in requirements] == ["attrgan", "mlflow", "torch"]
    assert all(r.partition("==")[2] for r in requirements)
    assert not [f for f in pyfunc.rglob("*") if f.suffix in (".pkl", ".pickle", ".pth", ".pt")]
    assert "a person" not in "".join(f.read_text() for f in pyfunc.glob("*.json"))
