"""How well a model says that an attribute does not apply."""

import numpy as np
import pytest

from attrgan.evaluation.metrics import not_applicable
from attrgan.schema import Attribute

NAMES = Attribute(kind="categorical")


def cells(*values: str) -> np.ndarray:
    return np.array(values, dtype=object)


def test_precision_recall_and_f1_are_those_of_the_answer_n_a():
    found = not_applicable(cells("n/a", "n/a", "V", "V", "n/a"), cells("n/a", "V", "n/a", "V", "n/a"), NAMES)
    assert (found["n"], found["answered"], found["right"]) == (3, 3, 2)
    assert found["precision"] == found["recall"] == found["f1"] == pytest.approx(2 / 3)


def test_a_model_that_never_says_so_has_no_precision_and_an_f1_of_zero():
    found = not_applicable(cells("V", "V"), cells("n/a", "V"), NAMES)
    assert (found["precision"], found["recall"], found["f1"]) == (None, 0, 0)


def test_where_no_true_cell_says_so_there_is_nothing_to_measure():
    assert not_applicable(cells("n/a"), cells("V"), NAMES) is None


def test_of_sets_it_is_the_set_of_n_a_alone():
    sets = Attribute(kind="categorical", multi=True)
    assert not_applicable(cells('["n/a"]', '["a"]'), cells('["n/a"]', '["a"]'), sets)["f1"] == 1
