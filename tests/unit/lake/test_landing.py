import subprocess
import sys

import pytest

from attrgan.errors import InputError
from attrgan.lake import landing


@pytest.fixture
def place(tmp_path):
    for name in (
        "dt=2026-01-02/b.csv",
        "dt=2026-01-02/a.csv",
        "dt=2026-01-01/a.csv",
        "dt=2026-13-01/a.csv",
        "dt=yesterday/a.csv",
        "dt=2026-01-05x/a.csv",
        "dt=2026-01-06/_SUCCESS",
        "dt=2026-01-07/.hidden",
        "notes.txt",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    (tmp_path / "dt=2026-01-03").mkdir()
    return tmp_path


def test_partitions_are_the_dates_that_have_files_in_order(place):
    assert landing.partitions(place) == ["2026-01-01", "2026-01-02"]
    assert landing.partitions(f"file://{place}/") == ["2026-01-01", "2026-01-02"]


def test_a_landing_that_is_not_there_has_no_partitions(tmp_path):
    assert landing.partitions(tmp_path / "nowhere") == []


def test_files_of_a_date_are_sorted_and_leave_out_marker_files(place):
    assert landing.files_of(place, "2026-01-02") == [f"{place}/dt=2026-01-02/{n}.csv" for n in "ab"]
    assert landing.files_of(place, "2026-01-06") == []


def test_a_date_without_files_or_folder_has_none(place):
    assert landing.files_of(place, "2026-01-03") == []
    assert landing.files_of(place, "2031-01-01") == []


@pytest.mark.parametrize("dt", ["", "today", "2026-1-1", "20260101", "2026-02-30", "2026-01-01' OR 1=1"])
def test_a_dt_that_is_no_date_is_refused_with_the_form_expected(place, dt):
    with pytest.raises(InputError, match="expected a date as YYYY-MM-DD"):
        landing.files_of(place, dt)


def test_importing_landing_loads_nothing_heavy():
    heavy = "{'pandas', 'pyarrow', 'deltalake', 'torch', 'mlflow', 'great_expectations'}"
    code = f"import sys, attrgan.lake.landing; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
