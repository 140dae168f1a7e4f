"""Which level carried an answer: the same as really withholding it would say."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from small_catalog import OPTIONS, SCHEMA, frame

from attrgan.completion.complete import completions
from attrgan.features import cache
from attrgan.model import CompletionModel
from attrgan.model.attribution import Withheld
from attrgan.model.generator import Hidden, Output
from attrgan.model.inputs import Batch, Inputs, batch
from attrgan.training.train import train

NAMES = list(SCHEMA.attributes)


@pytest.fixture(scope="module")
def items() -> pd.DataFrame:
    return frame(24, seed=5)


@pytest.fixture(scope="module")
def inputs(small_model, items) -> Inputs:
    return small_model.inputs(items, cache.encode(items, SCHEMA))


@pytest.fixture(scope="module")
def tensors(small_model, inputs) -> Batch:
    return batch(inputs, np.arange(len(inputs)), small_model.vocabulary)


@pytest.fixture(scope="module")
def score(small_model, inputs, tensors):
    """A pass; arguments as in Hidden."""

    def one(**hidden) -> Output:
        cells = hidden.pop("cells", torch.zeros(len(tensors), len(NAMES), dtype=torch.bool))
        z = torch.zeros(len(tensors), len(NAMES), small_model.generator.size.noise)
        with torch.inference_mode():
            return small_model.generator.eval()(tensors, Hidden(cells, **hidden), z, small_model.strangers(inputs))

    return one


@pytest.mark.parametrize("name", ["brand", "colour", "neckline", "unit"])
def test_what_is_left_without_a_level_is_what_a_pass_says_that_never_saw_it(small_model, tensors, score, name):
    yes, names = torch.ones(len(tensors), dtype=torch.bool), small_model.vocabulary.values[name].values
    output = score()
    best = output.logits[name][:, : len(names)].topk(2).indices
    asked, every = np.zeros((len(tensors), len(NAMES)), bool), np.arange(len(tensors))
    asked[:, NAMES.index(name)] = True
    with torch.inference_mode():
        left = Withheld(small_model, tensors, output, asked).left(name, every, every, best.numpy())
    hidden = {"sequence": {"groups": {"sales": yes, "reviews": yes}}}
    hidden |= {"language": {"levels": dict.fromkeys(small_model.generator.vectors, yes)}}
    for level, how in hidden.items():
        if level in left:
            torch.testing.assert_close(left[level], score(**how).logits[name].gather(1, best), atol=1e-4, rtol=1e-4)
    silent = score(text=yes).logits[name].gather(1, best) + output.votes[name].gather(1, best)
    torch.testing.assert_close(left["text"], silent, atol=1e-4, rtol=1e-4, msg="neighbours are a level of their own")
    kept = tensors.codes[:, -1].clone()
    tensors.codes[:, -1] = -1  # the department, which is no attribute, so that no pass can be asked to hide it
    nothing = score(cells=yes[:, None].expand(-1, len(NAMES))).logits[name].gather(1, best)
    tensors.codes[:, -1] = kept
    torch.testing.assert_close(left["attributes"], nothing, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(left["attributes"], output.logits[name].gather(1, best), atol=1e-3)


def test_shares_of_what_speaks_for_a_value_add_up_to_one(small_model, items):
    done = completions(small_model, items.assign(colour=None, unit=None, price=np.nan, tags=None, brand=None))
    seen = [json.loads(e).get("levels", {}) for e in done["evidence"]]
    filled = done["status"].isin(["filled", "review"])
    assert all(bool(s) for s, f in zip(seen, filled, strict=True) if f), "what is filled or reviewed says why"
    assert not any(s for s, status in zip(seen, done["status"], strict=True) if status == "abstained")
    for shares in filter(None, seen):
        assert sum(s for s in shares.values() if s > 0) == pytest.approx(1, abs=0.04)
        assert set(shares) <= {"text", "language", "image", "sequence", "attributes", "neighbours"}


def test_a_colour_that_the_title_spells_is_carried_by_the_text(small_model, items):
    done = completions(small_model, items.assign(colour=None)).query("status == 'filled'")
    assert len(done) > 10
    for levels in (json.loads(evidence)["levels"] for evidence in done["evidence"]):
        assert max(levels, key=levels.get) == "text"
        assert levels["text"] > 0.5


def test_an_open_attribute_that_no_training_row_knew_has_no_answer(tmp_path):
    rows = frame(120, seed=2).assign(brand=None)
    train(SCHEMA, rows, cache.encode(rows, SCHEMA), OPTIONS, tmp_path, say=lambda _: None)
    done = completions(CompletionModel.load(tmp_path), rows.head(8), review_confidence=0.0)
    brands = done.query("attribute == 'brand'")
    assert len(brands) == 8
    assert set(brands["status"]) == {"abstained"}
    assert brands["value"].isna().all()


def test_a_closed_vocabulary_of_which_no_training_row_has_a_value_is_no_reason_to_answer(small_model, monkeypatch):
    assert small_model.can_answer("colour")
    listed = small_model.vocabulary.values["colour"]
    monkeypatch.setitem(small_model.vocabulary.values, "colour", replace(listed, counts=listed.counts * 0))
    assert not small_model.can_answer("colour")


def test_an_answer_that_would_have_been_another_without_the_sequence_has_it_as_source(small_model, items):
    silent = items.assign(title=None, description=None, price=np.nan, brand=None, colour=None)
    done = completions(small_model, silent, review_confidence=0.0)
    price = done.query("attribute == 'price'")
    assert set(price["source"]) <= {"generator", "sequence"}
    for source, evidence in zip(done["source"], done["evidence"], strict=True):
        levels = json.loads(evidence).get("levels", {})
        if source in ("sequence", "image"):
            assert max(levels, key=levels.get) == source


def test_cells_that_are_asked_alone_get_the_scores_of_a_pass_that_asks_all(small_model, inputs, tensors, score):
    cells, whole = torch.rand(len(tensors), len(NAMES)) < 0.3, score()
    nothing = Hidden(torch.zeros_like(cells))
    z = torch.zeros(len(tensors), len(NAMES), small_model.generator.size.noise)
    with torch.inference_mode():
        asked = small_model.generator.eval()(tensors, nothing, z, small_model.strangers(inputs), asked=cells)
    for i, name in enumerate(NAMES):
        torch.testing.assert_close(asked.logits[name], whole.logits[name][cells[:, i]], atol=1e-4, rtol=1e-4)
        if name in whole.votes:
            torch.testing.assert_close(asked.votes[name], whole.votes[name][cells[:, i]])
