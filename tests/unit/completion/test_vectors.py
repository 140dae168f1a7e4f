"""One vector per item: in the order of the items, of length 1, the same in any company."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_catalog import SCHEMA, catalog, frame

from attrgan import api
from attrgan.completion import vectors
from attrgan.errors import InputError
from attrgan.features import cache
from attrgan.lake.cells import typed
from attrgan.lake.rows import TableRows


@pytest.fixture(scope="module")
def items() -> pd.DataFrame:
    return frame(24, seed=5)


@pytest.fixture(scope="module")
def found(small_model, items) -> np.ndarray:
    return small_model.vectors(items, cache.encode(items, SCHEMA))


def test_vectors_have_length_1(found, items):
    assert found.dtype == np.float32
    assert len(found) == len(items)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_a_vector_is_the_same_alone_and_among_others_of_any_length(small_model, items, found):
    long = frame(6, seed=8, prefix="L")
    long["title"] += " and much more to say" * 8
    among = small_model.vectors(pd.concat([long, items.iloc[::-1]], ignore_index=True))
    assert np.allclose(among[6:][::-1], found, atol=1e-5)
    assert np.allclose(small_model.vectors(items.iloc[[7]].reset_index(drop=True))[0], found[7], atol=1e-5)
    assert np.array_equal(small_model.vectors(items), small_model.vectors(items))


def test_a_vector_depends_on_text_and_on_known_attributes(small_model, items, found):
    for name, value in (("title", "an old lamp"), ("unit", "ml"), ("neckline", None)):
        other = small_model.vectors(items.assign(**{name: value}))
        assert not np.allclose(other, found, atol=1e-3), name


def test_a_set_stands_in_a_vector_with_all_its_members_in_whatever_order(small_model, items):
    both, turned, one, other = (
        small_model.vectors(items.assign(tags=tags))
        for tags in ('["new", "shirt"]', '["shirt", "new"]', '["new"]', '["shirt"]')
    )
    np.testing.assert_allclose(both, turned, atol=1e-5)
    for alone in (one, other):
        assert not np.allclose(both, alone, atol=1e-3)
    assert not np.allclose(one, other, atol=1e-3)


def test_no_items_have_no_vectors(small_model, items):
    assert small_model.vectors(items[:0]).shape[0] == 0


def written(tmp_path, small_folder, table: pa.Table) -> pa.Table:
    pq.write_table(table, tmp_path / "c.parquet")
    SCHEMA.save(tmp_path / "s.yaml")
    done = api.features(
        str(tmp_path / "c.parquet"), str(tmp_path / "s.yaml"), str(tmp_path / "cache"),
        vectors=str(tmp_path / "out" / "v.parquet"), model=str(small_folder),
    )  # fmt: skip
    result = pq.read_table(tmp_path / "out" / "v.parquet")
    assert done["counts"]["dimensions"] == result.schema.field("vector").type.list_size
    return result


def test_the_file_has_a_row_per_item_in_order_with_ids_as_received(
    tmp_path, small_model, small_folder, items, found, monkeypatch
):
    monkeypatch.setattr(vectors, "CHUNK_ROWS", 10)
    table = catalog(24, seed=5)
    numbered = table.set_column(0, "sku", pa.array([100 - i for i in range(24)], pa.int32()))
    result = written(tmp_path, small_folder, numbered)
    assert result.column_names == ["sku", "vector", "model_version"]
    assert result.schema.field("sku").type == pa.int32()
    assert result["sku"].to_pylist() == [100 - i for i in range(24)]
    assert pa.types.is_fixed_size_list(result.schema.field("vector").type)
    assert result.schema.field("vector").type.value_type == pa.float32()
    assert np.allclose(np.stack(result["vector"].to_numpy()), found, atol=1e-5)
    assert set(result["model_version"].to_pylist()) == {small_model.version}


def test_memory_is_bounded_by_the_chunk(tmp_path, small_model, monkeypatch):
    asked = []
    monkeypatch.setattr(vectors, "CHUNK_ROWS", 7)
    monkeypatch.setattr(
        type(small_model), "vectors", lambda _, frame, features: asked.append(len(frame)) or np.eye(len(frame), 4)
    )
    rows = TableRows(typed(catalog(24, seed=5), SCHEMA))
    seen: list[tuple[int, int]] = []
    arguments = {"id_column": "sku", "progress": lambda *x: seen.append(x)}
    assert vectors.write_vectors(small_model, rows, tmp_path / "v.parquet", **arguments) == 4
    assert asked == [7, 7, 7, 3]
    assert seen[-1] == (24, 24)
    assert pq.read_metadata(tmp_path / "v.parquet").num_row_groups == 4


@pytest.mark.parametrize("given", [{"vectors": "v.parquet"}, {"model": "m"}])
def test_vectors_and_model_are_given_together(tmp_path, given):
    with pytest.raises(InputError, match="give both or neither"):
        api.features("c.parquet", "s.yaml", str(tmp_path / "cache"), **given)
    assert not (tmp_path / "cache").exists()


def test_the_command_refuses_vectors_without_a_model(monkeypatch, capsys):
    from attrgan import cli

    words = ["attrgan", "features", "c.parquet", "--schema", "s.yaml", "-o", "cache", "--vectors", "v.parquet"]
    monkeypatch.setattr("sys.argv", words)
    assert cli.run() == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "--model MODEL" in error
