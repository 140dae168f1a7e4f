"""The distribution over sets, against all sets written out."""

import itertools

import numpy as np
import pytest
import torch

from attrgan.model.sets import Sets

SEEN = {  # name → candidates, index of n/a, how many training sets have 0, 1, … members, listed sets and how often
    "never empty": Sets(5, -1, (0, 3, 2, 4)),
    "some listed": Sets(5, -1, (0, 3, 2, 4), ((0, 1), (3,), (0, 2, 4)), (2, 3, 2)),
    "sometimes empty": Sets(4, -1, (2, 3, 2), ((), (1,)), (2, 3)),
    "with n/a": Sets(6, 2, (0, 5, 5, 1), ((2,), (0, 1)), (4, 3)),
    "n/a or empty": Sets(3, 0, (2, 5, 1), ((0,),), (1,)),
    "one member at most": Sets(5, 4, (0, 9), ((0,), (4,)), (3, 3)),
    "only ever empty": Sets(2, -1, (7,), ((),), (7,)),
    "nothing but n/a": Sets(1, 0, (0,), ((0,),), (9,)),
    "a single candidate": Sets(1, -1, (0, 4), ((0,),), (4,)),
}


def every_set(rule: Sets) -> torch.Tensor:
    """All sets that have a probability, bool (n, V)."""
    found = [torch.tensor(s) for s in itertools.product([False, True], repeat=rule.candidates)]
    if rule.not_applicable >= 0:
        found = [s for s in found if not s[rule.not_applicable] or s.sum() == 1]
    sets = torch.stack(found)
    is_na = torch.zeros(len(sets), dtype=torch.bool) if rule.not_applicable < 0 else sets[:, rule.not_applicable]
    size = torch.where(is_na, 1, sets.sum(1))
    possible = is_na | ((size <= rule.largest) & ((size > 0) | (rule.sizes[0] > 0)))
    return sets[possible]


def logits_of(rule: Sets, seed: int = 0, scale: float = 1.5) -> torch.Tensor:
    size = rule.candidates + rule.largest + 1 + len(rule.listed)
    return torch.randn(1, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def probabilities(rule: Sets, logits: torch.Tensor, sets: torch.Tensor) -> torch.Tensor:
    return (-rule.negative_log_likelihood(logits.expand(len(sets), -1), sets)).exp()


@pytest.mark.parametrize("name", SEEN)
def test_the_probabilities_of_all_sets_add_up_to_one(name):
    rule = SEEN[name]
    assert rule.possible(every_set(rule)).all()
    assert float(probabilities(rule, logits_of(rule), every_set(rule)).sum()) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SEEN)
def test_the_most_probable_set_is_that_of_all_sets(name, seed):
    rule, logits = SEEN[name], logits_of(SEEN[name], seed)
    sets = every_set(rule)
    probability = probabilities(rule, logits, sets)
    chosen, log_probability = rule.most_probable(logits)
    assert torch.equal(chosen[0], sets[probability.argmax()])
    assert float(log_probability.exp()) == pytest.approx(float(probability.max()), rel=1e-9)


@pytest.mark.parametrize("name", SEEN)
def test_the_share_of_a_member_is_that_of_the_sets_that_hold_it(name):
    rule, logits = SEEN[name], logits_of(SEEN[name])
    sets = every_set(rule)
    expected = probabilities(rule, logits, sets) @ sets.double()
    with torch.inference_mode():
        found = rule.marginals(logits)[0]
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("name", SEEN)
def test_sets_are_drawn_as_often_as_they_are_probable(name):
    rule, logits, n = SEEN[name], logits_of(SEEN[name]), 4000
    random = torch.Generator().manual_seed(1)
    drawn = rule.draw(logits.expand(n, -1), lambda k: torch.rand(n, k, generator=random))
    sets = every_set(rule)
    found = (drawn[:, None] == sets).all(2).double()
    assert (found.sum(1) == 1).all(), "nothing but possible sets is drawn"
    expected = probabilities(rule, logits, sets)
    assert ((found.mean(0) - expected).abs() <= 4.5 * (expected * (1 - expected) / n).sqrt() + 1e-9).all()


def test_without_scores_of_sizes_members_are_independent():
    rule = Sets(5, -1, (1, 1, 1, 1, 1, 1))
    logits = logits_of(rule)
    logits[:, 5:] = 0
    sets, share = every_set(rule), logits[:, :5].sigmoid()
    by_hand = torch.where(sets, share, 1 - share).prod(1)
    np.testing.assert_allclose(probabilities(rule, logits, sets), by_hand, rtol=1e-9)


def test_where_there_is_always_one_member_it_is_a_softmax():
    rule = Sets(5, -1, (0, 9))
    logits = logits_of(rule)
    logits[:, 5:] = 0
    one = torch.eye(5, dtype=torch.bool)
    np.testing.assert_allclose(probabilities(rule, logits, one), logits[0, :5].softmax(0), rtol=1e-9)


def test_where_nothing_is_put_together_it_is_a_softmax_over_the_listed_sets():
    rule = SEEN["some listed"]
    logits = logits_of(rule)
    logits[:, 5:9] = -1e3
    sets = torch.zeros(3, 5, dtype=torch.bool)
    for row, members in zip(sets, rule.listed, strict=True):
        row[list(members)] = True
    by_hand = (sets.double() @ logits[0, :5] + logits[0, 9:]).softmax(0)
    np.testing.assert_allclose(probabilities(rule, logits, sets), by_hand, rtol=1e-9)


def test_an_unlisted_set_is_put_together_and_so_is_one_that_a_single_other_item_has():
    rule = Sets(3, 2, (0, 9, 2), ((0,), (0, 1), (2,)), (6, 2, 1))
    logits = logits_of(rule)
    often, rare, na = torch.tensor([[True, False, False], [True, True, False], [False, False, True]])

    def probability(chosen: torch.Tensor, unlisted: bool | None) -> float:
        mask = None if unlisted is None else torch.tensor([unlisted])
        return float((-rule.negative_log_likelihood(logits, chosen[None], mask)).exp())

    assert probability(often, False) == pytest.approx(probability(often, None))
    assert probability(often, True) < probability(often, False)
    assert probability(rare, True) == probability(rare, False) < probability(rare, None)
    assert probability(na, True) == probability(na, None), "nothing else makes it"
    never_listed = Sets(3, 2, (0, 9, 2), ((0, 1), (2,)), (2, 1))
    without = torch.cat([logits[:, :6], logits[:, 7:]], 1)
    by_hand = float((-never_listed.negative_log_likelihood(without, often[None])).exp())
    assert probability(often, True) == pytest.approx(by_hand)


def test_sets_seen_more_than_once_are_listed_and_so_is_not_applicable():
    cells = [["a"]] * 3 + [["a", "b"]] * 2 + [["b"], ["n/a"], ["stranger", "a"], ["stranger", "a"]]
    assert Sets.fit(cells, ["a", "b", "n/a"]) == Sets(3, 2, (0, 4, 2), ((0,), (0, 1), (2,)), (3, 2, 1))


def test_the_prior_has_the_sets_of_training_and_leaves_room_for_others():
    cells = [["a"], ["a", "b"], ["a", "b", "c"], ["b"], ["a"], ["n/a"], ["n/a"]] * 50
    values = ["a", "b", "n/a", "c"]
    rule = Sets.fit(cells, values)
    counts = np.array([sum(v in cell for cell in cells) for v in values])
    logits = rule.prior(counts)[None].double()
    sets = every_set(rule)
    found = zip(sets, probabilities(rule, logits, sets), strict=True)
    probability = {tuple(np.flatnonzero(s).tolist()): float(p) for s, p in found}
    assert probability[(2,)] == pytest.approx(0.9 * 2 / 7, abs=0.01)
    assert 0.9 * 2 / 7 < probability[(0,)] < 2 / 7 + 0.05
    assert 0.001 < probability[(1, 3)] < 0.05, "a set that nobody has seen"


def test_thousands_of_members_and_extreme_scores_stay_finite():
    rule = Sets(3001, 7, (0, *[1] * 40), ((7,), (1, 2, 3000)), (5, 2))
    for scale in (1.0, 300.0):
        logits = (logits_of(rule, scale=scale)).float().requires_grad_()
        chosen, log_probability = rule.most_probable(logits)
        loss = rule.negative_log_likelihood(logits, chosen)
        assert 0 <= loss.item() <= 1e3
        assert loss.item() == pytest.approx(-log_probability.item(), abs=1e-2)
        loss.sum().backward()
        assert logits.grad.isfinite().all()
