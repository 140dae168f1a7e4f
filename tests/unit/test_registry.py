"""What the registry sends to MLflow: names, parameters, metrics, curves, example and what it never sends."""

from pathlib import Path

import pytest

from attrgan import registry, tracking, tracking_run
from attrgan.errors import ModelError
from attrgan.schema import Schema

SCHEMA = Schema.parse(
    {
        "entity": "shop item",
        "id": "id",
        "category": "department",
        "text": ["title"],
        "sequences": {"history": {"columns": {"prices": "numeric", "notes": "text"}}},
        "attributes": {
            "colour": {"kind": "categorical", "values": ["red"]},
            "tags": {"kind": "categorical", "multi": True},
            "price": {"kind": "numeric", "min": 5},
        },
        "personal": ["e_mail", "seller"],
    }
)


def test_a_registered_model_is_named_after_the_entity() -> None:
    assert tracking.model_name("product") == "attrgan-product"
    assert tracking.model_name("shop item/ü") == "attrgan-shop-item-ü"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:secret@db:5432/mlflow", "postgresql://***@db:5432/mlflow"),
        ("failed: http://u:p@a/ and https://v@b/x", "failed: http://***@a/ and https://***@b/x"),
        ("sqlite:///var/mlflow.db", "sqlite:///var/mlflow.db"),
        ("postgresql://me:pa/ss@db/mlflow", "postgresql://***@db/mlflow"),
        ("postgresql+psycopg2://me:p@s/s@db/mlflow", "postgresql+psycopg2://***@db/mlflow"),
        ("postgresql://db/mlflow?user=me&password=secret", "postgresql://db/mlflow?user=me&password=***"),
        ("https://a:p@ss@b/x", "https://***@b/x"),
        (
            "models:/attrgan-product@champion at http://mlflow:5000/#/models/x@y",
            "models:/attrgan-product@champion at http://mlflow:5000/#/models/x@y",
        ),
    ],
)
def test_credentials_in_an_address_are_masked(text: str, shown: str) -> None:
    assert tracking.masked(text) == shown


def test_parameters_are_flat_and_capped() -> None:
    found = tracking_run.parameters({"size": {"width": 64}, "words": list(range(1000)), "seed": 0, "naïve (a)": "x"})
    assert found["size.width"] == "64"
    assert found["seed"] == "0"
    assert len(found["words"]) == 250
    assert found["words"].endswith("…")
    assert found["naïve _a_"] == "x"
    assert len(tracking_run.parameters({str(i): i for i in range(1000)})) == 200


def test_metrics_are_the_numbers_of_each_attribute() -> None:
    measured = {
        "mean_accuracy": 0.5,
        "seed": 3,
        "adversarial": {"weight": 0.1, "note": "x"},
        "joint": {"rows": 9, "pairs": {"one_by_one": 0.5, "real": None}},
        "attributes": {
            "brand": {"kind": "open", "n": 7, "accuracy": 0.5, "promised_precision": None, "interval": [0, 1]}
        },
    }
    assert tracking_run.metrics(measured, "evaluation/") == {
        "evaluation/mean_accuracy": 0.5,
        "evaluation/adversarial/weight": 0.1,
        "evaluation/joint/rows": 9.0,
        "evaluation/joint/pairs/one_by_one": 0.5,
        "evaluation/n/brand": 7.0,
        "evaluation/accuracy/brand": 0.5,
    }


@pytest.mark.parametrize("name", ["größe", "a//b", "../x", "50%", "a(b)", "."])
def test_any_attribute_name_makes_a_key_that_mlflow_takes(name: str) -> None:
    from mlflow.utils.validation import _validate_metric_name

    for key in tracking_run.metrics({"attributes": {name: {"accuracy": 1.0}}}):
        _validate_metric_name(key)


@pytest.mark.parametrize("lines", [1, 499, 500, 501, 1234])
def test_loss_curves_have_at_most_500_points_and_end_where_training_ended(lines: int) -> None:
    log = [{"epoch": 1, "step": i, "loss_d": float(i), "at": "noon"} for i in range(lines)]
    points = tracking_run.curves(log)
    assert len(points) == (lines if lines <= 500 else len(points)) <= 500
    assert len(points) >= min(lines, 250)
    assert points[-1] == ("training/loss_d", lines - 1.0, lines)
    assert [step for _, _, step in points] == sorted({step for _, _, step in points})


def test_a_curve_that_has_a_point_now_and_then_keeps_them_all() -> None:
    log = [{"step": i, "loss_d": 1.0} if i % 10 else {"epoch": i, "validation_loss": 2.0} for i in range(1, 2001)]
    points = [step for name, _, step in tracking_run.curves(log) if name == "training/validation_loss"]
    assert points == list(range(10, 2001, 10))


def test_the_signature_names_every_column_but_the_personal_ones_and_requires_the_id_alone() -> None:
    inputs = tracking_run.signature(SCHEMA).inputs
    assert inputs.required_input_names() == ["id"]
    assert set(inputs.optional_input_names()) == {"department", "title", "prices", "notes", "colour", "tags", "price"}


def test_the_input_example_is_made_up_in_the_form_of_the_schema() -> None:
    first, second = tracking_run.example(SCHEMA).to_dict("records")
    assert "e_mail" not in first
    assert [first[name] for name in ("colour", "tags", "price")] == [None, None, None]
    assert [second[name] for name in ("colour", "tags", "price")] == ["red", ["example"], 5.0]
    assert (second["prices"], second["notes"]) == ([1.0, 2.0], ["example"])


def test_a_folder_that_is_not_a_model_is_named_with_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model folder at .*nowhere"):
        registry.resolve(str(tmp_path / "nowhere"))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(
        ModelError, match=r"\(model.safetensors, vocabulary.json, schema.yaml, calibration.json, metrics.json missing\)"
    ):
        registry.resolve(str(tmp_path))


@pytest.mark.parametrize("uri", ["models:/", "models:/m-0123456789abcdef", "models:/a@", "models:/a/b", "models:a@b"])
def test_a_malformed_model_uri_is_refused_with_an_example(uri: str) -> None:
    with pytest.raises(ModelError, match="expected models:/attrgan-product@champion"):
        registry._version(None, uri)  # type: ignore[arg-type]
