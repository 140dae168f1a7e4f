"""Scores of a number's bins: they know the order of the bins, and never the number itself."""

import numpy as np
import pytest
import torch

from attrgan.evaluation.calibration import choose_estimate
from attrgan.model import numeric
from attrgan.model.levels import piecewise
from attrgan.model.numeric import NumericHead, correlations, given
from attrgan.model.vocabulary import Numbers
from attrgan.schema import Schema

SCHEMA = Schema.parse({
    "id": "sku",
    "attributes": {
        "width": {"kind": "numeric", "derived_with": ["height"]}, "height": {"kind": "numeric"},
        "weight": {"kind": "numeric"},
    },
})  # fmt: skip
NAMES = list(SCHEMA.attributes)


def test_numbers_are_read_alike_in_whatever_unit():
    edges, numbers = torch.tensor([[1.0, 2.0, 2.0, 3.0]]), torch.tensor([[1.5], [2.0], [2.1], [float("nan")]])
    for unit in (1e-9, 1e-3, 1e9):
        torch.testing.assert_close(piecewise(numbers * unit, edges * unit), piecewise(numbers, edges))


@pytest.fixture
def head() -> NumericHead:
    torch.manual_seed(0)
    numbers = {name: Numbers.fit(np.linspace(1, 100, 400), 0.05) for name in NAMES}
    edges = torch.stack([torch.from_numpy(n.edges).float() for n in numbers.values()])
    head = NumericHead(SCHEMA, numbers, edges, width=8)
    rng = np.random.default_rng(0)
    learn(head, np.clip(50 + 15 * related(rng, 400), 1, 100))
    return head


def learn(head: NumericHead, numbers: np.ndarray, said: np.ndarray | None = None) -> None:
    head.correlate(head.standardise(numbers), np.full(numbers.shape, np.nan) if said is None else said)


def expect(head: NumericHead, numbers: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    """Of items without text."""
    return head.expected(numbers, visible, torch.full_like(numbers, torch.nan), torch.ones(len(numbers)) > 0)


def related(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Three normal numbers, each a sum of one in common and one of its own: correlations of a half."""
    return (rng.normal(size=(rows, 1)) + rng.normal(size=(rows, 3))) / 2**0.5


def scores(head: NumericHead, numbers: list[float]) -> list[np.ndarray]:
    expected = expect(head, torch.tensor([numbers]), torch.tensor([[not np.isnan(n) for n in numbers]]))
    return [head.scores(i, torch.ones(8), expected[0, i]).detach().numpy() for i in range(3)]


def test_correlations_are_found_although_half_the_numbers_are_missing():
    rng = np.random.default_rng(1)
    scores = torch.from_numpy(related(rng, 20_000))
    known = torch.from_numpy(rng.random(scores.shape) < 0.5)
    found = correlations(torch.where(known, scores, 0.0), known)
    assert found.diagonal().tolist() == pytest.approx([1, 1, 1])
    assert found[0, 1:].tolist() == pytest.approx([0.5, 0.5], abs=0.03)


@pytest.mark.parametrize("seen", [[True, True, True], [False, True, True], [False, False, True], [False, False, False]])
def test_a_number_is_expected_as_the_gaussian_of_the_visible_others_says(seen):
    correlation = torch.tensor([[1, 0.5, 0.2], [0.5, 1, 0.7], [0.2, 0.7, 1]], dtype=torch.float64)
    scores, visible = torch.tensor([[0.3, -1.2, 2.0]], dtype=torch.float64), torch.tensor([seen])
    middle, variance = given(correlation, scores, visible)
    for i in range(3):
        others = [j for j in range(3) if seen[j] and j != i]
        weights = np.linalg.solve(correlation[others][:, others].numpy(), correlation[others, i].numpy())
        assert float(middle[0, i]) == pytest.approx(float(weights @ scores[0, others].numpy()))
        assert float(variance[0, i]) == pytest.approx(1 - float(weights @ correlation[others, i].numpy()))


def test_a_column_of_one_number_or_none_at_all_correlates_with_nothing(head):
    numbers = np.random.default_rng(2).normal(50, 10, (100, 3))
    numbers[:, 0], numbers[:, 1] = 7, np.nan
    learn(head, numbers)
    expected = expect(head, torch.tensor([[7.0, 20.0, 30.0]]), torch.ones(1, 3, dtype=torch.bool))
    assert expected.isfinite().all()
    assert expected[0, :2, 1].exp().tolist() == pytest.approx([1, 1], abs=0.01)


def test_a_number_is_scored_by_the_others_but_never_by_itself_or_what_gives_it_away(head):
    before, changed = scores(head, [10.0, 20.0, 30.0]), scores(head, [90.0, 20.0, 30.0])
    np.testing.assert_array_equal(before[0], changed[0])  # its own
    np.testing.assert_array_equal(before[1], changed[1])  # derived with it
    assert not np.allclose(before[2], changed[2])


def test_a_number_that_is_not_visible_says_nothing(head):
    numbers, hidden = torch.tensor([[10.0, 20.0, 30.0]]), torch.tensor([[False, True, True]])
    one, other = (expect(head, n, hidden)[0, 2] for n in (numbers, numbers + torch.tensor([80.0, 0, 0])))
    torch.testing.assert_close(one, other)


def test_what_a_text_says_of_a_number_moves_it_unless_the_text_is_hidden():
    schema = Schema.parse(SCHEMA.dump() | {"text": ["title"]})
    numbers = {name: Numbers.fit(np.linspace(1, 100, 400), 0.05) for name in NAMES}
    head = NumericHead(schema, numbers, torch.stack([torch.from_numpy(n.edges).float() for n in numbers.values()]), 8)
    rng = np.random.default_rng(0)
    known = np.clip(50 + 15 * related(rng, 400), 1, 100)
    scores = head.standardise(known)
    head.correlate(scores, np.column_stack([scores[:, 0] + rng.normal(size=400), rng.normal(size=(400, 2))]))
    nothing, said = torch.full((1, 3), torch.nan), torch.tensor([[2.0, torch.nan, torch.nan]])
    alone, heard, hidden = (
        head.expected(nothing, nothing > 0, of, torch.tensor([read]))[0]
        for of, read in ((nothing, True), (said, True), (said, False))
    )
    assert alone.tolist() == hidden.tolist() == [[0, 0]] * 3
    assert heard[0, 0] > 0.8
    assert 0 < heard[2, 0] < heard[0, 0]  # by way of what the first number has in common with it
    assert heard[0, 1] < -0.3


def test_how_far_a_text_is_trusted_does_not_depend_on_how_many_rows_know_the_number():
    schema = Schema.parse({"id": "i", "text": ["t"], "attributes": {"n": {"kind": "numeric"}}})
    numbers = {"n": Numbers.fit(np.linspace(1, 100, 400), 0.05)}
    head = NumericHead(schema, numbers, torch.from_numpy(numbers["n"].edges).float()[None], 8)
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(4000, 1))
    said = 0.8 * scores + 0.6 * rng.normal(size=(4000, 1))
    scores[200:], said[200:] = np.nan, rng.normal(size=(3800, 1)) * 0.3  # other items, of which texts say less
    head.correlate(scores, said)
    assert float(head.correlation[0, 1]) == pytest.approx(0.8, abs=0.06)


def test_a_catalog_without_numbers_has_a_head_that_scores_none():
    schema = Schema.parse({"id": "i", "text": ["t"], "attributes": {"v": {"kind": "categorical"}}})
    head = NumericHead(schema, {}, torch.zeros(0, 2), 8)
    learn(head, np.zeros((5, 0)))
    assert expect(head, torch.zeros(4, 0), torch.zeros(4, 0) > 0).shape == (4, 0, 2)


def test_numbers_of_several_blocks_are_expected_each_from_its_own(monkeypatch):
    monkeypatch.setattr(numeric, "BLOCK", 4)
    names = [f"n{i}" for i in range(6)]
    attributes = {n: {"kind": "numeric"} for n in names} | {"n4": {"kind": "numeric", "derived_with": ["n5"]}}
    schema = Schema.parse({"id": "i", "text": ["t"], "attributes": attributes})
    numbers = {name: Numbers.fit(np.linspace(-3, 3, 400), 0.05) for name in names}
    head = NumericHead(schema, numbers, torch.stack([torch.from_numpy(n.edges).float() for n in numbers.values()]), 8)
    rng = np.random.default_rng(0)
    common = rng.normal(size=(3000, 1))
    known = (common + rng.normal(size=(3000, 6))) / 2**0.5
    scores = head.standardise(known)
    head.correlate(scores, (scores + rng.normal(size=scores.shape)) / 2**0.5)
    said = torch.full((1, 6), torch.nan)

    def middle(shown: int, of: int, heard: int | None = None) -> float:
        said_now = said.clone()
        if heard is not None:
            said_now[0, heard] = 2.0
        visible = torch.tensor([[i == shown for i in range(6)]])
        return float(head.expected(torch.full((1, 6), 1.5), visible, said_now, torch.ones(1) > 0)[0, of, 0])

    assert middle(0, of=1) > 0.3  # two numbers with what is said of them are a block
    assert middle(0, of=2) == 0
    assert middle(5, of=4) == 0  # gives it away
    assert middle(5, of=4, heard=4) > 0.8
    assert middle(5, of=4, heard=5) > 0.3


def test_the_bell_prefers_bins_near_its_middle(head):
    for free in head.free:
        torch.nn.init.zeros_(free.weight)
        torch.nn.init.zeros_(free.bias)
    torch.nn.init.constant_(head.start, 2.0)  # narrower than the values as a whole, and not in their middle
    score = scores(head, [float("nan")] * 3)[0]
    best = int(score.argmax())
    assert (np.diff(score[: best + 1]) >= 0).all()
    assert (np.diff(score[best:]) <= 0).all()


def certain(numbers: Numbers, shares: dict[int, float], n: int) -> np.ndarray:
    probability = np.full((n, len(numbers.value)), 1e-6)
    for bin_, share in shares.items():
        probability[:, bin_] = share
    return np.log(probability)


def test_the_likeliest_is_written_where_it_is_right_more_often():
    numbers = Numbers.fit(np.repeat([1.0, 10.0, 100.0, 1000.0], 30), 0.05)
    logits = certain(numbers, {0: 0.4, 1: 0.25, 2: 0.2, 3: 0.15}, 200)
    right = np.random.default_rng(0).choice(4, 200, p=[0.4, 0.25, 0.2, 0.15])
    assert choose_estimate(logits, right, numbers) == "likeliest"


def test_the_median_is_written_where_neither_is_right_more_often():
    numbers = Numbers.fit(np.arange(1.0, 41.0), 0.0)
    shares = dict.fromkeys(range(40), 1 / 40) | {0: 0.026}  # a hair more likely, and far from everything
    right = np.random.default_rng(0).integers(0, 40, 300)
    assert choose_estimate(certain(numbers, shares, 300), right, numbers) == "median"
