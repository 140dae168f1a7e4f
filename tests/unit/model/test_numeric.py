"""Scores of a number's bins: they know the order of the bins, and never the number itself."""

import numpy as np
import pytest
import torch

from attrgan.evaluation.calibration import choose_estimate
from attrgan.model.numeric import NumericHead, ranks
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


@pytest.fixture
def head() -> NumericHead:
    torch.manual_seed(0)
    numbers = {name: Numbers.fit(np.linspace(1, 100, 400), 0.05) for name in NAMES}
    edges = torch.stack([torch.from_numpy(n.edges).float() for n in numbers.values()])
    head = NumericHead(SCHEMA, numbers, edges, width=8)
    torch.nn.init.normal_(head.linear)
    return head


def scores(head: NumericHead, numbers: list[float]) -> list[np.ndarray]:
    queries = torch.ones(1, 3, 8)
    found = head(queries, torch.tensor([numbers]), torch.tensor([[not np.isnan(n) for n in numbers]]))
    return [score.detach().numpy()[0] for score in found]


def test_ranks_have_mean_0_and_variance_1_over_the_training_values():
    count = np.array([3, 4] * 30)
    found = np.repeat(ranks(count), count)
    assert found.mean() == pytest.approx(0, abs=1e-6)
    assert found.std() == pytest.approx(1, abs=0.01)
    assert (np.diff(ranks(count)) > 0).all()


def test_a_number_is_scored_by_the_others_but_never_by_itself_or_what_gives_it_away(head):
    before, changed = scores(head, [10.0, 20.0, 30.0]), scores(head, [90.0, 20.0, 30.0])
    np.testing.assert_array_equal(before[0], changed[0])  # its own
    np.testing.assert_array_equal(before[1], changed[1])  # derived with it
    assert not np.allclose(before[2], changed[2])


def test_a_number_that_is_not_visible_says_nothing(head):
    queries, numbers = torch.ones(1, 3, 8), torch.tensor([[10.0, 20.0, 30.0]])
    hidden = torch.tensor([[False, True, True]])
    one, other = (head(queries, n, hidden)[2] for n in (numbers, numbers + torch.tensor([80.0, 0, 0])))
    torch.testing.assert_close(one, other)


def test_the_bell_prefers_bins_near_its_middle(head):
    for free in head.free:
        torch.nn.init.zeros_(free.weight)
        torch.nn.init.zeros_(free.bias)
    torch.nn.init.zeros_(head.bell.weight)
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
