"""The benchmark of the promise: what came true of it on test cells, computed once."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import promise, tasks
from benchmarks.promise import figures, main
from benchmarks.sets import SETS

MADE = {"threshold": 0.8, "promised_precision": 0.95, "cells": 100, "accepted": 70, "errors": 0, "reason": None}
NONE = MADE | {"threshold": None, "promised_precision": None, "reason": "needs 59 calibration cells, has 20"}


def cells(right: list[bool], confidence: float = 0.9) -> pd.DataFrame:
    return pd.DataFrame({"confidence": np.full(len(right), confidence), "right": right})


def test_a_promise_is_refuted_where_its_test_cells_could_hardly_be_so_wrong():
    for wrong, refuted in ((2, False), (9, False), (10, True)):
        found = figures(
            cells([False] * wrong + [True] * (100 - wrong)), {"pool": None, "under": {"mcar": MADE, "observed": NONE}}
        )
        assert found["mcar"]["refuted"] is refuted
        assert (found["mcar"]["realised_n"], found["mcar"]["right"]) == (100, 100 - wrong)
        assert not found["observed"]["refuted"]
        assert found["observed"]["coverage"] == 0


def test_cells_below_the_threshold_are_not_counted():
    every = pd.concat([cells([True] * 30), cells([False] * 10, confidence=0.7)])
    found = figures(every, {"pool": None, "under": {"mcar": MADE, "observed": MADE}})
    assert found["mcar"]["coverage"] == 0.75
    assert found["accuracy"] == 0.75
    assert found["mcar"]["right"] == found["mcar"]["realised_n"] == 30


@pytest.mark.parametrize("missing", ["mar", "mnar"])
def test_cells_can_be_hidden_by_a_pattern_in_training_and_test_rows(made: Path, missing: str):
    at_random, by_pattern = (tasks.load("walmart_amazon", made, 0, m) for m in ("mcar", missing))
    assert by_pattern.train["product_id"].tolist() == at_random.train["product_id"].tolist()
    names = SETS["walmart_amazon"].scored
    hidden = by_pattern.test[names].isna().sum().sum()
    assert hidden == len(by_pattern.truth)
    assert 0.1 < by_pattern.train[names].isna().to_numpy().mean() < 0.5
    assert not by_pattern.train.equals(at_random.train)


def test_results_are_kept_and_found_again(made: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    given = ["--data", str(made), "--sets", "walmart_amazon", "--seeds", "0", "--out", str(made.parent / "out"),
             "--attrgan", "epochs=1"]  # fmt: skip
    assert main(given) == 0
    kept = next((made.parent / "out").glob("walmart_amazon--promise-mcar--seed0--*.json"))
    found = json.loads(kept.read_text())["attributes"]
    assert found["brand"]["n"] > 0
    assert found["brand"]["mcar"]["reason"].startswith("needs 59 calibration cells")
    monkeypatch.setattr(promise, "compute", lambda *_: pytest.fail("computed again"))
    assert main(given) == 0
    assert "0 of 1" in capsys.readouterr().out


def test_a_set_without_hidden_cells_is_refused_in_one_sentence(made: Path, capsys):
    assert main(["--data", str(made), "--sets", "gain/letter"]) == 2
    assert "gain/letter has no hidden cells" in capsys.readouterr().err
