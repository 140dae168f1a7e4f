from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attrgan.errors import InputError
from attrgan.lake import tables

JAN1, JAN2, JAN3 = "2026-01-01", "2026-01-02", "2026-01-03"


@pytest.fixture
def warehouse(tmp_path):
    return str(tmp_path / "warehouse")


def rows(**columns):
    return pa.table(columns)


def put(warehouse, table, dt=JAN1, name="products", **metadata):
    return tables.replace_partition(warehouse, name, table, dt, metadata)


def test_rows_come_back_in_the_order_they_were_written(warehouse):
    n = 50_000  # many batches and row groups: more than Delta keeps in order by itself
    put(warehouse, rows(id=list(range(n, 0, -1))))
    assert tables.read(warehouse, "products", JAN1)["id"].to_pylist() == list(range(n, 0, -1))


def test_writing_a_partition_again_replaces_it_and_leaves_other_dates_alone(warehouse):
    put(warehouse, rows(id=["a", "b"]), JAN1)
    put(warehouse, rows(id=["c"]), JAN2)
    put(warehouse, rows(id=["b", "a"]), JAN1)
    assert tables.read(warehouse, "products").to_pydict() == {"id": ["b", "a", "c"], "dt": [JAN1, JAN1, JAN2]}


def test_versions_count_commits_and_old_ones_can_be_read(warehouse):
    assert tables.version(warehouse, "products") is None
    first = put(warehouse, rows(id=["a"]))
    second = put(warehouse, rows(id=["b"]))
    assert second == first + 1 == tables.version(warehouse, "products")
    assert tables.read(warehouse, "products", version=first)["id"].to_pylist() == ["a"]
    with pytest.raises(InputError, match="no version 99"):
        tables.read(warehouse, "products", version=99)


def test_a_commit_carries_its_metadata(warehouse):
    put(warehouse, rows(id=["a"]), JAN1, run_id="manual__2026", model_version="3")
    put(warehouse, rows(id=["a"]), JAN2, run_id="other")
    commit = tables.last_commit(tables.open_table(warehouse, "products"), JAN1)
    assert (commit["run_id"], commit["model_version"], commit["dt"]) == ("manual__2026", "3", JAN1)


def test_an_empty_frame_is_refused_and_the_partition_stays(warehouse):
    put(warehouse, rows(id=["a"]))
    with pytest.raises(InputError, match="no rows for dt=2026-01-01"):
        put(warehouse, rows(id=pa.array([], pa.string())))
    assert tables.read(warehouse, "products").num_rows == 1


def test_a_partition_can_be_removed_on_purpose(warehouse):
    assert tables.remove_partition(warehouse, "quarantine", JAN1, {}) is None
    put(warehouse, rows(id=["a"]), JAN1)
    put(warehouse, rows(id=["b"]), JAN2)
    version = tables.remove_partition(warehouse, "products", JAN1, {"run_id": "r"})
    assert tables.remove_partition(warehouse, "products", JAN3, {}) == version
    assert tables.read(warehouse, "products")["id"].to_pylist() == ["b"]


@pytest.mark.parametrize("dt", ["2026-1-1", "x' OR '1'='1"])
def test_a_dt_that_is_no_date_is_refused(warehouse, dt):
    with pytest.raises(InputError, match="YYYY-MM-DD"):
        put(warehouse, rows(id=["a"]), dt)


@pytest.mark.parametrize("name", ["dt", "DT", "_position"])
def test_reserved_column_names_are_refused(warehouse, name):
    with pytest.raises(InputError, match="reserved"):
        put(warehouse, pa.table({"id": ["a"], name: ["x"]}))


def test_columns_that_differ_in_case_only_are_refused(warehouse):
    with pytest.raises(InputError, match="Brand, brand differ in case only"):
        put(warehouse, pa.table({"brand": ["a"], "Brand": ["x"]}))


def test_a_new_column_is_added_and_a_missing_one_becomes_null(warehouse):
    put(warehouse, pa.table({"id": ["a"], "list price (USD), 价格": [1.5]}), JAN1)
    put(warehouse, rows(id=["b"], colour=["red"]), JAN2)
    table = tables.read(warehouse, "products")
    assert table["list price (USD), 价格"].to_pylist() == [1.5, None]
    assert table["colour"].to_pylist() == [None, "red"]


def test_whole_numbers_fit_a_column_of_floats_but_text_does_not(warehouse):
    put(warehouse, rows(id=["a"], price=[1.5]), JAN1)
    put(warehouse, rows(id=["b"], price=[2]), JAN2)
    assert tables.read(warehouse, "products", JAN2)["price"].to_pylist() == [2.0]
    with pytest.raises(InputError, match="column 'price' holds string, the table double"):
        put(warehouse, rows(id=["c"], price=["3"]), JAN3)


def test_a_fraction_is_never_silently_cut_to_a_whole_number(warehouse):
    put(warehouse, rows(id=["a"], n=[1]), JAN1)
    with pytest.raises(InputError, match="column 'n' holds double, the table int64"):
        put(warehouse, rows(id=["b"], n=[2.5]), JAN2)
    assert tables.read(warehouse, "products")["n"].to_pylist() == [1]


def test_a_number_is_never_silently_turned_into_true_or_false(warehouse):
    put(warehouse, rows(id=["a"], b=[True]), JAN1)
    put(warehouse, rows(id=["b", "c", "d"], b=[0, 1, None]), JAN2)
    assert tables.read(warehouse, "products", JAN2)["b"].to_pylist() == [False, True, None]
    with pytest.raises(InputError, match="column 'b' holds int64, the table bool"):
        put(warehouse, rows(id=["e"], b=[2]), JAN2)


def test_a_column_of_nulls_takes_the_type_of_the_table(warehouse):
    put(warehouse, rows(id=["a"], price=[1.5], note=pa.nulls(1)), JAN1)
    put(warehouse, rows(id=["b"], price=pa.nulls(1), note=["x"]), JAN2)
    table = tables.read(warehouse, "products")
    assert table["price"].to_pylist() == [1.5, None]
    assert table["note"].to_pylist() == [None, "x"]


def test_types_that_delta_lacks_are_kept_without_loss(warehouse):
    table = pa.table({
        "u": pa.array([255], pa.uint8()),
        "word": pa.array(["x"]).dictionary_encode(),
        "tags": pa.array([["a", None]], pa.large_list(pa.large_string())),
        "when": pa.array([1_700_000_000_000_000_000], pa.timestamp("ns")),
        "bytes": pa.array([b"\0"], pa.large_binary()),
        "step": pa.array([{"n": 1}], pa.struct([("n", pa.uint16())])),
    })  # fmt: skip
    put(warehouse, table)
    back = tables.read(warehouse, "products").drop_columns(["dt"])
    assert back.to_pylist() == table.set_column(3, "when", table["when"].cast(pa.timestamp("us"))).to_pylist()


def test_rows_can_be_streamed(warehouse):
    batches = [pa.record_batch({"id": [f"{i}{n}" for n in range(3)]}) for i in (2, 0, 1)]
    put(warehouse, lambda: pa.RecordBatchReader.from_batches(batches[0].schema, batches))
    assert tables.read(warehouse, "products")["id"].to_pylist() == [f"{i}{n}" for i in (2, 0, 1) for n in range(3)]


def test_a_stream_that_breaks_leaves_the_partition_as_it_was(warehouse):
    put(warehouse, rows(id=["a"]))

    def broken():
        yield pa.record_batch({"id": ["b"]})
        raise OSError("the disk is gone")

    with pytest.raises(Exception, match="the disk is gone"):
        put(warehouse, lambda: pa.RecordBatchReader.from_batches(pa.schema([("id", pa.string())]), broken()))
    assert tables.read(warehouse, "products")["id"].to_pylist() == ["a"]


def test_a_commit_on_an_outdated_base_is_a_conflict_when_the_partition_changed(warehouse):
    put(warehouse, rows(id=["a"]), JAN1)
    base = tables.begin(warehouse, "products", pa.schema([("id", pa.string())]))
    put(warehouse, rows(id=["b"]), JAN1)
    with pytest.raises(tables.ConflictError, match="another writer"):
        tables.replace_partition(warehouse, "products", rows(id=["c"]), JAN1, {}, base=base)
    assert tables.read(warehouse, "products")["id"].to_pylist() == ["b"]


def test_a_commit_on_an_outdated_base_goes_through_when_another_date_changed(warehouse):
    put(warehouse, rows(id=["a"]), JAN1)
    base = tables.begin(warehouse, "products", pa.schema([("id", pa.string())]))
    put(warehouse, rows(id=["b"]), JAN2)
    version = tables.replace_partition(warehouse, "products", rows(id=["c"]), JAN1, {}, base=base)
    assert version == tables.version(warehouse, "products")
    assert tables.read(warehouse, "products")["id"].to_pylist() == ["c", "b"]


def test_two_writers_that_begin_a_new_partition_at_once_do_not_both_get_in(warehouse):
    schema = pa.schema([("id", pa.string())])
    first, second = (tables.begin(warehouse, "products", schema) for _ in range(2))
    tables.replace_partition(warehouse, "products", rows(id=["a"]), JAN1, {}, base=first)
    with pytest.raises(tables.ConflictError):
        tables.replace_partition(warehouse, "products", rows(id=["b"]), JAN1, {}, base=second)


def test_reading_a_table_that_is_not_there_says_how_it_is_made(warehouse):
    with pytest.raises(InputError, match=r"no table completed .*attrgan publish"):
        tables.read(warehouse, "completed")


def test_current_takes_the_newest_row_of_each_id_without_deleted_ones(warehouse):
    put(warehouse, rows(id=["a", "b", "c"], n=[1, 1, 1]), JAN1)
    put(warehouse, rows(id=["b", "c"], n=[2, None], _deleted=[False, True]), JAN2)
    put(warehouse, rows(id=["d"], n=[3]), JAN3)
    table = tables.current(warehouse, "products", "id")
    assert table.select(["id", "n", "dt"]).to_pylist() == [
        {"id": "a", "n": 1, "dt": JAN1},
        {"id": "b", "n": 2, "dt": JAN2},
        {"id": "d", "n": 3, "dt": JAN3},
    ]


def test_an_id_that_comes_back_after_a_removal_is_current_again(warehouse):
    put(warehouse, rows(id=["a"], _deleted=["true"]), JAN1)
    put(warehouse, rows(id=["a"], _deleted=["false"]), JAN2)
    assert tables.current(warehouse, "products", "id")["id"].to_pylist() == ["a"]


def test_current_needs_a_column_that_is_there(warehouse):
    put(warehouse, rows(id=["a"]))
    with pytest.raises(InputError, match="no column 'sku'"):
        tables.current(warehouse, "products", "sku")


updates = st.lists(st.tuples(st.sampled_from([JAN1, JAN2, JAN3]), st.sampled_from("abc"), st.booleans()), max_size=8)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(updates=updates)
def test_current_is_what_replaying_the_dates_gives(tmp_path_factory, updates):
    warehouse = str(tmp_path_factory.mktemp("warehouse"))
    expected: dict[str, str | None] = {}
    for dt in (JAN1, JAN2, JAN3):
        changes = {i: gone for date, i, gone in updates if date == dt}
        if changes:
            put(warehouse, pa.table({"id": list(changes), "_deleted": list(changes.values())}), dt)
            expected |= {i: None if gone else dt for i, gone in changes.items()}
    if expected:
        found = tables.current(warehouse, "products", "id")
        assert dict(zip(found["id"].to_pylist(), found["dt"].to_pylist(), strict=True)) == {
            i: dt for i, dt in expected.items() if dt
        }


def test_past_null_rates_are_those_of_the_items_as_they_were_before_the_date(warehouse):
    past = lambda before: tables.past_null_rates(warehouse, before, "id")  # noqa: E731
    assert past(JAN1) is None
    put(warehouse, rows(id=["a", "b", "c", "d"], n=[None, 1, None, 1]), JAN1)
    put(warehouse, rows(id=["b", "c"], n=[None, 1], _deleted=[False, True]), JAN2)
    assert past(JAN1) is None
    assert past(JAN2) == {"id": 0.0, "n": 0.5}
    assert past(JAN3) == {"id": 0.0, "n": 2 / 3}


def test_a_whole_catalog_is_measured_against_the_catalog_and_not_against_its_last_increment(warehouse):
    put(warehouse, rows(id=["a", "b", "c", "d"], n=[None, None, 1, 1]), JAN1)
    put(warehouse, rows(id=["c"], n=[2]), JAN2)
    assert tables.past_null_rates(warehouse, JAN3, "id") == {"id": 0.0, "n": 0.5}


def test_a_file_url_is_the_same_place_as_its_path(warehouse):
    put(f"file://{warehouse}", rows(id=["a"]))
    assert tables.read(warehouse, "products").num_rows == 1
    assert DeltaTable.is_deltatable(f"{warehouse}/products")


@pytest.mark.parametrize("name", ["a[1]", "a|b", "a^b", "a\\b", "a%20b", "a\nb"])
def test_a_path_that_delta_does_not_read_back_is_refused_before_anything_is_written(tmp_path, name):
    with pytest.raises(InputError, match="choose another folder"):
        put(str(tmp_path / name / "warehouse"), rows(id=["a"]))
    assert not list(tmp_path.iterdir())


def test_instants_durations_and_wide_decimals_are_kept_without_loss(warehouse):
    when = datetime(2026, 3, 1, 12, tzinfo=UTC)
    table = pa.table({
        "when": pa.array([when], pa.timestamp("us", "Europe/Berlin")),
        "lasts": pa.array([timedelta(seconds=2)], pa.duration("s")),
        "amount": pa.array([Decimal("1.25")], pa.decimal256(50, 2)),
    })  # fmt: skip
    put(warehouse, table)
    back = tables.read(warehouse, "products").to_pylist()[0]
    assert (back["when"], back["lasts"], back["amount"]) == (when, 2, Decimal("1.25"))


@pytest.mark.parametrize(("yes", "no"), [("yes", "no"), (" True ", ""), ("1", "0")])
def test_a_removal_may_be_marked_in_words(warehouse, yes, no):
    put(warehouse, rows(id=["a", "b"], _deleted=[yes, no]), JAN1)
    assert tables.current(warehouse, "products", "id")["id"].to_pylist() == ["b"]
