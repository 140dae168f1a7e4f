"""Freshness: the newest date counts from its first publish; what does not bring a newer date changes nothing."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import completed_catalog as made
import pytest

from attrgan import freshness
from attrgan.completion.publish import publish
from attrgan.completion.undo import Selection, undo
from attrgan.errors import InputError

DAY = 86_400.0


class Warehouse:
    """A warehouse that dates are published to, `hours` before now."""

    def __init__(self, folder: Path):
        self.folder, self.url, self.now = folder, str(folder / "warehouse"), datetime.now(UTC)
        self._n = 0

    def publish(self, dt: str, hours: float, run: str = "r") -> None:
        self._n += 1
        valid = made.catalog(dt=dt)
        shard = made.completed(self.folder / f"complete{self._n}", valid)
        publish([shard], made.validated(self.folder / f"validate{self._n}", valid), self.url, dt, run, self.folder)
        self.age(hours)

    def undo(self, run: str, hours: float) -> None:
        undo(self.url, Selection(run), self.folder)
        self.age(hours)

    def age(self, hours: float) -> None:
        """Puts the newest commit of `completed` so long ago."""
        file = max((self.folder / "warehouse" / "completed" / "_delta_log").glob("*.json"))
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        for line in lines:
            if "commitInfo" in line:
                line["commitInfo"]["timestamp"] = int((self.now - timedelta(hours=hours)).timestamp() * 1000)
        file.write_text("\n".join(map(json.dumps, lines)))

    def look(self, limit: str = "26h") -> dict[str, object]:
        return freshness.look(self.url, freshness.seconds(limit), self.now)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


@pytest.mark.parametrize(("text", "expected"), [("45s", 45), ("90m", 5400), ("26h", 93_600), ("1.5d", 129_600)])
def test_a_limit_is_a_number_with_its_unit(text: str, expected: float) -> None:
    assert freshness.seconds(text) == expected


@pytest.mark.parametrize("text", ["26", "x", "-5h", "", "h", "1h30m", "26 h", "nan h", "1e9d"])
def test_what_is_no_duration_is_bad_input(text: str) -> None:
    with pytest.raises(InputError, match="such as 26h"):
        freshness.seconds(text)


def test_a_date_published_within_the_limit_is_fresh_and_one_published_before_is_not(warehouse: Warehouse) -> None:
    warehouse.publish("2026-03-01", hours=25, run="scheduled__1")
    found = warehouse.look()
    assert (found["fresh"], found["newest_dt"], found["run_id"]) == (True, "2026-03-01", "scheduled__1")
    assert found["age_seconds"] == pytest.approx(25 * 3600, abs=1)
    assert not warehouse.look("24h")["fresh"]


def test_a_skipped_date_lets_the_age_grow(warehouse: Warehouse) -> None:
    warehouse.publish("2026-03-01", hours=48.5)
    warehouse.now += timedelta(hours=1)  # the run of 2026-03-02 found nothing and wrote nothing
    found = warehouse.look()
    assert not found["fresh"]
    assert "2026-03-01, was first published 49.5 h ago" in freshness.sentence(found)
    assert "within 26 h" in freshness.sentence(found)


def test_neither_a_backfill_nor_a_repetition_nor_an_undo_makes_old_data_fresh(warehouse: Warehouse) -> None:
    warehouse.publish("2026-03-02", hours=60, run="night")
    warehouse.publish("2026-03-01", hours=3, run="backfill")
    assert not warehouse.look()["fresh"]
    warehouse.publish("2026-03-02", hours=2, run="again")
    assert not warehouse.look()["fresh"]
    warehouse.undo("again", hours=1)
    found = warehouse.look()
    assert (found["fresh"], found["run_id"]) == (False, "night")
    assert found["last_commit_at"] == (warehouse.now - timedelta(hours=1)).isoformat(timespec="seconds")


def test_a_newer_date_makes_it_fresh_again(warehouse: Warehouse) -> None:
    warehouse.publish("2026-03-01", hours=60)
    warehouse.publish("2026-03-03", hours=1)
    assert warehouse.look()["fresh"]


def test_the_age_of_the_date_itself_is_told_too(warehouse: Warehouse) -> None:
    warehouse.publish("2026-03-01", hours=1)
    ended = datetime(2026, 3, 2, tzinfo=UTC)
    assert warehouse.look()["dt_age_seconds"] == round((warehouse.now - ended).total_seconds(), 1)


def test_a_warehouse_that_was_never_published_to_is_not_fresh(warehouse: Warehouse) -> None:
    found = warehouse.look()
    assert (found["fresh"], found["age_seconds"]) == (False, None)
    assert "nothing has ever been published" in freshness.sentence(found)


def test_the_command_says_it_in_one_sentence_and_by_its_exit_code(warehouse, attrgan, monkeypatch) -> None:
    monkeypatch.setenv("ATTRGAN__WAREHOUSE", warehouse.url)
    warehouse.publish("2026-03-01", hours=30)
    code, out, err = attrgan("doctor", "--freshness", "26h")
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert err.startswith("attrgan: the newest date, 2026-03-01, was first published 30 h ago")
    code, out, err = attrgan("doctor", "--freshness", "31h")
    assert (code, err) == (0, "")
    assert out.startswith("fresh: the newest date, 2026-03-01, ")


def test_the_command_gives_the_figures_as_json(warehouse, attrgan, monkeypatch) -> None:
    monkeypatch.setenv("ATTRGAN__WAREHOUSE", warehouse.url)
    warehouse.publish("2026-03-01", hours=30)
    code, out, _ = attrgan("doctor", "--freshness", "26h", "--json")
    found = json.loads(out)
    assert (code, found["fresh"], found["newest_dt"], found["limit_seconds"]) == (3, False, "2026-03-01", 93_600)


def test_only_the_freshness_is_checked(warehouse, attrgan, monkeypatch) -> None:
    monkeypatch.setenv("ATTRGAN__WAREHOUSE", warehouse.url)  # there is no schema here, which fails `attrgan doctor`
    warehouse.publish("2026-03-01", hours=1)
    assert attrgan("doctor")[0] == 3
    assert attrgan("doctor", "--freshness", "2h")[0] == 0


@pytest.mark.parametrize("limit", ["26", "x", "-5h"])
def test_a_limit_that_is_no_duration_ends_the_command_with_2(attrgan, limit) -> None:
    code, out, err = attrgan("doctor", "--freshness", limit)
    assert (code, out) == (2, "")
    assert err.startswith(f"attrgan: --freshness {limit} is not a duration: expected")


def test_a_warehouse_that_cannot_be_read_is_not_called_stale(warehouse, attrgan, monkeypatch) -> None:
    monkeypatch.setenv("ATTRGAN__WAREHOUSE", warehouse.url)
    warehouse.publish("2026-03-01", hours=1)
    log = warehouse.folder / "warehouse" / "completed" / "_delta_log"
    for file in log.glob("*.json"):
        file.write_text("no JSON")
    code, _, err = attrgan("doctor", "--freshness", "26h")
    assert code == 2
    assert "cannot be read" in err
