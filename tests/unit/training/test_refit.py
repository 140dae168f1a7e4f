"""The second training: it learns from all rows but the holdout, and promises what the first was calibrated to."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit
from small_catalog import OPTIONS, SCHEMA
from test_train import Killed, items, run, weights

from attrgan.evaluation.hiding import each_once, known_cells
from attrgan.evaluation.metrics import answer_hidden
from attrgan.evaluation.recalibration import Recalibration
from attrgan.evaluation.splits import Split, split
from attrgan.features import cache
from attrgan.model import CompletionModel
from attrgan.training import refit
from attrgan.training.run import OUT_OF_TIME, Checkpoints, Run
from attrgan.training.train import Trainer, was_used

TWICE = dataclasses.replace(OPTIONS, refit=True)


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    return run(tmp_path_factory.mktemp("once"))


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    return run(tmp_path_factory.mktemp("twice"), TWICE)


def read(folder, name):
    return json.loads((folder / name).read_text())


def test_promises_are_those_of_the_first_training_and_only_the_map_of_confidences_is_its_own(once, twice):
    assert weights(twice) != weights(once)
    first, second = (read(folder, "calibration.json") for folder in (once, twice))
    assert [c.pop("recalibration") for c in second.values()] != [c.pop("recalibration") for c in first.values()]
    assert second == first


def test_of_holdout_cells_it_is_on_the_whole_as_sure_as_the_first(once, twice):
    frame = items()
    rows = frame.iloc[split(frame["sku"]).holdout].reset_index(drop=True)
    masks = list(each_once(known_cells(rows, SCHEMA), SCHEMA, np.random.default_rng([0, 13])))

    def sureness(folder, mapped=True):
        model = CompletionModel.load(folder)
        if not mapped:
            model.recalibration = {name: Recalibration() for name in model.recalibration}
        cells = answer_hidden(model, rows, cache.encode(rows, SCHEMA), masks)
        return np.mean([logit(c["confidence"].clip(1e-4, 1 - 1e-4)).mean() for c in cells.values()])

    by_themselves = abs(sureness(once, mapped=False) - sureness(twice, mapped=False))
    assert abs(sureness(once) - sureness(twice)) < by_themselves / 2


def test_its_rows_are_all_but_the_holdout_which_alone_stays_unseen(once, twice):
    frame = items()
    parts, measured = split(frame["sku"]), read(twice, "metrics.json")
    assert measured["refit"] == {"rows": len(frame) - len(parts.holdout), "epochs": 2}
    assert measured["rows"] == read(once, "metrics.json")["rows"]
    assert read(once, "metrics.json")["refit"] is None
    assert np.flatnonzero(~was_used(twice, frame["sku"])).tolist() == parts.holdout.tolist()


def test_a_smaller_holdout_leaves_more_rows_to_learn_from(tmp_path):
    folder = run(tmp_path, dataclasses.replace(TWICE, epochs=1, holdout=0.03))
    ids = items()["sku"]
    held_out = split(ids, 0.03).holdout
    assert 0 < len(held_out) < len(split(ids).holdout) / 2
    assert np.flatnonzero(~was_used(folder, ids)).tolist() == held_out.tolist()
    assert read(folder, "metrics.json")["refit"]["rows"] == len(ids) - len(held_out)
    assert read(folder, "config.json")["options"]["holdout"] == 0.03


def test_values_that_only_rows_set_aside_have_become_known_those_of_the_holdout_do_not(tmp_path):
    frame = items()
    parts = split(frame["sku"])
    for name in ("validation", "calibration", "holdout"):
        frame.loc[getattr(parts, name), "colour"] = f"only in {name}"
    model = CompletionModel.load(run(tmp_path, TWICE, frame))
    known = {value for value in model.vocabulary.values["colour"].values if value.startswith("only in")}
    assert known == {"only in validation", "only in calibration"}


def test_its_epochs_follow_in_the_log(twice):
    records = [json.loads(line) for line in (twice / "training_log.jsonl").read_text().splitlines()]
    steps = [(record["epoch"], record["epochs"]) for record in records if "step" in record]
    assert sorted(set(steps)) == [(1, 2), (2, 2), (3, 4), (4, 4)]


@pytest.mark.parametrize("epoch", [2, 3])
def test_killed_in_either_training_it_ends_with_the_weights_of_an_undisturbed_one(tmp_path, twice, epoch):
    options, place = dataclasses.replace(TWICE, log_every=1), Checkpoints(tmp_path / "c", resume=True, minutes=0.0)

    def until(line):
        if line.startswith(f"Epoch [{epoch}/") and "Step [3/" in line:
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path / "dead", options, checkpoints=place, say=until)
    said = []
    run(tmp_path / "again", options, checkpoints=place, say=said.append)
    assert weights(tmp_path / "again") == weights(twice)
    assert read(tmp_path / "again", "calibration.json") == read(twice, "calibration.json")
    went_on = [line for line in said if line.startswith("Goes on from the checkpoint")]
    assert f"of epoch {epoch}." in went_on[-1]


@pytest.fixture(scope="module")
def first():
    frame = items()
    trainer = Trainer(SCHEMA, frame, cache.encode(frame, SCHEMA), TWICE)
    return trainer, Run(trainer, lambda _: None, lambda _: None).to_the_end()


def test_where_its_time_is_up_the_first_model_is_kept(first):
    trainer, outcome = first
    said = []
    kept = refit.refit(trainer, outcome, trainer.data.features, lambda _: None, said.append, minutes=0.0)
    assert kept is trainer
    assert "the first model is kept" in said[-1]


def test_it_is_left_out_where_it_is_ruled_out_or_brings_little_or_no_time_is_left(first):
    trainer, outcome = first
    assert refit.is_worth_it(trainer, outcome)
    assert not refit.is_worth_it(trainer, outcome | {"stopped": OUT_OF_TIME})
    rows = np.arange(1000)
    large = Split(rows, rows[:20], rows[:29], rows[:10])
    trainer = dataclasses.replace(trainer.data, parts=large), trainer.options
    assert not refit.is_worth_it(_Of(*trainer), outcome)
    assert not refit.is_worth_it(_Of(first[0].data, OPTIONS), outcome)


@dataclasses.dataclass
class _Of:
    """What is asked of a trainer."""

    data: object
    options: object


def test_thresholds_stay_and_the_map_is_the_one_that_is_written():
    cells = {"brand": pd.DataFrame({"confidence": [0.3, 0.6, 0.9, 0.99]})}
    surer = {"brand": pd.DataFrame({"confidence": [0.4, 0.75, 0.97, 0.999]})}
    promised = {"brand": {"threshold": 0.93, "promised_precision": 0.95, "recalibration": [0.1, -0.2]}}
    first = SimpleNamespace(recalibration={"brand": Recalibration(0.1, -0.2)}, calibration=promised)
    second = SimpleNamespace(recalibration={"brand": Recalibration()}, calibration={})
    refit.take_over(first, second, lambda model: cells if model is first else surer)
    assert second.calibration["brand"]["threshold"] == 0.93
    to = second.recalibration["brand"]
    assert second.calibration["brand"]["recalibration"] == [to.s, to.b]
    assert np.allclose(
        to(surer["brand"]["confidence"]), Recalibration(0.1, -0.2)(cells["brand"]["confidence"]), atol=0.02
    )
