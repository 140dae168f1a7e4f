"""attrgan as the comparison runs it: files, training, completion; variants change the schema or an option."""

from pathlib import Path

import pytest

from attrgan.errors import InputError
from attrgan.model import CompletionModel
from attrgan.schema import Schema
from benchmarks import ours, tasks
from benchmarks.sets import SETS


@pytest.mark.parametrize(
    ("variant", "field"), [("no-text", "text"), ("no-sequences", "sequences"), ("no-images", "images")]
)
def test_a_variant_takes_one_level_out_of_the_schema(variant: str, field: str) -> None:
    roles = SETS["livostyle"].schema() | {"sequences": SETS["complete_journey"].schema()["sequences"]}
    without = Schema.parse(ours.SCHEMAS[variant](roles))
    assert getattr(Schema.parse(roles), field)
    assert not getattr(without, field)
    assert without.attributes == Schema.parse(roles).attributes


def test_without_spans_open_attributes_are_closed_ones() -> None:
    roles = SETS["walmart_amazon"].schema()
    assert roles["attributes"]["modelno"] == {"kind": "open"}
    closed = ours.SCHEMAS["no-spans"](roles)["attributes"]
    assert closed["modelno"] == {"kind": "categorical"}
    assert closed["price"] == {"kind": "numeric"}


def test_without_neighbours_nobody_is_evidence(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    indexed = []
    monkeypatch.setattr(ours, "_complete", lambda task, folder, *_: indexed.append(CompletionModel.load(folder).index))
    for variant in (None, ours.NO_NEIGHBOURS):
        ours.run(tasks.load("walmart_amazon", made, 0), variant, {"epochs": 1, "refit": False}, tmp_path / "features")
    assert [bool(index.ids) for index in indexed] == [True, False]


@pytest.mark.parametrize("name", list(SETS))
def test_the_schema_of_every_set_is_a_valid_one(name: str, data: Path) -> None:
    task = tasks.load(name, data, 0)
    assert set(task.schema.columns) <= set(task.train.columns)
    assert list(task.schema.attributes) == list(task.set.kinds)


def test_options_have_the_types_of_the_training() -> None:
    assert ours.parse_options(["epochs=3"]) == {"epochs": 3, "holdout": 0.03}
    given = {"adversarial_weight": 0.5, "holdout": 0.1}
    assert ours.parse_options(["adversarial_weight=0.5", "holdout=0.1"]) == given
    with pytest.raises(InputError, match="--attrgan epochs=many is not an option"):
        ours.parse_options(["epochs=many"])


def test_another_source_has_another_hash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, text in [("model", "a = 1"), ("training", "b = 1")]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.py").write_text(text)
    monkeypatch.setattr(ours.attrgan, "__file__", str(tmp_path / "__init__.py"))
    before = ours.source_hash("model", "training")
    (tmp_path / "training" / "x.py").write_text("b = 2")
    assert ours.source_hash("model", "training") != before
    assert ours.source_hash("model") == ours.source_hash("model")


def test_every_asked_cell_is_answered_with_a_confidence(made: Path, tmp_path: Path) -> None:
    task = tasks.load("walmart_amazon", made, 0)
    found = ours.run(task, None, {"epochs": 1}, tmp_path / "features")
    asked = task.truth.merge(found.answers, on=["product_id", "attribute"], suffixes=("", "_answered"))
    assert len(asked) == len(task.truth)
    assert asked["confidence"].between(0, 1).all()
    assert asked.loc[asked["attribute"] == "price", "value_answered"].map(type).eq(float).all()
    assert set(found.seconds) == {"features", "train", "features_test", "complete"}
    again = ours.run(task, "weight-0", {"epochs": 1}, tmp_path / "features")
    assert found.details["encoded"]["encoded"] > 0
    assert again.details["encoded"]["encoded"] == 0  # the cache is shared
    assert again.details["adversarial"]["weight"] == 0
