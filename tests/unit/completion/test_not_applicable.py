"""What becomes of a cell whose category speaks against its attribute."""

import copy
import json

import numpy as np
import pandas as pd
import pytest
from small_catalog import SCHEMA, frame

from attrgan.completion.complete import completions
from attrgan.model import CompletionModel
from attrgan.model.applicability import Evidence

WHY = Evidence(category="Kitchen", known=0, of=200, elsewhere=0.9, confidence=0.98)


@pytest.fixture
def model(small_model) -> CompletionModel:
    """A model that has found in its training rows that colours and prices do not apply to the kitchen."""
    changed = copy.copy(small_model)
    changed.applicability = {"colour": {"Kitchen": WHY}, "price": {"Kitchen": WHY}}
    return changed


@pytest.fixture
def silent() -> pd.DataFrame:
    """Items without text, colour and price."""
    return frame(40, seed=9).assign(title=None, description=None, colour=None, price=np.nan)


def test_nothing_is_written_where_the_category_speaks_against_the_attribute(model, silent):
    done = completions(model, silent)
    kitchen = silent.loc[silent["department"] == "Kitchen", "sku"]
    ruled_out = done[done["sku"].isin(kitchen)]
    assert len(ruled_out) == 2 * len(kitchen) > 0
    assert (ruled_out["status"] == "not_applicable").all()
    assert ruled_out[["value", "number", "lower", "upper", "threshold"]].isna().all(axis=None)
    assert (ruled_out["confidence"] == 0.98).all()
    assert (ruled_out["source"] == "generator").all()
    evidence = json.loads(ruled_out["evidence"].iloc[0])["applicability"]
    assert evidence == {"column": "department", "category": "Kitchen", "known": 0, "of": 200, "elsewhere": 0.9,
                        "confidence": 0.98}  # fmt: skip


def test_the_evidence_says_what_would_have_been_answered(model, small_model, silent):
    here, there = completions(model, silent), completions(small_model, silent)
    changed = (here["status"] == "not_applicable").to_numpy() & (there["status"] != "not_applicable").to_numpy()
    for evidence, value in zip(here["evidence"][changed], there["value"][changed], strict=True):
        assert json.loads(evidence)["other_candidates"][0][0] == value
    assert here[~changed].equals(there[~changed])


def test_a_value_that_stands_in_the_items_own_text_prevails(model):
    spoken = frame(40, seed=9).assign(colour=None)
    done = completions(model, spoken)
    assert not (done["status"] == "not_applicable").any()
    assert (done["source"] == "text").mean() > 0.9


def test_an_attribute_of_suggestions_is_reviewed(model, silent):
    colour = SCHEMA.attributes["colour"].model_copy(update={"mode": "suggest"})
    model.schema = SCHEMA.model_copy(update={"attributes": SCHEMA.attributes | {"colour": colour}})
    done = completions(model, silent).query("attribute == 'colour'")
    kitchen = done["sku"].isin(silent.loc[silent["department"] == "Kitchen", "sku"])
    assert (done["status"] == "review").all()
    assert (done["value"][kitchen] == "n/a").all()


def test_the_rules_are_part_of_the_model(model, tmp_path):
    before = model.version
    model.config = dict(model.config)
    model.save(tmp_path)
    loaded = CompletionModel.load(tmp_path)
    assert loaded.applicability == model.applicability
    assert loaded.version != before, "it answers otherwise"


def test_a_model_folder_from_before_there_were_rules_has_none(small_model, tmp_path):
    model = copy.copy(small_model)
    model.config = dict(model.config)
    model.save(tmp_path)
    place = tmp_path / "vocabulary.json"
    strings = json.loads(place.read_text())
    del strings["applicability"]
    place.write_text(json.dumps(strings))
    assert CompletionModel.load(tmp_path).applicability == {}
