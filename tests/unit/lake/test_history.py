import json
import os
import time
from pathlib import Path

import pyarrow as pa
import pytest

from attrgan.errors import InputError
from attrgan.lake import tables
from attrgan.lake.history import vacuum

JAN1, JAN2 = "2026-01-01", "2026-01-02"
A_YEAR = 365 * 24 * 3600


@pytest.fixture
def warehouse(tmp_path):
    return str(tmp_path / "warehouse")


def put(warehouse, ids, dt=JAN1, name="completions", **options):
    return tables.replace_partition(warehouse, name, pa.table({"id": ids}), dt, options.pop("metadata", {}), **options)


def properties(warehouse, name="completions"):
    return tables.existing(warehouse, name).metadata().configuration


def files(warehouse, name="completions"):
    return {path for path in Path(warehouse, name).rglob("*.parquet") if "_delta_log" not in path.parts}


def grow_old(warehouse):
    """Makes everything that has been written a year old: data files, and the times at which files were replaced."""
    then = time.time() - A_YEAR
    for path in Path(warehouse).rglob("*"):
        if path.suffix == ".json":
            actions = [json.loads(line) for line in path.read_text().splitlines()]
            for removed in (a["remove"] for a in actions if "remove" in a):
                removed["deletionTimestamp"] = int(then * 1000)
            path.write_text("\n".join(map(json.dumps, actions)))
        if path.is_file():
            os.utime(path, (then, then))


def test_a_new_table_keeps_its_history_for_as_long_as_the_setting_says(warehouse):
    put(warehouse, ["a"], retention_days=30)
    assert properties(warehouse) == {
        "delta.logRetentionDuration": "interval 30 days", "delta.deletedFileRetentionDuration": "interval 30 days",
    }  # fmt: skip


def test_a_table_follows_the_setting_and_is_left_alone_while_it_stays(warehouse):
    put(warehouse, ["a"])
    assert properties(warehouse) == {}
    put(warehouse, ["b"], retention_days=30)
    version = put(warehouse, ["c"], retention_days=60)
    assert set(properties(warehouse).values()) == {"interval 60 days"}
    assert put(warehouse, ["d"], retention_days=60) == version + 1
    assert put(warehouse, ["e"]) == version + 2
    assert set(properties(warehouse).values()) == {"interval 60 days"}


def test_what_was_replaced_within_the_retention_stays(warehouse):
    first = put(warehouse, ["a"])
    put(warehouse, ["b"])
    assert vacuum(warehouse, 30)["counts"] == {"completions": 0}
    assert tables.read(warehouse, "completions", version=first)["id"].to_pylist() == ["a"]


def test_what_was_replaced_before_the_retention_goes_and_rows_stay(warehouse):
    put(warehouse, ["a"])
    put(warehouse, ["x"], JAN2)
    put(warehouse, ["b"])
    grow_old(warehouse)
    before = files(warehouse)
    assert vacuum(warehouse, 30, dry_run=True)["counts"] == {"completions": 1}
    assert files(warehouse) == before
    assert vacuum(warehouse, 30)["counts"] == {"completions": 1}
    assert len(files(warehouse)) == len(before) - 1
    assert tables.read(warehouse, "completions")["id"].to_pylist() == ["b", "x"]


def test_a_dry_run_with_a_shorter_retention_than_the_tables_own_counts_and_leaves_that(warehouse):
    put(warehouse, ["a"], retention_days=60)
    assert vacuum(warehouse, 14, dry_run=True)["counts"] == {"completions": 0}
    assert set(properties(warehouse).values()) == {"interval 60 days"}


def test_what_a_killed_writer_left_goes_when_it_is_old(warehouse):
    put(warehouse, ["a"])
    lost = next(iter(files(warehouse))).with_name("part-lost.parquet")
    lost.write_bytes(b"PAR1")
    assert vacuum(warehouse, 30)["counts"] == {"completions": 0}
    grow_old(warehouse)
    assert vacuum(warehouse, 30)["counts"] == {"completions": 1}
    assert not lost.exists()


def test_what_completed_refers_to_stays_however_old_it_is(warehouse):
    seen = put(warehouse, ["a"])
    put(warehouse, ["x"], name="completed", metadata={"completions_version": seen})
    put(warehouse, ["b"])  # of a publisher that was killed before it committed `completed`
    grow_old(warehouse)
    assert vacuum(warehouse, 30)["counts"] == {"completed": 0, "completions": 0}
    assert tables.read(warehouse, "completions", version=seen)["id"].to_pylist() == ["a"]


def test_a_place_without_tables_is_bad_input(tmp_path):
    with pytest.raises(InputError, match="no tables in"):
        vacuum(str(tmp_path / "nowhere"), 30)


def test_the_newest_commit_on_a_date_is_found_behind_a_hundred_others(warehouse):
    version = put(warehouse, ["a"], JAN1, metadata={"run_id": "old"})
    table = tables.existing(warehouse, "completions")
    for i in range(101):
        table.alter.set_table_properties({"delta.logRetentionDuration": f"interval {i + 30} days"})
    table = tables.existing(warehouse, "completions")
    assert tables.last_commit(table, JAN1)["version"] == version
    assert tables.last_commits(table)[JAN1]["run_id"] == "old"
