"""The demo as a user runs it, smaller: a scheduler, a worker, every DAG, the command line and the tables."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
KEYS = {"dag_runs", "catalog", "attributes", "model", "backfill_identical", "links", "seconds", "peak_memory_mb"}
pytestmark = pytest.mark.slow


def start(place: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "examples.complete_journey.demo", "--var", str(place), *options]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def working_in(place: Path) -> list[psutil.Process]:
    """The processes of this machine that belong to the Airflow in a folder, verbs of attrgan included."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            found += [process] if process.environ().get("AIRFLOW_HOME") == str(place / "airflow") else []
    return found


def wait_until(true: Callable[[], object], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 180
    while not true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.5)


def verb_runs(place: Path) -> bool:
    """Whether a task runs a verb of attrgan."""
    lines = []
    for process in working_in(place):
        with suppress(psutil.Error):
            lines.append(process.cmdline())
    return any(line[1:3] == ["-m", "attrgan"] for line in lines)


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> tuple[Path, str]:
    """A finished demo: its folder, and what it said."""
    place = tmp_path_factory.mktemp("var") / "demo"
    process = start(place, "--products", "1500", "--epochs", "4")  # after 2 prices may be worse than the median
    try:
        said, _ = process.communicate(timeout=900)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert process.returncode == 0, said
    return place, said


@pytest.fixture(scope="module")
def summary(demo) -> dict:
    return json.loads((demo[0] / "summary.json").read_text())


def test_every_dag_run_is_green_the_schedulers_own_included(summary):
    assert set(summary) == KEYS
    assert {run["state"] for run in summary["dag_runs"]} == {"success"}
    ids = [(run["dag_id"], run["run_id"].split("__")[0]) for run in summary["dag_runs"]]
    assert ids.count(("train_model", "manual")) == 1
    assert ids.count(("promote_model", "manual")) == 1
    assert ids.count(("nightly_completion", "backfill")) == 4, "two dates, twice"
    assert ("nightly_completion", "scheduled") in ids


def test_rows_in_are_valid_or_quarantined(summary):
    rows = summary["catalog"]
    assert rows["rows_in"] == rows["valid"] + rows["quarantined"] >= 1500


def test_every_missing_cell_has_an_answer(summary):
    for figures in summary["attributes"].values():
        answers = ("filled", "review", "abstained", "not_applicable")
        assert figures["missing_before"] == sum(figures[status] for status in answers)
    assert summary["attributes"]["package_unit"]["missing_before"] > 100


def test_the_second_pass_of_the_backfill_published_the_same_rows(summary):
    assert summary["backfill_identical"] is True


def test_the_champion_is_registered_and_the_pages_are_there(summary):
    assert summary["model"] == {"name": "attrgan-product", "version": "1", "alias": "champion"}
    for page in ("report", "data_docs", "evaluation"):
        assert "<html" in Path(summary["links"][page]).read_text().lower()


def test_it_ends_with_the_table_and_leaves_no_process_behind(demo):
    place, said = demo
    assert "package_qty" in said
    assert "asked, approved through the API" in said
    assert not working_in(place)


def test_interrupting_it_stops_everything_also_what_a_killed_one_left_behind(tmp_path):
    place = tmp_path / "demo"
    killed = start(place, "--products", "300")
    wait_until(lambda: (place / "pids" / "scheduler.json").exists(), killed)
    killed.kill()
    killed.communicate()
    orphans = working_in(place)
    assert orphans

    process = start(place, "--products", "300")
    wait_until(lambda: verb_runs(place), process)
    assert not any(orphan.is_running() for orphan in orphans)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=90)
    assert process.returncode == 130, said
    assert "Interrupted" in said
    assert not working_in(place)
    assert not list((place / "pids").glob("*"))
