"""Several completions of one item: drawn from the calibrated distribution, consistent in themselves, reproducible."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from small_catalog import OPTIONS, SCHEMA, brand_names, catalog, with_gaps

from attrgan import api
from attrgan.completion import sample
from attrgan.completion.complete import wanted_cells
from attrgan.errors import InputError
from attrgan.evaluation.hiding import mask_of
from attrgan.features import cache
from attrgan.lake.cells import to_frame
from attrgan.model import CompletionModel
from attrgan.model.completion_model import hidden_rows
from attrgan.model.inputs import batch
from attrgan.model.vocabulary import Numbers
from attrgan.schema import Schema

NAMES = list(SCHEMA.attributes)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("catalog") / "items.parquet"
    pq.write_table(with_gaps(catalog(60, seed=77, prefix="Q"), 0.4), place)
    return place


def run(place: Path, model: Path, out: Path, **arguments) -> Path:
    api.complete(str(place), str(model), str(out), run_id="r1", **arguments)
    return out


@pytest.fixture(scope="module")
def written(place, small_folder, tmp_path_factory) -> Path:
    return run(place, small_folder, tmp_path_factory.mktemp("sampled"), samples=4, seed=3)


def samples_of(out: Path) -> pa.Table:
    return pq.read_table(out / "samples.parquet")


# --- samples.parquet -------------------------------------------------------------------------------------------------


def test_every_cell_of_the_completions_is_there_once_in_each_sample(written, small_model):
    samples, completions = samples_of(written), pq.read_table(written / "completions.parquet")
    assert samples.schema.names == ["sku", "sample", "attribute", "value", "number", "model_version", "run_id"]
    assert samples.schema.field("sku").type == completions.schema.field("sku").type
    cells = list(zip(completions["sku"].to_pylist(), completions["attribute"].to_pylist(), strict=True))
    for k in range(4):
        mine = samples.filter(pa.compute.equal(samples["sample"], k))
        assert list(zip(mine["sku"].to_pylist(), mine["attribute"].to_pylist(), strict=True)) == cells
    assert set(samples["sample"].to_pylist()) == {0, 1, 2, 3}
    assert set(samples["model_version"].to_pylist()) == {small_model.version}
    assert set(samples["run_id"].to_pylist()) == {"r1"}


def test_values_have_the_catalogs_own_form_and_what_does_not_apply_is_null(written):
    rows = samples_of(written).to_pylist()
    assert "n/a" not in {row["value"] for row in rows}
    assert {row["attribute"] for row in rows if row["value"] is None} == {"neckline"}
    for row in rows:
        numeric = row["attribute"] in ("quantity", "price")
        assert (row["number"] is not None) == numeric
        if numeric:
            assert float(row["value"]) == row["number"]
    assert all(row["value"].isdigit() for row in rows if row["attribute"] == "quantity")
    assert all(isinstance(json.loads(row["value"]), list) for row in rows if row["attribute"] == "tags")


def test_completions_are_the_same_with_samples_as_without(place, small_folder, written, tmp_path):
    plain = run(place, small_folder, tmp_path / "plain")
    assert not (plain / "samples.parquet").exists()
    assert pq.read_table(plain / "completed.parquet").equals(pq.read_table(written / "completed.parquet"))
    ours, theirs = (pq.read_table(d / "completions.parquet").drop_columns(["completed_at"]) for d in (plain, written))
    assert ours.equals(theirs)


def digest(out: Path) -> str:
    return hashlib.sha256((out / "samples.parquet").read_bytes()).hexdigest()


def test_a_seed_decides_every_byte_and_another_seed_draws_others(place, small_folder, written, tmp_path):
    assert digest(run(place, small_folder, tmp_path / "again", samples=4, seed=3)) == digest(written)
    assert digest(run(place, small_folder, tmp_path / "other", samples=4, seed=4)) != digest(written)


def test_neither_shards_nor_chunks_change_what_is_drawn(place, small_folder, written, tmp_path, monkeypatch):
    whole = samples_of(written)
    parts = [
        samples_of(run(place, small_folder, tmp_path / f"{i}", samples=4, seed=3, shard=f"{i}/3")) for i in range(3)
    ]
    assert pa.concat_tables(parts).equals(whole)
    monkeypatch.setattr(sample, "ROWS", 7)
    monkeypatch.setattr(sample, "LINES", 9)
    assert samples_of(run(place, small_folder, tmp_path / "chunks", samples=4, seed=3)).equals(whole)


def test_the_first_samples_are_the_same_however_many_are_asked_for(place, small_folder, written, tmp_path):
    two = samples_of(run(place, small_folder, tmp_path / "two", samples=2, seed=3))
    four = samples_of(written)
    assert four.filter(pa.compute.less(four["sample"], 2)).equals(two)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"samples": 0}, "expected 1 to 100"),
        ({"samples": 101}, "expected 1 to 100"),
        ({"samples": 2, "seed": -1}, "seed"),
    ],
)
def test_what_cannot_be_drawn_is_refused(place, small_folder, tmp_path, arguments, says):
    with pytest.raises(InputError, match=says):
        run(place, small_folder, tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


# --- how cells are drawn ---------------------------------------------------------------------------------------------


def test_a_candidate_is_picked_as_often_as_its_probability_says():
    probability = np.array([[0.2, 0.0, 0.5, 0.3]])
    uniform = (np.arange(1000) + 0.5) / 1000
    picked = sample.pick(np.repeat(probability, 1000, 0), uniform)
    np.testing.assert_allclose(np.bincount(picked, minlength=4) / 1000, probability[0], atol=0.002)


def test_a_candidate_of_no_probability_is_never_picked():
    probability = np.array([[0.0, 0.5, 0.0, 0.5, 0.0]] * 2)
    assert sample.pick(probability, np.array([0.0, np.nextafter(1, 0)])).tolist() == [1, 3]


def test_a_number_lies_within_its_bin_half_of_them_below_the_bins_own_value():
    values = np.concatenate([np.repeat(5.0, 300), np.random.default_rng(0).lognormal(3, 1, 700).round(2)])
    numbers = Numbers.fit(values, 0.05)
    uniform = np.random.default_rng(1).random(200)
    for code in range(len(numbers.value)):
        drawn = sample.within_bin(numbers, np.full(200, code), uniform)
        assert ((drawn >= numbers.low[code]) & (drawn <= numbers.high[code])).all()
        assert (drawn == drawn.round(2)).all(), "no more decimals than the training values"
        if numbers.atom[code]:
            assert set(drawn) == {numbers.value[code]}
    whole = Numbers.fit(np.random.default_rng(2).integers(0, 10_000, 900).astype(float), 0.05)
    drawn = sample.within_bin(whole, np.arange(len(whole.value)), np.linspace(0, 1, len(whole.value)))
    assert (drawn == drawn.round()).all()


def items(rows: int, share: float, seed: int = 5, **arguments) -> pd.DataFrame:
    return to_frame(with_gaps(catalog(rows, seed=seed, **arguments), share, seed), SCHEMA)


def test_a_cell_is_drawn_as_often_as_its_calibrated_distribution_says(small_model):
    """One cell of an item is empty: of many samples, each value has the share that the model gives it."""
    frame = to_frame(catalog(40, seed=8, prefix="S"), SCHEMA)
    frame[["title", "description"]] = None  # nothing tells, so many values are likely
    neckline = NAMES.index("neckline")
    wanted = np.zeros((40, len(NAMES)), bool)
    wanted[:, neckline] = True
    inputs = small_model.inputs(frame, cache.encode(frame, SCHEMA))
    drawn = sample.draw(small_model, frame, inputs, wanted, samples=100, seed=1)
    known = small_model.vocabulary.values["neckline"].values
    shares = np.stack([(drawn.value[:, :, neckline] == v).mean(0) for v in known], 1)
    z = torch.randn(200, len(NAMES), small_model.generator.size.noise, generator=torch.Generator().manual_seed(0))
    expected = []
    with torch.inference_mode():
        for row in range(40):
            tensors = batch(inputs, np.full(200, row), small_model.vocabulary)
            hidden = hidden_rows(mask_of(wanted[np.full(200, row)], SCHEMA), np.arange(200), len(NAMES))
            logits = small_model.generator(tensors, hidden, z, small_model.strangers(inputs)).logits["neckline"]
            expected.append((logits / small_model.temperature["neckline"]).softmax(-1).mean(0).numpy())
    expected = np.array(expected)
    assert expected.max(1).min() < 0.9, "else nothing is put to the test"
    spread = np.sqrt(expected * (1 - expected) / 100)
    assert (np.abs(shares - expected) < 4.5 * spread + 0.02).all()
    np.testing.assert_allclose(shares.mean(0), expected.mean(0), atol=0.04)


def test_what_is_known_of_an_item_is_left_alone_and_not_drawn(small_model):
    frame = items(30, 0.4)
    wanted = wanted_cells(frame, SCHEMA)
    drawn = sample.draw(small_model, frame, small_model.inputs(frame, cache.encode(frame, SCHEMA)), wanted, samples=3)
    known = np.array([v is not None for v in drawn.value.ravel()]).reshape(drawn.value.shape)
    assert not (known & ~wanted).any()
    assert not (~np.isnan(drawn.number) & ~wanted).any()
    assert ((known | ~np.isnan(drawn.number)) == wanted).all()


def test_a_value_that_nobody_listed_is_copied_from_the_title_and_fed_back(small_model):
    frame = to_frame(catalog(60, seed=9, brands=brand_names(90, np.random.default_rng(123))[60:]), SCHEMA)
    wanted = np.zeros((60, len(NAMES)), bool)
    wanted[:, [NAMES.index("brand"), NAMES.index("neckline")]] = True
    inputs = small_model.inputs(frame, cache.encode(frame, SCHEMA))
    drawn = sample.draw(small_model, frame, inputs, wanted, samples=2).value[..., NAMES.index("brand")]
    copied = ~np.isin(drawn.astype(str), small_model.vocabulary.values["brand"].values)
    assert copied.mean() > 0.2
    for k, row in zip(*np.nonzero(copied), strict=True):
        text = f"{frame['title'][row]} {frame['description'][row]}"
        assert drawn[k, row] in text


# --- joint consistency -----------------------------------------------------------------------------------------------

PAIRED = Schema.parse({
    "id": "sku",
    "attributes": {
        "kind": {"kind": "categorical"},
        "form": {"kind": "categorical"},
        "width": {"kind": "numeric"},
        "sleeve": {"kind": "categorical", "applies_to": {"kind": ["shirt", "dress"]}},
    },
})  # fmt: skip
FORMS = {"shirt": "flat", "dress": "long", "kettle": "round", "pan": "oval"}
WIDTHS = {"shirt": 10.0, "dress": 20.0, "kettle": 35.0, "pan": 70.0}


def paired(rows: int, seed: int = 0) -> pd.DataFrame:
    """The kind is free; form and width follow from it; only clothes have sleeves."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(list(FORMS), rows)
    sleeve = np.where(np.isin(kind, ["shirt", "dress"]), rng.choice(["short", "wide"], rows), None)
    table = pa.table({
        "sku": [f"{seed}-{i}" for i in range(rows)],
        "kind": pa.array(kind, pa.string()),
        "form": [FORMS[k] for k in kind],
        "width": [WIDTHS[k] for k in kind],
        "sleeve": pa.array(sleeve, pa.string()),
    })  # fmt: skip
    return to_frame(table, PAIRED)


@pytest.fixture(scope="module")
def paired_model(tmp_path_factory) -> CompletionModel:
    from attrgan.training.train import train

    folder = tmp_path_factory.mktemp("paired")
    frame = paired(600)
    options = dataclasses.replace(OPTIONS, epochs=20, batch_size=32)
    train(PAIRED, frame, cache.encode(frame, PAIRED), options, folder, say=lambda _: None)
    return CompletionModel.load(folder)


def joint_draw(model: CompletionModel, one_by_one: bool) -> sample.Samples:
    """300 items of which nothing is known, two samples each."""
    frame = paired(300, seed=1)
    frame[list(PAIRED.attributes)] = None
    frame["width"] = np.nan
    inputs = model.inputs(frame, cache.encode(frame, PAIRED))
    wanted = wanted_cells(frame, PAIRED)
    assert wanted.all()
    return sample.draw(model, frame, inputs, wanted, samples=2, one_by_one=one_by_one)


def agree(drawn: sample.Samples) -> float:
    kind, form, width = drawn.value[..., 0].ravel(), drawn.value[..., 1].ravel(), drawn.number[..., 2].ravel()
    return float(np.mean([FORMS[k] == f and WIDTHS[k] == w for k, f, w in zip(kind, form, width, strict=True)]))


def test_cells_filled_one_by_one_agree_where_cells_filled_alone_do_not(paired_model):
    together, alone = joint_draw(paired_model, True), joint_draw(paired_model, False)
    assert agree(together) > 0.9
    assert agree(alone) < 0.3, "each of the four kinds is as likely"
    for drawn in (together, alone):
        assert set(drawn.value[..., 0].ravel()) == set(FORMS), "all kinds occur, not the likeliest alone"


def test_what_the_drawn_kind_rules_out_stays_empty(paired_model):
    drawn = joint_draw(paired_model, True)
    clothes = np.isin(drawn.value[..., 0].astype(str), ["shirt", "dress"])
    empty = np.array([v is None for v in drawn.value[..., 3].ravel()]).reshape(clothes.shape)
    assert (empty == ~clothes).all()
