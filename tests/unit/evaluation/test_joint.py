"""Measures of joint completions: each is best for what is true, and says what it should in cases done by hand."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from small_catalog import SCHEMA, frame

from attrgan.evaluation import joint, joint_score, metrics, plots
from attrgan.features import cache
from attrgan.schema import Schema

TABLE = Schema.parse(
    {"id": "i", "attributes": {"a": {"kind": "categorical"}, "x": {"kind": "numeric"}, "b": {"kind": "open"}}}
)


def rows(n: int, rng: np.random.Generator, correlated: bool = True) -> pd.DataFrame:
    """b repeats a, and x is larger where a is v; or all three are drawn by themselves from the same shares."""
    a, other, third = (rng.choice(["u", "v"], n) for _ in range(3))
    x = rng.normal(size=n) + 4 * ((a if correlated else other) == "v")
    return pd.DataFrame({"a": a, "x": x, "b": np.char.upper(a if correlated else third).astype(object)}, dtype=object)


def stack(points: list[joint.Points]) -> joint.Points:
    return joint.Points(*(np.stack([getattr(p, name) for p in points]) for name in ("codes", "numbers", "bins")))


# --- energy score ----------------------------------------------------------------------------------------------------


def numbers(*values: list[float]) -> joint.Points:
    """Points with one number each and nothing else."""
    array = np.array(values)[..., None]
    return joint.Points(np.zeros((*array.shape[:-1], 0), np.int64), array, np.zeros(array.shape, np.int64))


def test_the_energy_score_of_a_case_done_by_hand():
    samples, truth = numbers([1.0], [4.0], [0.0]), numbers([2.0])[0]
    near = (1 + 2 + 2) / 3
    spread = (3 + 1 + 4) / (3 * 2)  # each pair counts twice in the double sum, and half of it is taken
    assert joint.energy_score(samples, truth) == pytest.approx([near - spread])


def test_two_values_that_differ_are_one_apart_and_a_number_is_one_apart_from_none():
    space = joint.Space(TABLE, rows(200, np.random.default_rng(0)))
    one = space.points(pd.DataFrame({"a": ["u"], "x": [np.nan], "b": ["U"]}))
    for changed in ({"a": "v"}, {"x": 1.0}, {"b": None}):
        other = space.points(pd.DataFrame([{"a": "u", "x": np.nan, "b": "U"} | changed]))
        assert joint.distance(one, other).tolist() == [1.0]
    assert joint.distance(one, one).tolist() == [0.0]
    both = space.points(pd.DataFrame({"a": ["v"], "x": [np.nan], "b": ["V"]}))
    assert joint.distance(one, both) == pytest.approx([math.sqrt(2)])


def test_the_energy_score_is_least_for_the_true_distribution():
    rng = np.random.default_rng(1)
    truth = rows(1500, rng)
    space = joint.Space(TABLE, truth)

    def score(drawn) -> float:
        return float(joint.energy_score(stack([space.points(d) for d in drawn]), space.points(truth)).mean())

    true = score([rows(1500, rng) for _ in range(5)])
    shifted = [rows(1500, rng) for _ in range(5)]
    for each in shifted:
        each["x"] = each["x"] + 1.0
    single = [rows(1, rng)] * 5
    assert true < score([rows(1500, rng, correlated=False) for _ in range(5)]) - 0.02, "right shares, wrong pairs"
    assert true < score(shifted) - 0.02
    assert true < score([pd.concat(single * 300, ignore_index=True)] * 5) - 0.02, "the same answer every time"


def test_an_absurd_number_does_not_become_all_of_the_distance():
    reference = rows(300, np.random.default_rng(2))
    space = joint.Space(TABLE, reference)
    far = pd.DataFrame({"a": ["u"], "x": [1e12], "b": ["U"]})
    near = pd.DataFrame({"a": ["u"], "x": [0.0], "b": ["U"]})
    assert joint.distance(space.points(far), space.points(near))[0] < 10


# --- two-sample test -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def labels():
    rng = np.random.default_rng(3)
    space = joint.Space(TABLE, rows(500, rng))

    def of(**arguments) -> np.ndarray:
        return space.labels(space.points(rows(600, rng, **arguments)))

    return of


def test_nobody_can_tell_two_samples_of_one_distribution(labels):
    assert joint.classifier_two_sample(labels(), labels()) == pytest.approx(0.5, abs=0.06)


def test_everyone_can_tell_values_that_never_occur(labels):
    other = labels()
    other[:, 2] += 10
    assert joint.classifier_two_sample(labels(), other) > 0.97


def test_right_shares_with_wrong_pairs_are_told(labels):
    assert joint.classifier_two_sample(labels(), labels(correlated=False)) > 0.65


def test_twins_do_not_give_each_other_away(labels):
    """Rows that were hardly completed: a classifier that remembers the real twin would be wrong every time."""
    real = labels()
    assert joint.classifier_two_sample(real, real.copy(), paired=True) == pytest.approx(0.5, abs=1e-9)


def test_a_handful_of_rows_is_not_judged(labels):
    assert joint.classifier_two_sample(labels()[:49], labels()[:49]) is None


# --- shares and sets -------------------------------------------------------------------------------------------------


def test_the_jensen_shannon_distance_is_zero_for_the_same_shares_and_one_for_none_in_common():
    a = np.array([0, 0, 1, 2])
    assert joint.jensen_shannon(a, np.tile(a, 3)) == pytest.approx(0, abs=1e-7)
    assert joint.jensen_shannon(a, a + 5) == pytest.approx(1)
    p, q = np.array([0.5, 0.5]), np.array([1.0, 0.0])
    m = (p + q) / 2
    divergence = 0.5 * np.sum(p * np.log2(p / m)) + 0.5 * np.log2(1 / m[0])
    assert joint.jensen_shannon(np.array([0, 1]), np.array([0])) == pytest.approx(math.sqrt(divergence))


def test_pairs_are_looked_up_in_real_rows_where_a_cell_of_theirs_was_completed():
    reference = np.array([[0, 0, 0], [1, 1, 1]])
    real = np.array([[0, 0, 0], [1, 0, -1], [0, 1, 0]])
    made = np.array([[[0, 1, 0], [1, 1, -1], [1, 1, 1]]])
    asked = np.array([[False, True, False], [False, True, False], [False, False, False]])
    pairs = joint.consistency(reference, real, made, asked).set_index("attributes")
    assert pairs.loc[[(0, 1)], "n"].tolist() == [2]
    assert pairs.loc[[(0, 1)], "made"].tolist() == [0.5]  # (0, 1) never occurs, (1, 1) does
    assert pairs.loc[[(0, 1)], "real"].tolist() == [0.5]  # (0, 0) occurs, (1, 0) does not
    assert pairs.loc[[(1, 2)], "n"].tolist() == [1], "an unknown value makes no pair"
    assert pairs.loc[[(0, 2)], "n"].tolist() == [0], "nothing in it was completed"
    triples = joint.consistency(reference, real, made, asked, size=3)
    assert triples["attributes"].tolist() == [(0, 1, 2)]
    assert (triples["n"][0], triples["made"][0], triples["real"][0]) == (1, 0.0, 1.0)


def test_the_mean_counts_every_made_pair_alike():
    sets = pd.DataFrame({"attributes": [(0, 1), (0, 2), (1, 2)], "n": [30, 10, 0]})
    sets["made"], sets["real"] = [1.0, 0.0, np.nan], [0.5, 0.5, np.nan]
    assert joint.mean_consistency(sets) == {"made": 0.75, "real": 0.5}
    assert joint.mean_consistency(sets[2:]) == {"made": None, "real": None}


def test_a_truth_of_the_same_distribution_lies_between_its_samples_as_often_as_expected():
    rng = np.random.default_rng(4)
    inside, expected = joint.within_samples(rng.normal(size=(5, 20_000)), rng.normal(size=20_000))
    assert expected == pytest.approx(4 / 6)
    assert inside == pytest.approx(expected, abs=0.02)
    assert joint.within_samples(np.full((5, 3), np.nan), np.zeros(3))[0] is None


# --- a model scored --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scored(small_model) -> joint_score.Joint:
    held_out = frame(120, seed=40, prefix="H")
    return joint_score.score(small_model, held_out, cache.encode(held_out, SCHEMA), frame(600))


def test_a_model_is_scored_against_itself_with_every_cell_drawn_alone(scored):
    found = json.loads(metrics.dump(scored.metrics))
    assert 110 < found["rows"] <= 120, "all but those of which nothing was hidden"
    assert 0.3 < found["cells"] / (120 * len(SCHEMA.attributes)) < 0.75
    for name in ("energy_score", "two_sample", "jensen_shannon", "pairs", "triples"):
        assert found[name]["one_by_one"] > 0
        assert found[name]["alone"] > 0
    assert 0.6 < found["pairs"]["one_by_one"] <= 1
    assert 0.6 < found["pairs"]["real"] < 1, "brands that no other row has make pairs that never occurred"
    assert 0.4 < found["inside_samples"] <= 1


def test_the_same_rows_and_model_score_the_same(scored, small_model):
    held_out = frame(120, seed=40, prefix="H")
    again = joint_score.score(small_model, held_out, cache.encode(held_out, SCHEMA), frame(600))
    assert again.metrics == scored.metrics


def test_without_other_rows_half_of_them_serve_to_look_pairs_up(small_model):
    held_out = frame(120, seed=40, prefix="H")
    found = joint_score.score(small_model, held_out, cache.encode(held_out, SCHEMA), held_out[:0])
    assert 50 < found.metrics["rows"] <= 60
    assert found.metrics["pairs"]["real"] > 0


def test_a_completed_frame_has_what_was_drawn_in_place_of_the_asked_cells_alone(small_model):
    held_out = frame(40, seed=41, prefix="H")
    asked = np.random.default_rng(0).random((40, len(SCHEMA.attributes))) < 0.3
    inputs = small_model.inputs(held_out, cache.encode(held_out, SCHEMA))
    drawn = joint_score.sample.draw(small_model, held_out, inputs, asked, samples=2)
    filled = joint_score.completed(held_out, drawn, asked, 1, SCHEMA)
    for i, name in enumerate(SCHEMA.attributes):
        assert filled[name].dtype == held_out[name].dtype
        assert filled[name][~asked[:, i]].equals(held_out[name][~asked[:, i]])
        own = drawn.number if SCHEMA.attributes[name].kind == "numeric" else drawn.value
        assert filled[name][asked[:, i]].tolist() == own[1, asked[:, i], i].tolist()


def test_every_hidden_cell_is_pictured_once_for_each_sample(scored, tmp_path):
    for cells in scored.cells.values():
        assert len(cells) == 5 * cells.attrs["n"]
    plots.distributions(scored.cells, SCHEMA, tmp_path / "distributions.png")
    plots.pair_consistency(scored.pairs, list(SCHEMA.attributes), tmp_path / "pairs.png")
    for name in ("distributions.png", "pairs.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
