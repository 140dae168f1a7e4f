import numpy as np
import pandas as pd
import pytest

from benchmarks.scoring import micro_f1, recall_unseen, score
from benchmarks.sets import DataSet
from benchmarks.tasks import Task

SET = DataSet("none", categorical=("colour",), numeric=("price",))


def task(truth: list[tuple[str, str, str]], train: pd.DataFrame, described: DataSet = SET) -> Task:
    rows = pd.DataFrame({"product_id": ["a", "b", "c"]})
    return Task(
        "livostyle", described, 0, train, rows, pd.DataFrame(truth, columns=["product_id", "attribute", "value"])
    )


def answers(*cells: tuple[str, str, object, float]) -> pd.DataFrame:
    return pd.DataFrame(cells, columns=["product_id", "attribute", "value", "confidence"])


TRAIN = pd.DataFrame({"colour": ["red", "red", None], "price": [10.0, 20.0, 30.0]})


def test_accuracy_counts_a_cell_without_an_answer_as_wrong() -> None:
    truth = [("a", "colour", "red"), ("b", "colour", "blue"), ("c", "colour", "red")]
    found = score(task(truth, TRAIN), answers(("a", "colour", "red", 0.9), ("b", "colour", "blue", 0.8)))
    assert found["attributes"]["colour"]["accuracy"] == pytest.approx(2 / 3)
    assert found["summary"]["cells"] == 3


def test_rare_are_values_that_few_training_rows_have_and_at_least_one() -> None:
    train = pd.DataFrame({"colour": ["red"] * 6 + ["blue"] * 5 + ["pink"], "price": 1.0})
    truth = [("a", "colour", "red"), ("b", "colour", "blue"), ("c", "colour", "pink"), ("d", "colour", "new")]
    said = {"a": "red", "b": "red", "c": "pink", "d": "new"}
    given = answers(*((i, "colour", value, 0.9) for i, value in said.items()))
    assert score(task(truth, train), given)["summary"]["rare"] == 1 / 2
    assert score(task(truth[:1], train), given)["summary"]["rare"] is None


def test_values_are_compared_without_the_blanks_around_them() -> None:
    found = score(task([("a", "colour", " red")], TRAIN), answers(("a", "colour", "red", 0.9)))
    assert found["summary"]["accuracy"] == 1


def test_cov95_is_the_largest_share_from_the_most_confident_on_that_is_right_at_95_per_cent() -> None:
    train = pd.DataFrame({"colour": ["red"], "price": [1.0]})
    ids = [str(i) for i in range(40)]
    truth = [(i, "colour", "red") for i in ids]
    wrong = {"19", "30"}  # one in the twenty most confident is 95 %, two in thirty-one are not
    given = answers(*((i, "colour", "blue" if i in wrong else "red", 1 - int(i) / 100) for i in ids))
    cov95 = score(task(truth, train), given)["attributes"]["colour"]["cov95"]
    assert cov95 == pytest.approx(40 / 40)  # 38 of 40 are right: all may be answered
    given.loc[given["product_id"] == "39", "value"] = "blue"
    cov95 = score(task(truth, train), given)["attributes"]["colour"]["cov95"]
    assert cov95 == pytest.approx(30 / 40)  # 29 of 30: the next wrong one ends it


def test_ece_is_the_distance_of_confidence_from_the_share_that_is_right() -> None:
    truth = [(str(i), "colour", "red") for i in range(100)]
    given = answers(*((str(i), "colour", "red" if i % 2 else "blue", 0.8) for i in range(100)))
    ece = score(task(truth, TRAIN), given)["attributes"]["colour"]["ece"]
    assert ece == pytest.approx(0.3, abs=0.03)


def test_a_model_without_confidence_has_no_calibration_error() -> None:
    found = score(task([("a", "colour", "red")], TRAIN), answers(("a", "colour", "red", np.nan)))
    assert found["attributes"]["colour"]["ece"] is None
    assert found["summary"]["ece"] is None


def test_the_skill_of_the_median_is_0_and_that_of_the_truth_is_1() -> None:
    truth = [("a", "price", "10.0"), ("b", "price", "40.0")]
    median = answers(("a", "price", 20.0, 1.0), ("b", "price", 20.0, 1.0))
    exact = answers(("a", "price", 10.4, 1.0), ("b", "price", 40.0, 1.0))
    assert score(task(truth, TRAIN), median)["summary"]["skill"] == pytest.approx(0)
    found = score(task(truth, TRAIN), exact)["summary"]
    assert found["skill"] == pytest.approx(1 - 0.2 / 15)
    assert found["within5"] == 1


def test_a_missing_number_counts_as_the_median_of_the_training_rows() -> None:
    truth = [("a", "price", "20.0"), ("b", "price", "40.0")]
    assert score(task(truth, TRAIN), answers())["summary"]["within5"] == 0.5


def test_one_absurd_number_does_not_decide_the_skill() -> None:
    truth = [("a", "price", "972430.0"), ("b", "price", "10.0")]
    given = answers(("a", "price", 20.0, 1.0), ("b", "price", 10.0, 1.0))
    skill = score(task(truth, TRAIN), given)["summary"]["skill"]
    assert skill == pytest.approx(1 - 100 / 110)  # clipped at ten times the median deviation of 10


# --- extraction ----------------------------------------------------------------------------------------------------


def cells(*pairs: tuple[str, list[str]]) -> pd.DataFrame:
    return pd.DataFrame(pairs, columns=["answer", "accepted"])


@pytest.mark.parametrize(
    ("given", "f1"),
    [
        (cells(("red", ["red"])), 1.0),
        (cells(("red", ["blue", "red"])), 1.0),  # any of the row's values is right
        (cells(("", [])), None),  # nothing there, nothing said: no cell counts
        (cells(("red", ["red"]), ("", ["blue"])), 2 / 3),  # VC 1, VN 1: P 1, R 1/2
        (cells(("red", ["red"]), ("blue", [])), 2 / 3),  # VC 1, NV 1: P 1/2, R 1
        (cells(("red", ["red"]), ("blue", ["green"])), 0.5),  # VC 1, VW 1: P 1/2, R 1/2
        (cells(("red", ["red"]), ("x", ["y"]), ("x", []), ("", ["y"])), 1 / 3),  # P 1/3, R 1/3
        (cells(("x", ["y"])), 0.0),
    ],
)  # fmt: skip
def test_micro_f1_counts_as_the_published_figures_do(given: pd.DataFrame, f1: float | None) -> None:
    assert micro_f1(given) == (None if f1 is None else pytest.approx(f1))


EXTRACTION = DataSet("none", "extraction", open=("Colour", "Size"))


def extraction_task() -> Task:
    truth = pd.DataFrame(
        [
            ("a", "Colour", "red", True, ["red"]),
            ("a", "Size", None, False, []),
            ("b", "Colour", "teal", True, ["teal"]),
        ],
        columns=["product_id", "attribute", "value", "listed", "accepted"],
    )
    train = pd.DataFrame({"Colour": ["red", "blue"], "Size": [None, "n/a"]})
    return Task("oa_mine", EXTRACTION, 0, train, pd.DataFrame({"product_id": ["a", "b"]}), truth)


def test_a_value_where_the_row_lists_none_costs_the_strict_figure_only() -> None:
    given = answers(("a", "Colour", "red", 0.9), ("a", "Size", "XL", 0.9), ("b", "Colour", "teal", 0.9))
    summary = score(extraction_task(), given)["summary"]
    assert summary["f1_row"] == 1
    assert summary["f1_strict"] == pytest.approx(2 * 2 / (3 + 2))


def test_not_applicable_is_no_prediction() -> None:
    given = answers(("a", "Colour", "red", 0.9), ("a", "Size", "n/a", 0.9), ("b", "Colour", "teal", 0.9))
    assert score(extraction_task(), given)["summary"]["f1_strict"] == 1


def test_decided_for_f1_what_is_less_sure_is_left_out_and_what_is_nearly_as_likely_as_none_is_said() -> None:
    given = answers(("a", "Colour", "red", 0.9), ("a", "Size", "XL", 0.3), ("b", "Colour", "n/a", 0.5))
    plain = score(extraction_task(), given)["summary"]
    assert plain["f1_strict"] == pytest.approx(2 / 4)
    assert plain["f1_strict_decided"] == pytest.approx(2 / 3)
    given = given.assign(instead=[None, "L", "teal"], instead_confidence=[0.0, 0.2, 0.45])
    assert score(extraction_task(), given)["summary"]["f1_strict_decided"] == 1


def test_recall_of_new_values_asks_only_for_those_that_no_training_row_has() -> None:
    given = answers(("a", "Colour", "blue", 0.9), ("b", "Colour", "teal", 0.9))
    assert score(extraction_task(), given)["summary"]["recall_unseen"] == 1
    accepted = pd.DataFrame({"attribute": ["Colour"], "answer": ["red"], "accepted": [["red"]]})
    assert recall_unseen(extraction_task(), accepted) is None
