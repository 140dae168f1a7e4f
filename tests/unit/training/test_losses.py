"""The losses of the mission, computed by hand."""

import math

import numpy as np
import pytest
import torch
from small_catalog import SCHEMA, frame

from attrgan.evaluation import hiding
from attrgan.features import cache
from attrgan.model.inputs import batch, build
from attrgan.training import losses


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


REAL, FAKE = [[2.0, -1.0], [0.5, 3.0]], [[-0.3, 9.0], [1.2, 0.0]]
JUDGED = torch.tensor([[True, False], [True, True]])


def test_the_loss_of_d_is_that_of_the_mission():
    expected = np.mean([-math.log(sigmoid(x)) for x in (2.0, 0.5, 3.0)])
    expected += np.mean([-math.log(1 - sigmoid(x)) for x in (-0.3, 1.2, 0.0)])
    assert float(losses.loss_d(torch.tensor(REAL), torch.tensor(FAKE), JUDGED)) == pytest.approx(expected, rel=1e-6)


def test_the_loss_of_g_is_that_of_the_mission():
    expected = np.mean([-math.log(sigmoid(x)) for x in (-0.3, 1.2, 0.0)])
    assert float(losses.loss_g(torch.tensor(FAKE), JUDGED)) == pytest.approx(expected, rel=1e-6)


def test_a_d_that_cannot_tell_loses_two_ln_two():
    zero = torch.zeros(4, 3)
    assert float(losses.loss_d(zero, zero, zero == 0)) == pytest.approx(2 * math.log(2))
    assert float(losses.loss_g(zero, zero == 0)) == pytest.approx(math.log(2))


def test_cells_that_are_not_judged_count_for_nothing():
    other = torch.tensor(FAKE)
    other[0, 1] = -77.0
    assert float(losses.loss_g(other, JUDGED)) == float(losses.loss_g(torch.tensor(FAKE), JUDGED))


def test_extreme_scores_do_not_overflow():
    far = torch.tensor([[1e4, -1e4]])
    assert math.isfinite(float(losses.loss_d(far, far, far != 0)))


def test_the_relativistic_losses_judge_real_and_generated_values_of_the_same_cell():
    real, fake = torch.tensor(REAL), torch.tensor(FAKE)
    pairs = [(2.0, -0.3), (0.5, 1.2), (3.0, 0.0)]
    by_hand = np.mean([-math.log(sigmoid(x - y)) for x, y in pairs])
    assert float(losses.relativistic(real, fake, JUDGED)) == pytest.approx(by_hand, rel=1e-6)
    for_g = np.mean([-math.log(sigmoid(y - x)) for x, y in pairs])
    found = losses.of_generator(lambda v: v.squeeze(-1), real[..., None], fake[..., None], JUDGED, "relativistic")
    assert float(found) == pytest.approx(for_g, rel=1e-6)


def test_a_constant_d_pays_no_gradient_penalty_and_a_linear_one_pays_its_squared_slope():
    values = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(0))
    _, none = losses.gradient_penalty(lambda v: v.sum(-1) * 0 + 7, values, JUDGED)
    assert float(none) == 0
    slope = torch.tensor([1.0, -2.0, 0.5])
    scores, penalty = losses.gradient_penalty(lambda v: v @ slope, values, JUDGED)
    assert float(penalty) == pytest.approx(1 + 4 + 0.25), "each judged cell's score depends on its own value alone"
    torch.testing.assert_close(scores, values @ slope)


def test_the_penalty_moves_d_and_not_what_it_judges():
    critic = torch.nn.Linear(3, 1)
    values = torch.randn(2, 2, 3, requires_grad=True)
    loss, penalty, _ = losses.of_discriminator(
        lambda v: critic(v).squeeze(-1), values, torch.randn(2, 2, 3), JUDGED, "relativistic"
    )
    r1_and_r2 = 2 * critic.weight.square().sum()
    assert float(penalty.detach()) == pytest.approx(losses.PENALTY / 2 * float(r1_and_r2.detach()), rel=1e-5)
    (loss + penalty).backward()
    assert critic.weight.grad.abs().sum() > 0
    assert values.grad is None


def test_the_standard_losses_are_those_of_the_mission_whoever_asks():
    real, fake = torch.tensor(REAL)[..., None], torch.tensor(FAKE)[..., None]
    loss, penalty, rightly = losses.of_discriminator(lambda v: v.squeeze(-1), real, fake, JUDGED, "standard")
    assert float(loss) == float(losses.loss_d(torch.tensor(REAL), torch.tensor(FAKE), JUDGED))
    assert float(penalty) == 0
    assert rightly == pytest.approx((3 / 3 + 2 / 3) / 2)
    found = losses.of_generator(lambda v: v.squeeze(-1), real, fake, JUDGED, "standard")
    assert float(found) == float(losses.loss_g(torch.tensor(FAKE), JUDGED))


def test_a_relativistic_d_is_right_where_the_real_value_scores_higher_and_half_right_in_a_tie():
    real, fake = torch.tensor([[5.0, 1.0, 2.0, 9.0]]), torch.tensor([[7.0, 1.0, -8.0, 0.0]])
    judged = torch.tensor([[True, True, True, False]])
    assert losses.judged_rightly(real, fake, judged, "relativistic") == pytest.approx((0 + 0.5 + 1) / 3)


@pytest.fixture(scope="module")
def tensors(small_model):
    rows = frame(30)
    return batch(build(rows, cache.encode(rows, SCHEMA), small_model.vocabulary), np.arange(30), small_model.vocabulary)


def hidden(names: list[str]) -> losses.Hidden:
    cells = np.zeros((30, len(SCHEMA.attributes)), dtype=bool)
    cells[:, [list(SCHEMA.attributes).index(n) for n in names]] = True
    return losses.hidden_cells(hiding.mask_of(cells, SCHEMA))


def test_only_asked_cells_are_supervised_and_their_target_is_their_value(small_model, tensors):
    model, rows = small_model.generator, frame(30)
    target = losses.targets(tensors, model, hidden(["colour", "price"]).cells).index
    assert all((target[n] == -1).all() for n in ("brand", "neckline", "tags", "quantity", "unit"))
    values = small_model.vocabulary.values["colour"].values
    assert [values[i] for i in target["colour"]] == rows["colour"].tolist()
    numbers = small_model.vocabulary.numbers["price"].value
    np.testing.assert_allclose(numbers[target["price"]], rows["price"])


def test_the_supervised_loss_is_the_mean_negative_log_likelihood_of_the_asked_cells(small_model, tensors):
    mask = hidden(["colour", "price"])
    z = torch.zeros(30, len(SCHEMA.attributes), small_model.generator.size.noise)
    small_model.generator.eval()
    output = small_model.generator(tensors, mask, z)
    target = losses.targets(tensors, small_model.generator, mask.cells)
    total, each, cells = losses.supervised(output, target)
    by_hand = []
    for name in ("colour", "price"):
        chance = output.logits[name].softmax(-1)[torch.arange(30), target.index[name]]
        by_hand.append(float(-chance.log().mean()))
        assert each[name] == pytest.approx(by_hand[-1], rel=1e-4)
    assert float(total) == pytest.approx(np.mean(by_hand), rel=1e-4)
    assert set(each) == {"colour", "price"}
    assert cells == 60


def test_an_unlisted_value_is_to_be_found_where_it_stands_in_the_title(small_model, tensors):
    generator, vocabulary = small_model.generator, small_model.vocabulary
    chances = losses.unlisted_chances(generator, vocabulary, len(tensors), np.random.default_rng(0), rate=1.0)
    mask = hidden(["brand"])
    mask.unlisted = losses.choose_unlisted(tensors, generator, vocabulary, chances)
    assert mask.unlisted["brand"].any()
    right = losses.targets(tensors, small_model.generator, mask.cells, mask.unlisted).index["brand"]
    known = len(small_model.vocabulary.values["brand"].values)
    first_word = known  # the title opens with the brand: token 0, one word
    assert (right[mask.unlisted["brand"]] == first_word).all()


def test_what_g_generates_is_the_embedding_of_one_value_and_passes_the_gradient(small_model, tensors):
    generator, mask = small_model.generator, hidden(["colour"])
    z = torch.zeros(30, len(SCHEMA.attributes), generator.size.noise)
    output = generator(tensors, mask, z)
    values = output.values.detach()
    cells = losses.generated_values(output, generator, small_model.vocabulary, values)
    colour = list(SCHEMA.attributes).index("colour")
    start = sum(generator.value_sizes[: generator.categorical.index("colour")])
    own = values[start : start + generator.value_sizes[generator.categorical.index("colour")]]
    assert torch.cdist(cells[:, colour], own).min(1).values.max() < 1e-3
    cells[:, colour].sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in generator.query.parameters())
    generator.zero_grad(set_to_none=True)
