"""Training: a seed decides every byte, an interruption changes none, and the adversary does what its weight says."""

import copy
import dataclasses
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from small_catalog import COLOURS, OPTIONS, SCHEMA, TINY, catalog, with_gaps

from attrgan.errors import CatalogError
from attrgan.evaluation.splits import split
from attrgan.features import cache
from attrgan.lake.cells import to_frame
from attrgan.model import CompletionModel, spans
from attrgan.model.inputs import batch
from attrgan.schema import Schema
from attrgan.training import checkpoint, losses
from attrgan.training.distributed import ALONE, Workers, connect
from attrgan.training.run import Checkpoints
from attrgan.training.train import Options, Trainer, train, was_used

ROWS = 120


def items(rows: int = ROWS) -> pd.DataFrame:
    return to_frame(with_gaps(catalog(rows)), SCHEMA)


def run(
    folder: Path, options: Options = OPTIONS, frame: pd.DataFrame | None = None, features: pa.Table | None = None,
    **arguments,
) -> Path:  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    frame = items() if frame is None else frame
    arguments = {"say": lambda _: None} | arguments
    train(SCHEMA, frame, cache.encode(frame, SCHEMA) if features is None else features, options, folder, **arguments)
    return folder


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    return run(tmp_path_factory.mktemp("trained"), dataclasses.replace(OPTIONS, epochs=3))


def in_a_fresh_process(folder: Path, seed: int) -> bytes:
    code = (
        "import sys, dataclasses, pathlib; sys.path.insert(0, sys.argv[1]); sys.path.insert(0, sys.argv[2])\n"
        "from test_train import run, OPTIONS\n"
        "run(pathlib.Path(sys.argv[3]), dataclasses.replace(OPTIONS, seed=int(sys.argv[4])))\n"
    )
    here = Path(__file__).parent
    command = [sys.executable, "-c", code, str(here), str(here.parents[1]), str(folder), str(seed)]
    environment = os.environ | {"PYTHONHASHSEED": "random", "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return weights(folder)


def test_a_seed_decides_every_byte_in_any_process_and_another_seed_gives_another_model(tmp_path):
    first = in_a_fresh_process(tmp_path / "a", 7)
    assert in_a_fresh_process(tmp_path / "b", 7) == first
    assert in_a_fresh_process(tmp_path / "c", 8) != first


class Killed(BaseException):
    """A process that ends at once."""


def interrupted_after(epoch: int):
    """A listener to the log that ends the training when the first line of the next epoch comes."""

    def say(line: str) -> None:
        if line.startswith(f"Epoch [{epoch + 1}/"):
            raise Killed

    return say


def test_a_resumed_training_ends_with_the_weights_of_an_undisturbed_one(tmp_path, trained):
    options = dataclasses.replace(OPTIONS, epochs=3)
    resuming = Checkpoints(tmp_path / "c", resume=True)
    for epoch in (1, 2):
        with pytest.raises(Killed):
            run(tmp_path / "dead", options, checkpoints=resuming, say=interrupted_after(epoch))
    run(tmp_path / "again", options, checkpoints=resuming)
    assert weights(tmp_path / "again") == weights(trained)
    log = [json.loads(x) for x in (tmp_path / "again" / "training_log.jsonl").read_text().splitlines()]
    undisturbed = [json.loads(x) for x in (trained / "training_log.jsonl").read_text().splitlines()]
    assert log == undisturbed


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 2},
        {
            "epochs": 9,
            "patience": 1,
            "learning_rate": 0.0,
            "wide_learning_rate": 0.0,
            "vector_learning_rate": 0.0,
            "bias_learning_rate": 0.0,
            "match_learning_rate": 0.0,
        },
    ],
    ids=["the last epoch", "no progress"],
)
def test_a_training_killed_after_its_last_checkpoint_ends_as_an_undisturbed_one(tmp_path, monkeypatch, changes):
    options = dataclasses.replace(OPTIONS, **changes)
    undisturbed = run(tmp_path / "undisturbed", options)
    last = json.loads((undisturbed / "training_log.jsonl").read_text().splitlines()[-1])["epoch"]
    assert (last < options.epochs) == ("patience" in changes)

    def save_and_die(place: Path, epoch: int, *rest) -> None:
        save(place, epoch, *rest)
        if epoch == last:
            raise Killed

    save = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", save_and_die)
    with pytest.raises(Killed):
        run(tmp_path / "dead", options, checkpoints=Checkpoints(tmp_path / "c"))
    again = run(tmp_path / "again", options, checkpoints=Checkpoints(tmp_path / "c", resume=True))
    assert weights(again) == weights(undisturbed)
    assert (again / "training_log.jsonl").read_text() == (undisturbed / "training_log.jsonl").read_text()


def test_a_broken_newest_checkpoint_falls_back_to_the_one_before(tmp_path, trained):
    options = dataclasses.replace(OPTIONS, epochs=3)
    with pytest.raises(Killed):
        run(tmp_path / "dead", options, checkpoints=Checkpoints(tmp_path / "c"), say=interrupted_after(2))
    found = sorted((tmp_path / "c").glob("epoch-*.safetensors"))
    assert len(found) == checkpoint.KEEP == 2
    found[-1].write_bytes(found[-1].read_bytes()[:1000])
    states, notes = checkpoint.load(tmp_path / "c", lambda _: None)
    assert notes["epoch"] == 1
    assert states["generator"]
    run(tmp_path / "again", options, checkpoints=Checkpoints(tmp_path / "c", resume=True))
    assert weights(tmp_path / "again") == weights(trained)


def test_without_a_readable_checkpoint_training_starts_anew(tmp_path):
    said: list[str] = []
    for content in (b"", b"\x80\x04\x95pickle"):
        digest = hashlib.sha256(content).hexdigest()[:32]
        (tmp_path / f"epoch-00001-step-00000001-{digest}.safetensors").write_bytes(content)
    assert checkpoint.load(tmp_path, said.append) is None
    assert len(said) == 2
    assert checkpoint.load(tmp_path / "nowhere") is None


def test_a_checkpoint_of_another_catalog_or_other_options_is_not_resumed(tmp_path):
    options = dataclasses.replace(OPTIONS, epochs=3)
    with pytest.raises(Killed):
        run(tmp_path / "dead", options, checkpoints=Checkpoints(tmp_path / "c"), say=interrupted_after(1))
    other = to_frame(with_gaps(catalog(ROWS, seed=5)), SCHEMA)
    resumed = run(tmp_path / "resumed", options, other, checkpoints=Checkpoints(tmp_path / "c", resume=True))
    anew = run(tmp_path / "anew", options, other)
    assert weights(resumed) == weights(anew)


def test_without_an_adversary_d_gives_g_no_gradient(tmp_path):
    """The same step of G, whatever D says, where the adversarial weight is 0 — and not where it is not."""

    def after_a_step(weight: float, d_scale: float) -> torch.Tensor:
        frame = items()
        options = dataclasses.replace(OPTIONS, adversarial_weight=weight)
        trainer = Trainer(SCHEMA, frame, cache.encode(frame, SCHEMA), options)
        for parameter in trainer.discriminator.parameters():
            parameter.data *= d_scale
        trainer.generator.train()
        torch.manual_seed(0)
        trainer.step(trainer.data.parts.train[:16], np.random.default_rng(0))
        return torch.cat([p.detach().flatten() for p in trainer.generator.parameters()])

    assert torch.equal(after_a_step(0.0, 1.0), after_a_step(0.0, -5.0))
    assert not torch.equal(after_a_step(0.5, 1.0), after_a_step(0.5, -5.0))


def test_d_takes_no_step_on_the_loss_of_g_and_g_none_on_the_loss_of_d(monkeypatch):
    frame = items()
    trainer = Trainer(SCHEMA, frame, cache.encode(frame, SCHEMA), OPTIONS)
    trainer.generator.train()
    before = copy.deepcopy(trainer.discriminator.state_dict())
    monkeypatch.setattr(trainer, "_discriminate", lambda *_: (0.0, 0.5))
    trainer.step(trainer.data.parts.train[:16], np.random.default_rng(0))
    after = trainer.discriminator.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    monkeypatch.undo()
    monkeypatch.setattr(losses, "supervised", lambda output, *_: (output.context.sum() * 0, {}, 1))
    trainer.options = dataclasses.replace(trainer.options, adversarial_weight=0.0)
    trainer.step(trainer.data.parts.train[:16], np.random.default_rng(0))
    assert any(not torch.equal(before[n], v) for n, v in trainer.discriminator.state_dict().items())


def test_the_log_says_epoch_step_and_both_losses(tmp_path):
    said: list[str] = []
    run(tmp_path, dataclasses.replace(OPTIONS, log_every=2), say=said.append)
    pattern = r"Epoch \[(\d+)/2\], Step \[(\d+)/(\d+)\], Loss_D: (\d+\.\d{4}), Loss_G: (\d+\.\d{4})\b.*"
    found = [re.fullmatch(pattern, line) for line in said]
    assert all(found)
    assert len(found) >= 4
    assert {m[1] for m in found} == {"1", "2"}
    assert found[-1][2] == found[-1][3], "the last step of an epoch is always said"
    records = [json.loads(line) for line in (tmp_path / "training_log.jsonl").read_text().splitlines()]
    steps = [r for r in records if "step" in r]
    assert len(steps) == len(said)
    assert all(r["loss"] == pytest.approx(r["loss_d"] + r["loss_g"]) for r in steps)
    assert [r["epoch"] for r in records if "validation_loss" in r] == [1, 2]


def test_a_model_folder_holds_what_the_contract_names_and_nothing_pickled(trained):
    names = {file.name for file in trained.iterdir()}
    assert {
        "model.safetensors",
        "config.json",
        "schema.yaml",
        "calibration.json",
        "metrics.json",
        "training_log.jsonl",
    } <= names
    assert not any((trained / name).read_bytes()[:3] == b"\x80\x04\x95" for name in names)
    metrics = json.loads((trained / "metrics.json").read_text())
    assert (metrics["rows"]["validation"], metrics["rows"]["calibration"], sum(metrics["rows"].values())) == (
        12,
        24,
        ROWS,
    )
    assert metrics["adversarial"]["weight"] == OPTIONS.adversarial_weight
    assert 0 <= metrics["adversarial"]["discriminator_accuracy"] <= 1
    calibration = json.loads((trained / "calibration.json").read_text())
    assert all(c["threshold"] is None and c["reason"].startswith("needs 59") for c in calibration.values())
    assert all(set(c["under"]) == {"mcar", "observed"} and c["missing"] == "mcar" for c in calibration.values())
    assert all(c["known_cells"] <= 24 for c in calibration.values())
    assert set(metrics["patterns"]) == {"mcar", "mar", "mnar"}


def test_holdout_rows_are_the_only_ones_never_used(trained):
    frame = items()
    used = was_used(trained, frame["sku"])
    assert np.flatnonzero(~used).tolist() == split(frame["sku"]).holdout.tolist()
    assert not was_used(trained, pd.Series(["someone else"])).any()


def test_vocabularies_are_fitted_on_training_rows_alone(tmp_path):
    frame = items()
    parts = split(frame["sku"])
    for name in ("validation", "calibration", "holdout"):
        frame.loc[getattr(parts, name), "colour"] = f"only in {name}"
        frame.loc[getattr(parts, name), "price"] = 12345.0
    model = CompletionModel.load(run(tmp_path, frame=frame))
    assert not any(value.startswith("only in") for value in model.vocabulary.values["colour"].values)
    assert model.vocabulary.numbers["price"].high.max() < 12345


def test_calibration_and_holdout_rows_change_no_weight(tmp_path):
    """What sets thresholds and what scores touch nothing else."""
    frame = items()
    features = cache.encode(frame, SCHEMA)
    before = run(tmp_path / "before", frame=frame, features=features)
    parts = split(frame["sku"])
    rows = np.concatenate([parts.calibration, parts.holdout])
    frame.loc[rows, ["colour", "title"]] = ["red", "changed"]
    # encoded apart: what shares a batch with an item may change the last bit of its vector
    changed = cache.encode(frame.iloc[rows].reset_index(drop=True), SCHEMA)
    places = np.arange(len(frame))
    places[rows] = len(frame) + np.arange(len(rows))
    after = run(tmp_path / "after", frame=frame, features=pa.concat_tables([features, changed]).take(places))
    assert weights(before) == weights(after)
    temperatures = [
        {n: c["temperature"] for n, c in json.loads((f / "calibration.json").read_text()).items()}
        for f in (before, after)
    ]
    assert temperatures[0] == temperatures[1]


@pytest.mark.parametrize("absent", [["colour"], ["price"], ["brand", "colour", "neckline", "tags", "unit"]])
def test_attributes_nobody_knows_do_not_stop_a_training(tmp_path, absent):
    frame = items()
    for name in absent:
        frame[name] = np.nan if SCHEMA.attributes[name].kind == "numeric" else None
    model = CompletionModel.load(run(tmp_path, dataclasses.replace(OPTIONS, epochs=1), frame))
    done = model.complete(frame)
    assert done[done["attribute"].isin(set(absent) - {"brand"})]["status"].isin(["abstained"]).all()


def test_a_catalog_without_a_single_known_cell_is_bad_input(tmp_path):
    frame = items().assign(**dict.fromkeys(SCHEMA.attributes))
    with pytest.raises(
        CatalogError, match=r"none of the .* rows to train on knows any of the attributes brand, colour"
    ):
        run(tmp_path, frame=frame.astype({"quantity": float, "price": float}))


def test_levels_that_no_training_row_has_may_come_later(tmp_path):
    frame = items()
    without = frame.assign(title=None, description=None, week=None, paid=None, review=None)
    model = CompletionModel.load(run(tmp_path, dataclasses.replace(OPTIONS, epochs=1), without))
    long = frame.assign(week=[list(range(60))] * ROWS, paid=[[1.0] * 60] * ROWS)
    assert len(model.complete(long)) == int(frame[list(SCHEMA.attributes)].isna().sum().sum())


def test_too_few_rows_are_bad_input(tmp_path):
    with pytest.raises(CatalogError, match=r"the catalog has 25 rows.*expected at least 20"):
        run(tmp_path, frame=items(25))


def test_training_stops_when_its_time_is_up(tmp_path):
    folder = run(tmp_path, dataclasses.replace(OPTIONS, epochs=50, max_minutes=0.0))
    outcome = json.loads((folder / "config.json").read_text())["outcome"]
    assert outcome["epochs"] == 1
    assert "minutes" in outcome["stopped"]


def test_a_closed_vocabulary_is_all_a_model_ever_answers(tmp_path):
    data = SCHEMA.dump()
    data["attributes"] = {"colour": {"kind": "categorical", "values": ["red", "blue"]}}
    schema = Schema.parse({k: v for k, v in data.items() if k in ("id", "text", "attributes")})
    frame = to_frame(with_gaps(catalog(ROWS)), schema)
    train(schema, frame, cache.encode(frame, schema), OPTIONS, tmp_path, say=lambda _: None)
    done = CompletionModel.load(tmp_path).complete(frame)
    assert set(done["value"]) <= {"red", "blue"}


def test_the_relativistic_loss_is_logged_checkpointed_and_scored_as_the_standard_one_is(tmp_path):
    options = dataclasses.replace(OPTIONS, adversarial_loss="relativistic")
    folder = run(tmp_path / "model", options)
    lines = [json.loads(x) for x in (folder / "training_log.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "step" in line]
    assert steps
    assert all(line["loss_d"] > 0 and line["loss_g"] > 0 and 0 <= line["d_accuracy"] <= 1 for line in steps)
    found = json.loads((folder / "metrics.json").read_text())["adversarial"]
    assert found["loss"] == "relativistic"
    assert 0 <= found["discriminator_accuracy"] <= 1
    with pytest.raises(Killed):
        run(tmp_path / "dead", options, checkpoints=Checkpoints(tmp_path / "c"), say=interrupted_after(1))
    assert weights(run(tmp_path / "again", options, checkpoints=Checkpoints(tmp_path / "c", resume=True))) == weights(
        folder
    )
    assert weights(run(tmp_path / "standard")) != weights(folder)


def test_holdout_rows_are_completed_several_times_and_judged_as_wholes(trained):
    found = json.loads((trained / "metrics.json").read_text())["joint"]
    assert 0 < found["rows"] <= len(split(items()["sku"]).holdout)
    for name in ("energy_score", "two_sample", "jensen_shannon", "pairs", "triples"):
        assert {"one_by_one", "alone"} <= set(found[name])
    assert found["inside_expected"] == pytest.approx(4 / 6)


def step_of(options: Options, workers: Workers = ALONE) -> dict[str, float]:
    """The losses of one step on complete rows."""
    frame = to_frame(catalog(ROWS), SCHEMA)
    trainer = Trainer(SCHEMA, frame, cache.encode(frame, SCHEMA), options, workers=workers)
    trainer.generator.train()
    return trainer.step(trainer.data.parts.train[:16], trainer.seed(1))


def test_training_rows_hear_a_regression_that_has_not_seen_them_and_others_the_one_that_is_kept():
    frame = items(300)
    frame["price"] = [5.0 * (1 + next((i for i, c in enumerate(COLOURS) if c in str(t)), 4)) for t in frame["title"]]
    features = cache.encode(frame, SCHEMA)
    trainer = Trainer(SCHEMA, frame, features, OPTIONS)
    column = list(trainer.vocabulary.numbers).index("price")
    heard, said = trainer.data.inputs.said[:, column], trainer.model.regression.say(features)[:, column]
    parts = trainer.data.parts
    others = np.concatenate([parts.validation, parts.calibration, parts.holdout])
    np.testing.assert_array_equal(heard[others], said[others])
    both = parts.train[~np.isnan(said[parts.train])]
    assert (heard[both] != said[both]).mean() > 0.9
    assert np.corrcoef(heard[both], frame["price"].iloc[both])[0, 1] > 0.7


@pytest.mark.parametrize("other", ["format", "ids", "parts", "sequences", "sentences"])
def test_a_checkpoint_of_other_items_or_another_format_is_of_another_training(monkeypatch, other):
    frame = items()
    trainer = Trainer(SCHEMA, frame, cache.encode(frame, SCHEMA), OPTIONS)
    before, data = trainer.fingerprint(), trainer.data
    if other == "format":
        monkeypatch.setattr("attrgan.training.trainer.FORMAT", 0)
    elif other == "ids":
        data.frame["sku"] += "-new"
    elif other == "parts":
        data.parts = dataclasses.replace(data.parts, train=data.parts.holdout, holdout=data.parts.train)
    else:
        arrays = next(iter((data.inputs.sequences if other == "sequences" else data.inputs.vectors).values()))
        arrays[0][0] += 1
    assert trainer.fingerprint() != before


def test_where_no_validation_row_knows_a_cell_the_last_epoch_is_kept(tmp_path):
    frame = items()
    frame.loc[split(frame["sku"]).validation, list(SCHEMA.attributes)] = None
    folder = run(tmp_path, dataclasses.replace(OPTIONS, epochs=3, patience=1), frame)
    outcome = json.loads((folder / "config.json").read_text(), parse_constant=pytest.fail)["outcome"]
    assert outcome == {"validation_loss": None, "best_epoch": 3, "epochs": 3, "stopped": "all epochs done"}


def test_a_batch_embeds_the_values_outside_the_vocabulary_that_it_has_and_no_others():
    frame = items()
    parts = split(frame["sku"])
    holdout, others = parts.holdout, parts.calibration
    frame.loc[others, "colour"] = [f"another shade {i}" for i in range(len(others))]
    frame.loc[holdout, "colour"] = [f"shade {i % 3}" for i in range(len(holdout))]
    frame.loc[holdout, "tags"] = [f'["new", "mark {i % 2}"]' for i in range(len(holdout))]
    trainer = Trainer(SCHEMA, frame, cache.encode(frame, SCHEMA), OPTIONS)
    inputs, vocabulary = trainer.data.inputs, trainer.vocabulary
    assert trainer._strangers(batch(inputs, parts.train, vocabulary)) is None
    before, after = batch(inputs, holdout, vocabulary), batch(inputs, holdout, vocabulary)
    few, every = trainer._strangers(after), trainer.model.strangers(inputs)
    assert 5 <= len(few) <= len(every) - len(others)
    column, size = list(vocabulary.values).index("colour"), len(vocabulary.values["colour"].values)
    torch.testing.assert_close(few[after.codes[:, column] - size], every[before.codes[:, column] - size])
    size = len(vocabulary.values["tags"].values)
    outside = before.sets["tags"] >= size
    torch.testing.assert_close(few[after.sets["tags"][outside] - size], every[before.sets["tags"][outside] - size])
    assert torch.equal(after.sets["tags"][~outside], before.sets["tags"][~outside])


def test_a_batch_in_pieces_has_the_loss_of_the_whole_one(monkeypatch):
    monkeypatch.setattr(spans, "DROPOUT", 0.0)
    still = dataclasses.replace(TINY, dropout=0.0, wide_dropout=0.0, vector_dropout=0.0)
    whole, pieces = (step_of(dataclasses.replace(OPTIONS, size=still, accumulate=n)) for n in (1, 3))
    assert pieces["supervised"] == pytest.approx(whole["supervised"], rel=0.02)
    assert pieces["loss_d"] == pytest.approx(whole["loss_d"], rel=0.05)


def test_mixed_precision_has_nearly_the_losses_of_full_precision():
    full = step_of(OPTIONS)
    mixed = step_of(dataclasses.replace(OPTIONS, mixed_precision="bf16"), connect("cpu", "bf16"))
    assert mixed["supervised"] == pytest.approx(full["supervised"], rel=0.02)
    assert mixed["supervised"] != full["supervised"]


def test_a_checkpoint_that_cannot_be_written_is_said_and_training_goes_on(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoint, "save", full)
    said: list[str] = []
    folder = run(tmp_path / "model", checkpoints=Checkpoints(tmp_path / "c"), say=said.append)
    assert (folder / "model.safetensors").exists()
    assert sum("no space left on device" in line for line in said) == OPTIONS.epochs
