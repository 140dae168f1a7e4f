"""Spans as candidates: which there are, and that a string is one candidate however often it stands in the text."""

import numpy as np
import pandas as pd
import pytest
import torch

from attrgan.features import cache
from attrgan.model.generator import Generator, Hidden, Size
from attrgan.model.inputs import Batch, batch, build
from attrgan.model.sets import NEVER
from attrgan.model.spans import SpanScores, candidates
from attrgan.model.vocabulary import MAX_PHRASE, Vocabulary
from attrgan.schema import Schema

SCHEMA = Schema.parse(
    {"id": "i", "text": ["t", "u"], "attributes": {"v": {"kind": "open"}}, "encoders": {"language": None}}
)


def vocabulary_of(values: list[str]) -> Vocabulary:
    rows = pd.DataFrame({"i": [str(i) for i in range(len(values))], "t": values, "u": None, "v": values}, dtype=object)
    return Vocabulary.fit(rows, cache.encode(rows, SCHEMA), SCHEMA)


def items(vocabulary: Vocabulary, *texts: tuple[str | None, str | None]) -> Batch:
    frame = pd.DataFrame(texts, columns=["t", "u"], dtype=object)
    frame = frame.assign(i=[str(i) for i in range(len(texts))], v=None)
    inputs = build(frame, cache.encode(frame, SCHEMA), vocabulary, ("v",))
    return batch(inputs, np.arange(len(texts)), vocabulary)


@pytest.fixture
def vocabulary() -> Vocabulary:
    return vocabulary_of(["green tea", "mint"])


def test_spans_lie_within_one_text_column(vocabulary):
    one = items(vocabulary, ("new york", "city"))
    there = candidates(one, one.token_mask)[0]
    assert there[:, :3].tolist() == [[True, True, False], [True, False, False], [True, False, False]]


def test_a_span_scores_the_sum_of_its_places(vocabulary):
    """A string that stands three times has the log-sum of three scores, in the place of the first."""
    torch.manual_seed(0)
    scores = SpanScores(1, 8, 0).eval()
    one = items(vocabulary, ("tea a tea b tea", None))
    strings, queries = torch.randn(1, one.word.shape[1], 8), torch.randn(1, 1, 8)
    folded, there = scores(one, strings, one.token_mask, queries)
    one.repeat_row = one.repeat_row[:0]  # as if nothing were the same
    single, _ = scores(one, strings, one.token_mask, queries)
    places = [token * MAX_PHRASE for token in (0, 2, 4)]
    torch.testing.assert_close(folded[0, 0, 0], single[0, 0, places].logsumexp(0))
    assert not there[0, places[1:]].any()
    assert (folded[0, 0, places[1:]] == NEVER).all()
    torch.testing.assert_close(folded.logsumexp(2), single.logsumexp(2))


def test_a_text_that_may_not_be_read_has_no_spans(vocabulary):
    one = items(vocabulary, ("tea tea", None))
    scores, there = SpanScores(1, 8, 0).eval()(one, torch.randn(1, 2, 8), one.token_mask & False, torch.randn(1, 1, 8))
    assert not there.any()
    assert (scores == NEVER).all()


@torch.no_grad()
def test_a_span_that_spells_a_known_value_counts_for_it_unless_that_is_unlisted(vocabulary):
    torch.manual_seed(0)
    generator = Generator(SCHEMA, vocabulary, Size(width=16, heads=2)).eval()
    one = items(vocabulary, ("cold green tea", None))
    known = vocabulary.values["v"].values.index("green tea")
    span = len(vocabulary.values["v"].values) + 1 * MAX_PHRASE + 1

    def logits(**hidden):
        return generator(one, Hidden(torch.zeros(1, 1, dtype=torch.bool), **hidden), torch.zeros(1, 1, 16)).logits["v"][
            0
        ]

    listed, unlisted = logits(), logits(unlisted={"v": torch.tensor([True])})
    assert listed[span] == NEVER < listed[known]
    assert unlisted[known] < NEVER / 2 < unlisted[span]
    assert listed[known] == pytest.approx(float(unlisted[span] + generator.match[0, 1]), abs=1e-4)
