"""Starting from another model: what means the same is carried, wherever it stands; everything else starts fresh."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from small_catalog import OPTIONS, SCHEMA, catalog, frame
from torch.testing import assert_close

from attrgan.errors import CatalogError, ModelError
from attrgan.evaluation.splits import id_hashes
from attrgan.features import cache, text
from attrgan.lake.cells import to_frame
from attrgan.model.levels import piecewise
from attrgan.schema import Schema
from attrgan.training import checkpoint
from attrgan.training.run import Checkpoints
from attrgan.training.train import load_origin, train, was_used
from attrgan.training.trainer import Trainer
from attrgan.training.transfer import Origin

NO_ENCODERS = {"encoders": {"language": None, "image": None}}
OTHER = Schema.parse({
    "entity": "shirt", "id": "sku", "text": ["description", "title"],
    "sequences": {"sales": {"columns": {"week": "time", "paid": "numeric"}}},
    "attributes": {
        "material": {"kind": "categorical"},
        "price": {"kind": "numeric", "unit": "USD", "derived_with": ["week", "paid"]},
        "shade": {"kind": "categorical"},
        "brand": {"kind": "open"},
        "quantity": {"kind": "numeric", "unit": "pieces"},
    },
    **NO_ENCODERS,
})  # fmt: skip
"""Another schema: other attributes and text columns in another order, a number of another unit."""


def items(rows: int = 90) -> pd.DataFrame:
    """Items of OTHER: other brands, a shade instead of a colour, a dearer range of prices."""
    table = catalog(rows, seed=9, prefix="Q").to_pandas()
    table["material"] = np.where(table["title"].str.len() % 2, "wool", "silk")
    table["price"] *= 1.5
    table = table.rename(columns={"colour": "shade"})
    table["shade"] = table["shade"].replace("red", "scarlet")
    return to_frame(pa.Table.from_pandas(table, preserve_index=False), OTHER)


def trainer(origin: Origin | None, schema: Schema = OTHER, rows: pd.DataFrame | None = None) -> Trainer:
    rows = items() if rows is None else rows
    return Trainer(schema, rows, cache.encode(rows, schema), OPTIONS, origin)


@pytest.fixture(scope="module")
def origin(small_folder: Path) -> Origin:
    return load_origin(small_folder)


@pytest.fixture(scope="module")
def started(origin: Origin) -> Trainer:
    return trainer(origin)


@pytest.fixture(scope="module")
def fresh(started: Trainer) -> dict[str, torch.Tensor]:
    """The weights as they would be without an origin: the same seed, sizes and vocabulary."""
    from attrgan.model.generator import Generator

    torch.manual_seed(OPTIONS.seed)
    return Generator(OTHER, started.vocabulary, started.options.size).state_dict()


def test_words_and_3_grams_are_carried_by_what_they_spell_not_by_where_they_stand(started, origin):
    ours, theirs = started.vocabulary, origin.model.vocabulary
    moved = 0
    for part, spelled in (("word", text.encode_word("dress")[0]), ("gram", text.encode_word("dress")[1][0])):
        place = [int(getattr(v, f"{part}s").index(np.array([spelled], np.uint32))[0]) for v in (ours, theirs)]
        assert all(place)
        moved += place[0] != place[1]
        weights = [getattr(g.text, part).weight for g in (started.generator, origin.model.generator)]
        assert_close(weights[0][place[0]], weights[1][place[1]], rtol=0, atol=0)
    assert moved


def test_words_that_only_the_origin_knows_are_kept_and_new_ones_start_fresh(started, origin, fresh):
    ours, theirs = started.vocabulary.words, origin.model.vocabulary.words
    assert np.isin(theirs.known, ours.known).all()
    new = np.flatnonzero(~np.isin(ours.known, theirs.known)) + 1
    assert len(new)
    assert torch.equal(started.generator.text.word.weight[new], fresh["text.word.weight"][new])


def test_layers_without_a_vocabulary_are_carried_as_they_are(started, origin):
    theirs = origin.model.generator.state_dict()
    for name, weight in started.generator.state_dict().items():
        if name.split(".")[0] in ("fusion", "query", "context", "item", "span_start"):
            assert torch.equal(weight, theirs[name]), name
    assert started.options.size == origin.model.generator.size


def test_attributes_and_text_columns_are_carried_by_name(started, origin, fresh):
    ours, theirs = started.generator, origin.model.generator
    for name in ("price", "brand"):
        assert torch.equal(ours.name[ours.attributes.index(name)], theirs.name[theirs.attributes.index(name)])
        assert torch.equal(ours.mask[ours.attributes.index(name)], theirs.mask[theirs.attributes.index(name)])
    for name in ("material", "shade"):
        assert torch.equal(ours.name[ours.attributes.index(name)], fresh["name"][ours.attributes.index(name)])
    assert torch.equal(ours.match[ours.categorical.index("brand")], theirs.match[theirs.categorical.index("brand")])
    assert torch.equal(ours.column, theirs.column[[1, 0]])


def test_a_value_is_carried_by_its_string_whatever_attribute_it_was_of(started, origin, fresh):
    def row(one, attribute: str, value: str) -> int:
        known = one.vocabulary.values
        start = sum(len(known[n].values) for n in list(known)[: list(known).index(attribute)])
        return start + known[attribute].values.index(value)

    ours, theirs = started.generator, origin.model.generator
    blue = row(started, "shade", "blue"), row(origin.model, "colour", "blue")
    assert torch.equal(ours.value.weight[blue[0]], theirs.value.weight[blue[1]])
    assert ours.value_bias[blue[0]] == 0, "how frequent a colour was says nothing of a shade"
    scarlet = row(started, "shade", "scarlet")
    assert torch.equal(ours.value.weight[scarlet], fresh["value.weight"][scarlet])


def test_an_attribute_that_no_row_knows_takes_nothing_over(origin):
    unknown = trainer(origin, rows=items().assign(material=None))
    assert not len(unknown.vocabulary.values["material"].values)
    assert unknown.carried


def test_a_number_means_the_same_although_its_knots_moved(started, origin):
    ours, theirs = started.generator, origin.model.generator
    i, j = ours.numeric.index("price"), theirs.numeric.index("price")
    assert not torch.equal(ours.edges[i], theirs.edges[j])
    at = ours.edges[i].unique()[:, None]
    one = piecewise(at, ours.edges[i : i + 1])[:, 0] @ ours.number[i]
    other = piecewise(at, theirs.edges[j : j + 1])[:, 0] @ theirs.number[j]
    assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_number_of_another_unit_starts_fresh(started, fresh):
    i = started.generator.numeric.index("quantity")
    assert torch.equal(started.generator.number[i], fresh["number"][i])


def test_a_sequence_means_the_same_although_it_is_standardised_anew(started, origin):
    ours, theirs = started.vocabulary.sequences["sales"], origin.model.vocabulary.sequences["sales"]
    steps = np.arcsinh(np.array([[1.0, 30.0], [2.0, np.nan]]))
    tokens = []
    for fitted, generator in ((ours, started.generator), (theirs, origin.model.generator)):
        numbers = torch.from_numpy((steps - fitted["centre"]) / fitted["scale"]).float()[None]
        statistics = torch.from_numpy(ours["edges"][:, 7].copy())[None]
        empty = torch.zeros(1, 2, 0, dtype=torch.int64)
        tokens.append(generator.sequences[0](numbers, empty, torch.ones(1, 2, dtype=torch.bool), statistics))
    assert not np.allclose(ours["centre"], theirs["centre"])
    assert_close(*tokens, rtol=1e-3, atol=1e-4)


def test_the_linear_part_is_carried_where_both_have_the_word_and_the_value(started, origin):
    ours, theirs = started.generator.wide, origin.model.generator.wide
    brands = [one.vocabulary.values["brand"].values for one in (started, origin.model)]
    word = next(iter(set(started.vocabulary.wide.known) & set(origin.model.vocabulary.wide.known)))
    rows = [int(one.vocabulary.wide.index(np.array([word], np.uint32))[0]) for one in (started, origin.model)]
    both = [b for b in brands[0] if b in brands[1]]
    alone = [b for b in brands[0] if b not in brands[1]]
    assert both
    assert alone
    at, of = ours.layout.outputs["brand"][0], theirs.layout.outputs["brand"][0]
    for brand in both:
        a = ours.sparse.weight[rows[0], at + brands[0].index(brand)]
        assert a == theirs.sparse.weight[rows[1], of + brands[1].index(brand)]
    assert all(ours.sparse.weight[rows[0], at + brands[0].index(b)] == 0 for b in alone)


def test_what_gives_a_cell_away_here_scores_it_nowhere(started):
    for row, rows, column, columns in started.generator.wide.own:
        assert not started.generator.wide.sparse.weight[row : row + rows, column : column + columns].any()


def test_principal_components_are_the_origins_and_so_are_their_projections(small_folder, origin):
    again = trainer(origin, SCHEMA, frame(90, seed=9, prefix="Q"))
    ours, theirs = again.vocabulary.vectors["language"], origin.model.vocabulary.vectors["language"]
    assert np.array_equal(ours["components"], theirs["components"])
    assert not np.array_equal(ours["centre"], theirs["centre"])
    for name, weight in origin.model.generator.vectors.state_dict().items():
        assert torch.equal(again.generator.vectors.state_dict()[name], weight)


def test_the_share_of_each_part_that_was_carried_is_counted(started):
    carried = started.carried
    assert carried["fusion"] == carried["query"] == 1
    assert 0 < carried["all"] < 1
    assert 0 < carried["name"] < 1


def run(folder: Path, origin: Origin | None, rows: pd.DataFrame | None = None, **arguments) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = items() if rows is None else rows
    options = dataclasses.replace(OPTIONS, **arguments.pop("options", {}))
    train(OTHER, rows, cache.encode(rows, OTHER), options, folder, say=lambda _: None, origin=origin, **arguments)
    return folder


def test_a_seed_and_an_origin_decide_every_byte_and_the_model_says_where_it_comes_from(tmp_path, origin):
    folders = [run(tmp_path / name, origin) for name in "ab"]
    first, again = ((f / "model.safetensors").read_bytes() for f in folders)
    assert first == again
    assert first != (run(tmp_path / "c", None) / "model.safetensors").read_bytes()
    model = load_origin(folders[0]).model
    assert model.config["started_from"]["model_version"] == origin.model.version
    assert 0 < model.config["started_from"]["carried"]["all"] < 1
    assert len(model.complete(items().assign(brand=None))), "it is a model like any other"


def test_a_checkpoint_without_this_origin_is_not_resumed(tmp_path, origin, monkeypatch):
    class Killed(BaseException):
        """A process that ends at once."""

    def save_and_die(*arguments) -> None:
        save(*arguments)
        raise Killed

    save = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", save_and_die)
    with pytest.raises(Killed):
        run(tmp_path / "dead", None, checkpoints=Checkpoints(tmp_path / "c"))
    monkeypatch.undo()
    resumed = run(tmp_path / "resumed", origin, checkpoints=Checkpoints(tmp_path / "c", resume=True))
    anew = run(tmp_path / "anew", origin)
    assert (resumed / "model.safetensors").read_bytes() == (anew / "model.safetensors").read_bytes()


def test_rows_that_moved_the_origins_weights_set_no_threshold_and_score_nothing(tmp_path, origin):
    rows = items()
    alone = trainer(None)
    seen = np.concatenate([alone.data.parts.calibration[:3], alone.data.parts.validation[:2]])
    theirs = dataclasses.replace(
        origin, trained=id_hashes(rows["sku"].iloc[seen]), validated=np.zeros(0, np.uint64),
    )  # fmt: skip
    assert not theirs.knows(OTHER), "another entity: the same id is another item"
    schema = OTHER.model_copy(update={"entity": "product"})
    assert theirs.knows(schema)
    parts = trainer(theirs, schema).data.parts
    assert not np.isin(seen, np.concatenate([parts.calibration, parts.validation, parts.holdout])).any()
    assert np.isin(seen, parts.train).all()
    assert len(np.unique(np.concatenate(list(vars(parts).values())))) == len(rows)


def test_rows_that_only_calibrated_the_origin_calibrate_again(small_folder, origin):
    rows = to_frame(catalog(600), SCHEMA)
    parts = trainer(origin, SCHEMA, rows).data.parts
    assert len(parts.calibration) == 120
    assert len(parts.validation) == 60


def test_a_catalog_that_the_origin_was_trained_on_whole_is_bad_input(origin):
    rows = items()
    everything = dataclasses.replace(origin, trained=id_hashes(rows["sku"]))
    with pytest.raises(CatalogError, match=r"has learned from 27 of the 27 rows .* without --from"):
        trainer(everything, OTHER.model_copy(update={"entity": "product"}), rows)


def test_a_catalog_of_which_the_origin_has_seen_nearly_all_is_bad_input_too(origin):
    rows = items()
    alone = trainer(None).data.parts
    unseen = [alone.validation[0], alone.calibration[0]]
    nearly = dataclasses.replace(origin, trained=id_hashes(rows["sku"].drop(unseen)))
    with pytest.raises(
        CatalogError, match=r"has learned from 25 of the 27 rows .* --no-refit, or train without --from"
    ):
        trainer(nearly, OTHER.model_copy(update={"entity": "product"}), rows)


def test_rows_of_the_origin_stay_used_in_the_next_model(tmp_path, origin, monkeypatch):
    monkeypatch.setattr(Origin, "knows", lambda *_: True)
    folder = run(tmp_path, origin)
    theirs = to_frame(catalog(600), SCHEMA)["sku"]
    trained = np.isin(id_hashes(theirs), origin.trained)
    assert trained.any()
    assert was_used(folder, theirs)[trained].all()
    assert np.isin(origin.trained, load_origin(folder).trained).all()


def test_a_folder_that_is_no_model_is_refused_in_one_sentence(tmp_path):
    from attrgan import api

    (tmp_path / "schema.yaml").write_text("id: sku\nattributes: {a: {kind: categorical}}\n")
    (tmp_path / "c.csv").write_text("sku,a\n1,x\n")
    with pytest.raises(ModelError, match="model folder"):
        api.train(str(tmp_path / "c.csv"), str(tmp_path / "schema.yaml"), str(tmp_path / "m"), start_from=str(tmp_path))
    assert not (tmp_path / "m").exists()
